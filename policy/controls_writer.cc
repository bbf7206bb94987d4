#include "policy/controls_writer.h"

#include <map>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "policy/controls_keys.h"
#include "policy/controls_rules.h"
#include "policy/controls_section.h"
#include "policy/controls_text.h"

namespace sluice::policy {
namespace {

void AppendLine(ControlsKey key, absl::string_view value, std::string& text) {
  absl::StrAppend(&text, RowOf(key).name, " = ", value, "\n");
}

// The kind of limit is written in [DEFAULT], too, where the appliance asks for it.
GivenKeys NeededBy(const ControlsEntry& entry) {
  GivenKeys needed;
  for (const KeyNeed& need : UnmetNeeds(GivenBy(entry), /*is_default=*/false)) {
    needed.set(static_cast<size_t>(need.needed));
  }
  return needed;
}

void AppendSection(const ControlsEntry& entry, std::string& text) {
  absl::StrAppend(&text, text.empty() ? "" : "\n", "[", SectionName(entry.domain), "]\n");
  const GivenKeys needed = NeededBy(entry);
  for (int i = 0; i < kControlsKeys; ++i) {
    const ControlsKey key = static_cast<ControlsKey>(i);
    if (const std::optional<std::string> value = ControlsText(key, entry)) {
      AppendLine(key, *value, text);
    } else if (Gives(needed, key)) {
      AppendLine(key, FactoryText(key), text);
    }
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
