// What a lane does next: which connections start a transaction, which are opened, from which source
// and to which addresses; and what the mail that waits is told.

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/delivery/dispatcher.h"
#include "engine/delivery/route_reply.h"

namespace sluice::delivery {
namespace {

// Parcels of a lane whose destination has no host, given back in one turn.
constexpr int kFailuresPerLookMax = 256;

constexpr uint32_t kNoSource = UINT32_MAX;

// When the engine has no connection left to give: the time to look again.
constexpr Duration kShortWait = std::chrono::seconds(1);

bool Permanent(dns::RouteResult result) {
  return result != dns::RouteResult::kFound && result != dns::RouteResult::kTemporary;
}

absl::string_view BindingOf(Want want) {
  switch (want) {
    case Want::kNothing:
      break;
    case Want::kFamily:
      return "ip_preference";
    case Want::kSourceFamily:
      return "source_family";
    case Want::kSource:
      return "source_suspended";
  }
  return "";
}

// Of several that say no: the last of them, with the first instant at which any may say yes.
void AddNo(policy::Permit& no, const policy::Permit& one) {
  const bool first = no.binds == policy::Limit::kNone;
  no = {.binds = one.binds,
        .look_again = first ? one.look_again : std::min(no.look_again, one.look_again)};
}

}  // namespace

// From where, and to where, a new connection is to be opened.
struct Dispatcher::Opening {
  uint32_t source = 0;
  std::vector<dns::RouteStep> steps;
  bool whole_route = true;  // No address of the route was left out.
};

// The one place where a lane decides what it does next.
void Dispatcher::Advance(Lane& lane, Now now) {
  timers_.Disarm(lane.timer);
  const absl::string_view bound_before = std::exchange(lane.binding, "");
  Destination& destination = *lane.destination;
  RefreshControls(destination, now);
  EndExcess(destination, now);
  if (destination.idle_version != destination.table_version) EndStrayed(destination, now);
  if (draining_ || lane.queue.empty()) return EndIfIdle(lane, now);
  AdvanceQueue(lane, now);
  if (lane.queue.empty()) lane.binding = "";
  if (lane.binding != bound_before) lane.binding_since = now.instant;
}

void Dispatcher::AdvanceQueue(Lane& lane, Now now) {
  Destination& destination = *lane.destination;
  if (Suspended(lane, now)) return;
  if (!HaveRoute(lane, now)) return;
  if (Permanent(destination.route.result)) return FailQueue(lane, now);
  const Want want = WantOf(lane);
  if (want != Want::kNothing) return HoldFor(lane, want, now);
  EndHold(lane, now);
  // Once: those before it may be looked at again and again without taking anything.
  lane.gave_way = !lane.gave_way && OthersFirst(lane);
  if (lane.gave_way) return LookAt(lane);
  StartTransactions(lane, now);
  OpenConnections(lane, now);
}

// Its lanes take turns: another one that has waited longer is about to look, too.
bool Dispatcher::OthersFirst(const Lane& lane) const {
  const IntrusiveList<Lane, &Lane::destination_hook>& lanes = lane.destination->lanes;
  for (const Lane* one = lanes.Front(); one != &lane; one = lanes.Next(*one)) {
    if (one->hook.linked() && !one->queue.empty()) return true;
  }
  return false;
}

// The operator has said so. Sessions that are up would wait for nothing.
bool Dispatcher::Suspended(Lane& lane, Now now) {
  if (suspensions_ == nullptr || suspensions_->empty()) return false;
  const policy::Suspension* suspension = suspensions_->Find(lane.destination->domain, now.wall);
  if (suspension == nullptr) return false;
  lane.binding = "suspended";
  while (Connection* connection = lane.ready.Front()) Leave(*connection, now);
  if (suspension->until) LookAgainAt(lane, now.instant + (*suspension->until - now.wall));
  return true;
}

// -------------------------------------------------------------------------------------------------
// Transactions on connections that are up.

void Dispatcher::StartTransactions(Lane& lane, Now now) {
  for (Connection* connection = lane.ready.Front(); connection != nullptr && !lane.queue.empty();) {
    Connection* next = lane.ready.Next(*connection);
    const bool bound = !StartOn(lane, *connection, now);
    if (bound && lane.destination->controls.scope.whole()) return;  // So would be all others.
    connection = next;
  }
}

// False: a limit binds that is not the connection's own.
bool Dispatcher::StartOn(Lane& lane, Connection& connection, Now now) {
  Destination& destination = *lane.destination;
  if (connection.state != ConnectionState::kReady) {  // The host has just ended it.
    TakeReady(lane, connection);
    connection.unneeded = true;
    return true;
  }
  if (!StillServes(destination, connection, now)) {  // New tables ask for another level of TLS.
    Leave(connection, now);
    return true;
  }
  const policy::Permit permit = PermitFor(connection, *lane.queue.Front(), now);
  if (permit) {
    Start(connection, *Dequeue(lane), permit.recipients, now);
    return true;
  }
  if (permit.binds == policy::Limit::kMessagesPerConnection) {
    Leave(connection, now);
    return true;
  }
  NoteBinding(lane, permit);
  return false;
}

void Dispatcher::NoteBinding(Lane& lane, const policy::Permit& permit) {
  lane.binding = policy::LimitName(permit.binds);
  LookAgainAt(lane, permit.look_again);
}

void Dispatcher::LookAgainAt(Lane& lane, Instant when) {
  if (when == kNever) return;
  if (lane.timer.armed() && lane.timer.due <= when) return;
  timers_.Arm(lane.timer, when);
}

// -------------------------------------------------------------------------------------------------
// New connections.

// Beside `opening` others, for what waits and `coming` more: another connection is worth opening
// when that is more than those being opened will take.
bool Dispatcher::Useful(const Lane& lane, uint64_t coming, uint64_t opening) const {
  const uint64_t worth = std::min(limits::kMessagesWorthAConnection,
                                  lane.destination->controls.messages_per_connection_max);
  return lane.queue.size() + coming > opening * worth;
}

// No connection that is ready could take what waits (StartTransactions).
void Dispatcher::OpenConnections(Lane& lane, Now now) {
  Destination& destination = *lane.destination;
  while (Useful(lane, 0, lane.opening)) {
    if (now.instant < lane.not_before) {
      lane.binding = "hosts";
      return LookAgainAt(lane, lane.not_before);
    }
    if (WantOf(lane) != Want::kNothing) return LookAt(lane);  // The last one has just shown it.
    Opening opening;
    const policy::Permit permit = FindOpening(lane, opening, now);
    if (!permit) {
      AskForRoom(lane, permit.binds, now);
      return NoteBinding(lane, permit);
    }
    const std::shared_ptr<const TlsIntent>& intent = IntentFor(destination, now);
    if (!TakeEngineRoom(lane, intent != nullptr, now)) return;
    const policy::ScopeKey scope =
        policy::KeyOf(destination.controls.scope, opening.steps.front().address.ip, opening.source);
    destination.budget.ConnectionOpened(destination.controls, scope);
    ++lane.opening;
    HasTakenTurn(lane);
    Connection* connection = connections_.Open(
        lanes_.HandleOf(lane),
        {.steps = std::move(opening.steps),
         .source = opening.source,
         .local = &sources_.source(opening.source),
         .whole_route = opening.whole_route,
         .tls = intent,
         .tls_broken = destination.health.TlsBrokenOf(opening.source, now.instant)},
        now);
    connection->scope = scope;
    connection->counts_handshake = intent != nullptr && options_.caps != nullptr;
    connection->route_version = destination.route_version;
    lane.connections.PushBack(*connection);
    HandleEvents(now);  // It may have failed at once.
  }
}

// Who has opened a connection or started a transaction goes to the end of the order.
void Dispatcher::HasTakenTurn(Lane& lane) {
  lane.destination->lanes.Remove(lane);
  lane.destination->lanes.PushBack(lane);
}

// Where connections are what there are too many of, one that is kept for mail of another lane that
// may come is ended for the mail of this one that is there.
void Dispatcher::AskForRoom(const Lane& lane, policy::Limit binds, Now now) {
  if (binds != policy::Limit::kConnections && binds != policy::Limit::kSystemConnections) return;
  Destination& destination = *lane.destination;
  const bool any_source =
      binds == policy::Limit::kSystemConnections || !destination.controls.scope.each_source;
  const std::vector<policy::SourceShare>& ours = sources_.pool(lane.pool).members;
  for (Lane* other = destination.lanes.Front(); other != nullptr;
       other = destination.lanes.Next(*other)) {
    Connection* idle = other->ready.Front();
    if (other == &lane || idle == nullptr || !other->queue.empty()) continue;
    const bool helps =
        any_source || std::any_of(ours.begin(), ours.end(), [&](const policy::SourceShare& share) {
          return share.source == idle->source;
        });
    if (helps) return Leave(*idle, now);
  }
}

// A connection's place in what the shard and the engine may have. False: `binding` says of what
// there is none, and the lane looks again.
bool Dispatcher::TakeEngineRoom(Lane& lane, bool with_tls, Now now) {
  EngineCaps* caps = options_.caps;
  if (connections_.full() || (caps != nullptr && !caps->connections.Take())) {
    lane.binding = "engine_connections";
    AwaitPlace(lane, now);
    return false;
  }
  if (with_tls && caps != nullptr && !caps->handshakes.Take()) {
    caps->connections.Give();
    lane.binding = "engine_handshakes";
    LookAgainAt(lane, now.instant + kShortWait);
    return false;
  }
  if (lane.room_hook.linked()) short_of_room_.Remove(lane);
  // The last places are made free ahead: a polite end takes its time.
  const uint32_t last_places = options_.connections_max / 16;
  if (lane.connections.empty() && connections_.open() >= options_.connections_max - last_places) {
    EndLongestIdle(now);
  }
  lane.binding = "";
  return true;
}

// One of those that wait for no mail is ended for a lane that has no connection, which is called
// when a place is free. It looks for itself, too, since that may come of another shard. Where a
// lane has some, its mail moves: more of them at the cost of others' would only be opened and
// closed.
void Dispatcher::AwaitPlace(Lane& lane, Now now) {
  LookAgainAt(lane, now.instant + kShortWait);
  if (!lane.connections.empty() || lane.room_hook.linked()) return;
  short_of_room_.PushBack(lane);
  EndLongestIdle(now);
}

// Kept for mail that may come, where there is mail of others that has come.
void Dispatcher::EndLongestIdle(Now now) {
  if (!idle_.empty()) Leave(*idle_.Front(), now);
}

void Dispatcher::GiveEngineRoom() {
  while (!short_of_room_.empty()) {
    Lane& lane = *short_of_room_.PopFront();
    if (!lane.queue.empty()) return LookAt(lane);
  }
}

// The source of the pool and the addresses of the route, as far as their limits leave room. No: the
// limit that binds, and the first instant at which any of them may leave room again.
policy::Permit Dispatcher::FindOpening(const Lane& lane, Opening& opening, Now now) {
  policy::Permit no;
  Instant tried_again = kNever;
  for (const uint32_t source : SourcesInOrder(lane, tried_again, now)) {
    const policy::Permit permit = FindSteps(*lane.destination, source, opening, now);
    if (permit) return permit;
    AddNo(no, permit);
  }
  CHECK(!no);  // WantOf: there is a source, and an address that it reaches.
  no.look_again = std::min(no.look_again, tried_again);
  return no;
}

// Those of the pool that can reach the route, drawn by their weights. One that all hosts have
// lately refused is left out, unless none would be left; `tried_again`: when the first of them is
// not.
std::vector<uint32_t> Dispatcher::SourcesInOrder(const Lane& lane, Instant& tried_again, Now now) {
  const Destination& destination = *lane.destination;
  const bool spares = OtherSource(lane, kNoSource, now);
  std::vector<policy::SourceShare> left;
  for (const policy::SourceShare& share : sources_.pool(lane.pool).members) {
    if (!Reaches(destination, share.source, /*suspended_too=*/false)) continue;
    const Instant avoided_until = AllAvoidedUntil(destination, share.source);
    if (spares && now.instant < avoided_until) {
      tried_again = std::min(tried_again, avoided_until);
    } else {
      left.push_back(share);
    }
  }
  std::vector<uint32_t> order;
  while (!left.empty()) {
    uint64_t all = 0;
    for (const policy::SourceShare& share : left) all += share.weight;
    uint64_t drawn = left.size() == 1 ? 0 : random_.Below(all);
    size_t next = 0;
    while (drawn >= left[next].weight) drawn -= left[next++].weight;
    order.push_back(left[next].source);
    left.erase(left.begin() + static_cast<ptrdiff_t>(next));
  }
  return order;
}

// Addresses that failed lately are left out, unless none would be left.
policy::Permit Dispatcher::FindSteps(Destination& destination, uint32_t source, Opening& opening,
                                     Now now) {
  const policy::Controls& controls = destination.controls;
  const auto permit_for = [&](const IpAddress& ip) {
    const policy::ScopeKey key = policy::KeyOf(controls.scope, ip, source);
    return destination.budget.MayConnect(controls, key, now.instant);
  };
  policy::Permit permit;
  uint16_t last_preference = UINT16_MAX;
  if (controls.scope.each_address) {
    last_preference = LastPreference(destination, source, permit, now);
  } else {
    permit = permit_for(IpAddress{});
  }
  if (!permit) return permit;

  const bool spares = !AllAvoided(destination, source, now);
  opening.source = source;
  opening.whole_route = true;
  opening.steps = dns::OrderRoute(
      destination.route, *FamiliesOf(destination, source),
      [&](const dns::RouteHost& host, const IpAddress& ip) {
        if (!source_states_.Usable(source, ip.family)) return false;
        const Way way = {.address = {ip, host.port}, .source = source};
        const bool avoided = spares && destination.health.Avoided(way, now.instant);
        const bool full = controls.scope.each_address && !permit_for(ip);
        const bool left_out = avoided || full || host.preference > last_preference;
        opening.whole_route &= !left_out;
        return !left_out;
      },
      random_);
  CHECK(!opening.steps.empty());
  return permit;
}

// Where each address has limits of its own: the preference down to which addresses may be tried. A
// host of a lower one is there for when those above fail, not for when their limits are used up.
// `permit` says what binds where not one of the addresses above has room.
uint16_t Dispatcher::LastPreference(Destination& destination, uint32_t source,
                                    policy::Permit& permit, Now now) {
  const dns::FamilyOrder families = *FamiliesOf(destination, source);
  const bool spares = !AllAvoided(destination, source, now);
  policy::Permit no;
  bool room = false;
  Instant tried_again = kNever;  // The first of those that are left out.
  const std::vector<dns::RouteHost>& hosts = destination.route.hosts;  // Sorted by preference.
  for (size_t i = 0; i < hosts.size(); ++i) {
    for (const IpAddress& ip : hosts[i].addresses) {
      if (!dns::Allows(families, ip) || !source_states_.Usable(source, ip.family)) continue;
      const Way way = {.address = {ip, hosts[i].port}, .source = source};
      const Instant avoided_until = destination.health.AvoidedUntil(way);
      if (spares && now.instant < avoided_until) {
        tried_again = std::min(tried_again, avoided_until);
        continue;
      }
      const policy::ScopeKey key = policy::KeyOf(destination.controls.scope, ip, source);
      const policy::Permit one =
          destination.budget.MayConnect(destination.controls, key, now.instant);
      room |= static_cast<bool>(one);
      if (!one) AddNo(no, one);
    }
    const bool last = i + 1 == hosts.size() || hosts[i + 1].preference != hosts[i].preference;
    if (!last || no.binds == policy::Limit::kNone) continue;
    if (!room) permit = {.binds = no.binds, .look_again = std::min(no.look_again, tried_again)};
    return hosts[i].preference;
  }
  return UINT16_MAX;
}

// Of the addresses that the source can reach.
bool Dispatcher::AllAvoided(const Destination& destination, uint32_t source, Now now) const {
  return now.instant < AllAvoidedUntil(destination, source);
}

// When the first of them may be tried again; kNever: there are none.
Instant Dispatcher::AllAvoidedUntil(const Destination& destination, uint32_t source) const {
  Instant until = kNever;
  const std::optional<dns::FamilyOrder> families = FamiliesOf(destination, source);
  if (!families) return until;
  for (const dns::RouteHost& host : destination.route.hosts) {
    for (const IpAddress& address : host.addresses) {
      if (!dns::Allows(*families, address)) continue;
      if (!source_states_.Usable(source, address.family)) continue;
      const Way way = {.address = {address, host.port}, .source = source};
      until = std::min(until, destination.health.AvoidedUntil(way));
    }
  }
  return until;
}

// The pool has another source than this one, for which not all hosts are avoided.
bool Dispatcher::OtherSource(const Lane& lane, uint32_t source, Now now) const {
  const std::vector<policy::SourceShare>& members = sources_.pool(lane.pool).members;
  return std::any_of(members.begin(), members.end(), [&](const policy::SourceShare& share) {
    return share.source != source && !AllAvoided(*lane.destination, share.source, now);
  });
}

// -------------------------------------------------------------------------------------------------
// Sources, and what there is none of.

// The families that the controls allow and the source has; nullopt: none.
std::optional<dns::FamilyOrder> Dispatcher::FamiliesOf(const Destination& destination,
                                                       uint32_t source) const {
  const policy::IpPreference preference = destination.controls.ip_preference;
  const Family first = policy::FamilyOf(preference);
  const Family other = first == Family::kIpv6 ? Family::kIpv4 : Family::kIpv6;
  const bool only = policy::RequiresFamily(preference);
  const policy::Source& of = sources_.source(source);
  if (of.has(first)) return dns::FamilyOrder{.first = first, .only = only || !of.has(other)};
  if (only || !of.has(other)) return std::nullopt;
  return dns::FamilyOrder{.first = other, .only = true};
}

// An address of the route is of a family that the controls allow and the source has.
bool Dispatcher::Reaches(const Destination& destination, uint32_t source,
                         bool suspended_too) const {
  const std::optional<dns::FamilyOrder> families = FamiliesOf(destination, source);
  if (!families) return false;
  for (const dns::RouteHost& host : destination.route.hosts) {
    for (const IpAddress& address : host.addresses) {
      if (!dns::Allows(*families, address)) continue;
      if (suspended_too || source_states_.Usable(source, address.family)) return true;
    }
  }
  return false;
}

Want Dispatcher::WantOf(const Lane& lane) const {
  const Destination& destination = *lane.destination;
  if (!RouteServes(destination)) return Want::kFamily;
  bool suspended = false;
  for (const policy::SourceShare& share : sources_.pool(lane.pool).members) {
    if (Reaches(destination, share.source, /*suspended_too=*/false)) return Want::kNothing;
    suspended |= Reaches(destination, share.source, /*suspended_too=*/true);
  }
  return suspended ? Want::kSource : Want::kSourceFamily;
}

smtp::Reply Dispatcher::WantReply(const Lane& lane, Want want) const {
  const Destination& destination = *lane.destination;
  const std::string& pool = sources_.pool(lane.pool).name;
  switch (want) {
    case Want::kNothing:
      break;
    case Want::kFamily:
      return NoAddressReply(destination.route,
                            policy::FamilyOf(destination.controls.ip_preference));
    case Want::kSourceFamily:
      return NoSourceFamilyReply(destination.route, pool);
    case Want::kSource:
      return NoSourceReply(pool);
  }
  CHECK(want != Want::kNothing);
  return {};
}

// No connection can even be tried. As when no host gives a session, the parcel at the front goes
// home with the reason, and the others wait for the next look, or for a route, controls or a source
// that differ.
void Dispatcher::HoldFor(Lane& lane, Want want, Now now) {
  lane.binding = BindingOf(want);
  if (lane.want != want || now.instant >= lane.not_before) {
    const smtp::Reply why = WantReply(lane, want);
    Pause(lane, why, now);
    lane.want = want;
    lane.failure_tls = TlsOutcome{};
    Parcel* parcel = Dequeue(lane);
    CHECK(parcel != nullptr);
    parcel->binding_limit.assign(lane.binding.data(), lane.binding.size());
    RefuseParcel(lane, *parcel, smtp::MessageResult::kSessionLost, why, now);
  }
  LookAgainAt(lane, lane.not_before);
}

// The wait was for that alone: the hosts have not been tried.
void Dispatcher::EndHold(Lane& lane, Now now) {
  if (lane.want == Want::kNothing) return;
  lane.want = Want::kNothing;
  lane.failures = 0;
  lane.failure = smtp::Reply{};
  lane.not_before = now.instant;
}

// -------------------------------------------------------------------------------------------------
// Mail that is told no.

// Nothing can be delivered there, says the route: all that waits is refused, some each turn.
void Dispatcher::FailQueue(Lane& lane, Now now) {
  const smtp::Reply reply = RouteReply(lane.destination->route);
  for (int i = 0; i < kFailuresPerLookMax; ++i) {
    Parcel* parcel = Dequeue(lane);
    if (parcel == nullptr) break;
    RefuseParcel(lane, *parcel, smtp::MessageResult::kRefused, reply, now);
  }
  LookAt(lane);
}

// No session could be had. The parcel at the front has had its attempt and goes home with the
// reason; the others wait in the queue for the next try, at growing intervals. A host that refuses
// sessions with 5xx defers the mail, since that speaks of us more often than of the recipient (case
// Z3); only "takes no mail at all" (521, 556: RFC 7504) of every host is final.
void Dispatcher::BackOff(Lane& lane, const smtp::Reply& why, bool final, Now now) {
  Pause(lane, why, now);
  Parcel* parcel = Dequeue(lane);
  if (parcel == nullptr) return;
  RefuseParcel(lane, *parcel,
               final ? smtp::MessageResult::kRefused : smtp::MessageResult::kSessionLost, why, now);
}

// No connection for a while, longer each time in a row.
void Dispatcher::Pause(Lane& lane, const smtp::Reply& why, Now now) {
  lane.want = Want::kNothing;
  KeepReply(why, lane.failure);
  ++lane.failures;
  lane.not_before = now.instant + options_.bounce_profile.RetryDelay(lane.failures, random_);
}

}  // namespace sluice::delivery
