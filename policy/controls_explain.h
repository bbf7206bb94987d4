// What holds for a domain, key by key, and who says so: the matched entry, the default, or nobody.
// For people; delivery asks ControlsTable, which says the same.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "policy/controls_table.h"

namespace sluice::policy {

enum class ControlsMatch : uint8_t { kExact, kPartial, kDefault };

enum class ControlsOrigin : uint8_t { kEntry, kDefault, kBuiltIn };

struct EffectiveField {
  absl::string_view key;  // Canonical.
  std::string value;      // In the file's words, or words for what no file can say: "no limit".
  ControlsOrigin origin = ControlsOrigin::kBuiltIn;
};

struct ExplainedControls {
  ControlsMatch match = ControlsMatch::kDefault;
  std::string section;  // That matched, as the file names it.
  int line = 0;         // Of that section in the file; 0: not in the file.
  int default_line = 0;
  std::vector<EffectiveField> fields;  // Every key, in the order of ControlsKey.
};

// `domain` is normalised; the entries are valid. A recipient limit and its minutes are one field. A
// memory of broken TLS at a level that does not prefer TLS is 0, and is said by who says the level.
ExplainedControls Explain(const std::vector<ControlsEntry>& entries, absl::string_view domain);

// "bank.example (line 14)", "DEFAULT (line 1)", "built in".
std::string OriginText(const ExplainedControls& explained, ControlsOrigin origin);

// "bank.example (line 14), exactly", ".example (line 3), by partial domain", "DEFAULT (line 1)".
std::string MatchText(const ExplainedControls& explained);

}  // namespace sluice::policy
