#include "engine/delivery/dispatcher.h"

#include <algorithm>

#include "engine/base/check.h"
#include "engine/delivery/route_reply.h"
#include "engine/delivery/tags.h"

namespace sluice::delivery {
namespace {

// Lanes looked at in one turn.
constexpr int kLooksPerTurnMax = 256;

// Destinations that take up a new table in one turn.
constexpr uint32_t kRefreshedPerTurnMax = 1024;

constexpr Duration kStaleRouteServes = std::chrono::seconds(60);

// How often an empty destination is asked whether its counted recipients have left the window.
constexpr Duration kIdleLook = std::chrono::seconds(60);

const policy::Sources& SystemsChoice() {
  static const policy::Sources sources;
  return sources;
}

}  // namespace

Dispatcher::Dispatcher(const Options& options, io::Io& io, dns::Resolver& resolver,
                       tls::Handshaker* handshaker, TimerWheel& timers, Random& random,
                       Tables tables)
    : options_(options),
      sources_(options.sources != nullptr ? *options.sources : SystemsChoice()),
      resolver_(resolver),
      timers_(timers),
      random_(random),
      controls_(tables.controls),
      tls_(std::move(tables.tls)),
      suspensions_(options.suspensions),
      destinations_(options.destinations_max),
      lanes_(options.lanes_max),
      connections_({.shard = options.shard,
                    .ehlo_name = options.hostname,
                    .connections_max = options.connections_max,
                    .streams_max = options.streams_max,
                    .active = options.active},
                   io, timers, handshaker),
      source_states_(sources_, io, /*tells=*/options.shard == 0) {
  sources_timer_.owner = this;
  sources_timer_.kind = static_cast<uint8_t>(TimerKind::kSources);
  source_states_.LookForAll();
}

// -------------------------------------------------------------------------------------------------
// Destinations and their lanes.

Destination* Dispatcher::FindDestination(absl::string_view domain) {
  const auto found = by_domain_.find(domain);
  if (found == by_domain_.end()) return nullptr;
  return destinations_.Find(found->second);
}

Destination* Dispatcher::DestinationFor(absl::string_view domain, Now now) {
  if (Destination* known = FindDestination(domain)) return known;
  Destination* destination = destinations_.Take();
  if (destination == nullptr) return nullptr;
  CHECK(destination->lanes.empty());
  destination->domain.assign(domain.data(), domain.size());
  destination->controls = controls_->Lookup(domain);
  destination->table_version = controls_->version();
  destination->idle_version = controls_->version();
  destination->budget = policy::DestinationBudget(
      options_.windows == nullptr ? policy::DestinationBudget::Windows::kForgotten
                                  : policy::DestinationBudget::Windows::kKept);
  RestoreWindows(*destination, now);
  destination->route_state = RouteState::kUnknown;
  destination->route = dns::Route{};
  destination->route_expires = now.instant;
  destination->route_tables = 0;
  destination->route_time = Duration{};
  destination->alerts = AlertPace();
  destination->tls.reset();
  destination->health.Clear();
  destination->ahead_refused = 0;
  destination->chunks_lost = 0;
  destination->data_only_until = Instant{};
  destination->timer.owner = destination;
  destination->timer.kind = static_cast<uint8_t>(TimerKind::kDestination);
  by_domain_.emplace(destination->domain, destinations_.HandleOf(*destination));
  return destination;
}

Lane* Dispatcher::FindLane(Destination& destination, uint32_t pool) const {
  for (Lane& lane : destination.lanes) {
    if (lane.pool == pool) return &lane;
  }
  return nullptr;
}

Lane* Dispatcher::LaneFor(Destination& destination, uint32_t pool, Now now) {
  if (Lane* known = FindLane(destination, pool)) return known;
  Lane* lane = lanes_.Take();
  if (lane == nullptr) return nullptr;
  CHECK(lane->queue.empty());
  CHECK(lane->connections.empty());
  CHECK(lane->opening == 0);
  lane->destination = &destination;
  lane->pool = pool;
  lane->not_before = now.instant;
  lane->failures = 0;
  lane->gave_way = false;
  lane->want = Want::kNothing;
  lane->failure = smtp::Reply{};
  lane->failure_tls = TlsOutcome{};
  lane->binding = "";
  lane->binding_since = now.instant;
  lane->timer.owner = lane;
  lane->timer.kind = static_cast<uint8_t>(TimerKind::kLane);
  destination.lanes.PushBack(*lane);
  timers_.Disarm(destination.timer);
  return lane;
}

void Dispatcher::LookAt(Lane& lane) {
  if (!lane.hook.linked()) to_look_at_.PushBack(lane);
}

// Something that its lanes share has changed.
void Dispatcher::LookAt(Destination& destination) {
  for (Lane& lane : destination.lanes) {
    LookAt(lane);
  }
}

bool Dispatcher::AnyToLookAt(const Destination& destination) {
  for (const Lane& lane : destination.lanes) {
    if (lane.hook.linked()) return true;
  }
  return false;
}

// A lane without mail and connections ends, and with the last of them perhaps the destination.
void Dispatcher::EndIfIdle(Lane& lane, Now now) {
  if (!lane.queue.empty() || !lane.connections.empty()) return;
  // What it knows of its hosts' failures holds for the next message too.
  if (now.instant < lane.not_before && !draining_) return LookAgainAt(lane, lane.not_before);
  CHECK(lane.ready.empty());
  CHECK(!lane.hook.linked());
  CHECK(!lane.timer.armed());
  if (lane.room_hook.linked()) short_of_room_.Remove(lane);
  Destination& destination = *lane.destination;
  destination.lanes.Remove(lane);
  lanes_.Release(lane);
  ForgetIfIdle(destination, now);
}

// Without lanes, and with nothing to be remembered, it is not needed.
void Dispatcher::ForgetIfIdle(Destination& destination, Now now) {
  if (!destination.lanes.empty()) return;
  RefreshControls(destination, now);
  KeepWindows(destination, now);
  if (destination.route_state == RouteState::kAsked) return;
  Instant remembered =
      std::max({destination.health.remembered_until(), destination.alerts.remembered_until(),
                destination.data_only_until});
  if (!destination.budget.Idle(destination.controls, now.instant)) {
    remembered = std::max(remembered, now.instant + kIdleLook);
  }
  const bool stays = !draining_ || Unwritten(destination);
  if (now.instant < remembered && stays) return timers_.Arm(destination.timer, remembered);
  timers_.Disarm(destination.timer);
  by_domain_.erase(destination.domain);
  destinations_.Release(destination);
}

// -------------------------------------------------------------------------------------------------
// Controls.

void Dispatcher::UseTables(Tables tables) {
  controls_ = tables.controls;
  tls_ = std::move(tables.tls);
  refresh_next_ = 0;
}

void Dispatcher::UseSuspensions(std::shared_ptr<const policy::Suspensions> suspensions) {
  suspensions_ = std::move(suspensions);
  refresh_next_ = 0;
}

void Dispatcher::RefreshControls(Destination& destination, Now now) {
  if (destination.table_version == controls_->version()) return;
  const policy::LimitScope scope = destination.controls.scope;
  const policy::Limits limits = destination.controls.limits;
  destination.controls = controls_->Lookup(destination.domain);
  destination.table_version = controls_->version();
  if (destination.controls.scope != scope) Rescope(destination, limits, now);
}

// Other things have limits of their own now: what each connection holds counts there.
void Dispatcher::Rescope(Destination& destination, const policy::Limits& before, Now now) {
  destination.budget.BeginRescope(before, destination.controls.limits, now.instant);
  for (Lane& lane : destination.lanes) {
    for (Connection* connection = lane.connections.Front(); connection != nullptr;
         connection = lane.connections.Next(*connection)) {
      connection->scope = policy::KeyOf(destination.controls.scope,
                                        connection->current_step().address.ip, connection->source);
      destination.budget.Recount(connection->scope, connection->leaving,
                                 connection->granted + connection->granted_ahead);
    }
  }
}

// A raised limit lets go what waits for a timer now.
void Dispatcher::RefreshSome() {
  if (refresh_next_ == Slab<Destination>::kNoSlot) return;
  refresh_next_ = destinations_.VisitSome(refresh_next_, kRefreshedPerTurnMax,
                                          [&](Destination& destination) { LookAt(destination); });
}

// New limits may be lower than what is up: connections that are idle leave at once, the others when
// their transaction has ended (OnReady).
void Dispatcher::EndExcess(Destination& destination, Now now) {
  for (Lane& lane : destination.lanes) {
    for (Connection* connection = lane.ready.Front(); connection != nullptr;) {
      Connection* next = lane.ready.Next(*connection);
      if (destination.budget.Excess(destination.controls, connection->scope)) {
        Leave(*connection, now);
      }
      connection = next;
    }
  }
}

// A new route may have left the hosts of some connections, and new controls may not allow them.
void Dispatcher::EndStrayed(Destination& destination, Now now) {
  for (Lane& lane : destination.lanes) {
    for (Connection* connection = lane.ready.Front(); connection != nullptr;) {
      Connection* next = lane.ready.Next(*connection);
      if (!StillServes(destination, *connection, now)) Leave(*connection, now);
      connection = next;
    }
  }
  destination.idle_version = destination.table_version;
}

// Its host is still one of the route, its family is allowed, and what was asked of its TLS is what
// is asked now.
bool Dispatcher::StillServes(Destination& destination, Connection& connection, Now now) {
  const std::shared_ptr<const TlsIntent>& intent = IntentFor(destination, now);
  const SocketAddress& address = connection.current_step().address;
  const std::optional<dns::FamilyOrder> families = FamiliesOf(destination, connection.source);
  if (!families || !dns::Allows(*families, address.ip)) return false;
  if (connection.route_version == destination.route_version && connection.tls == intent) {
    return true;
  }
  if (!InRoute(destination, address)) return false;
  if (!AsksTheSame(connection.tls.get(), intent.get())) return false;
  connection.route_version = destination.route_version;
  connection.tls = intent;
  return true;
}

// What its connections are to do about TLS, as its controls and its route stand now.
const std::shared_ptr<const TlsIntent>& Dispatcher::IntentFor(Destination& destination, Now now) {
  RefreshControls(destination, now);
  const policy::TlsControls& controls = destination.controls.tls;
  if (controls.level == policy::TlsLevel::kOff) {
    destination.tls.reset();
    return destination.tls;
  }
  const bool current = destination.tls != nullptr &&
                       destination.tls->tables == destination.table_version &&
                       destination.tls->route_version == destination.route_version;
  if (current) return destination.tls;
  CHECK(tls_ != nullptr);
  auto intent = std::make_shared<TlsIntent>(
      MakeIntent(destination.domain, controls, *tls_, destination.route));
  intent->tables = destination.table_version;
  intent->route_version = destination.route_version;
  destination.tls = std::move(intent);
  return destination.tls;
}

// -------------------------------------------------------------------------------------------------
// Routes.

// Whether the lane knows where to go. Asks when its destination does not, and again when the answer
// is old or of the tables before; meanwhile an old answer serves (K11), if it has what the controls
// ask for.
bool Dispatcher::HaveRoute(Lane& lane, Now now) {
  Destination& destination = *lane.destination;
  const bool known = destination.route_state == RouteState::kKnown;
  const bool current = destination.route_tables == controls_->version();
  if (known && current && now.instant < destination.route_expires) return true;
  if (destination.route_state != RouteState::kAsked) {
    if (now.instant < lane.not_before && !known) {
      lane.binding = "route";
      LookAgainAt(lane, lane.not_before);
      return false;
    }
    resolver_.Ask({.shard = options_.shard,
                   .destination = destinations_.HandleOf(destination),
                   .domain = destination.domain});
    destination.route_state = RouteState::kAsked;
    destination.route_asked = now.instant;
    destination.asked_tables = controls_->version();
  }
  if (RouteServes(destination)) return true;
  lane.binding = "route";
  return false;
}

// There is a host with an address that the controls allow.
bool Dispatcher::RouteServes(const Destination& destination) const {
  if (destination.route.result != dns::RouteResult::kFound) return false;
  const dns::FamilyOrder families = *FamiliesOf(destination, /*source=*/0);
  for (const dns::RouteHost& host : destination.route.hosts) {
    for (const IpAddress& address : host.addresses) {
      if (dns::Allows(families, address)) return true;
    }
  }
  return false;
}

bool Dispatcher::InRoute(const Destination& destination, const SocketAddress& address) const {
  for (const dns::RouteHost& host : destination.route.hosts) {
    if (host.port != address.port) continue;
    const auto end = host.addresses.end();
    if (std::find(host.addresses.begin(), end, address.ip) != end) return true;
  }
  return false;
}

void Dispatcher::OnRoute(dns::RouteAnswer answer, Now now) {
  Destination* destination = destinations_.Find(answer.destination);
  if (destination == nullptr) return;
  destination->route_state = RouteState::kKnown;
  if (destination->lanes.empty()) return ForgetIfIdle(*destination, now);
  LookAt(*destination);
  // Asked before the tables changed: it will be asked again.
  if (destination->asked_tables != controls_->version()) return;
  const bool current = destination->route_tables == destination->asked_tables;
  if (current && answer.route.result == dns::RouteResult::kTemporary &&
      destination->route.result == dns::RouteResult::kFound && !destination->route.hosts.empty()) {
    // The name servers are away for now: what they said last still serves.
    answer.route = std::move(destination->route);
    answer.route.ttl = kStaleRouteServes;
  }
  destination->route = std::move(answer.route);
  destination->route_tables = destination->asked_tables;
  ++destination->route_version;
  destination->route_time = now.instant - destination->route_asked;
  const Duration ttl = destination->route.ttl;
  destination->route_expires = ttl == Duration::max() ? kNever : now.instant + ttl;
  EndStrayed(*destination, now);
  if (destination->route.result != dns::RouteResult::kTemporary) return;
  destination->route_state = RouteState::kUnknown;
  const smtp::Reply why = RouteReply(destination->route);
  for (Lane& lane : destination->lanes) {
    BackOff(lane, why, /*final=*/false, now);
  }
}

// -------------------------------------------------------------------------------------------------
// The loop, and the end.

void Dispatcher::Turn(Now now) {
  TakeKeptWindows(now);
  HandleEvents(now);
  RefreshSome();
  DeliverSome(now);
  for (int i = 0; i < kLooksPerTurnMax && !to_look_at_.empty(); ++i) {
    Lane& lane = *to_look_at_.PopFront();
    if (const Lane* next = to_look_at_.Front()) next->destination->budget.Foresee();
    const Handle destination = destinations_.HandleOf(*lane.destination);
    Advance(lane, now);
    // After the last of its lanes: one that has nothing to send now speaks for no other.
    Destination* still = destinations_.Find(destination);
    if (still != nullptr && !AnyToLookAt(*still)) KeepWindows(*still, now);
    HandleEvents(now);
  }
  AwaitSources(now);
}

void Dispatcher::OnTimer(Timer& timer, Now now) {
  switch (static_cast<TimerKind>(timer.kind)) {
    case TimerKind::kLane:
      return LookAt(*static_cast<Lane*>(timer.owner));
    case TimerKind::kDestination:
      return ForgetIfIdle(*static_cast<Destination*>(timer.owner), now);
    case TimerKind::kSources:
      return LookForSources();
    case TimerKind::kConnection: {
      Connection& connection = *static_cast<Connection*>(timer.owner);
      const bool idle = connection.hook.linked() && connection.state == ConnectionState::kReady;
      if (!idle) return connections_.OnTimer(timer, now);
      return Leave(connection, now);  // Idle for long enough: nobody had a message for it.
    }
    case TimerKind::kParcelExpiry:
      return OnParcelExpired(*static_cast<Parcel*>(timer.owner), now);
    case TimerKind::kParcelDue:
    case TimerKind::kIntake:
      CHECK(false);
  }
}

void Dispatcher::TakeAlerts(std::vector<TlsAlert>& alerts) {
  alerts.insert(alerts.end(), alerts_.begin(), alerts_.end());
  alerts_.clear();
}

void Dispatcher::BeginDrain(Now now) {
  draining_ = true;
  timers_.Disarm(sources_timer_);
  lanes_.ForEach([&](Lane& lane) {
    while (Parcel* parcel = Dequeue(lane)) GiveBack(*parcel, ParcelResult::kRecalled);
    while (Connection* connection = lane.ready.Front()) {
      if (connection->state == ConnectionState::kReady) {
        Leave(*connection, now);
      } else {
        TakeReady(lane, *connection);
      }
    }
    LookAt(lane);
  });
  destinations_.ForEach([&](Destination& one) {
    if (one.lanes.empty()) KeepWindows(one, now);
  });
  connections_.ForEach([&](Connection& connection) {
    if (!connection.was_ready) connections_.Abort(connection, now);
  });
  HandleEvents(now);
}

bool Dispatcher::AtRest() {
  if (connections_.open() > 0 || parcels_ > 0) return false;
  bool written = true;
  destinations_.ForEach([&](Destination& one) { written = written && !Unwritten(one); });
  return written;
}

void Dispatcher::AbortAll(Now now) {
  CHECK(draining_);
  connections_.ForEach([&](Connection& connection) { connections_.Abort(connection, now); });
  HandleEvents(now);
}

}  // namespace sluice::delivery
