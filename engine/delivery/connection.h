// Connections to the hosts of destinations: a socket, an SMTP session and the attempt that it
// carries.
//
// This layer opens, talks and closes; which destination, how many, and what next is the
// dispatcher's, which reads the events. A connection tries the steps of its route in order until a
// host's session has begun its first transaction; after that, its end is its end. It counts against
// the destination's limit from Open to the kEnded event, at which its last socket has been closed.
//
// One flag for each operation in flight: set where it is submitted, cleared first where it
// completes. Closing is begin, join, close; the slot is free when nothing is in flight
// (TigerBeetle's bus).

#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/intrusive_list.h"
#include "engine/base/limits.h"
#include "engine/base/slab.h"
#include "engine/base/timer_wheel.h"
#include "engine/delivery/active_messages.h"
#include "engine/delivery/attempt.h"
#include "engine/delivery/body_stream.h"
#include "engine/delivery/channel.h"
#include "engine/delivery/tls_intent.h"
#include "engine/dns/route.h"
#include "engine/io/io.h"
#include "engine/smtp/client_session.h"
#include "policy/destination_budget.h"
#include "policy/sources.h"

namespace sluice::delivery {

enum class ConnectionState : uint8_t {
  kConnecting,  // To an address of the route; also between two addresses.
  kTalking,     // A dialogue is on: greeting, EHLO, a transaction, QUIT.
  kReady,       // The session waits for a transaction.
  kClosing,     // Until nothing is in flight.
};

enum class ConnectionEventKind : uint8_t {
  kReady,      // Offer a transaction, or Quit. After Open, and after each transaction but the last.
  kBodyEnds,   // The last piece of a body is about to leave: EndBody, perhaps with the next parcel.
  kAttempted,  // `parcel` is back, its outcome written in.
  kReturned,   // `parcel` is back untouched: the session was lost before it could try it.
  kUntried,    // So is `parcel`, which was offered ahead: nothing was said of it.
  kStepFailed,  // An address did not answer, or its host refused the session or ended it before or
                // under its first message: `address`.
  kSourceMissing,  // The source's address of the family of `address` is not there.
  kTlsBroken,      // TLS with `address` failed in a way that is worth remembering.
  kBetween,        // Closed, with another address to try, or the same in clear: Continue, or End.
  kEnded,          // Over. The dispatcher must Release the connection.
};

// How an address is tried.
enum class StepTry : uint8_t {
  kFirst,           // As the intent has it.
  kInClear,         // Anew: STARTTLS was lost, and the level does without.
  kWithoutSession,  // Anew: a handshake that was to resume a session failed.
};

// The end of a body, with which the commands for the next message may leave.
enum class BodyEnd : uint8_t {
  kNotReached,
  kAsked,   // kBodyEnds was told: the last piece waits for EndBody.
  kLeaves,  // With the next send.
};

struct HeldOutcome {
  ConnectionEventKind kind{};
  Parcel* parcel = nullptr;
};

struct Connection {
  ConnectionState state = ConnectionState::kConnecting;
  Handle lane;                 // The dispatcher's.
  bool was_ready = false;      // The session of this step has been ready, and not ended unused.
  uint32_t successes = 0;      // Transactions answered with 250.
  uint32_t offered_ahead = 0;  // Transactions; and those of them of which nothing was said.
  uint32_t untried = 0;
  std::vector<dns::RouteStep> steps;
  size_t step = 0;
  uint32_t source = 0;
  const policy::Source* local = nullptr;  // The same: addresses and EHLO name.

  io::Socket socket;
  bool connect_in_flight = false;
  bool receive_in_flight = false;
  bool send_in_flight = false;
  bool send_broken = false;  // A send failed: what the server still says decides.
  bool retry_step = false;   // Closing in order to try the next address.
  bool final = true;       // Every address of the route was tried, and refused for good (521, 556).
  bool our_fault = false;  // Descriptors or memory have run out here.
  bool source_missing = false;  // The step's local address is not there.
  bool host_failed = false;     // The host ended the step's session under its first message.

  smtp::ClientSession session;
  Attempt attempt;
  Attempt next;  // Offered ahead of the reply to the final dot; then it becomes the attempt.

