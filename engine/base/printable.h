// Text of strangers for a person's eyes: a log, a terminal, a reply.

#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace sluice {

// A '?' for each byte that is not printable ASCII: nothing can end a line or command a terminal.
std::string Printable(absl::string_view text);

}  // namespace sluice
