// Any text as destinations.ini. Either there are errors, each with a line of the text, or the
// entries build a table in which each finds itself.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "engine/base/check.h"
#include "policy/controls_file.h"
#include "policy/controls_table.h"

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
  if (!parsed.errors.empty()) return 0;

  const ControlsTable table(parsed.entries);
  for (const ControlsEntry& entry : parsed.entries) {
    if (entry.domain.empty() || entry.domain[0] == '.') continue;
    const Controls& found = table.Lookup(entry.domain);
    if (entry.connections_max) CHECK(found.connections_max == *entry.connections_max);
    if (entry.tls.level) CHECK(found.tls.level == *entry.tls.level);
    if (entry.tls.broken_memory) CHECK(found.tls.broken_memory == *entry.tls.broken_memory);
  }
  return 0;
}
