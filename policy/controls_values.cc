#include "policy/controls_values.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "engine/base/time.h"
#include "policy/ip_preference.h"
#include "policy/tls_controls.h"
#include "policy/tls_level.h"

namespace sluice::policy {
namespace {

// How long a failure of TLS may be remembered: a host that was repaired is asked again within days.
constexpr Duration kBrokenMemoryMax = std::chrono::hours(7 * 24);

// The longest path that Linux opens.
constexpr size_t kNameBytesMax = 4095;

std::optional<Duration> UnitOf(char letter) {
  switch (absl::ascii_tolower(static_cast<unsigned char>(letter))) {
    case 's':
      return std::chrono::seconds(1);
    case 'm':
      return std::chrono::minutes(1);
    case 'h':
      return std::chrono::hours(1);
    case 'd':
      return std::chrono::hours(24);
  }
  return std::nullopt;
}

// Empty: not a time, or longer than `longest`.
std::optional<Duration> ParseDuration(absl::string_view value, Duration longest) {
  if (value == "0") return Duration::zero();
  if (value.size() < 2) return std::nullopt;
  const std::optional<Duration> unit = UnitOf(value.back());
  if (!unit) return std::nullopt;
  value.remove_suffix(1);
  int64_t number = 0;
  for (const char c : value) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + (c - '0');
    if (number > longest / *unit) return std::nullopt;
  }
  return number * *unit;
}

absl::StatusOr<bool> ParseSwitch(absl::string_view value) {
  if (value == "1" || absl::EqualsIgnoreCase(value, "on")) return true;
  if (value == "0" || absl::EqualsIgnoreCase(value, "off")) return false;
  return absl::InvalidArgumentError("must be one of off, 0, on, 1");
}

absl::StatusOr<IpPreference> ParseIpPreferenceValue(absl::string_view value) {
  if (const std::optional<IpPreference> preference = ParseIpPreference(value)) return *preference;
  return absl::InvalidArgumentError("must be one of PREFER_V6, REQUIRE_V6, PREFER_V4, REQUIRE_V4");
}

absl::StatusOr<TlsLevel> ParseTlsLevelValue(absl::string_view value) {
  if (const std::optional<TlsLevel> level = ParseTlsLevel(value)) return *level;
  return absl::InvalidArgumentError(
      "must be one of off, on, required, on_verify, require_verify, require_verify_hosted, or its "
      "number from 0 to 5");
}

absl::StatusOr<TlsVersion> ParseTlsVersion(absl::string_view value) {
  if (value == "1.2") return TlsVersion::k12;
  if (value == "1.3") return TlsVersion::k13;
  return absl::InvalidArgumentError("must be 1.2 or 1.3");
}

absl::StatusOr<Duration> ParseBrokenMemory(absl::string_view value) {
  if (const std::optional<Duration> memory = ParseDuration(value, kBrokenMemoryMax)) {
    return *memory;
  }
  return absl::InvalidArgumentError(
      "must be 0, or a whole number with its unit, such as 90s, 30m or 1h, and at most 7d");
}

// What would not be read back from the table's file.
bool HoldsComment(absl::string_view value) {
  for (size_t i = 0; i < value.size(); ++i) {
    if ((value[i] == '#' || value[i] == ';') && (i == 0 || value[i - 1] == ' ')) return true;
  }
  return false;
}

absl::StatusOr<std::string> ParseName(absl::string_view value) {
  const bool printable = std::none_of(value.begin(), value.end(),
                                      [](unsigned char c) { return absl::ascii_iscntrl(c); });
  if (!printable) return absl::InvalidArgumentError("must not hold control characters");
  if (HoldsComment(value)) {
    return absl::InvalidArgumentError(
        "must not begin a comment: '#' or ';' first or after a blank");
  }
  if (value.empty() || value.size() > kNameBytesMax) {
    return absl::InvalidArgumentError("must be a name of at most 4095 bytes");
  }
  return std::string(value);
}

template <typename T>
absl::Status Set(absl::StatusOr<T> parsed, std::optional<T>& field) {
  if (parsed.ok()) field = *std::move(parsed);
  return parsed.status();
}

absl::Status SetWord(const ControlsKeyRow& row, absl::string_view value,
                     std::optional<bool>& field) {
  const absl::StatusOr<uint32_t> word = ParseControlsValue(row, value);
  if (word.ok()) field = *word == 1;
  return word.status();
}

absl::Status SetBounceProfile(absl::string_view value, std::optional<std::string>& profile) {
  if (absl::EqualsIgnoreCase(value, "default")) return absl::OkStatus();  // As left out.
  return Set(ParseName(value), profile);
}

absl::Status SetTlsLevel(absl::string_view value, std::optional<TlsLevel>& level) {
  if (absl::EqualsIgnoreCase(value, "default")) return absl::OkStatus();  // As left out.
  return Set(ParseTlsLevelValue(value), level);
}

}  // namespace

absl::Status SetControlsValue(const ControlsKeyRow& row, absl::string_view value,
                              ControlsProfile profile, ControlsEntry& entry) {
  if (value.empty()) return absl::InvalidArgumentError("the value is missing");
  const auto number = [&] { return ParseControlsValue(row, value, profile); };
  switch (row.key) {
    case ControlsKey::kMaxHostConcurrency:
      return Set(number(), entry.connections_max);
    case ControlsKey::kMaxMessagesPerConnection:
      return Set(number(), entry.messages_per_connection_max);
    case ControlsKey::kRecipientMinutes:
      return Set(number(), entry.recipient_minutes);
    case ControlsKey::kRecipientLimit:
      return Set(number(), entry.recipients_max);
    case ControlsKey::kLimitType:
      return SetWord(row, value, entry.limits_each_address);
    case ControlsKey::kLimitApply:
      return SetWord(row, value, entry.limits_each_source);
    case ControlsKey::kSystemConcurrency:
      return Set(number(), entry.system_connections_max);
    case ControlsKey::kSystemRecipientMinutes:
      return Set(number(), entry.system_recipient_minutes);
    case ControlsKey::kSystemRecipientLimit:
      return Set(number(), entry.system_recipients_max);
    case ControlsKey::kIpSortPref:
      return Set(ParseIpPreferenceValue(value), entry.ip_preference);
    case ControlsKey::kTableTls:
      return SetTlsLevel(value, entry.tls.level);
    case ControlsKey::kTlsMin:
      return Set(ParseTlsVersion(value), entry.tls.version_min);
    case ControlsKey::kTlsSni:
      return Set(ParseSwitch(value), entry.tls.sni);
    case ControlsKey::kTlsAcceptCn:
      return Set(ParseSwitch(value), entry.tls.accept_cn);
    case ControlsKey::kTlsBrokenMemory:
      return Set(ParseBrokenMemory(value), entry.tls.broken_memory);
    case ControlsKey::kTlsCaFile:
      return Set(ParseName(value), entry.tls.ca_file);
    case ControlsKey::kDaneOption:
      return ParseControlsValue(row, value).status();  // Asks for nothing.
    case ControlsKey::kBounceValidation:
      return SetWord(row, value, entry.tag_sender);
    case ControlsKey::kBounceProfile:
      return SetBounceProfile(value, entry.bounce_profile);
    case ControlsKey::kSendTlsReqAlert:
      return Set(ParseSwitch(value), entry.tls.alert_where_required_fails);
    case ControlsKey::kCertificate:
      return Set(ParseName(value), entry.tls.certificate);
  }
  return absl::InternalError("no such key");
}

}  // namespace sluice::policy
