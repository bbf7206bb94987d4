#include "engine/base/ip_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/base/check.h"

namespace sluice {
namespace {

constexpr std::array<uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr int kMappedPrefixBits = 96;

// A prefix of an address, in the form of a table row.
struct Block {
  std::array<uint8_t, 12> bytes;
  int bits;
};

// RFC 6890 without the blocks for documentation, which are routed nowhere and stand for public
// addresses in examples and simulations.
constexpr Block kSpecialIpv4[] = {
    {{0}, 8},           // This network.
    {{10}, 8},          // Private.
    {{100, 64}, 10},    // Shared (carrier-grade NAT).
    {{127}, 8},         // Loopback.
    {{169, 254}, 16},   // Link-local.
    {{172, 16}, 12},    // Private.
    {{192, 0, 0}, 24},  // Protocol assignments.
    {{192, 168}, 16},   // Private.
    {{198, 18}, 15},    // Benchmarks.
    {{224}, 4},         // Multicast.
    {{240}, 4},         // Reserved, and limited broadcast.
};

constexpr Block kSpecialIpv6[] = {
    {{0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}, 48},  // IPv4 translation of local use.
    {{0x01, 0x00}, 64},                          // Discard only.
    {{0xfc}, 7},                                 // Unique local.
    {{0xfe, 0x80}, 10},                          // Link-local.
    {{0xfe, 0xc0}, 10},                          // Site-local, of old.
    {{0xff}, 8},                                 // Multicast.
};

// IPv6 blocks whose addresses hold an IPv4 address, and the byte where it stands.
struct WrappingBlock {
  Block block;
  size_t offset;
};
constexpr WrappingBlock kWrappingIpv6[] = {
    {{{0}, 96}, 12},                           // IPv4-compatible; also :: and ::1, by 0.0.0.0/8.
    {{kMappedPrefix, kMappedPrefixBits}, 12},  // IPv4-mapped.
    {{{0x00, 0x64, 0xff, 0x9b}, 96}, 12},      // NAT64.
    {{{0x20, 0x02}, 16}, 2},                   // 6to4.
};

bool SamePrefix(const uint8_t* a, const uint8_t* b, int bits) {
  const int whole_bytes = bits / 8;
  if (std::memcmp(a, b, whole_bytes) != 0) return false;
  const int rest = bits % 8;
  if (rest == 0) return true;
  const auto mask = static_cast<uint8_t>(0xff << (8 - rest));
  return ((a[whole_bytes] ^ b[whole_bytes]) & mask) == 0;
}

bool InBlock(const IpAddress& address, const Block& block) {
  return SamePrefix(address.bytes.data(), block.bytes.data(), block.bits);
}

template <size_t kSize>
bool InAny(const IpAddress& address, const Block (&blocks)[kSize]) {
  return std::any_of(std::begin(blocks), std::end(blocks),
                     [&](const Block& block) { return InBlock(address, block); });
}

IpAddress Ipv4From(const uint8_t* bytes) {
  IpAddress address{.family = Family::kIpv4};
  std::memcpy(address.bytes.data(), bytes, 4);
  return address;
}

IpAddress Ipv6From(const uint8_t* bytes) {
  if (SamePrefix(bytes, kMappedPrefix.data(), kMappedPrefixBits)) return Ipv4From(bytes + 12);
  IpAddress address{.family = Family::kIpv6};
  std::memcpy(address.bytes.data(), bytes, 16);
  return address;
}

int BitsOf(Family family) {
  switch (family) {
    case Family::kNone:
      return 0;
    case Family::kIpv4:
      return 32;
    case Family::kIpv6:
      return 128;
  }
  return 0;
}

// Digits alone, without sign or space. -1: not such a number, or over `max`.
int ParseNumber(absl::string_view text, int max) {
  if (text.empty() || text.size() > 5) return -1;
  int number = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return -1;
    number = number * 10 + (c - '0');
  }
  return number <= max ? number : -1;
}

bool HostBitsAreZero(const IpAddress& base, int prefix_bits) {
  IpAddress masked = base;
  for (int bit = prefix_bits; bit < BitsOf(base.family); ++bit) {
    masked.bytes[bit / 8] &= static_cast<uint8_t>(~(0x80 >> (bit % 8)));
  }
  return masked == base;
}

}  // namespace

std::optional<IpAddress> IpAddress::Parse(absl::string_view text) {
  char terminated[INET6_ADDRSTRLEN];
  if (text.size() >= sizeof terminated || absl::StrContains(text, '\0')) return std::nullopt;
  std::memcpy(terminated, text.data(), text.size());
  terminated[text.size()] = '\0';
  uint8_t bytes[16];
  if (inet_pton(AF_INET, terminated, bytes) == 1) return Ipv4From(bytes);
  if (inet_pton(AF_INET6, terminated, bytes) == 1) return Ipv6From(bytes);
  return std::nullopt;
}

