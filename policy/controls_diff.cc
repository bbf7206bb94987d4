#include "policy/controls_diff.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <tuple>
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

// All that they say, whatever their lines. A field that is added is bound here, or this does not
// compile.
bool SayTheSame(const ControlsEntry& a, const ControlsEntry& b) {
  const auto said = [](const ControlsEntry& entry) {
    const auto& [domain, connections, messages, recipients, minutes, each_address, each_source,
                 system_connections, system_recipients, system_minutes, ip, tls, tag, profile,
                 line] = entry;
    return std::tie(domain, connections, messages, recipients, minutes, each_address, each_source,
                    system_connections, system_recipients, system_minutes, ip, tls, tag, profile);
  };
  return said(a) == said(b);
}

using Entries = std::vector<ControlsEntry>;

// The place of a domain among the next few entries; the end: it is not there.
Entries::const_iterator FindSoon(absl::string_view domain, Entries::const_iterator from,
                                 Entries::const_iterator end, size_t entries_max) {
  const auto last =
      from + std::min<std::ptrdiff_t>(end - from, static_cast<std::ptrdiff_t>(entries_max));
  const auto found =
      std::find_if(from, last, [&](const ControlsEntry& entry) { return entry.domain == domain; });
  return found == last ? end : found;
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

// Where the two names differ, either the one that was there has gone, or others came before it.
std::optional<ControlsChange> SmallChange(const std::vector<ControlsEntry>& before,
                                          const std::vector<ControlsEntry>& after,
                                          size_t sections_max) {
  ControlsChange change;
  auto old = before.begin();
  auto now = after.begin();
  while (old != before.end() || now != after.end()) {
    const size_t changed = change.put.size() + change.removed.size();
    if (changed > sections_max) return std::nullopt;
    if (old != before.end() && now != after.end() && old->domain == now->domain) {
      if (!SayTheSame(*old, *now)) change.put.push_back(*now);
      ++old;
      ++now;
      continue;
    }
    const size_t left = sections_max - changed + 1;
    const auto came =
        old == before.end() ? after.end() : FindSoon(old->domain, now, after.end(), left);
    if (old != before.end() && came == after.end()) {
      change.removed.push_back((old++)->domain);
      continue;
    }
    if (static_cast<size_t>(came - now) > left) return std::nullopt;
    change.put.insert(change.put.end(), now, came);
    now = came;
  }
  const auto is_default = [](absl::string_view domain) { return domain.empty(); };
  const bool of_default =
      std::any_of(change.put.begin(), change.put.end(),
                  [&](const ControlsEntry& entry) { return is_default(entry.domain); }) ||
      std::any_of(change.removed.begin(), change.removed.end(), is_default);
  if (of_default || change.put.size() + change.removed.size() > sections_max) return std::nullopt;
  return change;
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
