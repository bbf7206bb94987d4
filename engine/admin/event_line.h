// One event as one line of the delivery log: a JSON object and a newline.
//
// Field names are KumoMTA's where the meaning is the same, so that its tools read ours; README.md
// has the table. What comes from a peer (addresses, names, replies) is text of an enemy's making:
// whatever bytes it holds, the line is one line, is valid JSON, and moves no terminal (F26).

#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "engine/base/time.h"
#include "engine/delivery/event.h"

namespace sluice::admin {

void AppendEventLine(const delivery::Event& event, std::string& out);

// Says how many events had to be dropped since the line before.
void AppendDroppedLine(uint64_t count, uint32_t shard, WallTime last, std::string& out);

// `text` as a JSON string with its quotes. Escaped as \u00XX: controls of both sets (C0, DEL, C1),
// and each byte that is not part of valid UTF-8 (RFC 3629); also the line and paragraph separators
// U+2028 and U+2029, which some readers take for the end of a line.
void AppendJsonString(absl::string_view text, std::string& out);

}  // namespace sluice::admin
