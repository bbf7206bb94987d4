// The text of messages that we write ourselves: bounces and alerts.

#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "engine/base/time.h"

namespace sluice::delivery {

struct OwnHeaderFacts {
  absl::string_view hostname;
  absl::string_view id;
  absl::string_view to;
  absl::string_view subject;
  WallTime now{};
};

// The header with its empty line, in wire form.
std::string OwnHeader(const OwnHeaderFacts& facts);

// Appends one line of text as wire lines: printable ASCII only, folded by indented lines, so that
// no line begins with a dot and nothing needs stuffing.
void AppendText(absl::string_view text, std::string& out);

}  // namespace sluice::delivery
