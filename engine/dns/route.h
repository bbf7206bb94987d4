// The route of a destination: the ordered hosts and addresses that take its mail.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "engine/base/ip_address.h"
#include "engine/base/random.h"
#include "engine/base/time.h"

namespace sluice::dns {

struct RouteHost {
  std::string name;         // Normalised, or the text of an IP literal.
  uint16_t preference = 0;  // Lower is tried first.
  uint16_t port = 25;
  std::vector<IpAddress> addresses;
};

enum class RouteResult : uint8_t {
  kFound,
  kNoSuchDomain,  // NXDOMAIN: permanent, 5.1.2 (C17, Z10).
  kNullMx,        // RFC 7505: permanent, 5.1.10 (556), no address look-up.
  kNoHost,        // The domain exists and no host of it has an address: permanent, 5.4.4 (R4).
  kRefused,       // Only addresses that may not be connected to (F09, S14): permanent, 5.4.6.
  kTemporary,     // SERVFAIL, timeout, bogus: 4.4.3.
};

struct Route {
  RouteResult result = RouteResult::kTemporary;
  std::vector<RouteHost> hosts;  // Sorted by preference, only hosts with addresses.
  std::string reason;            // A sentence when the result is not kFound.
  Duration ttl =
      Duration::max();  // The least TTL of what was looked up; max for what needed no look-up.
  bool from_table = false;
};

// One address to try.
struct RouteStep {
  std::string host;
  SocketAddress address;
};

// What an attempt makes of the two families of addresses.
struct FamilyOrder {
  Family first = Family::kIpv6;  // The one that it begins with.
  bool only = false;             // The other one is left out.
};

// Whether the attempt may hold the address.
constexpr bool Allows(FamilyOrder families, const IpAddress& address) {
  return !families.only || address.family == families.first;
}

// The addresses in the order of one attempt. The preference of the hosts rules (RFC 5321 5.1).
// Among those of equal preference the families take turns, beginning with `families.first`, so that
// a dead family does not use up the attempt (P20): a family's addresses stand by host, the hosts
// shuffled, each host's addresses shuffled. At most limits::kRouteAddressesTriedMax, of which at
// least two hosts when there are two (C18), and both families when the route has both. Addresses
// that are not `usable` are left out beforehand. Empty: the route has no address that is, and that
// `families` allows.
using UsableAddress = absl::FunctionRef<bool(const RouteHost& host, const IpAddress& address)>;
std::vector<RouteStep> OrderRoute(const Route& route, FamilyOrder families, UsableAddress usable,
                                  Random& random);
inline std::vector<RouteStep> OrderRoute(const Route& route, FamilyOrder families, Random& random) {
  return OrderRoute(
      route, families, [](const RouteHost&, const IpAddress&) { return true; }, random);
}

}  // namespace sluice::dns
