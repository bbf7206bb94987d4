// What is wrong with a certificate or with a path of them: the fault of a fixed list, and one
// sentence that names the certificate and the check.

#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace sluice::tls {

enum class CertificateFault : uint8_t {
  kNone,
  kUntrusted,    // Nothing leads to a trusted certificate: an unknown CA, or self-signed.
  kExpired,      // It, or one above it.
  kNotYetValid,  // It, or one above it.
  kWeakKey,      // A key or a signature too weak to prove anything.
  kMalformed,    // It can't be read, or is beyond a bound.
  kBadChain,     // It, or one above it, may not do this: usage, constraints, signature.
};

// As logs have it: "untrusted", "expired", "not-yet-valid", "weak-key", "malformed", "bad-chain";
// empty for kNone.
absl::string_view CertificateFaultWord(CertificateFault fault);

// The word where the path is good and the name is not.
inline constexpr absl::string_view kNameFaultWord = "name";

class Certificate;

struct Finding {
  CertificateFault fault = CertificateFault::kNone;
  std::string detail;

  bool Any() const { return fault != CertificateFault::kNone; }
};

// "CN=mx.example.net: WHAT".
Finding FoundIn(const Certificate& certificate, CertificateFault fault, absl::string_view what);

}  // namespace sluice::tls
