// From which source, and to which addresses, a lane's next connection is opened.

#include <algorithm>
#include <cstddef>
#include <utility>

#include "engine/base/check.h"
#include "engine/delivery/dispatcher.h"

namespace sluice::delivery {
namespace {

constexpr uint32_t kNoSource = UINT32_MAX;

// Of several that say no: the last of them, with the first instant at which any may say yes.
void AddNo(policy::Permit& no, const policy::Permit& one) {
  const bool first = no.binds == policy::Limit::kNone;
  no = {.binds = one.binds,
        .look_again = first ? one.look_again : std::min(no.look_again, one.look_again)};
}

}  // namespace

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

// -------------------------------------------------------------------------------------------------
// What a source reaches, and what is avoided.

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

}  // namespace sluice::delivery
