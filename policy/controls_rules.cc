#include "policy/controls_rules.h"

#include "absl/strings/str_cat.h"
#include "engine/base/time.h"
#include "policy/tls_level.h"

namespace sluice::policy {
namespace {

using enum ControlsKey;

struct NeedRow {
  KeyNeed need;
  bool in_default;
};

constexpr NeedRow kNeeds[] = {
    {{kRecipientMinutes, kRecipientLimit}, true},
    {{kRecipientLimit, kRecipientMinutes}, true},
    {{kMaxHostConcurrency, kLimitType}, false},
    {{kMaxHostConcurrency, kLimitApply}, false},
    {{kRecipientLimit, kLimitType}, false},
    {{kRecipientLimit, kLimitApply}, false},
    {{kSystemRecipientMinutes, kSystemRecipientLimit}, true},
    {{kSystemRecipientLimit, kSystemRecipientMinutes}, true},
};

}  // namespace

absl::Status CheckPlace(const ControlsKeyRow& row, bool is_default) {
  if (row.place == KeyPlace::kDefaultOnly && !is_default) {
    return absl::InvalidArgumentError(absl::StrCat(row.name, " may stand in [DEFAULT] only"));
  }
  if (row.place == KeyPlace::kDomainsOnly && is_default) {
    return absl::InvalidArgumentError(absl::StrCat(row.name, " may not stand in [DEFAULT]"));
  }
  return absl::OkStatus();
}

std::vector<KeyNeed> UnmetNeeds(const GivenKeys& given, bool is_default) {
  std::vector<KeyNeed> unmet;
  for (const NeedRow& row : kNeeds) {
    if (is_default && !row.in_default) continue;
    if (Gives(given, row.need.key) && !Gives(given, row.need.needed)) unmet.push_back(row.need);
  }
  return unmet;
}

std::string NeedText(const KeyNeed& need) {
  return absl::StrCat("the section gives ", RowOf(need.key).name, " and so must give ",
                      RowOf(need.needed).name);
}

// A memory that would never be heeded was meant for another level: to forget TLS where it is
// required would be to send in clear.
absl::Status CheckBrokenMemory(const TlsEntry& tls, TlsLevel default_level) {
  const TlsLevel level = tls.level.value_or(default_level);
  const bool remembers = tls.broken_memory.value_or(Duration::zero()) > Duration::zero();
  if (!remembers || Prefers(level)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("tls_broken_memory is for table_tls = on or on_verify, and not for ",
                   TlsLevelName(level), ", which holds here"));
}

}  // namespace sluice::policy
