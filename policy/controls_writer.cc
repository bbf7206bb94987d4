#include "policy/controls_writer.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "policy/controls_keys.h"
#include "policy/controls_rules.h"
#include "policy/controls_section.h"
#include "policy/controls_text.h"

namespace sluice::policy {
namespace {

struct PlacedEntry {
  SectionPlace place;
  const ControlsEntry* entry;
};

// In the order of the file. A large table is mostly in it already.
std::vector<PlacedEntry> InOrder(const std::vector<ControlsEntry>& entries) {
  static const ControlsEntry empty_default;
  const auto before = [](const PlacedEntry& a, const PlacedEntry& b) { return a.place < b.place; };
  std::vector<PlacedEntry> placed;
  placed.reserve(entries.size() + 1);
  if (std::none_of(entries.begin(), entries.end(),
                   [](const ControlsEntry& entry) { return entry.domain.empty(); })) {
    placed.push_back({SectionPlace(""), &empty_default});
  }
  for (const ControlsEntry& entry : entries) placed.push_back({SectionPlace(entry.domain), &entry});
  if (!std::is_sorted(placed.begin(), placed.end(), before)) {
    std::sort(placed.begin(), placed.end(), before);
  }
  return placed;
}

void AppendSection(const ControlsEntry& entry, std::string& text) {
  CHECK(UnmetNeeds(GivenBy(entry), entry.domain.empty()).empty());  // Else it is not read back.
  absl::StrAppend(&text, text.empty() ? "" : "\n", "[", SectionName(entry.domain), "]\n");
  for (int i = 0; i < kControlsKeys; ++i) {
    const ControlsKey key = static_cast<ControlsKey>(i);
    const std::optional<std::string> value = ControlsText(key, entry);
    if (value) absl::StrAppend(&text, RowOf(key).name, " = ", *value, "\n");
  }
}

}  // namespace

std::string WriteControlsFile(const std::vector<ControlsEntry>& entries) {
  std::string text;
  for (const PlacedEntry& placed : InOrder(entries)) AppendSection(*placed.entry, text);
  return text;
}

std::string RewriteControlsFile(std::vector<ControlsEntry>& entries) {
  std::string text;
  std::vector<ControlsEntry> written;
  written.reserve(entries.size() + 1);
  int line = 1;
  for (const PlacedEntry& placed : InOrder(entries)) {
    const size_t begin = text.size();
    AppendSection(*placed.entry, text);
    // A blank line goes before each section but the first.
    written.push_back(*placed.entry);
    written.back().line = begin == 0 ? line : line + 1;
    line += static_cast<int>(
        std::count(text.begin() + static_cast<std::ptrdiff_t>(begin), text.end(), '\n'));
  }
  entries = std::move(written);
  return text;
}

}  // namespace sluice::policy
