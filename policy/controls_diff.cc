#include "policy/controls_diff.h"

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/controls_keys.h"
#include "policy/controls_section.h"
#include "policy/controls_text.h"

namespace sluice::policy {
namespace {

struct Versions {
  const ControlsEntry* before = nullptr;  // Null: it is not there.
  const ControlsEntry* after = nullptr;
};

std::optional<std::string> Text(ControlsKey key, const ControlsEntry* entry) {
  return entry == nullptr ? std::nullopt : ControlsText(key, *entry);
}

SectionChange Compare(const Versions& versions) {
  SectionChange change;
  if (versions.before == nullptr) change.kind = SectionChangeKind::kAdded;
  if (versions.after == nullptr) change.kind = SectionChangeKind::kRemoved;
  const ControlsEntry& any = versions.before != nullptr ? *versions.before : *versions.after;
  change.section = SectionName(any.domain);
  for (int i = 0; i < kControlsKeys; ++i) {
    const ControlsKey key = static_cast<ControlsKey>(i);
    FieldChange field = {RowOf(key).name, Text(key, versions.before), Text(key, versions.after)};
    if (field.before != field.after) change.fields.push_back(std::move(field));
  }
  return change;
}

absl::string_view OrDefault(const std::optional<std::string>& text) {
  return text ? absl::string_view(*text) : "default";
}

}  // namespace

std::vector<SectionChange> DiffControls(const std::vector<ControlsEntry>& before,
                                        const std::vector<ControlsEntry>& after) {
  const ControlsEntry empty_default;
  std::map<SectionPlace, Versions> sections = {
      {SectionPlace(""), {&empty_default, &empty_default}}};
  for (const ControlsEntry& entry : before) sections[SectionPlace(entry.domain)].before = &entry;
  for (const ControlsEntry& entry : after) sections[SectionPlace(entry.domain)].after = &entry;
  std::vector<SectionChange> changes;
  for (const auto& [place, versions] : sections) {
    SectionChange change = Compare(versions);
    const bool same = change.kind == SectionChangeKind::kChanged && change.fields.empty();
    if (!same) changes.push_back(std::move(change));
  }
  return changes;
}

std::vector<std::string> DiffLines(const std::vector<SectionChange>& changes) {
  std::vector<std::string> lines;
  for (const SectionChange& change : changes) {
    if (change.kind == SectionChangeKind::kAdded) {
      lines.push_back(absl::StrCat(change.section, ": added"));
    } else if (change.kind == SectionChangeKind::kRemoved) {
      lines.push_back(absl::StrCat(change.section, ": removed"));
    }
    for (const FieldChange& field : change.fields) {
      lines.push_back(absl::StrCat(change.section, ": ", field.key, ": ", OrDefault(field.before),
                                   " -> ", OrDefault(field.after)));
    }
  }
  return lines;
}

}  // namespace sluice::policy
