// The six levels of TLS that a destination may be set to: their numbers and words in the table's
// file, and their names on the appliance's screens.
//
//   off                    STARTTLS is never sent
//   on                     TLS where the receiver can do it, else in clear
//   required               TLS, or nothing is sent
//   on_verify              as on, and the certificate is looked at; its result changes nothing
//   require_verify         as required, and the certificate must name the recipient domain
//   require_verify_hosted  the same, but it may name an MX host or the route's host instead
//
// The numbers are the file's, not an order of strength: require_verify_hosted accepts more than
// require_verify. tls_decision.h says what each level does with what a receiver does.

#pragma once

#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"

namespace sluice::policy {

enum class TlsLevel : uint8_t {
  kOff = 0,
  kOn = 1,
  kRequired = 2,
  kOnVerify = 3,
  kRequireVerify = 4,
  kRequireVerifyHosted = 5,
};
inline constexpr int kTlsLevels = 6;

// A number or a word in any case; `require` is the batch command's word for `required`.
std::optional<TlsLevel> ParseTlsLevel(absl::string_view text);

// "require_verify": the file's word, and the log's tls_level.
absl::string_view TlsLevelName(TlsLevel level);

// "Required - Verify": the appliance's screens.
absl::string_view TlsLevelLongName(TlsLevel level);

// Either nothing is sent without TLS, or TLS is only preferred, or neither: off.
bool Requires(TlsLevel level);
bool Prefers(TlsLevel level);

// The certificate is looked at.
bool Verifies(TlsLevel level);

}  // namespace sluice::policy
