// The home of the messages that this shard accepted: it wrote them to its log and keeps the
// promise.
//
// The home alone decides when a 250 may be given, records outcomes, retries, makes bounces, and
// says that a message is dead. Delivering is the business of the shard that owns the destination:
// the home hands out parcels (parcel.h) and gets them back with an outcome. Bodies are lent for one
// transaction.
//
// Order of writing, so that a crash at any instant loses nothing:
//   body, then the promise (one batch, one sync)  ->  250  ->  first attempt
//   outcome appended when the parcel comes back; the bounce that it makes stands before it
//   event emitted when the batch of its record is durable
//
// Of every message little is kept in memory (kept.h); envelopes and outcomes only of those that are
// being tried, and of as many others as there is room for. A parcel that is due waits in the queue
// of its destination (home_destinations.h) until its shard may have another one; then its message
// is read back from the log, if it is not in memory, and the parcel handed out:
//
//   kScheduled ─due─► kWaiting ─its turn─► kWaking ─read─► kOut ─round over─► kScheduled, or final
//                         └────── expiry ─────► kDoomed ───┴─ bounced: final
//
// One shard owns it. It asks Io for the log's writes and syncs; their completions come to
// OnCompletion. Bodies that are not in memory are read back by body_reader.h, promises by
// record_reader.h.

#pragma once

#include <xxhash.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "engine/base/limits.h"
#include "engine/base/message_id.h"
#include "engine/base/random.h"
#include "engine/base/slab.h"
#include "engine/base/timer_wheel.h"
#include "engine/delivery/active_messages.h"
#include "engine/delivery/alert.h"
#include "engine/delivery/body.h"
#include "engine/delivery/body_mover.h"
#include "engine/delivery/body_reader.h"
#include "engine/delivery/event.h"
#include "engine/delivery/home_destinations.h"
#include "engine/delivery/kept.h"
#include "engine/delivery/message.h"
#include "engine/delivery/parcel.h"
#include "engine/delivery/record_reader.h"
#include "engine/io/io.h"
#include "engine/smtp/address.h"
#include "engine/smtp/envelope.h"
#include "engine/spool/log.h"
#include "engine/spool/takeover.h"
#include "policy/bounce_profile.h"
#include "policy/controls_table.h"
#include "policy/sources.h"

namespace sluice::delivery {

// Where a message comes from: an injector, or ourselves.
enum class Origin : uint8_t { kInjected, kBounce };

// A message while it arrives.
struct Incoming {
  Origin origin = Origin::kInjected;
  MessageId id;
  Body body;                    // What the log does not have yet.
  uint64_t logged_bytes = 0;    // Of a large body: already appended to the log.
  uint64_t log_bytes = 0;       // That its records take in the log.
  uint64_t unsynced_bytes = 0;  // Of the logged ones: in memory until they are durable.
  std::vector<spool::Extent> extents;
  XXH3_state_t checksum;
  bool failed = false;  // No memory or no space: it can only be refused.
};

// Everything of a message but its body and envelope, as intake knows it when the data has ended.
struct IncomingSummary {
  uint64_t message_bytes = 0;  // Without stuffing and dot, with our Received line.
  bool eight_bit = false;
  absl::string_view client_name;  // For the reception event.
  SocketAddress client_address;
};

// An answer owed to an injector.
struct Promise {
  Handle session;
  MessageId id;
  bool kept = false;  // True: on the disk, say 250. False: say 452.
};

class Home {
 public:
  struct Options {
    uint32_t shard = 0;
    absl::string_view hostname;  // Lent; for bounces.
    bool sync = true;            // False: promises are given after the write (measurements only).
    uint32_t messages_max = limits::kMessagesPerShardMax;
    uint32_t parcels_max = limits::kParcelsPerShardMax;
    uint32_t residents_max = limits::kResidentMessagesPerShardMax;
    uint32_t out_max = limits::kParcelsOutPerShardMax;
    uint32_t incoming_max = limits::kIntakeSessionsPerShardMax;
    uint32_t body_blocks = limits::kBodyBlocksPerShard;
    uint64_t body_bytes_in_memory_max = limits::kBodyBytesInMemoryMax;
    policy::BounceProfiles bounce_profiles;
    const policy::Sources* sources = nullptr;  // Lent; null: the system chooses.
    std::string alert_address;                 // Gets alerts; empty: nobody.
    ActiveMessages* active = nullptr;          // Lent; null: nobody asks what we were at work on.
    // When a message whose promise could not be read is tried again; later, when that has failed
    // kFailedReadsMax times.
    Duration read_again_after = std::chrono::seconds(60);
  };

