#include "policy/quoted.h"

#include <cstddef>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace sluice::policy {
namespace {

// A domain's length, so that no sensible line is cut.
constexpr size_t kQuotedBytesMax = 255;

}  // namespace

std::string Quoted(absl::string_view text) {
  const absl::string_view shown = text.substr(0, kQuotedBytesMax);
  return absl::StrCat("\"", absl::Utf8SafeCHexEscape(shown),
                      shown.size() < text.size() ? "…\"" : "\"");
}

}  // namespace sluice::policy
