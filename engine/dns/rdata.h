// The data of the three record types that make a route, out of its wire form (RFC 1035 3.3, RFC
// 3596). Whatever a server sends comes through here, so nothing is believed: lengths are checked
// against the record, and a name that could not be a host's name makes the record malformed.

#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "engine/base/ip_address.h"

namespace sluice::dns {

struct MxRecord {
  uint16_t preference = 0;
  std::string name;  // Normalised; empty for the root, which says "takes no mail" (RFC 7505).
};

// The name must be whole and not compressed: libunbound has expanded it.
std::optional<MxRecord> ParseMx(absl::string_view rdata);

std::optional<IpAddress> ParseA(absl::string_view rdata);

// An IPv4-mapped address becomes the IPv4 address.
std::optional<IpAddress> ParseAaaa(absl::string_view rdata);

}  // namespace sluice::dns
