#include "engine/delivery/dispatcher.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/delivery/tags.h"

namespace sluice::delivery {
namespace {

// Destinations looked at, and parcels of one failed destination given back, in one turn.
constexpr int kLooksPerTurnMax = 256;
constexpr int kFailuresPerLookMax = 256;

// How long a session without a message is kept for the next one.
constexpr Duration kReadyKept = std::chrono::seconds(5);

// When no connection slot is left, or the route's answer was lost: the time to look again.
constexpr Duration kShortWait = std::chrono::seconds(1);

// How long a host that failed twice in a row is left out.
constexpr Duration kAddressAvoided = std::chrono::seconds(60);
constexpr uint32_t kFailuresBeforeAvoided = 2;

// How soon another connection is tried when some of a destination's are up and a new one failed.
constexpr Duration kAfterPartialFailure = std::chrono::seconds(5);

constexpr Duration kStaleRouteServes = std::chrono::seconds(60);

// How often an empty destination is asked whether its counted recipients have left the window.
constexpr Duration kIdleLook = std::chrono::seconds(60);

smtp::Reply RouteReply(const dns::Route& route) {
  absl::string_view code = "451 4.4.3";
  switch (route.result) {
    case dns::RouteResult::kFound:
      CHECK(route.result != dns::RouteResult::kFound);
      break;
    case dns::RouteResult::kNoSuchDomain:
      code = "550 5.1.2";
      break;
    case dns::RouteResult::kNullMx:
      code = "556 5.1.10";
      break;
    case dns::RouteResult::kNoHost:
      code = "550 5.4.4";
      break;
    case dns::RouteResult::kRefused:
      code = "550 5.4.6";
      break;
    case dns::RouteResult::kTemporary:
      break;
  }
  return OwnReply(absl::StrCat(code, " ", route.reason));
}

bool Permanent(dns::RouteResult result) {
  return result != dns::RouteResult::kFound && result != dns::RouteResult::kTemporary;
}

}  // namespace

Dispatcher::Dispatcher(const Options& options, io::Io& io, dns::Resolver& resolver,
                       TimerWheel& timers, Random& random, const policy::ControlsTable& controls)
    : options_(options),
      resolver_(resolver),
      timers_(timers),
      random_(random),
      controls_(&controls),
      destinations_(options.destinations_max),
      connections_({.ehlo_name = options.hostname, .connections_max = options.connections_max}, io,
                   timers) {}

Dispatcher::~Dispatcher() {
  destinations_.ForEach([this](Destination& destination) { timers_.Disarm(destination.timer); });
}

// ---------------------------------------------------------------------------------------------------
// Destinations.

Destination* Dispatcher::FindDestination(absl::string_view domain) {
  const auto found = by_domain_.find(domain);
  if (found == by_domain_.end()) return nullptr;
  return destinations_.Find(found->second);
}

Destination* Dispatcher::DestinationFor(absl::string_view domain, Now now) {
  if (Destination* known = FindDestination(domain)) return known;
  Destination* destination = destinations_.Take();
  if (destination == nullptr) return nullptr;
  CHECK(destination->queue.empty());
  CHECK(destination->ready.empty());
  CHECK(destination->opening == 0);
  destination->domain.assign(domain.data(), domain.size());
  destination->controls = controls_->Lookup(domain);
  destination->table_version = controls_->version();
  destination->budget = policy::Budget();
  destination->route_state = RouteState::kUnknown;
  destination->route = dns::Route{};
  destination->not_before = now.instant;
  destination->failures = 0;
  destination->failure = smtp::Reply{};
  destination->binding = "";
  destination->health.clear();
  destination->timer.owner = destination;
  destination->timer.kind = static_cast<uint8_t>(TimerKind::kDestination);
  by_domain_.emplace(destination->domain, destinations_.HandleOf(*destination));
  return destination;
}

void Dispatcher::LookAt(Destination& destination) {
  if (!destination.hook.linked()) to_look_at_.PushBack(destination);
}

void Dispatcher::LookAgainAt(Destination& destination, Instant when) {
  if (when == kNever) return;
  if (destination.timer.armed() && destination.timer.due <= when) return;
  timers_.Arm(destination.timer, when);
}

void Dispatcher::RefreshControls(Destination& destination) {
  if (destination.table_version == controls_->version()) return;
  destination.controls = controls_->Lookup(destination.domain);
  destination.table_version = controls_->version();
}

void Dispatcher::UseControls(const policy::ControlsTable& controls) {
  controls_ = &controls;
  destinations_.ForEach([this](Destination& destination) {
    RefreshControls(destination);
    LookAt(destination);
  });
}

void Dispatcher::Turn(Now now) {
  HandleEvents(now);
  for (int i = 0; i < kLooksPerTurnMax && !to_look_at_.empty(); ++i) {
    Advance(*to_look_at_.PopFront(), now);
    HandleEvents(now);
  }
}

// The one place where a destination decides what it does next.
void Dispatcher::Advance(Destination& destination, Now now) {
  timers_.Disarm(destination.timer);
  destination.binding = "";
  if (draining_ || destination.queue.empty()) return ForgetIfIdle(destination, now);
  if (!HaveRoute(destination, now)) return;
  if (Permanent(destination.route.result)) return FailQueue(destination, now);
  StartTransactions(destination, now);
  OpenConnections(destination, now);
}

// Whether the destination knows where to go. Asks when it does not, and again when the answer is
// old; meanwhile an old answer serves (K11).
bool Dispatcher::HaveRoute(Destination& destination, Now now) {
  const bool known = destination.route_state == RouteState::kKnown;
  if (known && now.instant < destination.route_expires) {
    return destination.route.result != dns::RouteResult::kTemporary;
  }
  if (destination.route_state != RouteState::kAsked) {
    if (now.instant < destination.not_before && !known) {
      destination.binding = "route";
      LookAgainAt(destination, destination.not_before);
      return false;
    }
    resolver_.Ask({.shard = options_.shard,
                   .destination = destinations_.HandleOf(destination),
                   .domain = destination.domain});
    destination.route_state = RouteState::kAsked;
    destination.route_asked = now.instant;
  }
  if (destination.route.result == dns::RouteResult::kFound && !destination.route.hosts.empty())
    return true;
  destination.binding = "route";
  return false;
}

void Dispatcher::OnRoute(dns::RouteAnswer answer, Now now) {
  Destination* destination = destinations_.Find(answer.destination);
  if (destination == nullptr) return;
  if (answer.route.result == dns::RouteResult::kTemporary &&
      destination->route.result == dns::RouteResult::kFound && !destination->route.hosts.empty()) {
    // The name servers are away for now: what they said last still serves.
    answer.route = std::move(destination->route);
    answer.route.ttl = kStaleRouteServes;
  }
  destination->route = std::move(answer.route);
  destination->route_state = RouteState::kKnown;
  destination->route_time = now.instant - destination->route_asked;
  const Duration ttl = destination->route.ttl;
  destination->route_expires = ttl == Duration::max() ? kNever : now.instant + ttl;
  if (destination->route.result == dns::RouteResult::kTemporary) {
    destination->route_state = RouteState::kUnknown;
    BackOff(*destination, RouteReply(destination->route), now);
  }
  LookAt(*destination);
}

// Nothing can be delivered there, says the route: all that waits is refused, some each turn.
void Dispatcher::FailQueue(Destination& destination, Now now) {
  const smtp::Reply reply = RouteReply(destination.route);
  for (int i = 0; i < kFailuresPerLookMax; ++i) {
    Parcel* parcel = Dequeue(destination);
    if (parcel == nullptr) break;
    RefuseParcel(destination, *parcel, smtp::MessageResult::kRefused, reply, now);
  }
  LookAt(destination);
}

// No session could be had. The parcel at the front has had its attempt and goes home with the
// reason; the others wait in the queue for the next try, at growing intervals. A host that refuses
// sessions with 5xx defers the mail, since that speaks of us more often than of the recipient (case
// Z3); only 521 and 556, "takes no mail at all" (RFC 7504), are final.
void Dispatcher::BackOff(Destination& destination, const smtp::Reply& why, Now now) {
  destination.failure = why;
  ++destination.failures;
  destination.not_before =
      now.instant + options_.bounce_profile.RetryDelay(destination.failures, random_);
  const bool final = why.code == 521 || why.code == 556;
  Parcel* parcel = Dequeue(destination);
  if (parcel == nullptr) return;
  RefuseParcel(destination, *parcel,
               final ? smtp::MessageResult::kRefused : smtp::MessageResult::kSessionLost, why, now);
}

void Dispatcher::StartTransactions(Destination& destination, Now now) {
  while (!destination.queue.empty()) {
    Connection* connection = destination.ready.Front();
    if (connection == nullptr) return;
    if (connection->state != ConnectionState::kReady) {  // The host has just ended it.
      destination.ready.Remove(*connection);
      continue;
    }
    const policy::Permit permit =
        destination.budget.MayStart(destination.controls, connection->session.transactions(),
                                    Attempt::Untried(*destination.queue.Front()), now.instant);
    if (permit) {
      Start(*connection, *Dequeue(destination), permit.recipients, now);
      continue;
    }
    if (permit.binds == policy::Limit::kMessagesPerConnection) {
      destination.ready.Remove(*connection);
      connections_.Quit(*connection, now);
      continue;
    }
    destination.binding = policy::LimitName(permit.binds);
    return LookAgainAt(destination, permit.look_again);
  }
}

// A connection is worth opening when the mail that waits is more than those being opened will take.
bool Dispatcher::WantsAnother(const Destination& destination) const {
  const uint64_t worth =
      std::min(limits::kMessagesWorthAConnection, destination.controls.messages_per_connection_max);
  return destination.ready.empty() && destination.queue.size() > destination.opening * worth;
}

void Dispatcher::OpenConnections(Destination& destination, Now now) {
  while (WantsAnother(destination)) {
    if (now.instant < destination.not_before) {
      destination.binding = "hosts";
      return LookAgainAt(destination, destination.not_before);
    }
    const policy::Permit permit = destination.budget.MayConnect(destination.controls, now.instant);
    if (!permit) {
      destination.binding = policy::LimitName(permit.binds);
      return LookAgainAt(destination, permit.look_again);
    }
    if (connections_.full()) {
      destination.binding = "engine_connections";
      return LookAgainAt(destination, now.instant + kShortWait);
    }
    destination.budget.ConnectionOpened(destination.controls);
    ++destination.opening;
    connections_.Open(destinations_.HandleOf(destination), Steps(destination, now), now);
    HandleEvents(now);  // It may have failed at once.
  }
}

// The addresses to try, without those that failed lately, unless none would be left.
std::vector<dns::RouteStep> Dispatcher::Steps(Destination& destination, Now now) {
  std::vector<dns::RouteStep> steps = dns::OrderRoute(destination.route, random_);
  CHECK(!steps.empty());
  if (destination.health.empty()) return steps;
  const auto avoided = [&](const dns::RouteStep& step) {
    for (const AddressHealth& health : destination.health) {
      if (health.address == step.address) return now.instant < health.avoid_until;
    }
    return false;
  };
  if (std::all_of(steps.begin(), steps.end(), avoided)) return steps;
  steps.erase(std::remove_if(steps.begin(), steps.end(), avoided), steps.end());
  return steps;
}

void Dispatcher::NoteStepFailed(Destination& destination, const SocketAddress& address, Now now) {
  for (AddressHealth& health : destination.health) {
    if (health.address != address) continue;
    if (++health.failures >= kFailuresBeforeAvoided)
      health.avoid_until = now.instant + kAddressAvoided;
    return;
  }
  if (destination.health.size() < Destination::kHealthMax) {
    destination.health.push_back({.address = address, .failures = 1, .avoid_until = now.instant});
  }
}

void Dispatcher::NoteStepWorks(Destination& destination, const SocketAddress& address) {
  for (AddressHealth& health : destination.health) {
    if (health.address == address) health.failures = 0;
  }
}

// Without mail and connections, and with nothing counted that a limit must remember, it is not
// needed.
void Dispatcher::ForgetIfIdle(Destination& destination, Now now) {
  if (!destination.queue.empty() || destination.budget.connections() > 0) return;
  if (destination.route_state == RouteState::kAsked) return;
  if (!destination.budget.Idle(destination.controls, now.instant)) {
    return LookAgainAt(destination, now.instant + kIdleLook);
  }
  CHECK(destination.ready.empty());
  CHECK(!destination.hook.linked());
  by_domain_.erase(destination.domain);
  destinations_.Release(destination);
}

// ---------------------------------------------------------------------------------------------------
// Parcels.

void Dispatcher::Take(Parcel& parcel, Now now) {
  ++parcels_;
  parcel.queued_at = now.instant;
  parcel.connection = Handle{};
  parcel.timer.kind = static_cast<uint8_t>(TimerKind::kParcelExpiry);
  Destination* destination = draining_ ? nullptr : DestinationFor(parcel.destination(), now);
  if (destination == nullptr) return GiveBack(parcel, ParcelResult::kRecalled);
  Enqueue(*destination, parcel, parcel.continues);
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
  destination.budget.TransactionStarted(destination.controls, connection.granted, now.instant);
  parcel.connection = connections_.HandleOf(connection);
  parcel.table_version = destination.table_version;
  parcel.stages.dns = destination.route_time;
  destination.route_time = Duration{};
  if (parcel.body_state == BodyState::kLent) return OnBody(parcel, now);
  parcel.body_state = BodyState::kAsked;
  body_wanted_.PushBack(parcel);
}

void Dispatcher::OnBody(Parcel& parcel, Now now) {
  Connection* connection = connections_.Find(parcel.connection);
  parcel.connection = Handle{};
  const bool usable = connection != nullptr && connection->state == ConnectionState::kReady;
  if (usable && parcel.body_state == BodyState::kLent && !draining_) {
    return connections_.Offer(*connection, parcel, connection->granted, now);
  }
  if (usable) {
    EndTransaction(*connection, /*seen=*/0, now);
    OnReady(*connection, now);
  }
  switch (parcel.body_state) {
    case BodyState::kLent: {  // The connection was lost meanwhile.
      Destination* destination = draining_ ? nullptr : DestinationFor(parcel.destination(), now);
      if (destination == nullptr) return GiveBack(parcel, ParcelResult::kRecalled);
      return Enqueue(*destination, parcel, /*front=*/true);
    }
    case BodyState::kNoRoom:
      return GiveBack(parcel, ParcelResult::kRecalled);
    case BodyState::kDamaged:
      unsent_.Begin(parcel, parcel.recipients, now.instant);
      unsent_.FinishDeferred("451 4.3.0 the message cannot be read back from the spool",
                             now.instant);
      return GiveBack(parcel, ParcelResult::kAttempted);
    case BodyState::kNotAsked:
    case BodyState::kAsked:
      CHECK(parcel.body_state == BodyState::kLent);
  }
}

void Dispatcher::OnTimer(Timer& timer, Now now) {
  switch (static_cast<TimerKind>(timer.kind)) {
    case TimerKind::kDestination:
      return LookAt(*static_cast<Destination*>(timer.owner));
    case TimerKind::kConnection: {
      Connection& connection = *static_cast<Connection*>(timer.owner);
      if (connection.hook.linked()) DestinationOf(connection).ready.Remove(connection);
      return connections_.OnTimer(timer, now);
    }
    case TimerKind::kParcelExpiry: {
      Parcel& parcel = *static_cast<Parcel*>(timer.owner);
      Destination* destination = FindDestination(parcel.destination());
      CHECK(destination != nullptr);
      destination->queue.Remove(parcel);
      parcel.binding_limit.assign(destination->binding.data(), destination->binding.size());
      if (destination->failure.code != 0) parcel.reply = destination->failure;
      GiveBack(parcel, ParcelResult::kExpired);
      return LookAt(*destination);
    }
    case TimerKind::kParcelDue:
    case TimerKind::kIntake:
      CHECK(false);
  }
}

// ---------------------------------------------------------------------------------------------------
// Connections.

Destination& Dispatcher::DestinationOf(const Connection& connection) {
  Destination* destination = destinations_.Find(connection.destination);
  CHECK(destination != nullptr);  // It is kept while it has connections.
  return *destination;
}

void Dispatcher::OnCompletion(const io::Completion& completion, Now now) {
  connections_.OnCompletion(completion, now);
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
        NoteStepFailed(DestinationOf(connection), event.address, now);
        break;
      case ConnectionEventKind::kEnded:
        OnEnded(connection, now);
        break;
    }
  }
}