std::string IpAddress::ToString() const {
  if (family == Family::kNone) return "";
  // Each message has its addresses written, and inet_ntop goes through sprintf for them.
  if (family == Family::kIpv4) {
    return absl::StrCat(bytes[0], ".", bytes[1], ".", bytes[2], ".", bytes[3]);
  }
  char text[INET6_ADDRSTRLEN];
  CHECK(inet_ntop(AF_INET6, bytes.data(), text, sizeof text));
  return text;
}

bool IpAddress::IsSpecial() const {
  if (family == Family::kNone) return false;
  if (family == Family::kIpv4) return InAny(*this, kSpecialIpv4);
  for (const WrappingBlock& wrapping : kWrappingIpv6) {
    if (!InBlock(*this, wrapping.block)) continue;
    if (Ipv4From(bytes.data() + wrapping.offset).IsSpecial()) return true;
  }
  return InAny(*this, kSpecialIpv6);
}

bool IpAddress::IsLoopback() const {
  if (family == Family::kIpv4) return bytes[0] == 127;
  constexpr std::array<uint8_t, 16> kLoopback = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  return family == Family::kIpv6 && bytes == kLoopback;
}

std::optional<SocketAddress> SocketAddress::Parse(absl::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos) return std::nullopt;
  const int port = ParseNumber(text.substr(colon + 1), UINT16_MAX);
  if (port < 0) return std::nullopt;
  absl::string_view host = text.substr(0, colon);
  const bool bracketed = absl::ConsumePrefix(&host, "[");
  if (bracketed && !absl::ConsumeSuffix(&host, "]")) return std::nullopt;
  if (bracketed != absl::StrContains(host, ':')) return std::nullopt;  // IPv6, and only that.
  const std::optional<IpAddress> ip = IpAddress::Parse(host);
  if (!ip) return std::nullopt;
  return SocketAddress{*ip, static_cast<uint16_t>(port)};
}

std::string SocketAddress::ToString() const {
  if (ip.family == Family::kIpv6) return absl::StrCat("[", ip.ToString(), "]:", port);
  return absl::StrCat(ip.ToString(), ":", port);
}

socklen_t SocketAddress::ToSystem(sockaddr_storage& storage) const {
  CHECK(ip.family != Family::kNone);
  storage = {};
  if (ip.family == Family::kIpv4) {
    sockaddr_in system{};
    system.sin_family = AF_INET;
    system.sin_port = htons(port);
    std::memcpy(&system.sin_addr, ip.bytes.data(), 4);
    std::memcpy(&storage, &system, sizeof system);
    return sizeof system;
  }
  sockaddr_in6 system{};
  system.sin6_family = AF_INET6;
  system.sin6_port = htons(port);
  std::memcpy(&system.sin6_addr, ip.bytes.data(), 16);
  std::memcpy(&storage, &system, sizeof system);
  return sizeof system;
}

// An address of another family (a socket of the file system) is none.
SocketAddress SocketAddress::FromSystem(const sockaddr_storage& storage) {
  uint8_t bytes[16];
  if (storage.ss_family == AF_INET) {
    sockaddr_in system;
    std::memcpy(&system, &storage, sizeof system);
    std::memcpy(bytes, &system.sin_addr, 4);
    return {Ipv4From(bytes), ntohs(system.sin_port)};
  }
  if (storage.ss_family == AF_INET6) {
    sockaddr_in6 system;
    std::memcpy(&system, &storage, sizeof system);
    std::memcpy(bytes, &system.sin6_addr, 16);
    return {Ipv6From(bytes), ntohs(system.sin6_port)};
  }
  return {};
}

absl::StatusOr<Network> Network::Parse(absl::string_view text) {
  const auto refused = [&](absl::string_view reason) {
    return absl::InvalidArgumentError(absl::StrCat("\"", text, "\": ", reason));
  };
  const size_t slash = text.find('/');
  const absl::string_view address = text.substr(0, slash);
  const std::optional<IpAddress> base = IpAddress::Parse(address);
  if (!base) return refused("not an IP address or a network like 10.0.0.0/8");
  if (slash == absl::string_view::npos) return Network{*base, BitsOf(base->family)};

  // ::ffff:10.0.0.0/104 is 10.0.0.0/8.
  const bool mapped = base->family == Family::kIpv4 && absl::StrContains(address, ':');
  const int unmapped_bits = mapped ? kMappedPrefixBits : 0;
  const int bits = ParseNumber(text.substr(slash + 1), unmapped_bits + BitsOf(base->family));
  if (bits < unmapped_bits) {
    return refused(absl::StrCat("the length of the prefix must be from ", unmapped_bits, " to ",
                                unmapped_bits + BitsOf(base->family)));
  }
  const Network network{*base, bits - unmapped_bits};
  if (!HostBitsAreZero(network.base, network.prefix_bits)) {
    return refused("has bits set beyond the prefix; write the network's first address");
  }
  return network;
}

bool Network::Contains(const IpAddress& address) const {
  if (address.family == Family::kNone || address.family != base.family) return false;
  return SamePrefix(address.bytes.data(), base.bytes.data(), prefix_bits);
}

bool AnyContains(const std::vector<Network>& networks, const IpAddress& address) {
  return std::any_of(networks.begin(), networks.end(),
                     [&](const Network& network) { return network.Contains(address); });
}

}  // namespace sluice
