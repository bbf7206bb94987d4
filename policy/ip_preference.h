// Which family of addresses a destination's connections are to use. Plain values and their words.
//
// A family that is preferred is tried first and the other one after it, within the same attempt; a
// family that is required is the only one that is ever connected to.

#pragma once

#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"
#include "engine/base/ip_address.h"

namespace sluice::policy {

enum class IpPreference : uint8_t { kPreferV6, kRequireV6, kPreferV4, kRequireV4 };

Family FamilyOf(IpPreference preference);
bool RequiresFamily(IpPreference preference);

// PREFER_V6, REQUIRE_V6, PREFER_V4, REQUIRE_V4; read in any case.
absl::string_view IpPreferenceName(IpPreference preference);
std::optional<IpPreference> ParseIpPreference(absl::string_view text);

}  // namespace sluice::policy