void Dispatcher::OnReady(Connection& connection, Now now) {
  Destination& destination = DestinationOf(connection);
  if (!connection.counted_ready) {
    connection.counted_ready = true;
    CHECK(destination.opening > 0);
    --destination.opening;
    destination.failures = 0;
    destination.failure = smtp::Reply{};
    destination.not_before = now.instant;
    NoteStepWorks(destination, connection.current_step().address);
  }
  LookAt(destination);
  if (draining_ ||
      connection.session.transactions() >= destination.controls.messages_per_connection_max) {
    return connections_.Quit(connection, now);
  }
  CHECK(!connection.hook.linked());
  destination.ready.PushFront(connection);
  timers_.Arm(connection.timer, now.instant + kReadyKept);
}

void Dispatcher::OnAttempted(Connection& connection, Parcel& parcel, Now now) {
  EndTransaction(connection, connection.granted, now);
  GiveBack(parcel, ParcelResult::kAttempted);
}

// The session was lost before it could try the parcel: to the front again, on another connection.
void Dispatcher::OnReturned(Connection& connection, Parcel& parcel, Now now) {
  EndTransaction(connection, connection.granted, now);
  if (draining_) return GiveBack(parcel, ParcelResult::kRecalled);
  Enqueue(DestinationOf(connection), parcel, /*front=*/true);
}

