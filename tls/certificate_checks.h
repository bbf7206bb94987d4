// What a certificate must be in itself to stand in a path, whoever signed it: RFC 5280's profile
// where it bears on safety, and a lower bound on strength. libcrypto checks the path (signatures,
// path lengths, name constraints, policies); what it lacks or takes otherwise is here:
//
//   - dates to the second, both ends included, and only in RFC 5280's form (libcrypto holds a
//     certificate expired in its last second);
//   - version 3 everywhere, basicConstraints in every CA, the trusted one included;
//   - extended key usage of every certificate of the path, without the old server-gated usages;
//   - extensions that don't parse, aren't DER, stand twice, or are critical and unknown;
//   - keys: RSA from 2048 bits in whole octets, or the named curves and Edwards keys; no DSA;
//   - constraints where they have no meaning: in a leaf, or empty.
//
// Not refused, though RFC 5280 or the web's rules would have it otherwise: identifiers of keys that
// are missing or odd, serial numbers of zero or less, extensions that should be critical and are
// not. They lend nobody any power, and private CAs, of which mail has many, leave them so.

#pragma once

#include "tls/certificate.h"
#include "tls/finding.h"

namespace sluice::tls {

// Where in a path it stands.
struct Place {
  bool issues = false;   // It signed the one below; else it is the peer's own.
  bool trusted = false;  // It is in the trust store: its own signature counts for nothing.
};

Finding CheckCertificate(const Certificate& certificate, Place place, EpochSeconds now);

}  // namespace sluice::tls
