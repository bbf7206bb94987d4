#include "policy/controls_writer.h"

#include <map>
#include <optional>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "policy/controls_keys.h"
#include "policy/controls_rules.h"
#include "policy/controls_section.h"
#include "policy/controls_text.h"

namespace sluice::policy {
namespace {

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
  const ControlsEntry empty_default;
  std::map<SectionPlace, const ControlsEntry*> sections = {{SectionPlace(""), &empty_default}};
  for (const ControlsEntry& entry : entries) sections[SectionPlace(entry.domain)] = &entry;
  std::string text;
  for (const auto& [place, entry] : sections) AppendSection(*entry, text);
  return text;
}

}  // namespace sluice::policy