  // All lent for the home's life. `log` has been begun. The wheel is not used after the home's end:
  // timers may still be armed then (of parcels that are out, in another shard's wheel).
  Home(const Options& options, io::Io& io, spool::Log& log, TimerWheel& timers, Random& random,
       EventSink& events);

  // Messages from before the start, said before the first turn: some of them are taken up each
  // turn. Until all are, nothing of the log is given back.
  void TakeUp(std::unique_ptr<spool::Takeover> takeover, MessageId greatest);

  // --- Arriving messages.

  // Null when none can be taken (slots, memory, disk, a failed log): answer 452.
  Incoming* Begin(Origin origin, Now now);
  // Takes body bytes in wire form. After a failure it takes no more and Commit will answer so: no
  // memory, no space, or it holds up the log's oldest segment.
  void Append(Incoming& incoming, absl::string_view bytes, Now now);
  // The disk is behind: no more of it is to be appended until a turn finds this false.
  bool Behind(const Incoming& incoming) const;
  void Abandon(Incoming& incoming);
  // The data has ended; its last bytes were the final ".\r\n". The promise comes through
  // TakePromises when the log has the message, kept or not. The envelope is moved from.
  void Commit(Incoming& incoming, smtp::Envelope& envelope, const IncomingSummary& summary,
              Handle session, Now now);
  // Appends what has been decided since the last call.
  void TakePromises(std::vector<Promise>& promises);

  // --- Parcels.

  // The next parcel that is to go to its destination's shard, or null.
  Parcel* TakeOutgoing() { return outgoing_.PopFront(); }
  // A parcel is back, with its outcome written into it.
  void OnReturned(Parcel& parcel, Now now);

  // The destination's shard asks for the body of a parcel that is out. The answer comes through
  // TakeBody, at once if the body is in memory, or so large that only its places in the log are
  // lent; else when it has been read.
  void WantBody(Parcel& parcel);
  // Lends the body of a parcel that is about to leave, before it is asked for, if it is in memory
  // and memory is plentiful: what waits for a connection keeps it.
  void LendAhead(Parcel& parcel);
  // The next parcel whose body_state has been decided (kLent, kNoRoom or kDamaged), or null.
  Parcel* TakeBody() { return bodies_.PopFront(); }

  // Tells the operator, if there is room.
  void SendAlert(const TlsAlert& alert, Now now);

  // --- The loop.
  void OnCompletion(const io::Completion& completion, Now now);
  void OnTimer(Timer& timer, Now now);
  // Once a turn: promises, space, moves.
  void Turn(Now now);
  // Says by which bounce profile a destination's mail is tried; lent until the next one. Before the
  // first, all have Default.
  void UseControls(const policy::ControlsTable& controls) { controls_ = &controls; }
  // What waits here for its next attempt is tried now, of one destination or of all (empty), some
  // of it each turn.
  void DeliverNow(absl::string_view destination);
  HomeDestinations& destinations() { return destinations_; }
  // The engine stops: parcels stay here from now on.
  void BeginDrain() { draining_ = true; }

  // Last in a turn: starts to write what has gathered.
  void WriteBatch();

  // There is more to do at once.
  bool busy() const {
    return !outgoing_.empty() || !bodies_.empty() || !decided_.empty() ||
           deliver_next_ != Slab<KeptParcel>::kNoSlot || log_.durable() != seen_durable_ ||
           records_.has_results() || !given_up_.empty() || (wakes_more_ && !draining_) ||
           (takeover_ != nullptr && !takeover_waits_);
  }

