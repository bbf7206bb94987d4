// The verdict on a peer's certificates: is there a good path to a certificate that we trust, and
// whom does the peer's own name? A pure function of what it is given: it reads no clock and no file
// and fetches nothing. Any thread may call it; it takes some tenths of a millisecond, and never
// more than about 0.1 s (certificate_limits.h), so it belongs on the handshake pool.
//
// Revocation is not looked at: there is no OCSP in the practice of mail, and a list that is fetched
// from where the certificate says would let a peer name what we connect to.

#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/time.h"
#include "policy/tls_decision.h"
#include "tls/finding.h"
#include "tls/identity.h"
#include "tls/trust_store.h"

namespace sluice::tls {

struct JudgeOptions {
  // A certificate without any subjectAltName is for its common name, unless a CA above it
  // constrains DNS names. Off by default (RFC 9525).
  bool accept_common_name = false;
};

struct Verdict {
  CertificateFault fault = CertificateFault::kUntrusted;  // Of the path.
  NameKind name = NameKind::kNone;                        // kNone also where the path is not good.

  // Until when the same question has the same answer: of a good path the earliest end of its
  // certificates; of a bad one the next date of any that was sent, since a verdict may become good.
  WallTime valid_until{};

  std::string subject;  // Of the peer's own, by RFC 2253 in printable ASCII; empty if unreadable.
  std::string detail;   // What is wrong, naming the certificate; of a good path, whom it names.

  // For the levels that ask for the recipient domain. The name that the address's PTR record gives
  // is never a reference, though the appliance takes it for one: whoever holds the address writes
  // that record, so it would let every certificate holder stand in for every domain.
  bool MeetsVerify() const;

  // For the level of hosted domains: the recipient domain, or a host of its MX records or route. An
  // MX host is worth what the DNS is worth that named it.
  bool MeetsHosted() const;

  policy::CertificateFinding Finding() const;
};

// A peer's certificates in DER: its own first, and the rest in any order.
using Chain = std::vector<std::vector<std::byte>>;

Verdict Judge(const Chain& chain, const References& references, const TrustStore& trust,
              WallTime now, const JudgeOptions& options = {});

}  // namespace sluice::tls
