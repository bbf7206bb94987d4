// The certificate that is shown until the operator has one: enough to encrypt, and nobody can
// verify it.

#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/base/time.h"

namespace sluice::tls {

struct DemoCertificate {
  std::string certificate_pem;
  std::string key_pem;  // A secret: to a file that only the engine's user reads.
};

// Self-signed, for `host_name`, an ECDSA key of P-256, valid for ten years from a day before `now`
// (peers' clocks are slow). Key and serial number are drawn by libcrypto: no two are the same.
// Refused: a name that isn't a domain name of at most 253 octets.
absl::StatusOr<DemoCertificate> MakeDemoCertificate(absl::string_view host_name, WallTime now);

}  // namespace sluice::tls
