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
// One shard owns it. It asks Io for the log's writes and syncs; their completions come to
// OnCompletion. Bodies that are not in memory are read back by body_reader.h.

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
#include "engine/delivery/alert.h"
#include "engine/delivery/body.h"
#include "engine/delivery/body_reader.h"
#include "engine/delivery/event.h"
#include "engine/delivery/message.h"
#include "engine/delivery/parcel.h"
#include "engine/io/io.h"
#include "engine/smtp/address.h"
#include "engine/smtp/envelope.h"
#include "engine/spool/log.h"
#include "engine/spool/recovery.h"
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
  Body body;                  // What the log does not have yet.
  uint64_t logged_bytes = 0;  // Of a large body: already appended to the log.
  uint64_t log_bytes = 0;     // That its records take in the log.
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
    uint32_t incoming_max = limits::kIntakeSessionsPerShardMax;
    uint32_t body_blocks = limits::kBodyBlocksPerShard;
    policy::BounceProfiles bounce_profiles;
    const policy::Sources* sources = nullptr;  // Lent; null: the system chooses.
    std::string alert_address;                 // Gets alerts; empty: nobody.
  };

  // All lent for the home's life. `log` has been begun. The wheel is not used after the home's end:
  // timers may still be armed then (of parcels that are out, in another shard's wheel).
  Home(const Options& options, io::Io& io, spool::Log& log, TimerWheel& timers, Random& random,
       EventSink& events);

  // Messages from before the start, before the first turn. An error: more than there are slots for.
  absl::Status Restore(std::vector<spool::RecoveredMessage> messages, MessageId greatest, Now now);

  // --- Arriving messages.

  // Null when none can be taken (slots, memory, disk, a failed log): answer 452.
  Incoming* Begin(Origin origin, Now now);
  // Takes body bytes in wire form. After a failure it takes no more and Commit will answer so: no
  // memory, no space, or it holds up the log's oldest segment.
  void Append(Incoming& incoming, absl::string_view bytes, Now now);
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
  // TakeBody, at once if the body is in memory, else when it has been read.
  void WantBody(Parcel& parcel);
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
  CountedDestinations& counted() { return counted_; }
  // The engine stops: parcels stay here from now on.
  void BeginDrain() { draining_ = true; }

  // Last in a turn: starts to write what has gathered.
  void WriteBatch();

  // There is more to do at once.
  bool busy() const {
    return !outgoing_.empty() || !bodies_.empty() || !decided_.empty() ||
           deliver_next_ != Slab<Parcel>::kNoSlot || log_.durable() != seen_durable_;
  }

  bool log_failed() const { return log_.failed(); }
  // All that was appended is durable (or never will be) and no parcel is out.
  bool AtRest() const;
  uint32_t messages() const { return messages_.taken(); }
  uint32_t parcels() const { return parcels_.taken(); }
  uint32_t blocks_taken() const { return pool_.taken(); }

 private:
  // Arriving.
  void LogBody(MessageId id, const Body& body, uint64_t body_offset, uint64_t& log_bytes,
               std::vector<spool::Extent>& extents, Now now);
  void Fail(Incoming& incoming);
  void Drop(Incoming& incoming);
  bool HasRoom(Origin origin, uint32_t messages, uint32_t parcels, uint64_t log_bytes, Now now);
  uint32_t CountDestinations(const smtp::Envelope& envelope) const;
  void Refuse(Incoming& incoming, Handle session);
  Message& MakeMessage(Incoming& incoming, smtp::Envelope& envelope, const IncomingSummary& summary,
                       Now now);
  void AppendAccepted(Message& message, Now now);
  void EmitReception(const Message& message, const IncomingSummary& summary, uint64_t batch);

  // Parcels.
  const policy::BounceProfile& ProfileOf(const Parcel& parcel) const;
  Parcel& MakeParcel(Message& message, uint32_t first, uint32_t count);
  void PlaceNew(Message& message, Now now);
  void Schedule(Parcel& parcel, Instant due, Now now);
  void HandOut(Parcel& parcel);
  void DeliverSome(Now now);

  // Outcomes.
  void RecordAttempt(Parcel& parcel, Now now);
  void EndRound(Parcel& parcel, Now now);
  void GiveUp(Parcel& parcel, Now now);
  bool MakeBounce(Parcel& parcel, bool expired, Now now);
  std::optional<smtp::Mailbox> MailboxOf(const std::string& address) const;
  bool SendOwn(Incoming& own, const smtp::Mailbox& to, const std::string& text, Now now);
  void RecordState(Parcel& parcel, spool::RecipientState state, Now now);
  void EmitOutcome(const Parcel& parcel, uint32_t recipient, EventType type, Now now);
  static void Count(DestinationCounters& counters, EventType type, WallTime now);
  void FinishIfFinal(Parcel& parcel, Now now);
  void Bury(Message& message, Now now);
  void Forget(Message& message);
  void ReleaseBody(Message& message);
  void DropBody(Message& message);
  bool Squeeze();

  // The log.
  void OnDurable(Now now);
  void OnLogFailed();
  void JoinSegment(Message& message);
  void LeaveSegment(Message& message);
  void MoveSome(Now now);
  void FailIncomingOf(spool::SegmentId segment);
  void MoveMessage(Message& message, Now now);
  void OnBodiesRead(Now now);

  // After a restart.
  void RestoreMessage(spool::RecoveredMessage& recovered, Now now);
  void PlaceRestored(Message& message, Now now);
  uint32_t PoolNamed(const std::string& name) const;
  uint32_t CountWaiting(const spool::AcceptedRecord& accepted) const;

  // What a message's other records take in the log, roughly, beside its body and addresses.
  static constexpr uint64_t kRecordOverheadBytes = 256;
  // Bodies that nobody holds are given up for want of memory at most so often, and so many are
  // looked at.
  static constexpr Duration kSqueezeInterval = std::chrono::seconds(1);
  static constexpr int kSqueezedMax = 1024;
  // Slots of parcels that DeliverNow looks at in one turn.
  static constexpr uint32_t kDeliveredPerTurnMax = 4096;
  // Destinations that it remembers while it looks; beyond, it takes all.
  static constexpr size_t kDeliveredAtOnceMax = 10000;
  // How soon a parcel that was given back untouched is placed again.
  static constexpr Duration kRecalledDelay = std::chrono::seconds(2);
  // When a message that is to be moved could not be read.
  static constexpr Duration kMoveAgainAfter = std::chrono::seconds(60);
  // A body that could not be read for so many attempts in a row is lost.
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
  Slab<Message> messages_;
  Slab<Parcel> parcels_;
  BodyReader reader_;
  uint32_t parcels_promised_ = 0;  // Of committed messages that are not placed yet.
  uint32_t parcels_out_ = 0;
  bool draining_ = false;

  using SegmentMessages = IntrusiveList<Message, &Message::segment_hook>;
  absl::flat_hash_map<uint64_t, std::unique_ptr<SegmentMessages>> by_segment_;

  IntrusiveList<Message, &Message::memory_hook> in_memory_;  // Oldest first.

  Instant turned_at_{};  // When the last turn was.
  Instant next_squeeze_{};
  bool step_in_flight_ = false;
  uint64_t seen_durable_ = 0;  // Up to here OnDurable has done its work.
  bool told_failed_ = false;

  // What waits for a batch to be durable, oldest first.
  struct AwaitedPromise {
    uint64_t batch = 0;
    Handle message;
    Handle session;  // None for a bounce of our own.
  };
  std::deque<AwaitedPromise> awaited_promises_;
  struct AwaitedBlocks {
    uint64_t batch = 0;
    Body body;
  };
  std::deque<AwaitedBlocks> awaited_blocks_;
  struct AwaitedMove {
    uint64_t batch = 0;
    Handle message;
  };
  std::deque<AwaitedMove> awaited_moves_;
  std::vector<Promise> decided_;
  CountedDestinations counted_;
  uint32_t deliver_next_ = Slab<Parcel>::kNoSlot;          // DeliverNow goes on from here,
  bool deliver_all_ = false;                               // with all,
  absl::flat_hash_set<std::string> deliver_destinations_;  // or with these.
  std::vector<Handle>
      finished_before_;  // Restored with all recipients final: only their end is missing.

  IntrusiveList<Parcel, &Parcel::hook> outgoing_;
  IntrusiveList<Parcel, &Parcel::hook> bodies_;

  // Reused, so that recording allocates nothing in the steady state.
  spool::AcceptedRecord accepted_record_;
  spool::OutcomeRecord outcome_record_;
  spool::DeferredRecord deferred_record_;
};

}  // namespace sluice::delivery
