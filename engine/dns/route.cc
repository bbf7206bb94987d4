#include "engine/dns/route.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "engine/base/limits.h"

namespace sluice::dns {
namespace {

// Room for the preferred host, for another host, and for the other family.
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

std::vector<IpAddress> ShuffledOf(Family family, const RouteHost& host, Random& random) {
  std::vector<IpAddress> addresses;
  for (const IpAddress& address : host.addresses) {
    if (address.family == family) addresses.push_back(address);
  }
  Shuffle(addresses, random);
  return addresses;
}

void AppendAddresses(const RouteHost& host, Random& random, std::vector<Candidate>& candidates) {
  const std::vector<IpAddress> v6 = ShuffledOf(Family::kIpv6, host, random);
  const std::vector<IpAddress> v4 = ShuffledOf(Family::kIpv4, host, random);
  for (size_t i = 0; i < std::max(v6.size(), v4.size()); ++i) {
    if (i < v6.size()) candidates.push_back({&host, v6[i]});
    if (i < v4.size()) candidates.push_back({&host, v4[i]});
  }
}

// Cuts the list to one attempt's length. If all of the front is of one family, or else of one host,
// the last place goes to the first candidate of another. One place is enough for both wishes: a
// family that is missing in front is missing in the first host, so its first candidate is of
// another host; and a front of one host alone has both families in its first two places.
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

std::vector<RouteStep> OrderRoute(const Route& route, Random& random) {
  std::vector<Candidate> candidates;
  for (const RouteHost* host : HostsInOrder(route, random)) {
    AppendAddresses(*host, random, candidates);
  }
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
