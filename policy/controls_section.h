// The names of the table's sections, as the file and the commands write them: a domain, a partial
// domain with its leading dot, an IP address, which stands for that address literal, or DEFAULT.

#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sluice::policy {

// The domain of the entry that a name stands for, as ControlsEntry has it: normalised, and empty
// for DEFAULT. The error says why the name is none.
absl::StatusOr<std::string> ParseSectionName(absl::string_view name);

// The canonical name: "DEFAULT", "192.0.2.1". ParseSectionName gives the domain back. A domain that
// would be read as something else keeps its last dot: "default.", "all.", "192.0.2.1.".
std::string SectionName(absl::string_view domain);

// Where a section stands among the others: the default first, then by name, a domain before the
// partial domain of the same name.
struct SectionPlace {
  enum class Kind : uint8_t { kAddress, kDomain, kPartial };

  explicit SectionPlace(absl::string_view domain);

  std::string name;  // Without the first dot of a partial domain; empty for the default.
  Kind kind = Kind::kDomain;

  auto operator<=>(const SectionPlace&) const = default;
};

}  // namespace sluice::policy
