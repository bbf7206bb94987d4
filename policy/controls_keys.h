// The keys of the destination controls: their names (the file's and the batch command's), where
// each may stand, and which values it takes, if those are numbers or one of two words.
// controls_values.h reads the others.
//
// The appliance's keys are all known here. Of the one that this version does not enforce,
// dane_option, only the value that asks for nothing is accepted.

#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sluice::policy {

enum class ControlsKey : uint8_t {
  kMaxHostConcurrency,
  kMaxMessagesPerConnection,
  kRecipientMinutes,
  kRecipientLimit,
  kLimitType,
  kLimitApply,
  kSystemConcurrency,
  kSystemRecipientMinutes,
  kSystemRecipientLimit,
  kIpSortPref,
  kTableTls,
  kTlsMin,
  kTlsSni,
  kTlsAcceptCn,
  kTlsBrokenMemory,
  kTlsCaFile,
  kDaneOption,
  kBounceValidation,
  kBounceProfile,
  kSendTlsReqAlert,
  kCertificate,
};
inline constexpr int kControlsKeys = 21;

// How high limits may be: as on the appliance, or as far as this engine goes.
enum class ControlsProfile : uint8_t { kCompatible, kExtended };

enum class KeyPlace : uint8_t { kAnywhere, kDefaultOnly, kDomainsOnly };

struct ControlsKeyRow {
  ControlsKey key;
  absl::string_view name;
  absl::string_view other_name;  // In the batch form; empty if it is the same.
  KeyPlace place;
  // A number within these, or, when the second is 0, a word. Words are separated by blanks, the
  // canonical one first. Neither for the keys that controls_values.h reads.
  uint32_t number_min = 0;
  uint32_t number_max = 0;
  uint32_t number_max_extended = 0;         // Where the profile is extended.
  absl::string_view words = {};             // The factory's value: 0.
  absl::string_view other_words = {};       // The other value: 1.
  absl::string_view words_unenforced = {};  // Known, and not enforced by this version.
};

const ControlsKeyRow& RowOf(ControlsKey key);

// By either name, in any case. Null: there is no such key.
const ControlsKeyRow* FindControlsKey(absl::string_view name);

// The most that a key with a number takes.
uint32_t NumberMax(const ControlsKeyRow& row, ControlsProfile profile);

// Of a key that takes a number or words: the number, or which of the two values a word is. The
// error says what the value must be, for a sentence that begins with the key and its value.
absl::StatusOr<uint32_t> ParseControlsValue(const ControlsKeyRow& row, absl::string_view value,
                                            ControlsProfile profile = ControlsProfile::kCompatible);

// The canonical word of a key with words; `other`: of its value 1.
std::string WordOf(ControlsKey key, bool other);

}  // namespace sluice::policy
