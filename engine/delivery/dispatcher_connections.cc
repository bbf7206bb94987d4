// What becomes of connections: sessions that are ready, transactions that end, addresses that fail.

#include <algorithm>
#include <cstddef>
#include <utility>

#include "engine/base/check.h"
#include "engine/delivery/dispatcher.h"

namespace sluice::delivery {
namespace {

// How long a session without a message is kept for the next one.
constexpr Duration kReadyKept = std::chrono::seconds(5);

// When descriptors or memory have run out here.
constexpr Duration kShortageWait = std::chrono::seconds(1);

// How soon another connection is tried when some of a lane's are up and a new one failed.
constexpr Duration kAfterPartialFailure = std::chrono::seconds(5);

}  // namespace

Lane& Dispatcher::LaneOf(const Connection& connection) {
  Lane* lane = lanes_.Find(connection.lane);
  CHECK(lane != nullptr);  // It is kept while it has connections.
  return *lane;
}

Destination& Dispatcher::DestinationOf(const Connection& connection, Now now) {
  Destination& destination = *LaneOf(connection).destination;
  RefreshControls(destination, now);
  return destination;
}

void Dispatcher::OnCompletion(const io::Completion& completion, Now now) {
  connections_.OnCompletion(completion, now);
}

void Dispatcher::OnHandshake(std::unique_ptr<tls::HandshakeJob> job, Now now) {
  connections_.OnHandshake(std::move(job), now);
}

void Dispatcher::HandleEvents(Now now) {
  ConnectionEvent event;
  while (connections_.TakeEvent(event)) {
    Connection& connection = *event.connection;
    switch (event.kind) {
      case ConnectionEventKind::kReady:
        if (connection.state == ConnectionState::kReady) OnReady(connection, now);
        break;
      case ConnectionEventKind::kBodyEnds:
        if (connections_.AwaitsEnd(connection)) OnBodyEnds(connection, now);
        break;
      case ConnectionEventKind::kAttempted:
        OnAttempted(connection, *event.parcel, now);
        break;
      case ConnectionEventKind::kReturned:
        OnReturned(connection, *event.parcel, now);
        break;
      case ConnectionEventKind::kUntried:
        OnUntried(connection, *event.parcel, now);
        break;
      case ConnectionEventKind::kStepFailed:
        OnStepFailed(connection, event.address, now);
        break;
      case ConnectionEventKind::kTlsBroken:
        OnTlsBroken(connection, event.address, now);
        break;
      case ConnectionEventKind::kSourceMissing:
        source_states_.Missing(connection.source, event.address.ip.family);
        break;
      case ConnectionEventKind::kBetween:
        OnBetween(connection, now);
        break;
      case ConnectionEventKind::kEnded:
        OnEnded(connection, now);
        break;
    }
  }
}

void Dispatcher::OnReady(Connection& connection, Now now) {
  Destination& destination = DestinationOf(connection, now);
  Lane& lane = LaneOf(connection);
  if (connection.granted > 0) EndTransaction(connection, now);
  GiveHandshake(connection);
  if (!connection.counted_ready) {
    connection.counted_ready = true;
    CHECK(lane.opening > 0);
    --lane.opening;
  }
  LookAt(lane);
  const policy::Controls& controls = destination.controls;
  const bool spent = connection.session.transactions() >= controls.messages_per_connection_max;
  if (draining_ || spent || destination.budget.Excess(controls, connection.scope) ||
      !StillServes(destination, connection, now)) {
    return Leave(connection, now);
  }
  KeepReady(lane, connection);
  timers_.Arm(connection.timer, now.instant + kReadyKept);
}

void Dispatcher::OnAttempted(Connection& connection, Parcel& parcel, Now now) {
  if (!connection.host_failed) {  // A session that works, whatever it said of the message.
    Lane& lane = LaneOf(connection);
    lane.failures = 0;
    lane.failure = smtp::Reply{};
    lane.failure_tls = TlsOutcome{};
    lane.destination->alerts.Reset(now.instant);
    lane.destination->health.Works(
        {.address = connection.current_step().address, .source = connection.source});
  }
  if (connection.session.refuses_chunks())
    JudgeChunks(connection, now);  // Of the others' next, too.
  OnTried(connection, now);
  GiveBack(parcel, ParcelResult::kAttempted);
}

// The session was lost before it could try the parcel: it goes home with the body's memory, and
// comes back to the front at once for another connection.
void Dispatcher::OnReturned(Connection& connection, Parcel& parcel, Now now) {
  OnTried(connection, now);
  GiveBack(parcel, draining_ ? ParcelResult::kRecalled : ParcelResult::kAgain);
}

// Nothing was said of it, so that it is where it was: in front of the queue, and nobody's attempt.
void Dispatcher::OnUntried(Connection& connection, Parcel& parcel, Now now) {
  OnTried(connection, now);
  Lane& lane = LaneOf(connection);
  if (connection.session.refuses_ahead()) lane.destination->ahead_refused = kAheadRefusedMax;
  if (draining_) return GiveBack(parcel, ParcelResult::kRecalled);
  Enqueue(lane, parcel, /*front=*/true);
}

// Whether its host takes what is offered ahead: some refuse it by ending the session.
void Dispatcher::JudgeAhead(const Connection& connection) {
  uint32_t& refused = LaneOf(connection).destination->ahead_refused;
  if (connection.offered_ahead == 0 || refused == kAheadRefusedMax) return;
  refused = connection.untried == connection.offered_ahead ? refused + 1 : 0;
}

// And what comes by BDAT: a connection may be lost by chance, so that it takes some in a row.
void Dispatcher::JudgeChunks(const Connection& connection, Now now) {
  Destination& destination = *LaneOf(connection).destination;
  const smtp::ClientSession& session = connection.session;
  if (session.lost_chunk()) {
    ++destination.chunks_lost;
  } else if (session.chunks_taken() > 0) {
    destination.chunks_lost = 0;
  }
  if (!session.refuses_chunks() && destination.chunks_lost < kChunksLostMax) return;
  destination.chunks_lost = 0;
  destination.data_only_until = now.instant + kDataOnlyFor;
}

// The parcel is decided, but its recipients are in flight until the server has answered all that
// was pipelined: a server that is slow with the rest of a refused group sees them only then. If it
// has not, they end when the session is ready again or its connection is over. What is owed while
// another was offered ahead is the other's.
void Dispatcher::OnTried(Connection& connection, Now now) {
  connection.tried = true;
  if (connection.granted_ahead > 0 || connection.session.all_answered()) {
    EndTransaction(connection, now);
  }
}

// A limit of the destination has room again, or of one of its scopes: any lane may have waited.
void Dispatcher::EndTransaction(Connection& connection, Now now) {
  Destination& destination = DestinationOf(connection, now);
  const uint32_t seen = connection.tried ? connection.granted : 0;
  connection.tried = false;
  destination.budget.TransactionEnded(destination.controls, connection.scope, connection.granted,
                                      seen, now.instant);
  connection.granted = std::exchange(connection.granted_ahead, 0);
  connection.awaited = nullptr;
  LookAt(destination);
}

// The last to be ready is the first to be used: the others may end.
void Dispatcher::KeepReady(Lane& lane, Connection& connection) {
  CHECK(!connection.hook.linked());
  lane.ready.PushFront(connection);
  idle_.PushBack(connection);
}

void Dispatcher::TakeReady(Lane& lane, Connection& connection) {
  lane.ready.Remove(connection);
  idle_.Remove(connection);
}

// A polite end.
void Dispatcher::Leave(Connection& connection, Now now) {
  Lane& lane = LaneOf(connection);
  if (connection.hook.linked()) TakeReady(lane, connection);
  if (connection.state != ConnectionState::kReady) {  // Its host has just ended it.
    connection.unneeded = true;
    return;
  }
  timers_.Disarm(connection.timer);
  connection.leaving = true;
  lane.destination->budget.ConnectionLeaving(connection.scope);
  connections_.Quit(connection, now);
}

// The session is over: the connection is not ready any more, and what it carried is not under way.
// One that was idle says nothing of its host by its end.
void Dispatcher::EndSession(Connection& connection, Now now) {
  if (connection.hook.linked()) {
    TakeReady(LaneOf(connection), connection);
    connection.unneeded = true;
  }
  timers_.Disarm(connection.timer);
  if (connection.granted > 0) EndTransaction(connection, now);
}

// -------------------------------------------------------------------------------------------------
// Between two addresses, and the end.

// One address has failed. The next is worth trying only while mail still waits for it, and within
// the limits, the route and the family as they are now: a new table may have changed them.
void Dispatcher::OnBetween(Connection& connection, Now now) {
  Destination& destination = DestinationOf(connection, now);
  Lane& lane = LaneOf(connection);
  const uint32_t coming = connection.granted > 0 ? 1 : 0;  // The parcel that it was to carry.
  EndSession(connection, now);
  if (connection.counted_ready) {  // It opens anew.
    connection.counted_ready = false;
    ++lane.opening;
    TakeHandshake(connection);
  }
  const bool allowed = !destination.budget.Excess(destination.controls, connection.scope) &&
                       StillServes(destination, connection, now);
  const bool useful = Useful(lane, coming, lane.opening - 1);
  connection.unneeded |= !allowed || !useful;
  if (draining_ || connection.unneeded || !MoveOn(connection, now)) {
    return connections_.End(connection);
  }
  connections_.Continue(connection, now);
}

// Counts for its next address from now on. Those that have no room, or that the controls or the
// source have ruled out since, are passed over: then the end of this connection says nothing of the
// route. False: none is left.
bool Dispatcher::MoveOn(Connection& connection, Now now) {
  if (connection.next_try != StepTry::kFirst) return true;  // The same address again.
  Destination& destination = DestinationOf(connection, now);
  const policy::Controls& controls = destination.controls;
  const dns::FamilyOrder families = *FamiliesOf(destination, connection.source);
  std::vector<dns::RouteStep>& steps = connection.steps;
  bool passed_over = false;
  while (connection.step + 1 < steps.size()) {
    const IpAddress& ip = steps[connection.step + 1].address.ip;
    const policy::ScopeKey scope = policy::KeyOf(controls.scope, ip, connection.source);
    const bool usable =
        dns::Allows(families, ip) && source_states_.Usable(connection.source, ip.family);
    const bool room =
        scope == connection.scope || destination.budget.MayMove(controls, scope, now.instant);
    if (usable && room) {
      destination.budget.ConnectionMoved(controls, connection.scope, scope, connection.leaving);
      connection.scope = scope;
      return true;
    }
    steps.erase(steps.begin() + static_cast<ptrdiff_t>(connection.step) + 1);
    passed_over = true;
    connection.final = false;  // Not every address has refused.
  }
  connection.unneeded |= passed_over;
  return false;
}

void Dispatcher::OnEnded(Connection& connection, Now now) {
  Destination& destination = DestinationOf(connection, now);
  Lane& lane = LaneOf(connection);
  EndSession(connection, now);
  GiveHandshake(connection);
  if (options_.caps != nullptr) options_.caps->connections.Give();
  if (!connection.counted_ready) {
    CHECK(lane.opening > 0);
    --lane.opening;
  }
  destination.budget.ConnectionClosed(connection.scope, connection.leaving);
  lane.connections.Remove(connection);
  JudgeAhead(connection);
  if (connection.was_ready) JudgeChunks(connection, now);  // Else its session is of before.
  if (!draining_) JudgeEnd(lane, connection, now);
  connections_.Release(connection);
  GiveEngineRoom();
  LookAt(destination);
}

// What the end of a connection says of the lane's hosts.
void Dispatcher::JudgeEnd(Lane& lane, const Connection& connection, Now now) {
  if (connection.our_fault) {  // Descriptors or memory: soon again, and nobody's attempt.
    lane.not_before = std::max(lane.not_before, now.instant + kShortageWait);
    return;
  }
  if (connection.source_missing) return;  // Another source, or none: the lane looks for itself.
  const bool no_session = !connection.was_ready && !connection.unneeded;
  if (!no_session && !connection.host_failed) return;
  if (no_session && BlocksSource(lane, connection, now)) return;
  lane.not_before = std::max(lane.not_before, now.instant + kAfterPartialFailure);
  if (!lane.connections.empty()) return;
  // Not one session is up or coming up: the destination cannot be reached now.
  lane.failure_tls = connection.tls_outcome;
  if (no_session) return BackOff(lane, connection.failure, connection.final, now);
  // The message under it has had its attempt, or goes to the next address.
  if (AllAvoided(*lane.destination, connection.source, now)) {
    Pause(lane, connection.failure, now);
  }
}

// The hosts have refused the source for good: the pool's others may be welcome (Z3). Only where it
// is remembered, or this one would be tried again at once.
bool Dispatcher::BlocksSource(const Lane& lane, const Connection& connection, Now now) const {
  return connection.failure.permanent() && !connection.final &&
         AllAvoided(*lane.destination, connection.source, now) &&
         OtherSource(lane, connection.source, now);
}

// With the next host there is another. Without room for it the connection ends.
void Dispatcher::TakeHandshake(Connection& connection) {
  if (connection.tls == nullptr || options_.caps == nullptr) return;
  CHECK(!connection.counts_handshake);
  connection.counts_handshake = options_.caps->handshakes.Take();
  connection.unneeded |= !connection.counts_handshake;
}

void Dispatcher::GiveHandshake(Connection& connection) {
  if (!connection.counts_handshake) return;
  connection.counts_handshake = false;
  options_.caps->handshakes.Give();
}

// -------------------------------------------------------------------------------------------------
// What is learned of addresses: the hosts' and our own.

// Before its socket is closed, which may take a while. A host that takes sessions and drops them
// under the first message is left out at once, and so is one that refuses a source for good where
// the pool has others.
void Dispatcher::OnStepFailed(Connection& connection, const SocketAddress& address, Now now) {
  Lane& lane = LaneOf(connection);
  const bool blocked = connection.failure.permanent() && OtherSource(lane, connection.source, now);
  lane.destination->health.Failed({.address = address, .source = connection.source},
                                  /*failed_twice=*/connection.host_failed || blocked, now.instant);
  Alert(connection, now);
  const bool in_use = connection.counted_ready && !connection.hook.linked();
  if (!in_use) return;
  lane.not_before = std::max(lane.not_before, now.instant + kAfterPartialFailure);
}

void Dispatcher::OnTlsBroken(Connection& connection, const SocketAddress& address, Now now) {
  Destination& destination = DestinationOf(connection, now);
  const Duration memory = destination.controls.tls.broken_memory;
  if (memory == Duration::zero()) return;
  destination.health.TlsBroken({.address = address, .source = connection.source},
                               now.instant + memory, now.instant);
}

// Where one is back, whoever waits for it looks again.
void Dispatcher::LookForSources() {
  if (source_states_.Look()) refresh_next_ = 0;
}

void Dispatcher::AwaitSources(Now now) {
  if (!source_states_.any_missing() || sources_timer_.armed() || draining_) return;
  timers_.Arm(sources_timer_, now.instant + SourceStates::kLookInterval);
}

// A level that requires TLS was not met.
void Dispatcher::Alert(Connection& connection, Now now) {
  Destination& destination = DestinationOf(connection, now);
  const TlsOutcome& outcome = connection.tls_outcome;
  if (outcome.decision.action != policy::TlsAction::kNextHost) return;
  if (!policy::Requires(outcome.level)) return;
  if (!destination.controls.tls.alert_where_required_fails) return;
  if (!destination.alerts.Take(now.instant)) return;
  const dns::RouteStep& step = connection.current_step();
  alerts_.push_back({.domain = destination.domain,
                     .host = step.host + " [" + step.address.ip.ToString() + "]",
                     .level = outcome.level,
                     .reason = outcome.decision.reason,
                     .detail = connection.tls_detail});
}

}  // namespace sluice::delivery
