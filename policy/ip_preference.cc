#include "policy/ip_preference.h"

#include "absl/strings/match.h"

namespace sluice::policy {
namespace {

using enum IpPreference;

struct Row {
  IpPreference preference;
  absl::string_view name;
  Family family;
  bool required;
};

// In the order of IpPreference.
constexpr Row kRows[] = {
    {kPreferV6, "PREFER_V6", Family::kIpv6, false},
    {kRequireV6, "REQUIRE_V6", Family::kIpv6, true},
    {kPreferV4, "PREFER_V4", Family::kIpv4, false},
    {kRequireV4, "REQUIRE_V4", Family::kIpv4, true},
};
static_assert(kRows[static_cast<int>(kRequireV6)].preference == kRequireV6);
static_assert(kRows[static_cast<int>(kPreferV4)].preference == kPreferV4);
static_assert(kRows[static_cast<int>(kRequireV4)].preference == kRequireV4);

const Row& RowOf(IpPreference preference) {
  return kRows[static_cast<int>(preference)];
}

}  // namespace

Family FamilyOf(IpPreference preference) {
  return RowOf(preference).family;
}

bool RequiresFamily(IpPreference preference) {
  return RowOf(preference).required;
}

absl::string_view IpPreferenceName(IpPreference preference) {
  return RowOf(preference).name;
}

std::optional<IpPreference> ParseIpPreference(absl::string_view text) {
  for (const Row& row : kRows) {
    if (absl::EqualsIgnoreCase(text, row.name)) return row.preference;
  }
  return std::nullopt;
}

}  // namespace sluice::policy
