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

// Of connections, and of messages on one.
constexpr uint32_t kCompatibleMax = 1000;
constexpr uint32_t kExtendedMax = 1'000'000;

constexpr uint32_t kRecipientsMax = 1'000'000'000;

// In the order of ControlsKey.
constexpr ControlsKeyRow kRows[] = {
    {kMaxHostConcurrency, "max_host_concurrency", "concurrency_limit", kAnywhere, 1, kCompatibleMax,
     kExtendedMax},
    {kMaxMessagesPerConnection, "max_messages_per_connection", "", kAnywhere, 1, kCompatibleMax,
     kExtendedMax},
    {kRecipientMinutes, "recipient_minutes", "recipient_limit_minutes", kAnywhere, 1, 60, 60},
    {kRecipientLimit, "recipient_limit", "", kAnywhere, 0, kRecipientsMax, kRecipientsMax},
    {kLimitType, "limit_type", "concurrency_limit_type", kAnywhere, 0, 0, 0, "host 0", "MXIP 1"},
    {kLimitApply, "limit_apply", "concurrency_limit_apply", kAnywhere, 0, 0, 0, "system 0", "VG 1"},
    {kSystemConcurrency, "system_concurrency", "", kAnywhere, 1, kCompatibleMax, kExtendedMax},
    {kSystemRecipientMinutes, "system_recipient_minutes", "", kAnywhere, 1, 60, 60},
    {kSystemRecipientLimit, "system_recipient_limit", "", kAnywhere, 0, kRecipientsMax,
     kRecipientsMax},
    {kIpSortPref, "ip_sort_pref", "", kAnywhere},
    {kTableTls, "table_tls", "use_tls", kAnywhere},
    {kTlsMin, "tls_min", "", kAnywhere},
    {kTlsSni, "tls_sni", "", kAnywhere},
    {kTlsAcceptCn, "tls_accept_cn", "", kAnywhere},
    {kTlsBrokenMemory, "tls_broken_memory", "", kAnywhere},
    {kTlsCaFile, "tls_ca_file", "", kAnywhere},
    {kDaneOption, "dane_option", "", kAnywhere, 0, 0, 0, "none", "", "opportunistic mandatory"},
    {kBounceValidation, "bounce_validation", "bounce_verification", kAnywhere, 0, 0, 0, "off 0",
     "on 1"},
    {kBounceProfile, "bounce_profile", "", kDomainsOnly},
    {kSendTlsReqAlert, "send_tls_req_alert", "", kDefaultOnly},
    {kCertificate, "certificate", "", kAnywhere},
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

absl::StatusOr<uint32_t> ParseNumber(const ControlsKeyRow& row, absl::string_view value,
                                     ControlsProfile profile) {
  uint64_t number = 0;
  bool digits = !value.empty();
  for (const char c : value) {
    digits &= c >= '0' && c <= '9';
    number = std::min<uint64_t>(number * 10 + static_cast<uint64_t>(c - '0'), UINT32_MAX);
  }
  const uint32_t most = NumberMax(row, profile);
  if (digits && number >= row.number_min && number <= most) return static_cast<uint32_t>(number);
  std::string error = absl::StrCat("must be a whole number from ", row.number_min, " to ", most);
  if (digits && number > most && row.number_max_extended > most) {
    absl::StrAppend(&error,
                    "; profile = \"extended\" in [destinations] of sluice.toml allows up to ",
                    row.number_max_extended);
  }
  return absl::InvalidArgumentError(error);
}

absl::StatusOr<uint32_t> ParseWord(const ControlsKeyRow& row, absl::string_view value) {
  if (IsOneOf(value, row.words)) return 0;
  if (IsOneOf(value, row.other_words)) return 1;
  if (IsOneOf(value, row.words_unenforced)) {
    return absl::UnimplementedError(
        absl::StrCat("this version does not enforce it; leave it out or write ", row.words));
  }
  std::vector<absl::string_view> all;
  for (const absl::string_view words : {row.words, row.other_words, row.words_unenforced}) {
    for (const absl::string_view word : absl::StrSplit(words, ' ', absl::SkipEmpty())) {
      all.push_back(word);
    }
  }
  return absl::InvalidArgumentError(absl::StrCat("must be one of ", absl::StrJoin(all, ", ")));
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

uint32_t NumberMax(const ControlsKeyRow& row, ControlsProfile profile) {
  return profile == ControlsProfile::kExtended ? row.number_max_extended : row.number_max;
}

absl::StatusOr<uint32_t> ParseControlsValue(const ControlsKeyRow& row, absl::string_view value,
                                            ControlsProfile profile) {
  return row.number_max > 0 ? ParseNumber(row, value, profile) : ParseWord(row, value);
}

std::string WordOf(ControlsKey key, bool other) {
  const absl::string_view words = other ? RowOf(key).other_words : RowOf(key).words;
  return std::string(words.substr(0, words.find(' ')));
}

}  // namespace sluice::policy
