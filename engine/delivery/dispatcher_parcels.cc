// Parcels and the connections that carry them: transactions begin and end here.

#include <algorithm>

#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/delivery/dispatcher.h"
#include "engine/delivery/tags.h"

namespace sluice::delivery {
namespace {

// How long a session without a message is kept for the next one.
constexpr Duration kReadyKept = std::chrono::seconds(5);

// How long a host that failed twice in a row is left out.
constexpr Duration kAddressAvoided = std::chrono::seconds(60);
constexpr uint32_t kFailuresBeforeAvoided = 2;

constexpr policy::ScopeKey kWhole;

// When descriptors or memory have run out here.
constexpr Duration kShortageWait = std::chrono::seconds(1);

// How soon another connection is tried when some of a destination's are up and a new one failed.
constexpr Duration kAfterPartialFailure = std::chrono::seconds(5);

}  // namespace

// -------------------------------------------------------------------------------------------------
// Parcels.

void Dispatcher::Take(Parcel& parcel, Now now) {
  ++parcels_;
  parcel.queued_at = now.instant;
  parcel.connection = Handle{};
  parcel.timer.kind = static_cast<uint8_t>(TimerKind::kParcelExpiry);
  Destination* destination = draining_ ? nullptr : DestinationFor(parcel.destination(), now);
  if (destination == nullptr) return GiveBack(parcel, ParcelResult::kRecalled);
  // It was lost with its session while it was on its way: that was its attempt.
  if (parcel.continues && HostsFail(*destination, now)) {
    return RefuseParcel(*destination, parcel, smtp::MessageResult::kSessionLost,
                        destination->failure, now);
  }
  Enqueue(*destination, parcel, parcel.continues);
}

// No session could be had lately, and none is tried now.
bool Dispatcher::HostsFail(const Destination& destination, Now now) const {
  return destination.budget.connections() == 0 && destination.failure.code != 0 &&
         now.instant < destination.not_before;
}

void Dispatcher::Enqueue(Destination& destination, Parcel& parcel, bool front) {
  if (front) {
    destination.queue.PushFront(parcel);
  } else {
    destination.queue.PushBack(parcel);
  }
  timers_.Arm(parcel.timer, parcel.expires);
  LookAt(destination);
}

Parcel* Dispatcher::Dequeue(Destination& destination) {
  Parcel* parcel = destination.queue.PopFront();
  if (parcel != nullptr) timers_.Disarm(parcel->timer);
  return parcel;
}

void Dispatcher::GiveBack(Parcel& parcel, ParcelResult result) {
  CHECK(parcels_ > 0);
  --parcels_;
  parcel.result = result;
  returned_.PushBack(parcel);
}

// An attempt that came to nothing before any transaction: for all recipients alike.
void Dispatcher::RefuseParcel(Destination& destination, Parcel& parcel, smtp::MessageResult result,
                              const smtp::Reply& reply, Now now) {
  unsent_.Begin(parcel, parcel.recipients, now.instant);
  unsent_.Finish(result, reply, "", now.instant);
  parcel.peer_name.clear();
  parcel.peer_address = SocketAddress{};
  parcel.tls = destination.failure_tls;
  parcel.tls.level = destination.controls.tls.level;
  parcel.table_version = destination.table_version;
  parcel.stages.dns = destination.route_time;
  GiveBack(parcel, ParcelResult::kAttempted);
}

// Takes the connection and the recipients; the transaction starts when the body is lent.
void Dispatcher::Start(Connection& connection, Parcel& parcel, uint32_t recipients, Now now) {
  Destination& destination = DestinationOf(connection);
  destination.ready.Remove(connection);
  timers_.Disarm(connection.timer);
  CHECK(connection.granted == 0);
  connection.granted = std::min(recipients, limits::kRecipientsPerTransactionMax);
  destination.budget.TransactionStarted(destination.controls, kWhole, connection.granted,
                                        now.instant);
  parcel.connection = connections_.HandleOf(connection);
  parcel.table_version = destination.table_version;
  parcel.stages.dns = destination.route_time;
  destination.route_time = Duration{};
  parcel.body_state = BodyState::kAsked;
  body_wanted_.PushBack(parcel);
}

void Dispatcher::OnBody(Parcel& parcel, Now now) {
  Connection* connection = connections_.Find(parcel.connection);
  parcel.connection = Handle{};
  bool usable = connection != nullptr && connection->state == ConnectionState::kReady;
  // New tables may have come while the body was fetched.
  if (usable && !StillServes(DestinationOf(*connection), *connection)) {
    EndTransaction(*connection, now);
    Leave(*connection, now);
    usable = false;
  }
  if (usable && parcel.body_state == BodyState::kLent && !draining_) {
    return connections_.Offer(*connection, parcel, connection->granted, now);
  }
  if (usable) {
    EndTransaction(*connection, now);
    OnReady(*connection, now);
  }
  switch (parcel.body_state) {
    case BodyState::kLent:
      return OnConnectionLost(parcel, now);
    case BodyState::kNoRoom:
      return GiveBack(parcel, ParcelResult::kRecalled);
    case BodyState::kDamaged:
      unsent_.Begin(parcel, parcel.recipients, now.instant);
      unsent_.FinishDeferred("451 4.3.0 the message cannot be read back from the spool",
                             now.instant);
      return GiveBack(parcel, ParcelResult::kAttempted);
    case BodyState::kLost:
      unsent_.Begin(parcel, parcel.recipients, now.instant);
      unsent_.Finish(smtp::MessageResult::kRefused,
                     OwnReply("554 5.3.0 the message was damaged in the spool"), "", now.instant);
      return GiveBack(parcel, ParcelResult::kAttempted);
    case BodyState::kNotAsked:
    case BodyState::kAsked:
      CHECK(parcel.body_state == BodyState::kLent);
  }
}

// Its connection was lost while the body was fetched. Another one is tried at once, unless none is
// to be had now: then this was its attempt.
void Dispatcher::OnConnectionLost(Parcel& parcel, Now now) {
  if (draining_) return GiveBack(parcel, ParcelResult::kRecalled);
  Destination* destination = FindDestination(parcel.destination());
  if (destination == nullptr || !HostsFail(*destination, now)) {
    return GiveBack(parcel, ParcelResult::kAgain);
  }
  RefuseParcel(*destination, parcel, smtp::MessageResult::kSessionLost, destination->failure, now);
}

void Dispatcher::OnTimer(Timer& timer, Now now) {
  switch (static_cast<TimerKind>(timer.kind)) {
    case TimerKind::kDestination:
      return LookAt(*static_cast<Destination*>(timer.owner));
    case TimerKind::kConnection: {
      Connection& connection = *static_cast<Connection*>(timer.owner);
      const bool idle = connection.hook.linked() && connection.state == ConnectionState::kReady;
      if (!idle) return connections_.OnTimer(timer, now);
      return Leave(connection, now);  // Idle for long enough: nobody had a message for it.
    }
    case TimerKind::kParcelExpiry: {
      Parcel& parcel = *static_cast<Parcel*>(timer.owner);
      Destination* destination = FindDestination(parcel.destination());
      CHECK(destination != nullptr);
      destination->queue.Remove(parcel);
      parcel.binding_limit.assign(destination->binding.data(), destination->binding.size());
      if (destination->failure.code != 0) parcel.reply = destination->failure;
      parcel.tls = destination->failure_tls;
      GiveBack(parcel, ParcelResult::kExpired);
      return LookAt(*destination);
    }
    case TimerKind::kParcelDue:
    case TimerKind::kIntake:
      CHECK(false);
  }
}

// -------------------------------------------------------------------------------------------------
// Connections.

Destination& Dispatcher::DestinationOf(const Connection& connection) {
  Destination* destination = destinations_.Find(connection.destination);
  CHECK(destination != nullptr);  // It is kept while it has connections.
  RefreshControls(*destination);
  return *destination;
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
      case ConnectionEventKind::kAttempted:
        OnAttempted(connection, *event.parcel, now);
        break;
      case ConnectionEventKind::kReturned:
        OnReturned(connection, *event.parcel, now);
        break;
      case ConnectionEventKind::kStepFailed:
        OnStepFailed(connection, event.address, now);
        break;
      case ConnectionEventKind::kTlsBroken:
        OnTlsBroken(DestinationOf(connection), event.address, now);
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
  Destination& destination = DestinationOf(connection);
  if (connection.granted > 0) EndTransaction(connection, now);
  if (!connection.counted_ready) {
    connection.counted_ready = true;
    CHECK(destination.opening > 0);
    --destination.opening;
  }
  LookAt(destination);
  const bool spent =
      connection.session.transactions() >= destination.controls.messages_per_connection_max;
  if (draining_ || spent || Excess(destination) || !StillServes(destination, connection)) {
    return Leave(connection, now);
  }
  CHECK(!connection.hook.linked());
  destination.ready.PushFront(connection);
  timers_.Arm(connection.timer, now.instant + kReadyKept);
}

void Dispatcher::OnAttempted(Connection& connection, Parcel& parcel, Now now) {
  if (!connection.host_failed) {  // A session that works, whatever it said of the message.
    Destination& destination = DestinationOf(connection);
    destination.failures = 0;
    destination.failure = smtp::Reply{};
    destination.failure_tls = TlsOutcome{};
    destination.alerts.Reset(now.instant);
    NoteStepWorks(destination, connection.current_step().address);
  }
  OnTried(connection, now);
  GiveBack(parcel, ParcelResult::kAttempted);
}

// The session was lost before it could try the parcel: it goes home with the body's memory, and
// comes back to the front at once for another connection.
void Dispatcher::OnReturned(Connection& connection, Parcel& parcel, Now now) {
  OnTried(connection, now);
  GiveBack(parcel, draining_ ? ParcelResult::kRecalled : ParcelResult::kAgain);
}

// The parcel is decided, but its recipients are in flight until the server has answered all that
// was pipelined: a server that is slow with the rest of a refused group sees them only then. If it
// has not, they end when the session is ready again or its connection is over.
void Dispatcher::OnTried(Connection& connection, Now now) {
  connection.tried = true;
  if (connection.session.all_answered()) EndTransaction(connection, now);
}

void Dispatcher::EndTransaction(Connection& connection, Now now) {
  Destination& destination = DestinationOf(connection);
  const uint32_t seen = connection.tried ? connection.granted : 0;
  connection.tried = false;
  destination.budget.TransactionEnded(destination.controls, kWhole, connection.granted, seen,
                                      now.instant);
  connection.granted = 0;
  LookAt(destination);
}

// A polite end.
void Dispatcher::Leave(Connection& connection, Now now) {
  Destination& destination = DestinationOf(connection);
  if (connection.hook.linked()) destination.ready.Remove(connection);
  if (connection.state != ConnectionState::kReady) {  // Its host has just ended it.
    connection.unneeded = true;
    return;
  }
  timers_.Disarm(connection.timer);
  connection.leaving = true;
  ++destination.leaving;
  connections_.Quit(connection, now);
}

// The session is over: the connection is not ready any more, and what it carried is not under way.
// One that was idle says nothing of its host by its end.
void Dispatcher::EndSession(Connection& connection, Now now) {
  if (connection.hook.linked()) {
    DestinationOf(connection).ready.Remove(connection);
    connection.unneeded = true;
  }
  timers_.Disarm(connection.timer);
  if (connection.granted > 0) EndTransaction(connection, now);
}

// One address has failed. The next is worth trying only while mail still waits for it, and within
// the limits, the route and the family as they are now: a new table may have changed them.
void Dispatcher::OnBetween(Connection& connection, Now now) {
  Destination& destination = DestinationOf(connection);
  const uint32_t coming = connection.granted > 0 ? 1 : 0;  // The parcel that it was to carry.
  EndSession(connection, now);
  if (connection.counted_ready) {  // It opens anew.
    connection.counted_ready = false;
    ++destination.opening;
  }
  const bool allowed = !Excess(destination) && StillServes(destination, connection) &&
                       MayTryRest(destination, connection);
  const bool useful = Useful(destination, coming, destination.opening - 1);
  connection.unneeded |= !allowed || !useful;
  if (draining_ || connection.unneeded) return connections_.End(connection);
  connections_.Continue(connection, now);
}

void Dispatcher::OnEnded(Connection& connection, Now now) {
  Destination& destination = DestinationOf(connection);
  EndSession(connection, now);
  if (!connection.counted_ready) {
    CHECK(destination.opening > 0);
    --destination.opening;
  }
  if (connection.leaving) {
    CHECK(destination.leaving > 0);
    --destination.leaving;
  }
  destination.budget.ConnectionClosed(kWhole, /*was_leaving=*/false);
  if (!draining_) JudgeEnd(destination, connection, now);
  connections_.Release(connection);
  LookAt(destination);
}

// What the end of a connection says of the destination.
void Dispatcher::JudgeEnd(Destination& destination, const Connection& connection, Now now) {
  if (connection.our_fault) {  // Descriptors or memory: soon again, and nobody's attempt.
    destination.not_before = std::max(destination.not_before, now.instant + kShortageWait);
    return;
  }
  const bool no_session = !connection.was_ready && !connection.unneeded;
  if (!no_session && !connection.host_failed) return;
  destination.not_before = std::max(destination.not_before, now.instant + kAfterPartialFailure);
  if (destination.budget.connections() > 0) return;
  // Not one session is up or coming up: the destination cannot be reached now.
  destination.failure_tls = connection.tls_outcome;
  if (no_session) return BackOff(destination, connection.failure, connection.final, now);
  // The message under it has had its attempt, or goes to the next address.
  if (AllAvoided(destination, now)) Pause(destination, connection.failure, now);
}

// Before its socket is closed, which may take a while. A host that takes sessions and drops them
// under the first message is left out at once.
void Dispatcher::OnStepFailed(Connection& connection, const SocketAddress& address, Now now) {
  Destination& destination = DestinationOf(connection);
  NoteStepFailed(destination, address, connection.host_failed ? kFailuresBeforeAvoided : 1, now);
  Alert(destination, connection, now);
  const bool in_use = connection.counted_ready && !connection.hook.linked();
  if (!in_use) return;
  destination.not_before = std::max(destination.not_before, now.instant + kAfterPartialFailure);
}

void Dispatcher::NoteStepFailed(Destination& destination, const SocketAddress& address,
                                uint32_t failures, Now now) {
  if (AddressHealth* health = HealthOf(destination, address)) {
    health->failures += failures;
    if (health->failures >= kFailuresBeforeAvoided)
      health->avoid_until = now.instant + kAddressAvoided;
    return;
  }
  // What worked since, or may be tried again anyway, makes room.
  const auto stale = [&](const AddressHealth& health) {
    if (now.instant < health.tls_broken_until) return false;
    return health.failures == 0 || (health.failures > 1 && health.avoid_until <= now.instant);
  };
  destination.health.erase(
      std::remove_if(destination.health.begin(), destination.health.end(), stale),
      destination.health.end());
  if (destination.health.size() == Destination::kHealthMax) return;
  const bool avoided = failures >= kFailuresBeforeAvoided;
  destination.health.push_back(
      {.address = address,
       .failures = failures,
       .avoid_until = avoided ? now.instant + kAddressAvoided : now.instant});
}

// A level that requires TLS was not met.
void Dispatcher::Alert(Destination& destination, const Connection& connection, Now now) {
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

void Dispatcher::TakeAlerts(std::vector<TlsAlert>& alerts) {
  alerts.insert(alerts.end(), alerts_.begin(), alerts_.end());
  alerts_.clear();
}

void Dispatcher::OnTlsBroken(Destination& destination, const SocketAddress& address, Now now) {
  const Duration memory = destination.controls.tls.broken_memory;
  if (memory == Duration::zero()) return;
  NoteStepFailed(destination, address, 0, now);
  AddressHealth* health = HealthOf(destination, address);
  if (health != nullptr) health->tls_broken_until = now.instant + memory;
}

void Dispatcher::NoteStepWorks(Destination& destination, const SocketAddress& address) {
  if (AddressHealth* health = HealthOf(destination, address)) health->failures = 0;
}

// Null: nothing is remembered of it.
AddressHealth* Dispatcher::HealthOf(Destination& destination, const SocketAddress& address) const {
  for (AddressHealth& health : destination.health) {
    if (health.address == address) return &health;
  }
  return nullptr;
}

}  // namespace sluice::delivery
