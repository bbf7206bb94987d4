#include "engine/base/printable.h"

#include "absl/strings/ascii.h"

namespace sluice {

std::string Printable(absl::string_view text) {
  std::string printable(text);
  for (char& c : printable) {
    if (!absl::ascii_isprint(static_cast<unsigned char>(c))) c = '?';
  }
  return printable;
}

}  // namespace sluice
