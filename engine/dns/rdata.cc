#include "engine/dns/rdata.h"

#include <netinet/in.h>

#include <cstring>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "engine/base/domain_name.h"

namespace sluice::dns {
namespace {

constexpr size_t kLabelBytesMax = 63;  // RFC 1035 2.3.4; a larger length octet is a pointer.

// Only these can be in a host's name. Anything else is refused here and not left to
// NormalizeDomain: a dot inside a label would look like a border, and octets over 127 like a
// U-label.
bool IsHostLabel(absl::string_view label) {
  for (const char c : label) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_') return false;
  }
  return true;
}

// The text of a wire name that fills `wire` exactly; empty for the root.
std::optional<std::string> ParseName(absl::string_view wire) {
  std::string name;
  while (!wire.empty()) {
    const size_t length = static_cast<unsigned char>(wire.front());
    wire.remove_prefix(1);
    if (length == 0) return wire.empty() ? std::optional(std::move(name)) : std::nullopt;
    if (length > kLabelBytesMax || length > wire.size()) return std::nullopt;
    const absl::string_view label = wire.substr(0, length);
    if (!IsHostLabel(label)) return std::nullopt;
    if (!name.empty()) name.push_back('.');
    name.append(label.data(), label.size());
    wire.remove_prefix(length);
  }
  return std::nullopt;  // It ended before its root label.
}

}  // namespace

std::optional<MxRecord> ParseMx(absl::string_view rdata) {
  if (rdata.size() < 3) return std::nullopt;
  const auto high = static_cast<unsigned char>(rdata[0]);
  const auto low = static_cast<unsigned char>(rdata[1]);
  const std::optional<std::string> name = ParseName(rdata.substr(2));
  if (!name) return std::nullopt;
  MxRecord record{.preference = static_cast<uint16_t>(high << 8 | low), .name = {}};
  if (name->empty()) return record;
  absl::StatusOr<std::string> normal = NormalizeDomain(*name);
  if (!normal.ok()) return std::nullopt;
  record.name = *std::move(normal);
  return record;
}

std::optional<IpAddress> ParseA(absl::string_view rdata) {
  if (rdata.size() != 4) return std::nullopt;
  IpAddress address{.family = Family::kIpv4};
  std::memcpy(address.bytes.data(), rdata.data(), rdata.size());
  return address;
}

std::optional<IpAddress> ParseAaaa(absl::string_view rdata) {
  if (rdata.size() != 16) return std::nullopt;
  sockaddr_in6 system{};
  system.sin6_family = AF_INET6;
  std::memcpy(&system.sin6_addr, rdata.data(), rdata.size());
  sockaddr_storage storage{};
  std::memcpy(&storage, &system, sizeof(system));
  return SocketAddress::FromSystem(storage).ip;  // Which unwraps mapped addresses.
}

}  // namespace sluice::dns
