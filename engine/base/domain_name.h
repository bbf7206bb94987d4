// The one form in which a domain is compared, looked up and counted: A-labels, lower case, no
// trailing dot. `Example.COM.` and `example.com` are one destination, `bücher.example` is
// `xn--bcher-kva.example`.

#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sluice {

// Normalises a domain as it stands in an address or a table. Also takes an address literal
// ("[192.0.2.1]", "[IPv6:2001:db8::1]"), which it returns in its canonical spelling.
// Refused, with the reason: an empty name or label, a label over 63 or a name over 253 octets
// (RFC 1035 2.3.4), characters outside letters, digits, `-`, `_`, an invalid U-label (IDNA2008, by
// libidn2). An ASCII name is handled without a library and without allocating beyond the result.
absl::StatusOr<std::string> NormalizeDomain(absl::string_view text);

bool IsAddressLiteral(absl::string_view domain);

// An FNV-1a hash of a normalised domain: the same in every run and on every machine, so that it may
// decide which shard owns a destination.
uint64_t HashDomain(absl::string_view domain);

}  // namespace sluice
