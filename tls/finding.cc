#include "tls/finding.h"

#include "absl/strings/str_cat.h"
#include "tls/certificate.h"

namespace sluice::tls {

absl::string_view CertificateFaultWord(CertificateFault fault) {
  switch (fault) {
    case CertificateFault::kNone:
      return "";
    case CertificateFault::kUntrusted:
      return "untrusted";
    case CertificateFault::kExpired:
      return "expired";
    case CertificateFault::kNotYetValid:
      return "not-yet-valid";
    case CertificateFault::kWeakKey:
      return "weak-key";
    case CertificateFault::kMalformed:
      return "malformed";
    case CertificateFault::kBadChain:
      return "bad-chain";
  }
  return "";
}

Finding FoundIn(const Certificate& certificate, CertificateFault fault, absl::string_view what) {
  const std::string subject = certificate.Subject();
  return {fault, absl::StrCat(subject.empty() ? "(empty subject)" : subject, ": ", what)};
}

}  // namespace sluice::tls