  // TLS.
  std::shared_ptr<const TlsIntent> tls;   // Null: none is tried.
  std::vector<SocketAddress> tls_broken;  // Addresses where it has failed lately.
  Channel channel;
  std::shared_ptr<const tls::ClientPlan> tls_plan;  // Of the step.
  StepTry step_try = StepTry::kFirst;
  StepTry next_try = StepTry::kFirst;  // kFirst: of the next address.
  bool offered_session = false;        // In the step's handshake.
  bool tls_failed = false;             // The step, and nothing was said over it.
  bool closed_early = false;           // By the host, while a flight was being worked on.
  TlsOutcome tls_outcome;
  std::string tls_detail;
  Instant tls_started{};
  Duration tls_time{};  // Of the handshake, until the first attempt tells it.
  bool sending_body = false;
  BodyEnd body_end = BodyEnd::kNotReached;
  uint64_t body_sent = 0;
  uint64_t body_piece = 0;       // Bytes of the body in the send in flight.
  BodyStream* stream = nullptr;  // By which the body comes; null: it is in memory, or none is on.
  bool body_unreadable = false;  // The log does not give it: the attempt ends here.
  std::string send_buffer;

  // A server may answer before the kernel has let go of the body, in memory or in the log: the
  // outcome is told only then, since the body goes back to the home with it. What became meanwhile
  // of the message that was offered ahead is told after it.
  std::array<HeldOutcome, 2> held;
  uint32_t held_count = 0;
  bool holds_ready = false;

  Timer timer;
  Instant step_started{};
  Duration connect_time{};  // Of the session's opening, until its first attempt tells it.
  smtp::Reply failure;      // Why the last step failed.

  // --- The dispatcher's.
  ListHook lane_hook;             // Among the lane's.
  ListHook hook;                  // Among the lane's ready ones.
  ListHook idle_hook;             // Among all of the shard's, as long as that.
  policy::ScopeKey scope;         // In whose budget it counts.
  bool counted_ready = false;     // No longer among the lane's opening ones.
  bool counts_handshake = false;  // Against what the engine may have of them.
  bool leaving = false;           // Told to quit.
  bool unneeded = false;          // Nothing was waiting for it: its end says nothing of the hosts.
  uint64_t route_version = 0;     // Of the destination's route that its host was last found in.
  uint32_t granted = 0;           // Recipients taken out of the budget for it,
  uint32_t granted_ahead = 0;     // and for what was offered ahead.
  const Parcel* awaited = nullptr;  // Whose body it was granted for and waits for.
  bool tried = false;               // The server may have seen them.

  const dns::RouteStep& current_step() const { return steps[step]; }
};

struct ConnectionEvent {
  ConnectionEventKind kind{};
  Connection* connection = nullptr;
  Parcel* parcel = nullptr;
  SocketAddress address;
};

class Connections {
 public:
  struct Options {
    uint32_t shard = 0;
    absl::string_view ehlo_name;  // Lent; where the source has none of its own.
    uint32_t connections_max = limits::kDeliveryConnectionsPerShardMax;
    uint32_t streams_max = limits::kBodyStreamsPerShardMax;
    ActiveMessages* active = nullptr;  // Lent; null: nobody asks what we were at work on.
  };

  // Lent. `handshaker` may be null where no connection is ever given an intent.
  Connections(const Options& options, io::Io& io, TimerWheel& timers, tls::Handshaker* handshaker)
      : options_(options),
        io_(io),
        timers_(timers),
        handshaker_(handshaker),
        slab_(options.connections_max),
        streams_(options.streams_max) {}

  struct Plan {
    std::vector<dns::RouteStep> steps;  // At least one.
    uint32_t source = 0;
    const policy::Source* local = nullptr;  // The same; lent for the connection's life.
    bool whole_route = true;                // No address of the route was left out.
    std::shared_ptr<const TlsIntent> tls;   // Null: none is tried.
    std::vector<SocketAddress> tls_broken;  // Addresses where it has failed lately.
  };
  // Begins at the first step. Null when all slots are taken.
  Connection* Open(Handle lane, Plan plan, Now now);

  // Whether the parcel's body, which is lent, can be sent now: a large one needs a stream.
  bool HasStreamFor(const Parcel& parcel) const {
    return parcel.body_places.empty() || !streams_.full();
  }
  // Starts a transaction on a ready connection with such a parcel. `may_chunk`: its host is not
  // known to lose what comes by BDAT.
  void Offer(Connection& connection, Parcel& parcel, uint32_t recipients_max, bool may_chunk,
             Now now);
  // After kBodyEnds: whether it still holds. If the session is about to say something else first,
  // the event comes again.
  bool AwaitsEnd(Connection& connection);
  // Sends the last piece of the body. With it leave the commands for `next`, if there is one and
  // the server can take it: true. Its body is lent, and in memory.
  bool EndBody(Connection& connection, Parcel* next, uint32_t recipients_max, Now now);
  // Ends a ready connection politely.
  void Quit(Connection& connection, Now now);
  // Ends any connection now; what its attempt did stays undecided unless the session can say it.
  void Abort(Connection& connection, Now now);
  // After kBetween: tries the next address, or ends.
  void Continue(Connection& connection, Now now);
  void End(Connection& connection);
  void Release(Connection& connection);

