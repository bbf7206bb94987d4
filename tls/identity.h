// Whom does a certificate name? RFC 9525: the names that it presents, held against the names that
// we set out to reach. Text only; the certificate is read elsewhere.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace sluice::tls {

// Which of our references a certificate names; the best one, in this order.
enum class NameKind : uint8_t {
  kNone,
  kDomain,     // The recipient domain.
  kMxHost,     // A host of its MX records. As good as the DNS that named it.
  kRouteHost,  // The host of the domain's entry in the routes table.
};

// "none", "domain", "mx-host", "route-host".
absl::string_view NameKindWord(NameKind kind);

// What we set out to reach. Each is a domain name in any spelling that NormalizeDomain takes, an
// address literal ("[192.0.2.1]"), or the text of an IP address; anything else names nobody.
struct References {
  std::string domain;
  std::vector<std::string> mx_hosts;
  std::vector<std::string> route_hosts;

  bool operator==(const References&) const = default;
};

// What a certificate calls itself. URI and e-mail names are not among it: they never name a host.
struct PresentedNames {
  bool has_alternative_names = false;  // A subjectAltName of whatever kinds.
  std::vector<std::string> dns;        // As they stand, so also with NULs and blanks.
  std::vector<std::string> addresses;  // The octets of each iPAddress.
  std::string common_name;             // The most specific one of the subject, in UTF-8.
};

// Whether the presented DNS-ID names `host`, which is a domain in its normal form.
//
// Presented: letters, digits and hyphens in A-labels of any case, with or without a last dot. `*`
// stands only as the whole leftmost label, for exactly one label, with at least two behind it. A
// name with any other octet names nobody (an underscore included: it is no host's).
bool DnsIdNames(absl::string_view presented, absl::string_view host);

// Whether it is spelled in the one way that name constraints are compared in: non-empty labels of
// letters, digits, hyphens and underscores, no last dot, `*` at most as the whole leftmost label.
bool IsPlainDnsId(absl::string_view presented);

// An IP address is named only by the octets of an iPAddress, never by text. `accept_common_name`:
// where there is no subjectAltName at all, the common name is read as a DNS-ID.
NameKind MatchNames(const PresentedNames& presented, const References& references,
                    bool accept_common_name);

}  // namespace sluice::tls
