#include "policy/controls_explain.h"

#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "policy/controls_keys.h"
#include "policy/controls_section.h"
#include "policy/controls_text.h"
#include "policy/tls_level.h"

namespace sluice::policy {
namespace {

// The entries that speak for a domain. Null: there is none.
struct Speakers {
  const ControlsEntry* matched = nullptr;  // Not the default.
  const ControlsEntry* by_default = nullptr;
};

// Of all that match, the exact one is the longest, and then the longest partial domain.
bool Matches(const ControlsEntry& entry, absl::string_view domain) {
  if (entry.domain == domain) return true;
  const bool partial = absl::StartsWith(entry.domain, ".");
  return partial && absl::EndsWith(domain, entry.domain) && domain.size() > entry.domain.size();
}

Speakers Find(const std::vector<ControlsEntry>& entries, absl::string_view domain) {
  Speakers speakers;
  size_t longest = 0;
  for (const ControlsEntry& entry : entries) {
    if (entry.domain.empty()) {
      speakers.by_default = &entry;
    } else if (Matches(entry, domain) && entry.domain.size() > longest) {
      speakers.matched = &entry;
      longest = entry.domain.size();
    }
  }
  return speakers;
}

EffectiveField FieldOf(ControlsKey key, const Speakers& speakers) {
  const auto said_by = [key](const ControlsEntry* entry) {
    return entry == nullptr ? std::nullopt : ControlsText(key, *entry);
  };
  const absl::string_view name = RowOf(key).name;
  if (const auto text = said_by(speakers.matched)) return {name, *text, ControlsOrigin::kEntry};
  if (const auto text = said_by(speakers.by_default))
    return {name, *text, ControlsOrigin::kDefault};
  return {name, FactoryText(key), ControlsOrigin::kBuiltIn};
}

void SilenceBrokenMemory(std::vector<EffectiveField>& fields) {
  const EffectiveField& level = fields[static_cast<size_t>(ControlsKey::kTableTls)];
  EffectiveField& memory = fields[static_cast<size_t>(ControlsKey::kTlsBrokenMemory)];
  const std::optional<TlsLevel> parsed = ParseTlsLevel(level.value);
  if (memory.value == "0" || (parsed && Prefers(*parsed))) return;
  memory.value = "0";
  memory.origin = level.origin;
}

std::string Place(absl::string_view section, int line) {
  return line == 0 ? std::string(section) : absl::StrCat(section, " (line ", line, ")");
}

}  // namespace

ExplainedControls Explain(const std::vector<ControlsEntry>& entries, absl::string_view domain) {
  const Speakers speakers = Find(entries, domain);
  ExplainedControls explained;
  if (speakers.by_default != nullptr) explained.default_line = speakers.by_default->line;
  explained.section = SectionName("");
  explained.line = explained.default_line;
  if (speakers.matched != nullptr) {
    const bool exact = speakers.matched->domain == domain;
    explained.match = exact ? ControlsMatch::kExact : ControlsMatch::kPartial;
    explained.section = SectionName(speakers.matched->domain);
    explained.line = speakers.matched->line;
  }
  for (int i = 0; i < kControlsKeys; ++i) {
    explained.fields.push_back(FieldOf(static_cast<ControlsKey>(i), speakers));
  }
  SilenceBrokenMemory(explained.fields);
  return explained;
}

std::string OriginText(const ExplainedControls& explained, ControlsOrigin origin) {
  switch (origin) {
    case ControlsOrigin::kEntry:
      return Place(explained.section, explained.line);
    case ControlsOrigin::kDefault:
      return Place(SectionName(""), explained.default_line);
    case ControlsOrigin::kBuiltIn:
      break;
  }
  return "built in";
}

std::string MatchText(const ExplainedControls& explained) {
  const std::string place = Place(explained.section, explained.line);
  switch (explained.match) {
    case ControlsMatch::kExact:
      return absl::StrCat(place, ", exactly");
    case ControlsMatch::kPartial:
      return absl::StrCat(place, ", by partial domain");
    case ControlsMatch::kDefault:
      break;
  }
  return place;
}

}  // namespace sluice::policy