  void OnCompletion(const io::Completion& completion, Now now);
  // A flight is back from the pool.
  void OnHandshake(std::unique_ptr<tls::HandshakeJob> job, Now now);
  // Not of a connection that is ready for a transaction: its timer is the dispatcher's.
  void OnTimer(Timer& timer, Now now);

  // Takes the next event, in the order in which things happened.
  bool TakeEvent(ConnectionEvent& event);
  bool has_events() const { return events_taken_ < events_.size(); }

  Connection* Find(Handle handle) { return slab_.Find(handle); }
  Handle HandleOf(const Connection& connection) { return slab_.HandleOf(connection); }
  uint32_t open() const { return slab_.taken(); }
  bool full() const { return slab_.full(); }
  uint32_t streams() const { return streams_.taken(); }
  template <class Visit>
  void ForEach(Visit visit) {
    slab_.ForEach(visit);
  }

 private:
  void TryStep(Connection& connection, Now now);
  void OnNoSocket(Connection& connection, int error, Now now);
  void FailStep(Connection& connection, const smtp::Reply& why);
  void NextStep(Connection& connection, const smtp::Reply& why);
  void TellOutcome(ConnectionEventKind kind, Connection& connection, Parcel& parcel, Now now);
  void TellHeld(Connection& connection);
  static bool BodyInUse(const Connection& connection);
  static bool AwaitsLog(const Connection& connection);
  void LetBodyGo(Connection& connection);
  void OnConnected(Connection& connection, int32_t result, Now now);
  void OnConnectTimeout(Connection& connection, Now now);
  void OnReceived(Connection& connection, const io::Completion& completion, Now now);
  void OnSent(Connection& connection, int32_t result, Now now);
  void OnStreamRead(Connection& connection, int32_t result, Now now);
  void Drive(Connection& connection, Now now);
  void OnMessageDone(Connection& connection, Now now);
  static void Introduce(Connection& connection, Parcel& parcel);
  void BeginActive(const Connection& connection, const Parcel& parcel);
  bool OfferAhead(Connection& connection, Parcel& parcel, uint32_t recipients_max, Now now);
  // Sending (connection_send.cc).
  void SendOutput(Connection& connection);
  void SendBodyPiece(Connection& connection, Now now);
  bool MayEndBody(Connection& connection, Now now);
  // A body's, with a place among them for what the session has to say. False: nothing was sent.
  bool SendParts(Connection& connection, std::span<io::Bytes> parts, size_t commands);
  void ReadAhead(Connection& connection);
  void GiveUpBody(Connection& connection, Now now);
  void Send(Connection& connection, std::span<const io::Bytes> parts);
  void SendBuffer(Connection& connection);
  void SendEnd(Connection& connection, Now now);
  // By BDAT (connection_chunk.cc).
  static bool LeavesAtOnce(const Parcel& parcel);
  void SendChunk(Connection& connection, Now now);
  void BreakSend(Connection& connection);
  void ArmDeadline(Connection& connection, Now now);
  void BeginClose(Connection& connection, Now now);
  void JoinClose(Connection& connection, Now now);

  // TLS (connection_tls.cc).
  bool AsksForTls(const Connection& connection) const;
  void Decide(Connection& connection, policy::TlsFinding finding,
              policy::CertificateFinding certificate, absl::string_view detail);
  void OnTlsAnswer(Connection& connection, Now now);
  void BeginHandshake(Connection& connection, Now now);
  void SubmitFlight(Connection& connection, std::unique_ptr<tls::HandshakeJob> job, Now now);
  void OnSecure(Connection& connection, Now now);
  void OnTlsFailed(Connection& connection, policy::TlsFinding finding, absl::string_view detail,
                   Now now);
  void OnClosedInHandshake(Connection& connection, Now now);
  void OnBytes(Connection& connection, absl::string_view bytes, Now now);
  void KeepSession(Connection& connection, Now now);
  void TryAnew(Connection& connection, StepTry how);
  bool FailTlsStep(Connection& connection);
  smtp::Reply TlsFailure(const Connection& connection) const;

  void Push(ConnectionEventKind kind, Connection& connection, Parcel* parcel = nullptr);
  io::OpId Op(const Connection& connection, uint8_t tag);

  const Options options_;
  io::Io& io_;
  TimerWheel& timers_;
  tls::Handshaker* handshaker_;
  Slab<Connection> slab_;
  Slab<BodyStream> streams_;
  std::vector<ConnectionEvent> events_;
  size_t events_taken_ = 0;
};

}  // namespace sluice::delivery
