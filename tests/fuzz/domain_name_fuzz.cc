// Any text as a domain. What is accepted is within the bounds of RFC 1035, in the alphabet of the
// normal form, and its own normal form.

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/string_view.h"
#include "engine/base/check.h"
#include "engine/base/domain_name.h"

namespace {

bool IsNormalCharacter(char c) {
  return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-' || c == '_' || c == '.';
}

void CheckName(absl::string_view name) {
  CHECK(!name.empty());
  CHECK(name.size() <= 253);
  CHECK(name.front() != '.');
  CHECK(name.back() != '.');
  size_t label_octets = 0;
  for (const char c : name) {
    CHECK(IsNormalCharacter(c));
    label_octets = c == '.' ? 0 : label_octets + 1;
    CHECK(label_octets <= 63);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(bytes), size);
  const absl::StatusOr<std::string> domain = sluice::NormalizeDomain(text);
  if (!domain.ok()) {
    CHECK(!domain.status().message().empty());
    return 0;
  }
  if (!sluice::IsAddressLiteral(*domain)) CheckName(*domain);
  const absl::StatusOr<std::string> again = sluice::NormalizeDomain(*domain);
  CHECK(again.ok());
  CHECK(*again == *domain);
  return 0;
}
