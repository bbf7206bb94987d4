// Any text as destinations.ini. Either there are errors, each with a line of the text, or the
// entries build a table in which each finds itself, and are read back as they were once they are
// written. The bounce profiles that they name are told, each with its line. The extended profile
// takes whatever the compatible one takes.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/check.h"
#include "policy/controls_file.h"
#include "policy/controls_table.h"
#include "policy/controls_writer.h"

namespace {

using sluice::policy::ControlsEntry;

// Without lines, by domain; with the default, which the file always has.
std::vector<ControlsEntry> Comparable(std::vector<ControlsEntry> entries) {
  const auto is_default = [](const ControlsEntry& entry) { return entry.domain.empty(); };
  if (std::none_of(entries.begin(), entries.end(), is_default)) entries.emplace_back();
  for (ControlsEntry& entry : entries) entry.line = 0;
  std::sort(entries.begin(), entries.end(),
            [](const ControlsEntry& a, const ControlsEntry& b) { return a.domain < b.domain; });
  return entries;
}

void CheckReadBack(const std::vector<ControlsEntry>& entries,
                   sluice::policy::ControlsProfile profile) {
  using namespace sluice::policy;
  const std::string written = WriteControlsFile(entries);
  const ParsedControls read = ParseControlsFile(written, {.profile = profile});
  CHECK(read.errors.empty());
  CHECK(Comparable(read.entries) == Comparable(entries));
  CHECK(WriteControlsFile(read.entries) == written);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace sluice::policy;
  const absl::string_view text(reinterpret_cast<const char*>(bytes), size);
  const ParsedControls parsed = ParseControlsFile(text);
  const auto lines = std::count(text.begin(), text.end(), '\n') + 1;
  int last_line = 1;
  for (const FileError& error : parsed.errors) {
    CHECK(error.line >= last_line);
    CHECK(error.line <= lines);
    CHECK(!error.text.empty());
    last_line = error.line;
  }
  const ParsedControls extended = ParseControlsFile(text, {.profile = ControlsProfile::kExtended});
  CHECK(extended.errors.size() <= parsed.errors.size());
  if (extended.errors.empty()) CheckReadBack(extended.entries, ControlsProfile::kExtended);
  if (!parsed.errors.empty()) return 0;
  CHECK(extended.entries == parsed.entries);

  CheckReadBack(parsed.entries, ControlsProfile::kCompatible);
  const ControlsTable table(parsed.entries);
  for (const ControlsEntry& entry : parsed.entries) {
    if (entry.domain.empty() || entry.domain[0] == '.') continue;
    const Controls& found = table.Lookup(entry.domain);
    if (entry.connections_max) CHECK(found.limits.connections_max == *entry.connections_max);
    if (entry.limits_each_address) CHECK(found.scope.each_address == *entry.limits_each_address);
    if (entry.limits_each_source) CHECK(found.scope.each_source == *entry.limits_each_source);
    if (entry.system_connections_max)
      CHECK(found.system.connections_max == *entry.system_connections_max);
    if (entry.system_recipients_max)
      CHECK(found.system.recipients_max == *entry.system_recipients_max);
    if (entry.tag_sender) CHECK(found.tag_sender == *entry.tag_sender);
    if (entry.bounce_profile) CHECK(found.bounce_profile == *entry.bounce_profile);
    if (entry.tls.level) CHECK(found.tls.level == *entry.tls.level);
    if (entry.tls.broken_memory) CHECK(found.tls.broken_memory == *entry.tls.broken_memory);
  }
  return 0;
}
