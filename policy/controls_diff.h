// What lies between two tables of destination controls: the sections that came and went, and in
// each the keys that say something else.
//
//   bank.example: table_tls: on -> require_verify
//   new.example: added
//   new.example: max_host_concurrency: default -> 20
//
// `default` is what an entry leaves out, as in a command's options. Only what the entries say is
// compared: where the default changes, the sections that inherit from it have not changed.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "policy/controls_table.h"

namespace sluice::policy {

enum class SectionChangeKind : uint8_t { kAdded, kRemoved, kChanged };

struct FieldChange {
  absl::string_view key;              // Canonical.
  std::optional<std::string> before;  // In the file's words; empty: left out.
  std::optional<std::string> after;
};

struct SectionChange {
  SectionChangeKind kind = SectionChangeKind::kChanged;
  std::string section;              // As the file names it: "DEFAULT", ".example.com", "192.0.2.1".
  std::vector<FieldChange> fields;  // In the order of ControlsKey. Of a section that came or went,
                                    // all that it says, which may be nothing.
};

// In the order of the file that WriteControlsFile writes. The default never comes or goes: without
// an entry it is as one that leaves all out. Both tables are valid.
std::vector<SectionChange> DiffControls(const std::vector<ControlsEntry>& before,
                                        const std::vector<ControlsEntry>& after);

// The same for ControlsTable, where it is small: at most `sections_max` came, went or changed, the
// default did not, and the entries that stay are in one order. Else nothing. Lines do not count.
// Takes one walk through both.
std::optional<ControlsChange> SmallChange(const std::vector<ControlsEntry>& before,
                                          const std::vector<ControlsEntry>& after,
                                          size_t sections_max);

// A line for each section that came or went, and for each key; without line ends.
std::vector<std::string> DiffLines(const std::vector<SectionChange>& changes);

}  // namespace sluice::policy
