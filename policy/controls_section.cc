#include "policy/controls_section.h"

#include <optional>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/base/domain_name.h"
#include "engine/base/ip_address.h"

namespace sluice::policy {
namespace {

absl::StatusOr<std::string> PartialDomain(absl::string_view text) {
  absl::StatusOr<std::string> domain = NormalizeDomain(text.substr(1));
  if (!domain.ok()) return domain;
  if (IsAddressLiteral(*domain)) {
    return absl::InvalidArgumentError("an address has no partial domain");
  }
  return absl::StrCat(".", *domain);
}

std::string AddressName(absl::string_view literal) {
  absl::ConsumePrefix(&literal, "[");
  absl::ConsumePrefix(&literal, "IPv6:");
  absl::ConsumeSuffix(&literal, "]");
  return std::string(literal);
}

}  // namespace

absl::StatusOr<std::string> ParseSectionName(absl::string_view name) {
  if (absl::EqualsIgnoreCase(name, "DEFAULT")) return "";
  // The appliance's routes write ALL; as a domain's name it would silently limit nobody.
  if (absl::EqualsIgnoreCase(name, "ALL")) {
    return absl::InvalidArgumentError("the controls of all other domains are in [DEFAULT]");
  }
  if (const std::optional<IpAddress> address = IpAddress::Parse(name)) {
    const absl::string_view tag = address->family == Family::kIpv6 ? "IPv6:" : "";
    return absl::StrCat("[", tag, address->ToString(), "]");
  }
  if (name.size() > 1 && name[0] == '.') return PartialDomain(name);
  return NormalizeDomain(name);
}

std::string SectionName(absl::string_view domain) {
  if (domain.empty()) return "DEFAULT";
  if (IsAddressLiteral(domain)) return AddressName(domain);
  const absl::StatusOr<std::string> read = ParseSectionName(domain);
  const bool read_as_it_is = read.ok() && *read == domain;
  return absl::StrCat(domain, read_as_it_is ? "" : ".");
}

SectionPlace::SectionPlace(absl::string_view domain) {
  if (IsAddressLiteral(domain)) {
    name = AddressName(domain);
    kind = Kind::kAddress;
    return;
  }
  if (absl::ConsumePrefix(&domain, ".")) kind = Kind::kPartial;
  name = std::string(domain);
}

}  // namespace sluice::policy