void Dispatcher::EndTransaction(Connection& connection, uint32_t seen, Now now) {
  Destination& destination = DestinationOf(connection);
  destination.budget.TransactionEnded(destination.controls, connection.granted, seen, now.instant);
  connection.granted = 0;
  LookAt(destination);
}

void Dispatcher::OnEnded(Connection& connection, Now now) {
  Destination& destination = DestinationOf(connection);
  if (connection.hook.linked()) destination.ready.Remove(connection);
  timers_.Disarm(connection.timer);
  if (connection.granted > 0) EndTransaction(connection, /*seen=*/0, now);  // It waited for a body.
  const bool never_ready = !connection.counted_ready;
  const smtp::Reply failure = connection.failure;
  if (never_ready) {
    CHECK(destination.opening > 0);
    --destination.opening;
  }
  connections_.Release(connection);
  destination.budget.ConnectionClosed();
  if (never_ready && !draining_) {
    destination.not_before = std::max(destination.not_before, now.instant + kAfterPartialFailure);
    // Not one session is up or coming up: the destination cannot be reached now.
    if (destination.budget.connections() == 0) BackOff(destination, failure, now);
  }
  LookAt(destination);
}

// ---------------------------------------------------------------------------------------------------
// The end.

void Dispatcher::BeginDrain(Now now) {
  draining_ = true;
  destinations_.ForEach([&](Destination& destination) {
    while (Parcel* parcel = Dequeue(destination)) GiveBack(*parcel, ParcelResult::kRecalled);
    while (Connection* connection = destination.ready.PopFront())
      connections_.Quit(*connection, now);
    LookAt(destination);
  });
  connections_.ForEach([&](Connection& connection) {
    if (!connection.was_ready) connections_.Abort(connection, now);
  });
  HandleEvents(now);
}

void Dispatcher::AbortAll(Now now) {
  CHECK(draining_);
  connections_.ForEach([&](Connection& connection) { connections_.Abort(connection, now); });
  HandleEvents(now);
}

}  // namespace sluice::delivery
