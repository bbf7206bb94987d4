// The route of a destination: the ordered hosts and addresses that take its mail.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

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

// The addresses in the order of one attempt: by preference, hosts of equal preference shuffled (RFC
// 5321 5.1), the addresses of a host shuffled within their family, families interleaved beginning
// with IPv6 so that a dead family does not use up the attempt (P20). At most
// limits::kRouteAddressesTriedMax, of which at least two hosts when there are two (C18).
std::vector<RouteStep> OrderRoute(const Route& route, Random& random);

}  // namespace sluice::dns
