#include "policy/controls_text.h"

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/check.h"
#include "engine/base/time.h"
#include "policy/controls.h"
#include "policy/ip_preference.h"
#include "policy/tls_controls.h"
#include "policy/tls_level.h"

namespace sluice::policy {
namespace {

constexpr struct {
  Duration length;
  absl::string_view letter;
} kUnits[] = {
    {std::chrono::hours(24), "d"},
    {std::chrono::hours(1), "h"},
    {std::chrono::minutes(1), "m"},
    {std::chrono::seconds(1), "s"},
};

std::string Text(uint32_t number) {
  return absl::StrCat(number);
}

std::string Text(bool on) {
  return on ? "on" : "off";
}

std::string Text(IpPreference preference) {
  return std::string(IpPreferenceName(preference));
}

std::string Text(TlsLevel level) {
  return std::string(TlsLevelName(level));
}

std::string Text(TlsVersion version) {
  return version == TlsVersion::k13 ? "1.3" : "1.2";
}

std::string Text(const std::string& name) {
  return name;
}

std::string Text(Duration time) {
  if (time == Duration::zero()) return "0";
  for (const auto& unit : kUnits) {
    if (time % unit.length == Duration::zero()) {
      return absl::StrCat(time / unit.length, unit.letter);
    }
  }
  CHECK(false);  // The file has whole seconds.
}

template <typename T>
std::optional<std::string> TextOf(const std::optional<T>& field) {
  if (!field) return std::nullopt;
  return Text(*field);
}

std::optional<std::string> TextOfWord(ControlsKey key, const std::optional<bool>& field) {
  if (!field) return std::nullopt;
  return WordOf(key, *field);
}

// An entry that says of each key what Controls says without any.
ControlsEntry FactoryEntry() {
  const Controls controls;
  ControlsEntry entry;
  entry.connections_max = controls.limits.connections_max;
  entry.messages_per_connection_max = controls.messages_per_connection_max;
  entry.limits_each_address = controls.scope.each_address;
  entry.limits_each_source = controls.scope.each_source;
  entry.ip_preference = controls.ip_preference;
  entry.tls = {.level = controls.tls.level,
               .version_min = controls.tls.version_min,
               .sni = controls.tls.sni,
               .accept_cn = controls.tls.accept_cn,
               .alert_where_required_fails = controls.tls.alert_where_required_fails,
               .broken_memory = controls.tls.broken_memory};
  entry.tag_sender = controls.tag_sender;
  return entry;
}

}  // namespace

std::optional<std::string> ControlsText(ControlsKey key, const ControlsEntry& entry) {
  switch (key) {
    case ControlsKey::kMaxHostConcurrency:
      return TextOf(entry.connections_max);
    case ControlsKey::kMaxMessagesPerConnection:
      return TextOf(entry.messages_per_connection_max);
    case ControlsKey::kRecipientMinutes:
      return TextOf(entry.recipient_minutes);
    case ControlsKey::kRecipientLimit:
      return TextOf(entry.recipients_max);
    case ControlsKey::kLimitType:
      return TextOfWord(key, entry.limits_each_address);
    case ControlsKey::kLimitApply:
      return TextOfWord(key, entry.limits_each_source);
    case ControlsKey::kSystemConcurrency:
      return TextOf(entry.system_connections_max);
    case ControlsKey::kSystemRecipientMinutes:
      return TextOf(entry.system_recipient_minutes);
    case ControlsKey::kSystemRecipientLimit:
      return TextOf(entry.system_recipients_max);
    case ControlsKey::kIpSortPref:
      return TextOf(entry.ip_preference);
    case ControlsKey::kTableTls:
      return TextOf(entry.tls.level);
    case ControlsKey::kTlsMin:
      return TextOf(entry.tls.version_min);
    case ControlsKey::kTlsSni:
      return TextOf(entry.tls.sni);
    case ControlsKey::kTlsAcceptCn:
      return TextOf(entry.tls.accept_cn);
    case ControlsKey::kTlsBrokenMemory:
      return TextOf(entry.tls.broken_memory);
    case ControlsKey::kTlsCaFile:
      return TextOf(entry.tls.ca_file);
    case ControlsKey::kDaneOption:
      return std::nullopt;
    case ControlsKey::kBounceValidation:
      return TextOfWord(key, entry.tag_sender);
    case ControlsKey::kBounceProfile:
      return TextOf(entry.bounce_profile);
    case ControlsKey::kSendTlsReqAlert:
      return TextOf(entry.tls.alert_where_required_fails);
    case ControlsKey::kCertificate:
      return TextOf(entry.tls.certificate);
  }
  CHECK(false);
}

GivenKeys GivenBy(const ControlsEntry& entry) {
  GivenKeys given;
  for (size_t key = 0; key < given.size(); ++key) {
    given[key] = ControlsText(static_cast<ControlsKey>(key), entry).has_value();
  }
  return given;
}

void ClearControlsValue(ControlsKey key, ControlsEntry& entry) {
  switch (key) {
    case ControlsKey::kMaxHostConcurrency:
      return entry.connections_max.reset();
    case ControlsKey::kMaxMessagesPerConnection:
      return entry.messages_per_connection_max.reset();
    case ControlsKey::kRecipientMinutes:
      return entry.recipient_minutes.reset();
    case ControlsKey::kRecipientLimit:
      return entry.recipients_max.reset();
    case ControlsKey::kLimitType:
      return entry.limits_each_address.reset();
    case ControlsKey::kLimitApply:
      return entry.limits_each_source.reset();
    case ControlsKey::kSystemConcurrency:
      return entry.system_connections_max.reset();
    case ControlsKey::kSystemRecipientMinutes:
      return entry.system_recipient_minutes.reset();
    case ControlsKey::kSystemRecipientLimit:
      return entry.system_recipients_max.reset();
    case ControlsKey::kIpSortPref:
      return entry.ip_preference.reset();
    case ControlsKey::kTableTls:
      return entry.tls.level.reset();
    case ControlsKey::kTlsMin:
      return entry.tls.version_min.reset();
    case ControlsKey::kTlsSni:
      return entry.tls.sni.reset();
    case ControlsKey::kTlsAcceptCn:
      return entry.tls.accept_cn.reset();
    case ControlsKey::kTlsBrokenMemory:
      return entry.tls.broken_memory.reset();
    case ControlsKey::kTlsCaFile:
      return entry.tls.ca_file.reset();
    case ControlsKey::kDaneOption:
      return;
    case ControlsKey::kBounceValidation:
      return entry.tag_sender.reset();
    case ControlsKey::kBounceProfile:
      return entry.bounce_profile.reset();
    case ControlsKey::kSendTlsReqAlert:
      return entry.tls.alert_where_required_fails.reset();
    case ControlsKey::kCertificate:
      return entry.tls.certificate.reset();
  }
}

std::string FactoryText(ControlsKey key) {
  if (const std::optional<std::string> text = ControlsText(key, FactoryEntry())) return *text;
  if (key == ControlsKey::kDaneOption) return WordOf(key, /*other=*/false);
  if (key == ControlsKey::kBounceProfile) return "default";
  if (key == ControlsKey::kTlsCaFile) return "the engine's";
  if (key == ControlsKey::kCertificate) return "Demo";
  return "no limit";
}

}  // namespace sluice::policy
