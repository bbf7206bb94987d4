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

bool HasDefault(const std::vector<ControlsEntry>& entries) {
  return std::any_of(entries.begin(), entries.end(),
                     [](const ControlsEntry& entry) { return entry.domain.empty(); });
}

struct PlacedEntry {
  SectionPlace place;
  const ControlsEntry* entry;
};

// In the order of the file. A large table is in it already, but for what was added at its end.
std::vector<PlacedEntry> InOrder(const std::vector<ControlsEntry>& entries) {
  static const ControlsEntry empty_default;
  const auto before = [](const PlacedEntry& a, const PlacedEntry& b) { return a.place < b.place; };
  std::vector<PlacedEntry> placed;
  placed.reserve(entries.size() + 1);
  if (!HasDefault(entries)) placed.push_back({SectionPlace(""), &empty_default});
  for (const ControlsEntry& entry : entries) placed.push_back({SectionPlace(entry.domain), &entry});
  const auto added = std::is_sorted_until(placed.begin(), placed.end(), before);
  std::sort(added, placed.end(), before);
  std::inplace_merge(placed.begin(), added, placed.end(), before);
  return placed;
}

// With the default among them.
void PutInOrder(std::vector<ControlsEntry>& entries) {
  if (!HasDefault(entries)) entries.emplace_back();
  const std::vector<PlacedEntry> placed = InOrder(entries);
  bool in_order = true;
  for (size_t i = 0; i < placed.size(); ++i) in_order &= placed[i].entry == &entries[i];
  if (in_order) return;
  std::vector<ControlsEntry> ordered;
  ordered.reserve(entries.size());
  for (const PlacedEntry& each : placed) {
    ordered.push_back(std::move(entries[static_cast<size_t>(each.entry - entries.data())]));
  }
  entries = std::move(ordered);
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
  PutInOrder(entries);
  std::string text;
  int line = 1;
  for (ControlsEntry& entry : entries) {
    const size_t begin = text.size();
    AppendSection(entry, text);
    // A blank line goes before each section but the first.
    entry.line = begin == 0 ? line : line + 1;
    line += static_cast<int>(
        std::count(text.begin() + static_cast<std::ptrdiff_t>(begin), text.end(), '\n'));
  }
  return text;
}

}  // namespace sluice::policy
