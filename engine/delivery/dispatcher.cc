#include "engine/delivery/dispatcher.h"

#include <algorithm>
#include <cstddef>
#include <functional>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/delivery/tags.h"

namespace sluice::delivery {
namespace {

// Destinations looked at, and parcels of one failed destination given back, in one turn.
constexpr int kLooksPerTurnMax = 256;
constexpr int kFailuresPerLookMax = 256;

// Destinations that take up a new table in one turn.
constexpr uint32_t kRefreshedPerTurnMax = 1024;

// When no connection slot is left, or the route's answer was lost: the time to look again.
constexpr Duration kShortWait = std::chrono::seconds(1);

constexpr Duration kStaleRouteServes = std::chrono::seconds(60);

// How often an empty destination is asked whether its counted recipients have left the window.
constexpr Duration kIdleLook = std::chrono::seconds(60);

constexpr policy::ScopeKey kWhole;

// Of a route whose hosts a reply lists.
constexpr size_t kHostsNamedMax = 3;

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

dns::FamilyOrder FamiliesOf(const Destination& destination) {
  const policy::IpPreference preference = destination.controls.ip_preference;
  return {.first = policy::FamilyOf(preference), .only = policy::RequiresFamily(preference)};
}

// "a, b, c and 4 more"
std::string HostNames(const dns::Route& route) {
  std::string names;
  const size_t named = std::min(route.hosts.size(), kHostsNamedMax);
  for (size_t i = 0; i < named; ++i) {
    absl::StrAppend(&names, i == 0 ? "" : ", ", route.hosts[i].name);
  }
  const size_t more = route.hosts.size() - named;
  return more == 0 ? names : absl::StrCat(names, " and ", more, " more");
}

// RFC 3463 3.5: X.4.4 says that the routing information for the next hop is not there, and has a
// name without the record that is sought as its example; X.4.3 would blame the name servers, which
// have answered. 4: another table, or another record, mends it.
smtp::Reply FamilyReply(const Destination& destination) {
  const bool v6 = FamiliesOf(destination).first == Family::kIpv6;
  const absl::string_view family = v6 ? "IPv6" : "IPv4";
  return OwnReply(absl::StrCat("451 4.4.4 no ", family, " address of ",
                               HostNames(destination.route), ", and the destination requires ",
                               family));
}

bool Permanent(dns::RouteResult result) {
  return result != dns::RouteResult::kFound && result != dns::RouteResult::kTemporary;
}

}  // namespace

Dispatcher::Dispatcher(const Options& options, io::Io& io, dns::Resolver& resolver,
                       tls::Handshaker* handshaker, TimerWheel& timers, Random& random,
                       Tables tables)
    : options_(options),
      resolver_(resolver),
      timers_(timers),
      random_(random),
      controls_(tables.controls),
      tls_(std::move(tables.tls)),
      destinations_(options.destinations_max),
      connections_({.shard = options.shard,
                    .ehlo_name = options.hostname,
                    .connections_max = options.connections_max},
                   io, timers, handshaker) {}

// -------------------------------------------------------------------------------------------------
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
  CHECK(destination->leaving == 0);
  destination->domain.assign(domain.data(), domain.size());
  destination->controls = controls_->Lookup(domain);
  destination->table_version = controls_->version();
  destination->idle_version = controls_->version();
  destination->budget = policy::DestinationBudget();
  destination->route_state = RouteState::kUnknown;
  destination->route = dns::Route{};
  destination->route_tables = 0;
  destination->route_time = Duration{};
  destination->not_before = now.instant;
  destination->failures = 0;
  destination->family_missing = false;
  destination->failure = smtp::Reply{};
  destination->failure_tls = TlsOutcome{};
  destination->alerts = AlertPace();
  destination->tls.reset();
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

void Dispatcher::UseTables(Tables tables) {
  controls_ = tables.controls;
  tls_ = std::move(tables.tls);
  refresh_next_ = 0;
}

// A raised limit lets go what waits for a timer now.
void Dispatcher::RefreshSome() {
  if (refresh_next_ == Slab<Destination>::kNoSlot) return;
  refresh_next_ = destinations_.VisitSome(refresh_next_, kRefreshedPerTurnMax,
                                          [&](Destination& destination) { LookAt(destination); });
}

void Dispatcher::Turn(Now now) {
  HandleEvents(now);
  RefreshSome();
  for (int i = 0; i < kLooksPerTurnMax && !to_look_at_.empty(); ++i) {
    Destination& destination = *to_look_at_.PopFront();
    // Of a million destinations the next one is in no cache: its memory comes meanwhile.
    if (const Destination* next = to_look_at_.Front()) __builtin_prefetch(&next->budget);
    Advance(destination, now);
    HandleEvents(now);
  }
}

// The one place where a destination decides what it does next.
void Dispatcher::Advance(Destination& destination, Now now) {
  timers_.Disarm(destination.timer);
  destination.binding = "";
  RefreshControls(destination);
  EndExcess(destination, now);
  if (destination.idle_version != destination.table_version) EndStrayed(destination, now);
  if (draining_ || destination.queue.empty()) return ForgetIfIdle(destination, now);
  if (!HaveRoute(destination, now)) return;
  if (Permanent(destination.route.result)) return FailQueue(destination, now);
  if (!RouteServes(destination)) return HoldForFamily(destination, now);
  EndHoldForFamily(destination, now);
  StartTransactions(destination, now);
  OpenConnections(destination, now);
}

// Whether the destination knows where to go. Asks when it does not, and again when the answer is
// old or of the tables before; meanwhile an old answer serves (K11), if it has what the controls
// ask for.
bool Dispatcher::HaveRoute(Destination& destination, Now now) {
  const bool known = destination.route_state == RouteState::kKnown;
  const bool current = destination.route_tables == controls_->version();
  if (known && current && now.instant < destination.route_expires) return true;
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
    destination.asked_tables = controls_->version();
  }
  if (RouteServes(destination)) return true;
  destination.binding = "route";
  return false;
}