  // The log has failed, or cannot be read: the process is to end for recovery.
  bool log_failed() const { return log_.failed() || !takeover_failure_.ok(); }
  // All that was appended is durable (or never will be), no parcel is out and nothing is being
  // read.
  bool AtRest() const;
  // Messages from before the start are still being taken up; so many have been.
  bool taking_up() const { return takeover_ != nullptr; }
  uint64_t taken_up() const { return taken_up_; }
  uint32_t messages() const { return kept_messages_.taken(); }
  uint32_t parcels() const { return kept_parcels_.taken(); }
  // Of the messages, so many are in quarantine: they were at work when the engine died, again and
  // again (active_messages.h). They stay, and are not tried.
  uint32_t quarantined() const { return quarantined_; }
  // No mail is taken, since the disk has no space to spare.
  bool low_space() const { return low_space_told_; }
  uint32_t residents() const { return messages_.taken(); }
  uint32_t blocks_taken() const { return pool_.taken(); }

 private:
  // Arriving.
  void LogBody(MessageId id, const Body& body, uint64_t body_offset, uint64_t& log_bytes,
               std::vector<spool::Extent>& extents, Now now);
  void AwaitBlocks(Body& body, Handle incoming);
  void FreeBlocks(uint64_t through);
  void Fail(Incoming& incoming);
  void Drop(Incoming& incoming);
  bool HasRoom(Origin origin, uint32_t messages, uint32_t parcels, uint64_t log_bytes, Now now);
  uint32_t CountDestinations(const smtp::Envelope& envelope) const;
  void Refuse(Incoming& incoming, Handle session);
  Message& MakeMessage(Incoming& incoming, smtp::Envelope& envelope, const IncomingSummary& summary,
                       Now now);
  void AppendAccepted(Message& message, Now now, bool again);
  void EmitReception(const Message& message, const IncomingSummary& summary, uint64_t batch);

  // Parcels at home.
  const policy::BounceProfile& ProfileOf(const KeptParcel& kept) const;
  Instant ExpiryOf(const KeptParcel& kept) const;
  KeptParcel& MakeKeptParcel(KeptMessage& message, absl::string_view destination, uint32_t first,
                             uint32_t count);
  void PlaceNew(Message& message, Now now);
  void Place(KeptParcel& kept, Now now);
  void Schedule(KeptParcel& kept, Instant due, Now now);
  void Wait(KeptParcel& kept, Now now);
  void LeaveQueue(KeptParcel& kept);
  void Doom(KeptParcel& kept);
  void DeliverSome(Now now);

  // Parcels out.
  bool RoomForMore() const;
  bool MayHandOut(const HomeDestination& destination) const;
  Parcel& MakeParcel(KeptParcel& kept);
  void HandOut(Parcel& parcel);
  void Retire(Parcel& parcel);
  void LeaveOut(KeptParcel& kept);

  // Messages in memory.
  void WakeSome(Now now);
  bool Wake(KeptParcel& kept, Now now);
  void OnAwake(KeptParcel& kept, Now now);
  Message* TakeResident();
  bool Load(KeptMessage& kept);
  void OnRecordsRead(Now now);
  void OnPromiseRead(KeptMessage& kept, spool::Bytes bytes, Now now);
  bool Fill(Message& message, spool::Bytes bytes) const;
  void OnPromiseUnreadable(KeptMessage& kept, bool read, Now now);
  void SetAside(KeptMessage& kept, Now now);
  template <class Visit>
  static void ForEachDeferral(const KeptMessage& kept, spool::SegmentId segment, spool::Bytes bytes,
                              Visit visit);
  static void QuoteFromPromise(Parcel& parcel);
  bool ReadLastAnswers(Parcel& parcel);
  void OnDeferralRead(Parcel& parcel, spool::Bytes bytes, Now now);
  static KeptParcel* UnknownReply(KeptMessage& kept);
  void OnReplyRead(KeptMessage& kept, const spool::Extent& place, spool::Bytes bytes);
  static bool MayLeave(const Message& message);
  void Settle(Message& message);
  void Leave(Message& message);
  bool MakeResidentRoom();

  // Bodies.
  bool TooLargeForMemory(const Message& message) const;
  BodyState LendPlaces(Parcel& parcel);
  void TakeBodyBack(Parcel& parcel);
  void OnBodiesRead(Now now);
  Message& NextInMemory();
  bool RoomToKeep(const Message& message);
  bool Squeeze();
  void ReleaseBody(Message& message);
  void DropBody(Message& message);

