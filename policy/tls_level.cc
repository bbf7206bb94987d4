#include "policy/tls_level.h"

#include <iterator>

#include "absl/strings/match.h"

namespace sluice::policy {
namespace {

struct TlsLevelRow {
  TlsLevel level;
  absl::string_view number;
  absl::string_view word;
  absl::string_view long_name;
  bool requires_tls;
  bool verifies;
};

// In the order of TlsLevel.
constexpr TlsLevelRow kRows[] = {
    {TlsLevel::kOff, "0", "off", "No", false, false},
    {TlsLevel::kOn, "1", "on", "Preferred", false, false},
    {TlsLevel::kRequired, "2", "required", "Required", true, false},
    {TlsLevel::kOnVerify, "3", "on_verify", "Preferred - Verify", false, true},
    {TlsLevel::kRequireVerify, "4", "require_verify", "Required - Verify", true, true},
    {TlsLevel::kRequireVerifyHosted, "5", "require_verify_hosted",
     "Required - Verify Hosted Domains", true, true},
};

constexpr bool RowsAreInOrder() {
  for (int i = 0; i < kTlsLevels; ++i) {
    if (kRows[i].level != static_cast<TlsLevel>(i)) return false;
  }
  return true;
}
static_assert(std::size(kRows) == kTlsLevels);
static_assert(RowsAreInOrder());

const TlsLevelRow& RowOf(TlsLevel level) {
  return kRows[static_cast<int>(level)];
}

}  // namespace

std::optional<TlsLevel> ParseTlsLevel(absl::string_view text) {
  for (const TlsLevelRow& row : kRows) {
    if (text == row.number || absl::EqualsIgnoreCase(text, row.word)) return row.level;
  }
  if (absl::EqualsIgnoreCase(text, "require")) return TlsLevel::kRequired;
  return std::nullopt;
}

absl::string_view TlsLevelName(TlsLevel level) {
  return RowOf(level).word;
}

absl::string_view TlsLevelLongName(TlsLevel level) {
  return RowOf(level).long_name;
}

bool Requires(TlsLevel level) {
  return RowOf(level).requires_tls;
}

bool Prefers(TlsLevel level) {
  return level != TlsLevel::kOff && !Requires(level);
}

bool Verifies(TlsLevel level) {
  return RowOf(level).verifies;
}

}  // namespace sluice::policy
