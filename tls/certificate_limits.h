// The bounds of judging a peer's certificates, each with the reason for its size. Beyond any of
// them the chain is refused.

#pragma once

#include <chrono>
#include <cstddef>

#include "engine/base/time.h"

namespace sluice::tls::limits {

// Certificates that a peer may send. Three or four are usual, a well-meant bundle of cross-signed
// ones has a dozen, and the largest graph in the public suites of path building has 36.
inline constexpr size_t kChainCertificatesMax = 50;

// Their bytes: what OpenSSL's own client takes (SSL_MAX_CERT_LIST_DEFAULT). Certificates with a
// hundred names have some 10 KB.
inline constexpr size_t kChainBytesMax = 100 << 10;

// Certificates of one path, both ends included. The web's longest have five.
inline constexpr size_t kPathCertificatesMax = 12;

// Signatures that are checked for one verdict. At 1 ms for the slowest kind (P-521) the worst peer
// costs 0.1 s of a pool thread; an honest chain needs two to four.
inline constexpr int kSignatureChecksMax = 100;

// Steps of the search for a path, each a comparison of names, key identifiers and keys: 50 ms at
// most. A chain as it should be takes some ten.
inline constexpr int kSearchStepsMax = 3'000;

// RSA moduli beyond this cost more to check than any certificate in use is worth.
inline constexpr int kRsaBitsMax = 8192;
inline constexpr int kRsaBitsMin = 2048;

// Of a subject, what a log line takes.
inline constexpr size_t kSubjectBytesMax = 256;

// A file of trusted certificates: the system's has 140 in 220 KB.
inline constexpr size_t kTrustFileBytesMax = 16 << 20;
inline constexpr size_t kTrustedCertificatesMax = 10'000;

// A certificate or key of our own.
inline constexpr size_t kKeyFileBytesMax = 1 << 20;

// Verdicts that are kept: at about 1 KB each, for four times the destinations that a busy machine
// speaks to within an hour.
inline constexpr size_t kVerdictsMax = 4096;

// How long a verdict is kept at most: the operator who mends a certificate or the clock waits no
// longer than for a retry.
inline constexpr Duration kVerdictKept = std::chrono::hours(1);

}  // namespace sluice::tls::limits
