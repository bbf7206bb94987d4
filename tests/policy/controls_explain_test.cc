// What holds for a domain and who says so. Expected values are the rules of inheritance, field by
// field, written out; that delivery gets the same is checked against the table itself.

#include "policy/controls_explain.h"

#include <cstddef>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "policy/controls_file.h"
#include "policy/controls_keys.h"
#include "policy/ip_preference.h"

namespace sluice::policy {
namespace {

std::vector<ControlsEntry> Table(absl::string_view text) {
  ParsedControls parsed = ParseControlsFile(text);
  for (const FileError& error : parsed.errors) ADD_FAILURE() << error.line << ": " << error.text;
  return std::move(parsed.entries);
}

// "value, origin" of a key.
std::string Says(const ExplainedControls& explained, absl::string_view key) {
  for (const EffectiveField& field : explained.fields) {
    if (field.key != key) continue;
    return absl::StrCat(field.value, ", ", OriginText(explained, field.origin));
  }
  return "no such key";
}

TEST(ControlsExplain, WithoutATableAllIsBuiltIn) {
  const ExplainedControls explained = Explain({}, "a.example");
  EXPECT_EQ(explained.match, ControlsMatch::kDefault);
  EXPECT_EQ(MatchText(explained), "DEFAULT");
  const struct {
    const char* key;
    const char* value;
  } kFactory[] = {
      {"max_host_concurrency", "500"},
      {"max_messages_per_connection", "50"},
      {"recipient_minutes", "no limit"},
      {"recipient_limit", "no limit"},
      {"limit_type", "host"},
      {"limit_apply", "system"},
      {"system_concurrency", "no limit"},
      {"system_recipient_minutes", "no limit"},
      {"system_recipient_limit", "no limit"},
      {"ip_sort_pref", "PREFER_V6"},
      {"table_tls", "off"},
      {"tls_min", "1.2"},
      {"tls_sni", "on"},
      {"tls_accept_cn", "off"},
      {"tls_broken_memory", "0"},
      {"tls_ca_file", "the engine's"},
      {"dane_option", "none"},
      {"bounce_validation", "off"},
      {"bounce_profile", "default"},
      {"send_tls_req_alert", "off"},
      {"certificate", "Demo"},
  };
  ASSERT_EQ(explained.fields.size(), std::size(kFactory));
  for (size_t i = 0; i < std::size(kFactory); ++i) {
    EXPECT_EQ(explained.fields[i].key, kFactory[i].key);
    EXPECT_EQ(explained.fields[i].value, kFactory[i].value) << kFactory[i].key;
    EXPECT_EQ(explained.fields[i].origin, ControlsOrigin::kBuiltIn) << kFactory[i].key;
  }
}

TEST(ControlsExplain, EachFieldByWhoSaysIt) {
  const std::vector<ControlsEntry> entries = Table(
      "\n[DEFAULT]\nmax_messages_per_connection = 7\nrecipient_limit = 100\n"
      "recipient_minutes = 10\ntls_min = 1.3\n"
      "[a.example]\nmax_host_concurrency = 20\nlimit_type = host\nlimit_apply = system\n"
      "tls_min = 1.2\n");
  const ExplainedControls listed = Explain(entries, "a.example");
  EXPECT_EQ(listed.match, ControlsMatch::kExact);
  EXPECT_EQ(MatchText(listed), "a.example (line 7), exactly");
  EXPECT_EQ(Says(listed, "max_host_concurrency"), "20, a.example (line 7)");
  EXPECT_EQ(Says(listed, "max_messages_per_connection"), "7, DEFAULT (line 2)");
  EXPECT_EQ(Says(listed, "recipient_limit"), "100, DEFAULT (line 2)");
  EXPECT_EQ(Says(listed, "recipient_minutes"), "10, DEFAULT (line 2)");
  EXPECT_EQ(Says(listed, "tls_min"), "1.2, a.example (line 7)");
  EXPECT_EQ(Says(listed, "tls_sni"), "on, built in");

  const ExplainedControls unlisted = Explain(entries, "b.example");
  EXPECT_EQ(unlisted.match, ControlsMatch::kDefault);
  EXPECT_EQ(MatchText(unlisted), "DEFAULT (line 2)");
  EXPECT_EQ(Says(unlisted, "tls_min"), "1.3, DEFAULT (line 2)");
  EXPECT_EQ(Says(unlisted, "max_host_concurrency"), "500, built in");
}

TEST(ControlsExplain, WhatALimitIsOfAndTheLimitsOfTheWhole) {
  const std::vector<ControlsEntry> entries = Table(
      "[DEFAULT]\nlimit_type = MXIP\nsystem_concurrency = 90\nsystem_recipient_limit = 5\n"
      "system_recipient_minutes = 6\nbounce_validation = on\n"
      "[a.example]\nlimit_apply = VG\nsystem_concurrency = 80\nbounce_profile = slow\n"
      "[b.example]\nlimit_type = host\nbounce_validation = off\n");
  const struct {
    const char* domain;
    const char* key;
    const char* says;
  } kRows[] = {
      {"a.example", "limit_type", "MXIP, DEFAULT (line 1)"},
      {"a.example", "limit_apply", "VG, a.example (line 7)"},
      {"a.example", "system_concurrency", "80, a.example (line 7)"},
      {"a.example", "system_recipient_limit", "5, DEFAULT (line 1)"},
      {"a.example", "system_recipient_minutes", "6, DEFAULT (line 1)"},
      {"a.example", "bounce_validation", "on, DEFAULT (line 1)"},
      {"a.example", "bounce_profile", "slow, a.example (line 7)"},
      {"b.example", "limit_type", "host, b.example (line 11)"},
      {"b.example", "limit_apply", "system, built in"},
      {"b.example", "bounce_validation", "off, b.example (line 11)"},
      {"b.example", "bounce_profile", "default, built in"},
      {"c.example", "limit_type", "MXIP, DEFAULT (line 1)"},
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(Says(Explain(entries, row.domain), row.key), row.says) << row.domain;
  }
}

// Exact, then the longest partial domain, then the default.
TEST(ControlsExplain, WhichEntryMatches) {
  const std::vector<ControlsEntry> entries =
      Table("[.example.com]\n[.b.example.com]\n[c.b.example.com]\n[[192.0.2.1]]\n[.com]\n");
  const struct {
    const char* domain;
    const char* match;
  } kRows[] = {
      {"c.b.example.com", "c.b.example.com (line 3), exactly"},
      {"d.b.example.com", ".b.example.com (line 2), by partial domain"},
      {"e.d.b.example.com", ".b.example.com (line 2), by partial domain"},
      {"b.example.com", ".example.com (line 1), by partial domain"},
      {"xb.example.com", ".example.com (line 1), by partial domain"},
      {"example.com", ".com (line 5), by partial domain"},
      {"com", "DEFAULT"},
      {"example.org", "DEFAULT"},
      {"[192.0.2.1]", "192.0.2.1 (line 4), exactly"},
      {"[192.0.2.2]", "DEFAULT"},
  };
  for (const auto& row : kRows) EXPECT_EQ(MatchText(Explain(entries, row.domain)), row.match);
}

TEST(ControlsExplain, AMemoryThatIsNotHeededIsNoneByWhoSaysTheLevel) {
  const std::vector<ControlsEntry> entries = Table(
      "[DEFAULT]\ntable_tls = on\ntls_broken_memory = 60m\n"
      "[required.example]\ntable_tls = required\n[verify.example]\ntable_tls = on_verify\n");
  EXPECT_EQ(Says(Explain(entries, "else.example"), "tls_broken_memory"), "1h, DEFAULT (line 1)");
  EXPECT_EQ(Says(Explain(entries, "verify.example"), "tls_broken_memory"), "1h, DEFAULT (line 1)");
  EXPECT_EQ(Says(Explain(entries, "required.example"), "tls_broken_memory"),
            "0, required.example (line 4)");
}

// The table is read once more, by another program: what delivery asks.
TEST(ControlsExplain, SaysWhatTheTableSays) {
  const std::vector<ControlsEntry> entries = Table(
      "[DEFAULT]\nmax_host_concurrency = 9\ntable_tls = on_verify\ntls_broken_memory = 5m\n"
      "[.example.com]\nrecipient_limit = 3\nrecipient_minutes = 2\nlimit_type = 0\n"
      "limit_apply = 1\nsystem_concurrency = 8\ntable_tls = 4\nbounce_profile = slow\n"
      "[a.example.com]\nmax_messages_per_connection = 1\nip_sort_pref = require_v4\n"
      "limit_type = 1\nsystem_recipient_limit = 3\nsystem_recipient_minutes = 4\n"
      "bounce_validation = 1\n"
      "[.a.example.com]\ntable_tls = 1\ncertificate = x\n");
  const ControlsTable table(entries);
  for (const char* domain :
       {"example.com", "a.example.com", "b.a.example.com", "b.example.com", "x"}) {
    const Controls& controls = table.Lookup(domain);
    const ExplainedControls explained = Explain(entries, domain);
    const auto value = [&](ControlsKey key) {
      return explained.fields[static_cast<size_t>(key)].value;
    };
    EXPECT_EQ(value(ControlsKey::kMaxHostConcurrency),
              absl::StrCat(controls.limits.connections_max));
    EXPECT_EQ(value(ControlsKey::kMaxMessagesPerConnection),
              absl::StrCat(controls.messages_per_connection_max));
    EXPECT_EQ(value(ControlsKey::kRecipientLimit),
              controls.limits.recipients_limited ? absl::StrCat(controls.limits.recipients_max)
                                                 : "no limit");
    EXPECT_EQ(value(ControlsKey::kLimitType), controls.scope.each_address ? "MXIP" : "host");
    EXPECT_EQ(value(ControlsKey::kLimitApply), controls.scope.each_source ? "VG" : "system");
    EXPECT_EQ(value(ControlsKey::kSystemConcurrency),
              controls.system.connections_max == kNoConnectionLimit
                  ? "no limit"
                  : absl::StrCat(controls.system.connections_max));
    EXPECT_EQ(value(ControlsKey::kSystemRecipientLimit),
              controls.system.recipients_limited ? absl::StrCat(controls.system.recipients_max)
                                                 : "no limit");
    EXPECT_EQ(value(ControlsKey::kBounceValidation), controls.tag_sender ? "on" : "off");
    EXPECT_EQ(value(ControlsKey::kBounceProfile),
              controls.bounce_profile.empty() ? "default" : controls.bounce_profile);
    EXPECT_EQ(value(ControlsKey::kIpSortPref), IpPreferenceName(controls.ip_preference));
    EXPECT_EQ(value(ControlsKey::kTableTls), TlsLevelName(controls.tls.level));
    const bool remembers = controls.tls.broken_memory > Duration::zero();
    EXPECT_EQ(value(ControlsKey::kTlsBrokenMemory), remembers ? "5m" : "0");
    EXPECT_EQ(value(ControlsKey::kCertificate),
              controls.tls.certificate.empty() ? "Demo" : controls.tls.certificate);
  }
}

}  // namespace
}  // namespace sluice::policy