  // Outcomes.
  void RecordAttempt(Parcel& parcel, Now now);
  void EndRound(Parcel& parcel, Now now);
  void GiveUp(Parcel& parcel, Now now);
  bool MakeBounce(Parcel& parcel, bool expired, Now now);
  std::optional<smtp::Mailbox> MailboxOf(const std::string& address) const;
  bool SendOwn(Incoming& own, const smtp::Mailbox& to, const std::string& text, Now now);
  void RecordDeferral(Parcel& parcel, Duration delay, Now now);
  void RecordState(Parcel& parcel, spool::RecipientState state, Now now);
  void EmitOutcome(const Parcel& parcel, uint32_t recipient, EventType type, Now now);
  static void Count(DestinationCounters& counters, EventType type, WallTime now);
  void Finish(Parcel& parcel, Now now);
  void ReleaseKept(KeptParcel& kept);
  void Bury(KeptMessage& kept, Now now);
  void Forget(KeptMessage& kept);

  // The log.
  void OnDurable(Now now);
  void OnLogFailed();
  void TellSpace(Now now);
  void JoinSegment(KeptMessage& kept);
  void LeaveSegment(KeptMessage& kept);
  void MoveSome(Now now);
  bool BeginMove(KeptMessage& kept, Now now);
  void FailIncomingOf(spool::SegmentId segment);
  void MoveMessage(Message& message, Now now);
  void MoveLarge(Message& message);
  void TurnMover(Now now);
  bool MayGoToCopy(const Message& message, Now now);
  void GoToCopy(Message& message, BodyMover::Copy& copy, Now now);

  // After a restart.
  void TakeUpSome(Now now);
  void FailTakeover(const absl::Status& failure);
  void TakeUpMessage(const spool::TakenMessage& taken, Now now);
  void TellQuarantined(MessageId id);
  Instant DueAfterRestart(const spool::TakenMessage::Group& group,
                          const policy::BounceProfile& profile, Now now);
  uint32_t PoolNamed(const std::string& name) const;

  // What a message's other records take in the log, roughly, beside its body and addresses.
  static constexpr uint64_t kRecordOverheadBytes = 256;
  // Bodies that nobody holds are given up for want of memory at most so often, and so many are
  // looked at.
  static constexpr Duration kSqueezeInterval = std::chrono::seconds(1);
  static constexpr int kSqueezedMax = 1024;
  static constexpr int kSqueezeLooksMax = 8192;  // Those that are lent are passed over.
  // Bodies that are looked at for one that nobody is at work on, for each new one.
  static constexpr int kSpareLooksMax = 16;
  // Slots of parcels that DeliverNow looks at in one turn.
  static constexpr uint32_t kDeliveredPerTurnMax = 4096;
  // Destinations that it remembers while it looks; beyond, it takes all.
  static constexpr size_t kDeliveredAtOnceMax = 10000;
  // Messages that are woken, and that are taken up after a start, in one turn.
  static constexpr int kWokenPerTurnMax = 1024;
  static constexpr int kTakenUpPerTurnMax = 4096;
  // A destination's share of what may be out: this part of what is left of it. Whoever has much
  // mail for a destination that does not move cannot take the room of the others.
  static constexpr uint32_t kShareOfDestination = 8;
  // And so many at most.
  static constexpr uint32_t kOutOfDestinationMax = 8192;
  static constexpr uint32_t kShareLentAhead = 4;  // Of the memory of bodies: a quarter.
  // When a promise is read that could not be read so often.
  static constexpr Duration kReadSeldom = std::chrono::minutes(30);
  // A promise that the disk does not give is taken for lost so long after the message's expiry: a
  // disk may come back, and what is set aside is reported to nobody.
  static constexpr Duration kUnreadableMax = std::chrono::hours(24);
  // How soon a parcel that was given back untouched is placed again.
  static constexpr Duration kRecalledDelay = std::chrono::seconds(2);
  // When a message that is to be moved could not be read.
  static constexpr Duration kMoveAgainAfter = std::chrono::seconds(60);
  // Messages in quarantine that are named after a start; the others are counted.
  static constexpr uint32_t kQuarantinedToldMax = 20;
  // A body that could not be read for so many attempts in a row is lost. (Where only its places are
  // lent, it is known to be lost at the next.)
  static constexpr uint32_t kFailedReadsMax = 3;

