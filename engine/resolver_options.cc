#include "engine/resolver_options.h"

#include <ifaddrs.h>
#include <netinet/in.h>

#include <cstring>
#include <vector>

#include "engine/io/clock.h"

namespace sluice {
namespace {

// The addresses at which we take mail: a route that leads there is a loop.
std::vector<IpAddress> OwnAddresses(const std::vector<ListenerConfig>& listeners) {
  std::vector<IpAddress> addresses;
  bool any = false;
  for (const ListenerConfig& listener : listeners) {
    any |= listener.address.ip.IsUnspecified();
    addresses.push_back(listener.address.ip);
  }
  if (!any) return addresses;
  ifaddrs* interfaces = nullptr;
  if (getifaddrs(&interfaces) != 0) return addresses;
  for (const ifaddrs* each = interfaces; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr == nullptr) continue;
    const int family = each->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    sockaddr_storage storage{};
    std::memcpy(&storage, each->ifa_addr,
                family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    addresses.push_back(SocketAddress::FromSystem(storage).ip);
  }
  freeifaddrs(interfaces);
  return addresses;
}

}  // namespace

dns::UnboundResolver::Options ResolverOptions(const Config& config) {
  dns::UnboundResolver::Options options;
  options.rules.delivery_port = config.delivery_port;
  options.rules.allow_addresses = config.allow_addresses;
  options.rules.own_names.push_back(config.hostname);
  options.rules.own_addresses = OwnAddresses(config.listeners);
  options.forward = config.dns_forward;
  options.trust_anchor = config.dns_trust_anchor;
  options.now = [] { return io::ReadClock().instant; };
  return options;
}

}  // namespace sluice