// There is a host with an address that the controls allow.
bool Dispatcher::RouteServes(const Destination& destination) const {
  if (destination.route.result != dns::RouteResult::kFound) return false;
  const dns::FamilyOrder families = FamiliesOf(destination);
  for (const dns::RouteHost& host : destination.route.hosts) {
    for (const IpAddress& address : host.addresses) {
      if (dns::Allows(families, address)) return true;
    }
  }
  return false;
}

void Dispatcher::OnRoute(dns::RouteAnswer answer, Now now) {
  Destination* destination = destinations_.Find(answer.destination);
  if (destination == nullptr) return;
  destination->route_state = RouteState::kKnown;
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
  if (destination->route.result == dns::RouteResult::kTemporary) {
    destination->route_state = RouteState::kUnknown;
    BackOff(*destination, RouteReply(destination->route), /*final=*/false, now);
  }
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
// Z3); only "takes no mail at all" (521, 556: RFC 7504) of every host is final.
void Dispatcher::BackOff(Destination& destination, const smtp::Reply& why, bool final, Now now) {
  Pause(destination, why, now);
  Parcel* parcel = Dequeue(destination);
  if (parcel == nullptr) return;
  RefuseParcel(destination, *parcel,
               final ? smtp::MessageResult::kRefused : smtp::MessageResult::kSessionLost, why, now);
}

// The controls require a family of which no host of the route has an address. As when no host gives
// a session, the parcel at the front goes home with the reason, and the others wait for the next
// look, or for a route or controls that differ.
void Dispatcher::HoldForFamily(Destination& destination, Now now) {
  destination.binding = "ip_preference";
  if (!destination.family_missing || now.instant >= destination.not_before) {
    const smtp::Reply why = FamilyReply(destination);
    Pause(destination, why, now);
    destination.family_missing = true;
    destination.failure_tls = TlsOutcome{};
    Parcel* parcel = Dequeue(destination);
    CHECK(parcel != nullptr);
    parcel->binding_limit.assign(destination.binding.data(), destination.binding.size());
    RefuseParcel(destination, *parcel, smtp::MessageResult::kSessionLost, why, now);
  }
  LookAgainAt(destination, destination.not_before);
}

// The wait was for the family alone: its hosts have not been tried.
void Dispatcher::EndHoldForFamily(Destination& destination, Now now) {
  if (!destination.family_missing) return;
  destination.family_missing = false;
  destination.failures = 0;
  destination.failure = smtp::Reply{};
  destination.not_before = now.instant;
}

// No connection for a while, longer each time in a row.
void Dispatcher::Pause(Destination& destination, const smtp::Reply& why, Now now) {
  destination.family_missing = false;
  destination.failure = Shortened(why);
  ++destination.failures;
  destination.not_before =
      now.instant + options_.bounce_profile.RetryDelay(destination.failures, random_);
}

// A new table may have lowered the limit under the connections that are up: those that are idle
// leave at once, the others when their transaction has ended (OnReady).
void Dispatcher::EndExcess(Destination& destination, Now now) {
  while (Excess(destination) && !destination.ready.empty()) Leave(*destination.ready.Front(), now);
}

bool Dispatcher::Excess(const Destination& destination) const {
  return destination.budget.connections() - destination.leaving >
         destination.controls.limits.connections_max;
}

// A new route may have left the hosts of some connections, and new controls may not allow them.
void Dispatcher::EndStrayed(Destination& destination, Now now) {
  for (Connection* connection = destination.ready.Front(); connection != nullptr;) {
    Connection* next = destination.ready.Next(*connection);
    if (!StillServes(destination, *connection)) Leave(*connection, now);
    connection = next;
  }
  destination.idle_version = destination.table_version;
}

// Its host is still one of the route, its family is allowed, and what was asked of its TLS is what
// is asked now.
bool Dispatcher::StillServes(Destination& destination, Connection& connection) {
  const std::shared_ptr<const TlsIntent>& intent = IntentFor(destination);
  const IpAddress& ip = connection.current_step().address.ip;
  if (!dns::Allows(FamiliesOf(destination), ip)) return false;
  if (connection.route_version == destination.route_version && connection.tls == intent) {
    return true;
  }
  if (!InRoute(destination, connection.current_step().address)) return false;
  if (!AsksTheSame(connection.tls.get(), intent.get())) return false;
  connection.route_version = destination.route_version;
  connection.tls = intent;
  return true;
}

bool Dispatcher::InRoute(const Destination& destination, const SocketAddress& address) const {
  for (const dns::RouteHost& host : destination.route.hosts) {
    if (host.port != address.port) continue;
    const auto end = host.addresses.end();
    if (std::find(host.addresses.begin(), end, address.ip) != end) return true;
  }
  return false;
}

// None of the addresses that it has left is of a family that the controls have ruled out since.
bool Dispatcher::MayTryRest(const Destination& destination, const Connection& connection) const {
  const dns::FamilyOrder families = FamiliesOf(destination);
  const auto left = connection.steps.begin() + static_cast<ptrdiff_t>(connection.step);
  return std::all_of(left, connection.steps.end(), [&](const dns::RouteStep& step) {
    return dns::Allows(families, step.address.ip);
  });
}

// What its connections are to do about TLS, as its controls and its route stand now.
const std::shared_ptr<const TlsIntent>& Dispatcher::IntentFor(Destination& destination) {
  RefreshControls(destination);
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

void Dispatcher::StartTransactions(Destination& destination, Now now) {
  while (!destination.queue.empty()) {
    Connection* connection = destination.ready.Front();
    if (connection == nullptr) return;
    if (connection->state != ConnectionState::kReady) {  // The host has just ended it.
      destination.ready.Remove(*connection);
      connection->unneeded = true;
      continue;
    }
    if (!StillServes(destination, *connection)) {  // New tables ask for another level of TLS.
      Leave(*connection, now);
      continue;
    }
    const policy::Permit permit = destination.budget.MayStart(
        destination.controls, kWhole, connection->session.transactions(),
        Attempt::Untried(*destination.queue.Front()), now.instant);
    if (permit) {
      Start(*connection, *Dequeue(destination), permit.recipients, now);
      continue;
    }
    if (permit.binds == policy::Limit::kMessagesPerConnection) {
      Leave(*connection, now);
      continue;
    }
    destination.binding = policy::LimitName(permit.binds);
    return LookAgainAt(destination, permit.look_again);
  }
}

// A connection is worth opening when the mail that waits is more than those being opened will take.
bool Dispatcher::WantsAnother(const Destination& destination) const {
  return destination.ready.empty() && Useful(destination, 0, destination.opening);
}

// Beside `opening` others, for what waits and `coming` more.
bool Dispatcher::Useful(const Destination& destination, uint64_t coming, uint64_t opening) const {
  const uint64_t worth =
      std::min(limits::kMessagesWorthAConnection, destination.controls.messages_per_connection_max);
  return destination.queue.size() + coming > opening * worth;
}

void Dispatcher::OpenConnections(Destination& destination, Now now) {
  while (WantsAnother(destination)) {
    if (now.instant < destination.not_before) {
      destination.binding = "hosts";
      return LookAgainAt(destination, destination.not_before);
    }
    const policy::Permit permit =
        destination.budget.MayConnect(destination.controls, kWhole, now.instant);
    if (!permit) {
      destination.binding = policy::LimitName(permit.binds);
      return LookAgainAt(destination, permit.look_again);
    }
    if (connections_.full()) {
      destination.binding = "engine_connections";
      return LookAgainAt(destination, now.instant + kShortWait);
    }
    destination.budget.ConnectionOpened(destination.controls, kWhole);
    ++destination.opening;
    Connections::Plan plan;
    plan.steps = dns::OrderRoute(destination.route, FamiliesOf(destination), random_);
    plan.whole_route = LeaveOutAvoided(destination, plan.steps, now);
    plan.tls = IntentFor(destination);
    for (const AddressHealth& health : destination.health) {
      if (now.instant < health.tls_broken_until) plan.tls_broken.push_back(health.address);
    }
    Connection* connection =
        connections_.Open(destinations_.HandleOf(destination), std::move(plan), now);
    connection->route_version = destination.route_version;
    HandleEvents(now);  // It may have failed at once.
  }
}

bool Dispatcher::Avoided(Destination& destination, const SocketAddress& address, Now now) const {
  const AddressHealth* health = HealthOf(destination, address);
  return health != nullptr && now.instant < health->avoid_until;
}

// Of the addresses that the controls allow.
bool Dispatcher::AllAvoided(Destination& destination, Now now) const {
  const dns::FamilyOrder families = FamiliesOf(destination);
  for (const dns::RouteHost& host : destination.route.hosts) {
    for (const IpAddress& address : host.addresses) {
      const bool allowed = dns::Allows(families, address);
      if (allowed && !Avoided(destination, {address, host.port}, now)) return false;
    }
  }
  return true;
}

// Takes out the addresses that failed lately, unless none would be left. True: there were none.
bool Dispatcher::LeaveOutAvoided(Destination& destination, std::vector<dns::RouteStep>& steps,
                                 Now now) const {
  CHECK(!steps.empty());
  const auto avoided = [&](const dns::RouteStep& step) {
    return Avoided(destination, step.address, now);
  };
  const auto kept = std::stable_partition(steps.begin(), steps.end(), std::not_fn(avoided));
  if (kept == steps.begin() || kept == steps.end()) return true;
  steps.erase(kept, steps.end());
  return false;
}

// Without mail and connections, and with nothing counted that a limit must remember, it is not
// needed.
void Dispatcher::ForgetIfIdle(Destination& destination, Now now) {
  if (!destination.queue.empty() || destination.budget.connections() > 0) return;
  if (destination.route_state == RouteState::kAsked) return;
  // What it knows of its hosts' failures holds for the next message too.
  if (now.instant < destination.not_before && !draining_) {
    return LookAgainAt(destination, destination.not_before);
  }
  for (const AddressHealth& health : destination.health) {
    if (health.tls_broken_until <= now.instant || draining_) continue;
    return LookAgainAt(destination, health.tls_broken_until);
  }
  if (now.instant < destination.alerts.remembered_until() && !draining_) {
    return LookAgainAt(destination, destination.alerts.remembered_until());
  }
  if (!destination.budget.Idle(destination.controls, now.instant)) {
    return LookAgainAt(destination, now.instant + kIdleLook);
  }
  CHECK(destination.ready.empty());
  CHECK(!destination.hook.linked());
  by_domain_.erase(destination.domain);
  destinations_.Release(destination);
}

std::optional<DestinationStatus> Dispatcher::Describe(absl::string_view domain, Now now) {
  Destination* destination = FindDestination(domain);
  if (destination == nullptr) return std::nullopt;
  RefreshControls(*destination);
  DestinationStatus status = {.controls = destination->controls,
                              .table_version = destination->table_version,
                              .waiting = destination->queue.size(),
                              .connections = destination->budget.connections(),
                              .opening = destination->opening,
                              .idle = static_cast<uint32_t>(destination->ready.size()),
                              .binding = destination->binding,
                              .look_again = Duration(-1),
                              .failures = destination->failures,
                              .last_reply = destination->failure.ToString()};
  status.last_tls = policy::TlsReasonWord(destination->failure_tls.decision.reason);
  if (destination->timer.armed()) status.look_again = destination->timer.due - now.instant;
  status.route = destination->route.reason;
  for (const dns::RouteHost& host : destination->route.hosts) {
    absl::StrAppend(&status.route, status.route.empty() ? "" : ", ", host.name, ":", host.port);
  }
  return status;
}

// -------------------------------------------------------------------------------------------------
// The end.

void Dispatcher::BeginDrain(Now now) {
  draining_ = true;
  destinations_.ForEach([&](Destination& destination) {
    while (Parcel* parcel = Dequeue(destination)) GiveBack(*parcel, ParcelResult::kRecalled);
    while (Connection* connection = destination.ready.Front()) {
      if (connection->state == ConnectionState::kReady) {
        Leave(*connection, now);
      } else {
        destination.ready.Remove(*connection);
      }
    }
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