  const Options options_;
  io::Io& io_;
  spool::Log& log_;
  TimerWheel& timers_;
  Random& random_;
  EventSink& events_;
  const policy::ControlsTable* controls_ = nullptr;

  MessageIdSource ids_;
  BlockPool pool_;
  Slab<Incoming> incoming_;
  Slab<KeptMessage> kept_messages_;
  Slab<KeptParcel> kept_parcels_;
  Slab<Message> messages_;  // Those in memory.
  Slab<Parcel> parcels_;    // Those that are out, or being bounced.
  BodyReader reader_;
  BodyMover mover_;
  RecordReader records_;
  uint32_t parcels_promised_ = 0;  // Of committed messages that are not placed yet.
  uint32_t active_ = 0;            // Kept parcels that are kOut or kWaking.
  const uint32_t active_max_;
  bool draining_ = false;
  uint32_t quarantined_ = 0;
  bool low_space_told_ = false;

  IntrusiveList<HomeDestination, &HomeDestination::hook> ready_;  // Have waiting parcels, and room.
  IntrusiveList<KeptParcel, &KeptParcel::hook> doomed_;
  IntrusiveList<Message, &Message::idle_hook> idle_;  // May leave memory; longest idle first.
  std::vector<Parcel*> given_up_;  // Awake, and to be bounced without looking for the last answer.
  bool wakes_more_ = false;        // WakeSome had its fill of this turn.

  std::unique_ptr<spool::Takeover> takeover_;  // Of what a start found; null: all are taken up.
  const spool::TakenMessage* next_taken_ = nullptr;  // Of it, the next one.
  bool takeover_waits_ = false;                      // For slots.
  uint64_t taken_up_ = 0;
  absl::Status takeover_failure_;
  // Recipients that became final after the promise was written, of messages that were not in
  // memory since: before a start, or before they left it.
  struct FinalRecipients {
    std::vector<uint32_t> delivered;
    std::vector<uint32_t> bounced;
  };
  absl::flat_hash_map<const KeptMessage*, FinalRecipients> final_;

  using SegmentMessages = IntrusiveList<KeptMessage, &KeptMessage::segment_hook>;
  absl::flat_hash_map<uint64_t, std::unique_ptr<SegmentMessages>> by_segment_;

  IntrusiveList<Message, &Message::memory_hook> in_memory_;  // Oldest first.

  Instant moves_not_before_{};  // After a promise that could not be read.
  Instant turned_at_{};         // When the last turn was.
  Instant next_squeeze_{};
  bool step_in_flight_ = false;
  uint64_t seen_durable_ = 0;  // Up to here OnDurable has done its work.
  bool told_failed_ = false;

  // What waits for a batch to be durable, oldest first.
  struct AwaitedPromise {
    uint64_t batch = 0;
    Message* message = nullptr;
    Handle session;  // None for a bounce of our own.
  };
  std::deque<AwaitedPromise> awaited_promises_;
  struct AwaitedBlocks {
    uint64_t batch = 0;
    Body body;
    Handle incoming;  // Whose they are while it arrives.
  };
  std::deque<AwaitedBlocks> awaited_blocks_;
  struct AwaitedMove {
    uint64_t batch = 0;
    Handle message;
  };
  std::deque<AwaitedMove> awaited_moves_;
  std::vector<Promise> decided_;
  HomeDestinations destinations_;
  uint32_t deliver_next_ = Slab<KeptParcel>::kNoSlot;      // DeliverNow goes on from here,
  bool deliver_all_ = false;                               // with all,
  absl::flat_hash_set<std::string> deliver_destinations_;  // or with these.

  IntrusiveList<Parcel, &Parcel::hook> outgoing_;
  IntrusiveList<Parcel, &Parcel::hook> bodies_;

  // Reused, so that recording allocates nothing in the steady state.
  spool::AcceptedRecord accepted_record_;
  spool::OutcomeRecord outcome_record_;
  spool::DeferredRecord deferred_record_;
  std::vector<uint32_t> unrecorded_;
};

}  // namespace sluice::delivery
