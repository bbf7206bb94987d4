// Text of others in a sentence: between quotes, what cannot be printed escaped, and cut where no
// sensible line is as long.

#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace sluice::policy {

std::string Quoted(absl::string_view text);

}  // namespace sluice::policy
