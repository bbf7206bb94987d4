#include "policy/controls_keys.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace sluice::policy {
namespace {

using enum ControlsKey;
using enum KeyPlace;

// In the order of ControlsKey.
constexpr ControlsKeyRow kRows[] = {
    {kMaxHostConcurrency, "max_host_concurrency", "concurrency_limit", kAnywhere, 1, 1000, "", ""},
    {kMaxMessagesPerConnection, "max_messages_per_connection", "", kAnywhere, 1, 1000, "", ""},
    {kRecipientMinutes, "recipient_minutes", "recipient_limit_minutes", kAnywhere, 1, 60, "", ""},
    {kRecipientLimit, "recipient_limit", "", kAnywhere, 0, 1'000'000'000, "", ""},
    {kLimitType, "limit_type", "concurrency_limit_type", kAnywhere, 0, 0, "host 0", "MXIP 1"},
    {kLimitApply, "limit_apply", "concurrency_limit_apply", kAnywhere, 0, 0, "system 0", "VG 1"},
    {kIpSortPref, "ip_sort_pref", "", kAnywhere, 0, 0, "", ""},
    {kTableTls, "table_tls", "use_tls", kAnywhere, 0, 0, "", ""},
    {kTlsMin, "tls_min", "", kAnywhere, 0, 0, "", ""},
    {kTlsSni, "tls_sni", "", kAnywhere, 0, 0, "", ""},
    {kTlsAcceptCn, "tls_accept_cn", "", kAnywhere, 0, 0, "", ""},
    {kTlsBrokenMemory, "tls_broken_memory", "", kAnywhere, 0, 0, "", ""},
    {kTlsCaFile, "tls_ca_file", "", kAnywhere, 0, 0, "", ""},
    {kDaneOption, "dane_option", "", kAnywhere, 0, 0, "none", "opportunistic mandatory"},
    {kBounceValidation, "bounce_validation", "bounce_verification", kAnywhere, 0, 0, "off 0",
     "on 1"},
    {kBounceProfile, "bounce_profile", "", kDomainsOnly, 0, 0, "default", "*"},
    {kSendTlsReqAlert, "send_tls_req_alert", "", kDefaultOnly, 0, 0, "", ""},
    {kCertificate, "certificate", "", kAnywhere, 0, 0, "", ""},
};

constexpr bool RowsAreInOrder() {
  for (int i = 0; i < kControlsKeys; ++i) {
    if (kRows[i].key != static_cast<ControlsKey>(i)) return false;
  }
  return true;
}
static_assert(std::size(kRows) == kControlsKeys);
static_assert(RowsAreInOrder());

bool IsOneOf(absl::string_view value, absl::string_view words) {
  const std::vector<absl::string_view> all = absl::StrSplit(words, ' ', absl::SkipEmpty());
  return std::any_of(all.begin(), all.end(),
                     [&](absl::string_view word) { return absl::EqualsIgnoreCase(word, value); });
}

absl::StatusOr<uint32_t> ParseNumber(const ControlsKeyRow& row, absl::string_view value) {
  uint64_t number = 0;
  bool digits = !value.empty();
  for (const char c : value) {
    digits &= c >= '0' && c <= '9';
    number = std::min<uint64_t>(number * 10 + static_cast<uint64_t>(c - '0'), UINT32_MAX);
  }
  if (!digits || number < row.number_min || number > row.number_max) {
    return absl::InvalidArgumentError(
        absl::StrCat("must be a whole number from ", row.number_min, " to ", row.number_max));
  }
  return static_cast<uint32_t>(number);
}

std::string Listed(absl::string_view words, absl::string_view separator) {
  return absl::StrJoin(absl::StrSplit(words, ' ', absl::SkipEmpty()), separator);
}

absl::StatusOr<uint32_t> ParseWord(const ControlsKeyRow& row, absl::string_view value) {
  if (IsOneOf(value, row.words)) return 0;
  if (row.words_unenforced == "*" || IsOneOf(value, row.words_unenforced)) {
    return absl::UnimplementedError(absl::StrCat("this version does not enforce it; leave it out",
                                                 " or write ", Listed(row.words, " or ")));
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "must be one of ", Listed(absl::StrCat(row.words, " ", row.words_unenforced), ", ")));
}

}  // namespace

const ControlsKeyRow& RowOf(ControlsKey key) {
  return kRows[static_cast<int>(key)];
}

const ControlsKeyRow* FindControlsKey(absl::string_view name) {
  if (name.empty()) return nullptr;
  for (const ControlsKeyRow& row : kRows) {
    if (absl::EqualsIgnoreCase(name, row.name)) return &row;
    if (absl::EqualsIgnoreCase(name, row.other_name)) return &row;
  }
  return nullptr;
}

absl::StatusOr<uint32_t> ParseControlsValue(const ControlsKeyRow& row, absl::string_view value) {
  return row.number_max > 0 ? ParseNumber(row, value) : ParseWord(row, value);
}

}  // namespace sluice::policy
