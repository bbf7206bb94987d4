#include "engine/dns/route.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/limits.h"

namespace sluice::dns {
namespace {

// Room for the first host, for another host, and for the other family.
static_assert(limits::kRouteAddressesTriedMax >= 3);

struct Candidate {
  const RouteHost* host = nullptr;
  IpAddress ip;
};

template <class T>
void Shuffle(std::vector<T>& values, Random& random) {
  for (size_t left = values.size(); left > 1; --left) {
    std::swap(values[left - 1], values[random.Below(left)]);
  }
}

std::vector<const RouteHost*> HostsInOrder(const Route& route, Random& random) {
  std::vector<const RouteHost*> hosts;
  hosts.reserve(route.hosts.size());
  for (const RouteHost& host : route.hosts) hosts.push_back(&host);
  Shuffle(hosts, random);
  std::stable_sort(hosts.begin(), hosts.end(), [](const RouteHost* a, const RouteHost* b) {
    return a->preference < b->preference;
  });
  return hosts;
}

using HostsOfOnePreference = std::span<const RouteHost* const>;

std::vector<Candidate> AddressesOf(Family family, HostsOfOnePreference hosts, UsableAddress usable,
                                   Random& random) {
  std::vector<Candidate> candidates;
  for (const RouteHost* host : hosts) {
    std::vector<IpAddress> addresses;
    for (const IpAddress& address : host->addresses) {
      if (address.family == family && usable(*host, address)) addresses.push_back(address);
    }
    Shuffle(addresses, random);
    for (const IpAddress& address : addresses) candidates.push_back({host, address});
  }
  return candidates;
}

void AppendTakingTurns(HostsOfOnePreference hosts, FamilyOrder families, UsableAddress usable,
                       Random& random, std::vector<Candidate>& candidates) {
  const Family other = families.first == Family::kIpv6 ? Family::kIpv4 : Family::kIpv6;
  const std::vector<Candidate> firsts = AddressesOf(families.first, hosts, usable, random);
  const std::vector<Candidate> others =
      families.only ? std::vector<Candidate>() : AddressesOf(other, hosts, usable, random);
  for (size_t i = 0; i < std::max(firsts.size(), others.size()); ++i) {
    if (i < firsts.size()) candidates.push_back(firsts[i]);
    if (i < others.size()) candidates.push_back(others[i]);
  }
}

std::vector<Candidate> AllInOrder(const Route& route, FamilyOrder families, UsableAddress usable,
                                  Random& random) {
  const std::vector<const RouteHost*> hosts = HostsInOrder(route, random);
  std::vector<Candidate> candidates;
  for (auto first = hosts.begin(); first != hosts.end();) {
    const auto end = std::find_if(first, hosts.end(), [&](const RouteHost* host) {
      return host->preference != (*first)->preference;
    });
    AppendTakingTurns({first, end}, families, usable, random, candidates);
    first = end;
  }
  return candidates;
}

// Cuts the list to one attempt's length. If all of the front is of one family, or else of one host,
// the last place goes to the first candidate of another. One place is enough for both wishes: a
// family that is missing in front is missing in all hosts of the first preference, so its first
// candidate is of another host; and a front of one host alone has both families, if it has both, in
// its first two places.
void CutToOneAttempt(std::vector<Candidate>& candidates) {
  if (candidates.size() <= limits::kRouteAddressesTriedMax) return;
  const auto end = candidates.begin() + limits::kRouteAddressesTriedMax;
  const Candidate first = candidates.front();
  const auto other_family = [&](const Candidate& c) { return c.ip.family != first.ip.family; };
  const auto other_host = [&](const Candidate& c) { return c.host != first.host; };

  auto wanted = candidates.end();
  if (std::none_of(candidates.begin(), end, other_family)) {
    wanted = std::find_if(end, candidates.end(), other_family);
  }
  if (wanted == candidates.end() && std::none_of(candidates.begin(), end, other_host)) {
    wanted = std::find_if(end, candidates.end(), other_host);
  }
  if (wanted != candidates.end()) *(end - 1) = *wanted;
  candidates.erase(end, candidates.end());
}

}  // namespace

std::vector<RouteStep> OrderRoute(const Route& route, FamilyOrder families, UsableAddress usable,
                                  Random& random) {
  CHECK(families.first != Family::kNone);
  std::vector<Candidate> candidates = AllInOrder(route, families, usable, random);
  CutToOneAttempt(candidates);

  std::vector<RouteStep> steps;
  steps.reserve(candidates.size());
  for (const Candidate& candidate : candidates) {
    steps.push_back({.host = candidate.host->name,
                     .address = {.ip = candidate.ip, .port = candidate.host->port}});
  }
  return steps;
}

}  // namespace sluice::dns
