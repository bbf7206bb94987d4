// A path of certificates: the peer's own first, each signed by the next, the last one trusted.
// Of one certificate where the peer's own is trusted itself.

#pragma once

#include <span>
#include <vector>

#include "tls/certificate.h"
#include "tls/finding.h"

namespace sluice::tls {

using Path = std::vector<const Certificate*>;

// The faults of its certificates, each in itself, the peer's own first.
Finding CheckCertificates(const Path& path, EpochSeconds now);

// What holds between them: libcrypto's validation (signatures, path lengths, name constraints along
// the whole path, policies), and the DNS names that constraints forbid in ways it overlooks. Dates
// are not looked at.
Finding CheckPath(const Path& path);

// Whether a CA of the path constrains DNS names.
bool ConstrainsDns(const Path& path);

}  // namespace sluice::tls
