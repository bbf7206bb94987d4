// A message out of its wire form: without the dots that were stuffed before dots, and without the
// last line, which is a dot (RFC 5321 4.5.2). Lines end in CRLF.

#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace sluice::tools {

class DotRemover {
 public:
  // Pieces of the wire form, in order, cut anywhere.
  std::string Take(absl::string_view wire);

 private:
  bool at_line_begin_ = true;
  bool behind_dot_ = false;  // The line's first dot is held back: it is none of the message's.
  bool behind_cr_ = false;   // The CR before this byte; also one behind that dot.
};

}  // namespace sluice::tools
