#include "tools/sluice/dot_remover.h"

namespace sluice::tools {

// The first dot of a line is never the message's. So all that is to be known of the last line is
// that CRLF directly behind such a dot is not the message's either.
std::string DotRemover::Take(absl::string_view wire) {
  std::string message;
  message.reserve(wire.size() + 1);
  for (const char c : wire) {
    if (at_line_begin_ && c == '.') {
      at_line_begin_ = false;
      behind_dot_ = true;
      continue;
    }
    at_line_begin_ = behind_cr_ && c == '\n';
    const bool ends_all = behind_dot_ && (c == '\r' || at_line_begin_);
    behind_cr_ = c == '\r';
    if (ends_all) continue;
    behind_dot_ = false;
    message += c;
  }
  return message;
}

}  // namespace sluice::tools
