#include "tls/identity.h"

#include <algorithm>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "engine/base/domain_name.h"
#include "engine/base/ip_address.h"

namespace sluice::tls {
namespace {

constexpr size_t kNameOctetsMax = 253;
constexpr size_t kLabelOctetsMax = 63;

bool IsLabel(absl::string_view label) {
  if (label.empty() || label.size() > kLabelOctetsMax) return false;
  return std::all_of(label.begin(), label.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_';
  });
}

// How many labels the name has; 0 if one of them is none.
int LabelsOf(absl::string_view name) {
  if (name.size() > kNameOctetsMax) return 0;
  int labels = 1;
  for (size_t dot = name.find('.'); dot != name.npos; dot = name.find('.')) {
    if (!IsLabel(name.substr(0, dot))) return 0;
    name.remove_prefix(dot + 1);
    ++labels;
  }
  return IsLabel(name) ? labels : 0;
}

bool IsHostName(absl::string_view name, int labels_min) {
  return LabelsOf(name) >= labels_min && !absl::StrContains(name, '_');
}

// The address that a reference stands for, if it stands for one.
std::optional<IpAddress> AddressOf(absl::string_view reference) {
  if (IsAddressLiteral(reference)) {
    absl::ConsumePrefix(&reference, "[");
    absl::ConsumeSuffix(&reference, "]");
    if (absl::StartsWithIgnoreCase(reference, "IPv6:")) reference.remove_prefix(5);
  }
  return IpAddress::Parse(reference);
}

bool PresentsAddress(const PresentedNames& presented, const IpAddress& address) {
  const size_t octets = address.family == Family::kIpv4 ? 4 : 16;
  const absl::string_view wanted(reinterpret_cast<const char*>(address.bytes.data()), octets);
  return std::any_of(presented.addresses.begin(), presented.addresses.end(),
                     [&](const std::string& one) { return one == wanted; });
}

bool PresentsHost(const PresentedNames& presented, absl::string_view host,
                  bool accept_common_name) {
  if (!presented.has_alternative_names) {
    return accept_common_name && DnsIdNames(presented.common_name, host);
  }
  return std::any_of(presented.dns.begin(), presented.dns.end(),
                     [&](const std::string& name) { return DnsIdNames(name, host); });
}

bool Presents(const PresentedNames& presented, absl::string_view reference,
              bool accept_common_name) {
  if (reference.empty()) return false;
  if (const auto address = AddressOf(reference)) return PresentsAddress(presented, *address);
  const auto host = NormalizeDomain(reference);
  return host.ok() && PresentsHost(presented, *host, accept_common_name);
}

}  // namespace

absl::string_view NameKindWord(NameKind kind) {
  switch (kind) {
    case NameKind::kNone:
      return "none";
    case NameKind::kDomain:
      return "domain";
    case NameKind::kMxHost:
      return "mx-host";
    case NameKind::kRouteHost:
      return "route-host";
  }
  return "";
}

bool DnsIdNames(absl::string_view presented, absl::string_view host) {
  absl::ConsumeSuffix(&presented, ".");
  if (!absl::ConsumePrefix(&presented, "*.")) {
    return IsHostName(presented, 1) && absl::EqualsIgnoreCase(presented, host);
  }
  const size_t dot = host.find('.');
  return IsHostName(presented, 2) && dot != host.npos && dot > 0 &&
         absl::EqualsIgnoreCase(presented, host.substr(dot + 1));
}

bool IsPlainDnsId(absl::string_view presented) {
  absl::ConsumePrefix(&presented, "*.");
  return LabelsOf(presented) > 0;
}

NameKind MatchNames(const PresentedNames& presented, const References& references,
                    bool accept_common_name) {
  const auto named = [&](const std::string& reference) {
    return Presents(presented, reference, accept_common_name);
  };
  if (named(references.domain)) return NameKind::kDomain;
  if (std::any_of(references.mx_hosts.begin(), references.mx_hosts.end(), named)) {
    return NameKind::kMxHost;
  }
  if (std::any_of(references.route_hosts.begin(), references.route_hosts.end(), named)) {
    return NameKind::kRouteHost;
  }
  return NameKind::kNone;
}

}  // namespace sluice::tls
