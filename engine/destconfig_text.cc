#include "engine/destconfig_text.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "engine/shard/shard.h"
#include "policy/controls_explain.h"
#include "policy/controls_keys.h"
#include "policy/controls_section.h"
#include "policy/controls_text.h"

namespace sluice {
namespace {

using policy::ControlsEntry;
using policy::ControlsKey;
using policy::IpPreference;
using policy::TlsLevel;

constexpr size_t kColumns = 6;
using Row = std::array<std::string, kColumns>;

std::string TlsWord(TlsLevel level) {
  switch (level) {
    case TlsLevel::kOff:
      return "Off";
    case TlsLevel::kOn:
      return "Pref";
    case TlsLevel::kRequired:
      return "Req";
    case TlsLevel::kOnVerify:
      return "Pref/Verif";
    case TlsLevel::kRequireVerify:
      return "Req/Verif";
    case TlsLevel::kRequireVerifyHosted:
      break;
  }
  return "Req/Verif Hosted";
}

std::string IpWord(IpPreference preference) {
  return absl::StrCat(policy::RequiresFamily(preference) ? "Require " : "Prefer ",
                      policy::FamilyOf(preference) == Family::kIpv6 ? "IPv6" : "IPv4");
}

std::string TaggingWord(const ControlsEntry& entry) {
  if (!entry.tag_sender && !entry.domain.empty()) return "Default";
  return entry.tag_sender.value_or(false) ? "On" : "Off";
}

// By name, the default last, and always there. A table of a million is mostly in this order: its
// entries are not copied, and their places are made once.
std::vector<const ControlsEntry*> InOrder(const std::vector<ControlsEntry>& entries) {
  static const ControlsEntry empty_default;
  const ControlsEntry* by_default = &empty_default;
  std::vector<std::pair<policy::SectionPlace, const ControlsEntry*>> placed;
  placed.reserve(entries.size());
  for (const ControlsEntry& entry : entries) {
    if (entry.domain.empty()) {
      by_default = &entry;
    } else {
      placed.emplace_back(policy::SectionPlace(entry.domain), &entry);
    }
  }
  const auto before = [](const auto& a, const auto& b) { return a.first < b.first; };
  if (!std::is_sorted(placed.begin(), placed.end(), before)) {
    std::sort(placed.begin(), placed.end(), before);
  }
  std::vector<const ControlsEntry*> ordered;
  ordered.reserve(placed.size() + 1);
  for (const auto& [place, entry] : placed) ordered.push_back(entry);
  ordered.push_back(by_default);
  return ordered;
}

Row RowOf(const ControlsEntry& entry) {
  const bool is_default = entry.domain.empty();
  const bool limits = is_default || entry.connections_max || entry.recipients_max ||
                      entry.messages_per_connection_max || entry.limits_each_address ||
                      entry.limits_each_source || entry.system_connections_max ||
                      entry.system_recipients_max;
  const TlsLevel factory_tls = policy::TlsControls{}.level;
  const bool has_tls = is_default || entry.tls.level.has_value();
  const bool has_ip = is_default || entry.ip_preference.has_value();
  return {is_default ? "(Default)" : policy::SectionName(entry.domain),
          limits ? "On" : "Default",
          has_tls ? TlsWord(entry.tls.level.value_or(factory_tls)) : "Default",
          TaggingWord(entry),
          is_default ? "(Default)" : entry.bounce_profile.value_or("Default"),
          has_ip ? IpWord(entry.ip_preference.value_or(IpPreference::kPreferV6)) : "Default"};
}

// "500", or "Default" of an entry that inherits it.
std::string Value(const ControlsEntry& entry, ControlsKey key) {
  const std::optional<std::string> said = policy::ControlsText(key, entry);
  if (said) return *said;
  return entry.domain.empty() ? policy::FactoryText(key) : "Default";
}

void AppendRecipients(const std::optional<uint32_t>& most, const std::optional<uint32_t>& minutes,
                      std::string& out) {
  absl::StrAppend(&out, "  ", *most, " recipients per ", minutes.value_or(60), " minutes\n");
}

// The appliance's phrases. Where one half is inherited, only the other is a phrase.
std::string ScopeText(const ControlsEntry& entry) {
  const bool is_default = entry.domain.empty();
  const bool hosts_said = is_default || entry.limits_each_address;
  const bool sources_said = is_default || entry.limits_each_source;
  const absl::string_view hosts =
      entry.limits_each_address.value_or(false) ? "to each mail exchanger IP" : "to entire domain";
  const absl::string_view sources = entry.limits_each_source.value_or(false)
                                        ? "per virtual gateway"
                                        : "across all virtual gateways";
  if (!hosts_said && !sources_said) return "Default application of limits";
  if (!sources_said) return absl::StrCat("Limits applied ", hosts, " (virtual gateways: Default)");
  if (!hosts_said) return absl::StrCat("Limits applied ", sources, " (mail exchangers: Default)");
  return absl::StrCat("Limits applied ", hosts, ", ", sources);
}

// What is beside those: of the whole destination.
void AppendSystemLimits(const ControlsEntry& entry, std::string& out) {
  if (!entry.system_connections_max && !entry.system_recipients_max) return;
  absl::StrAppend(&out, " Rate Limiting, Whole Domain, System Wide:\n");
  if (entry.system_connections_max) {
    absl::StrAppend(&out, "  ", *entry.system_connections_max, " concurrent connections\n");
  }
  if (entry.system_recipients_max) {
    AppendRecipients(entry.system_recipients_max, entry.system_recipient_minutes, out);
  }
}

void AppendBlock(const ControlsEntry& entry, std::string& out) {
  const bool is_default = entry.domain.empty();
  absl::StrAppend(&out, is_default ? "Default" : policy::SectionName(entry.domain), "\n");
  absl::StrAppend(&out, " IP Address Preference: ", RowOf(entry)[5], "\n");
  absl::StrAppend(&out, " Maximum messages per connection: ",
                  Value(entry, ControlsKey::kMaxMessagesPerConnection), "\n");
  absl::StrAppend(&out, " Rate Limiting:\n");
  absl::StrAppend(&out, "  ", Value(entry, ControlsKey::kMaxHostConcurrency),
                  " concurrent connections\n");
  if (entry.recipients_max) {
    AppendRecipients(entry.recipients_max, entry.recipient_minutes, out);
  } else {
    absl::StrAppend(&out, "  ", is_default ? "No recipient limit" : "Default recipient limit",
                    "\n");
  }
  absl::StrAppend(&out, "  ", ScopeText(entry), "\n");
  AppendSystemLimits(entry, out);
  absl::StrAppend(&out, " TLS: ",
                  entry.tls.level || is_default
                      ? policy::TlsLevelLongName(entry.tls.level.value_or(TlsLevel::kOff))
                      : "Default",
                  "\n");
  absl::StrAppend(&out, " Bounce Verification Tagging: ", TaggingWord(entry), "\n");
  if (!is_default) {
    absl::StrAppend(&out, " Bounce Profile: ", entry.bounce_profile.value_or("Default"), "\n");
  }
  for (const ControlsKey key :
       {ControlsKey::kTlsMin, ControlsKey::kTlsSni, ControlsKey::kTlsAcceptCn,
        ControlsKey::kTlsBrokenMemory, ControlsKey::kTlsCaFile, ControlsKey::kCertificate,
        ControlsKey::kSendTlsReqAlert}) {
    const std::optional<std::string> said = policy::ControlsText(key, entry);
    if (said) absl::StrAppend(&out, " ", policy::RowOf(key).name, ": ", *said, "\n");
  }
}

std::string RouteText(const dns::RoutesTable& routes, const std::string& domain) {
  const std::vector<dns::TableHost>* hosts = routes.Lookup(domain);
  if (hosts == nullptr) return "by MX records";
  return absl::StrCat(
      "by the routes table: ",
      absl::StrJoin(*hosts, ", ", [](std::string* text, const dns::TableHost& host) {
        absl::StrAppend(text, host.name, ":", host.port, "/pri=", host.preference);
      }));
}

// "vg1 (192.0.2.10)"
std::string SourceName(const policy::Source& source) {
  std::vector<std::string> addresses;
  for (const IpAddress& address : {source.ipv4, source.ipv6}) {
    if (address.family != Family::kNone) addresses.push_back(address.ToString());
  }
  return absl::StrCat(source.name, " (", absl::StrJoin(addresses, ", "), ")");
}

// "bulk: vg1 (192.0.2.10), vg2 (192.0.2.11) by 3"; a source that is no pool stands alone.
std::string SourceText(const policy::Sources& sources, const TestedMail& mail) {
  if (sources.sources() == 1) return "the system chooses the address";
  if (!mail.sender) return "by the sender: ask again with from=SENDER";
  const policy::SourcePool& pool = sources.pool(sources.PoolFor(mail.client, *mail.sender));
  if (pool.name.empty()) return "no rule: the system chooses the address";
  std::vector<std::string> members;
  for (const policy::SourceShare& share : pool.members) {
    const policy::Source& source = sources.source(share.source);
    members.push_back(SourceName(source));
    if (share.weight > 1) absl::StrAppend(&members.back(), " by ", share.weight);
    if (source.name == pool.name) return members.back();
  }
  return absl::StrCat(pool.name, ": ", absl::StrJoin(members, ", "));
}

}  // namespace

std::string CountText(const std::vector<ControlsEntry>& entries) {
  const auto is_default = [](const ControlsEntry& entry) { return entry.domain.empty(); };
  const size_t rows =
      entries.size() + (std::any_of(entries.begin(), entries.end(), is_default) ? 0 : 1);
  return absl::StrCat("There ", rows == 1 ? "is" : "are", " currently ", rows, " entr",
                      rows == 1 ? "y" : "ies", " configured.\n");
}

std::string ListText(const std::vector<ControlsEntry>& entries) {
  std::vector<Row> rows = {{"", "Rate", "", "Bounce", "Bounce", "IP Version"},
                           {"Domain", "Limiting", "TLS", "Verification", "Profile", "Preference"}};
  for (const ControlsEntry* entry : InOrder(entries)) rows.push_back(RowOf(*entry));
  std::array<size_t, kColumns> widths{};
  for (const Row& row : rows) {
    for (size_t i = 0; i < kColumns; ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  Row line;
  for (size_t i = 0; i < kColumns; ++i) line[i].assign(widths[i], '=');
  rows.insert(rows.begin() + 2, line);
  std::string text;
  for (const Row& row : rows) {
    std::string out;
    for (size_t i = 0; i < kColumns; ++i) {
      absl::StrAppendFormat(&out, "%-*s  ", static_cast<int>(widths[i]), row[i]);
    }
    out.erase(out.find_last_not_of(' ') + 1);
    absl::StrAppend(&text, out, "\n");
  }
  return text;
}

std::string DetailText(const std::vector<ControlsEntry>& entries, const std::string* domain) {
  std::string text;
  for (const ControlsEntry* entry : InOrder(entries)) {
    if (domain == nullptr || entry->domain == *domain) AppendBlock(*entry, text);
  }
  return text;
}

std::string TestText(const std::vector<ControlsEntry>& entries, const TestedMail& mail,
                     const TestWorld& world) {
  const std::string& domain = mail.domain;
  const policy::ExplainedControls explained = policy::Explain(entries, domain);
  std::string text = absl::StrFormat("%-28s %s\n", "destination", domain);
  absl::StrAppendFormat(&text, "%-28s %s\n", "entry", policy::MatchText(explained));
  if (world.routes != nullptr) {
    absl::StrAppendFormat(&text, "%-28s %s\n", "route", RouteText(*world.routes, domain));
  }
  if (world.sources != nullptr) {
    absl::StrAppendFormat(&text, "%-28s %s\n", "source", SourceText(*world.sources, mail));
  }
  if (world.shards > 0) {
    absl::StrAppendFormat(&text, "%-28s %d\n", "shard",
                          shard::Shard::OwnerOf(domain, world.shards));
  }
  for (const policy::EffectiveField& field : explained.fields) {
    absl::StrAppendFormat(&text, "%-28s %-24s %s\n", field.key, field.value,
                          policy::OriginText(explained, field.origin));
  }
  return text;
}

}  // namespace sluice
