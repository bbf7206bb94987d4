// What the keys of destination controls demand of each other and of the section that gives them,
// beside what each value must be. The same for the file and for a command.

#pragma once

#include <bitset>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "policy/controls_keys.h"
#include "policy/tls_controls.h"

namespace sluice::policy {

using GivenKeys = std::bitset<kControlsKeys>;

inline bool Gives(const GivenKeys& given, ControlsKey key) {
  return given.test(static_cast<size_t>(key));
}

// The key may stand in [DEFAULT], or in a domain's section.
absl::Status CheckPlace(const ControlsKeyRow& row, bool is_default);

// A recipient limit and its minutes need each other, as do those of the whole destination
// (system_). In a domain's section a limit needs its kind, limit_type and limit_apply; in [DEFAULT]
// the kind has a factory value. The limits of the whole destination have no kind.
struct KeyNeed {
  ControlsKey key;     // Given.
  ControlsKey needed;  // Not given.
};
std::vector<KeyNeed> UnmetNeeds(const GivenKeys& given, bool is_default);

// "the section gives recipient_limit and so must give recipient_minutes"
std::string NeedText(const KeyNeed& need);

// A memory of broken TLS may be given only where the level prefers TLS. One that is inherited is no
// error, and 0 is none.
absl::Status CheckBrokenMemory(const TlsEntry& tls, TlsLevel default_level);

}  // namespace sluice::policy
