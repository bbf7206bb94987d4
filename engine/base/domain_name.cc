#include "engine/base/domain_name.h"

#include <idn2.h>

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/base/ip_address.h"

namespace sluice {
namespace {

constexpr size_t kLabelOctetsMax = 63;
constexpr size_t kNameOctetsMax = 253;

// A name of 253 octets in A-labels stands for fewer than 253 characters of at most four octets
// each. The library is not given more.
constexpr size_t kUnicodeNameOctetsMax = 4 * kNameOctetsMax;

bool IsAscii(char c) {
  return static_cast<unsigned char>(c) < 0x80;
}

bool IsAscii(absl::string_view text) {
  for (const char c : text) {
    if (!IsAscii(c)) return false;
  }
  return true;
}

bool IsNameCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_';
}

absl::Status Refused(absl::string_view reason) {
  return absl::InvalidArgumentError(reason);
}

// Without its trailing dot. A-labels are taken as they are: names that IDNA2008 refuses are
// registered and do receive mail (emoji), and a senseless one finds no MX.
absl::StatusOr<std::string> NormalizeAscii(absl::string_view text) {
  absl::ConsumeSuffix(&text, ".");
  if (text.empty()) return Refused("the domain is empty");
  if (text.size() > kNameOctetsMax) return Refused("the domain is over 253 octets");
  size_t label_octets = 0;
  for (const char c : text) {
    if (c == '.') {
      if (label_octets == 0) return Refused("the domain has an empty label");
      label_octets = 0;
      continue;
    }
    if (!IsNameCharacter(c)) {
      return Refused("the domain has a character that is not a letter, digit, '-' or '_'");
    }
    if (++label_octets > kLabelOctetsMax) return Refused("the domain has a label over 63 octets");
  }
  if (label_octets == 0) return Refused("the domain has an empty label");
  return absl::AsciiStrToLower(text);
}

// RFC 5321 4.1.3. An IPv6 literal that wraps an IPv4 address becomes that one's literal.
absl::StatusOr<std::string> NormalizeLiteral(absl::string_view text) {
  absl::ConsumePrefix(&text, "[");
  if (!absl::ConsumeSuffix(&text, "]")) return Refused("the address literal has no ']'");
  const bool tagged = absl::StartsWithIgnoreCase(text, "IPv6:");
  if (tagged) text.remove_prefix(5);
  if (tagged != absl::StrContains(text, ':')) {
    return Refused("an IPv6 address literal, and only that, begins with 'IPv6:'");
  }
  const std::optional<IpAddress> address = IpAddress::Parse(text);
  if (!address) return Refused("the address literal holds no IP address");
  return absl::StrCat("[", address->family == Family::kIpv6 ? "IPv6:" : "", address->ToString(),
                      "]");
}

// To A-labels, by IDNA2008 with the mapping of UTS 46 (which folds case and width).
absl::StatusOr<std::string> ToALabels(absl::string_view text) {
  if (text.size() > kUnicodeNameOctetsMax) return Refused("the domain is over 253 octets");
  for (const char c : text) {  // A NUL in particular: the library would end there.
    if (IsAscii(c) && c != '.' && !IsNameCharacter(c)) {
      return Refused("the domain has a character that is not a letter, digit, '-' or '_'");
    }
  }
  const std::string terminated(text);
  uint8_t* converted = nullptr;
  const int result = idn2_lookup_u8(reinterpret_cast<const uint8_t*>(terminated.c_str()),
                                    &converted, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
  if (result != IDN2_OK) {
    return Refused(absl::StrCat("the domain is not valid under IDNA2008: ", idn2_strerror(result)));
  }
  std::string name(reinterpret_cast<const char*>(converted));
  idn2_free(converted);
  return name;
}

}  // namespace

absl::StatusOr<std::string> NormalizeDomain(absl::string_view text) {
  if (IsAddressLiteral(text)) return NormalizeLiteral(text);
  if (IsAscii(text)) return NormalizeAscii(text);
  absl::StatusOr<std::string> name = ToALabels(text);
  if (!name.ok()) return name;
  return NormalizeAscii(*name);
}

bool IsAddressLiteral(absl::string_view domain) {
  return absl::StartsWith(domain, "[");
}

uint64_t HashDomain(absl::string_view domain) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : domain) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3;
  }
  return hash;
}

}  // namespace sluice
