#include "tools/sluice/console.h"

#include <istream>
#include <ostream>

namespace sluice::tools {

void StreamConsole::Write(absl::string_view text) {
  out_ << text << std::flush;
}

Line StreamConsole::Ask(const Prompt& prompt) {
  out_ << prompt.text << std::flush;
  Line line;
  if (!std::getline(in_, line.text)) {
    out_ << std::endl;
    return {.kind = Line::Kind::kEnd};
  }
  if (scripted_) out_ << line.text << std::endl;
  return line;
}

}  // namespace sluice::tools
