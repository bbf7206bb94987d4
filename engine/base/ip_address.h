// IP addresses, socket addresses and networks as plain values.
//
// An IPv4-mapped IPv6 address (::ffff:a.b.c.d) is turned into the IPv4 address where it is made, so
// that a rule about 127.0.0.0/8 cannot be passed by writing it in the other family.

#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sluice {

enum class Family : uint8_t { kNone, kIpv4, kIpv6 };

struct IpAddress {
  Family family = Family::kNone;
  std::array<uint8_t, 16> bytes{};  // Network order; IPv4 uses the first four, the rest are zero.

  bool operator==(const IpAddress&) const = default;
  auto operator<=>(const IpAddress&) const = default;

  // "192.0.2.1" or "2001:db8::1", nothing else around it.
  static std::optional<IpAddress> Parse(absl::string_view text);
  std::string ToString() const;

  // Loopback, private, link-local, shared (100.64/10), "this network", multicast, reserved, and
  // IPv6 forms that wrap such an IPv4 address (64:ff9b::/96, 2002::/16): addresses that a public MX
  // record has no business naming (RFC 6890).
  bool IsSpecial() const;
  bool IsLoopback() const;
  bool IsUnspecified() const { return bytes == std::array<uint8_t, 16>{}; }  // 0.0.0.0 or ::
};

struct SocketAddress {
  IpAddress ip;
  uint16_t port = 0;

  bool operator==(const SocketAddress&) const = default;

  // "192.0.2.1:25" or "[2001:db8::1]:25".
  static std::optional<SocketAddress> Parse(absl::string_view text);
  std::string ToString() const;

  // To and from the system's form. Returns the length used.
  socklen_t ToSystem(sockaddr_storage& storage) const;
  static SocketAddress FromSystem(const sockaddr_storage& storage);
};

// A network: "10.0.0.0/8", "::1/128", or an address alone. Host bits must be zero.
struct Network {
  IpAddress base;
  int prefix_bits = 0;

  static absl::StatusOr<Network> Parse(absl::string_view text);
  bool Contains(const IpAddress& address) const;
};

bool AnyContains(const std::vector<Network>& networks, const IpAddress& address);

}  // namespace sluice
