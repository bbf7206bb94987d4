// The table's text: what is written, in which order, and that it is read back as what it was. The
// expected texts are written by hand after the appliance's rules for its file; random tables are
// made here, field by field, and compared field by field.

#include "policy/controls_writer.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "policy/controls_file.h"
#include "policy/controls_section.h"
#include "policy/ip_preference.h"

namespace sluice::policy {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

// Without lines, by domain; with the default, which the file always has.
std::vector<ControlsEntry> Comparable(std::vector<ControlsEntry> entries) {
  const auto is_default = [](const ControlsEntry& entry) { return entry.domain.empty(); };
  if (std::none_of(entries.begin(), entries.end(), is_default)) entries.emplace_back();
  for (ControlsEntry& entry : entries) entry.line = 0;
  std::sort(entries.begin(), entries.end(),
            [](const ControlsEntry& a, const ControlsEntry& b) { return a.domain < b.domain; });
  return entries;
}

std::vector<ControlsEntry> Read(absl::string_view text) {
  ParsedControls parsed = ParseControlsFile(text);
  for (const FileError& error : parsed.errors) ADD_FAILURE() << error.line << ": " << error.text;
  return std::move(parsed.entries);
}

// The text of a file that is read and written again.
std::string Rewritten(absl::string_view text) {
  return WriteControlsFile(Read(text));
}

void ExpectReadBack(const std::vector<ControlsEntry>& entries) {
  const std::string text = WriteControlsFile(entries);
  const std::vector<ControlsEntry> read = Read(text);
  EXPECT_EQ(Comparable(read), Comparable(entries)) << text;
  EXPECT_EQ(WriteControlsFile(read), text);
}

TEST(ControlsWriter, AWholeFile) {
  EXPECT_EQ(Rewritten("[.Freemail.example]\n"
                      "concurrency_limit = 020 # ours\n"
                      "limit_apply = 0\n"
                      "limit_type = 0\n"
                      "recipient_limit: 180\n"
                      "recipient_limit_minutes = 1\n"
                      "max_messages_per_connection = 5\n"
                      "[bank.example]\n"
                      "use_tls = 4\n"
                      "bounce_profile = default\n"
                      "[default]\n"
                      "certificate = mta-2026\n"
                      "send_tls_req_alert = 1\n"
                      "table_tls = 1\n"
                      "max_host_concurrency = 500\n"),
            "[DEFAULT]\n"
            "max_host_concurrency = 500\n"
            "table_tls = on\n"
            "send_tls_req_alert = on\n"
            "certificate = mta-2026\n"
            "\n"
            "[bank.example]\n"
            "table_tls = require_verify\n"
            "\n"
            "[.freemail.example]\n"
            "max_host_concurrency = 20\n"
            "max_messages_per_connection = 5\n"
            "recipient_minutes = 1\n"
            "recipient_limit = 180\n"
            "limit_type = host\n"
            "limit_apply = system\n");
}

TEST(ControlsWriter, EveryKeyThatIsNoLimit) {
  const std::string text =
      "[DEFAULT]\n"
      "\n"
      "[a.example]\n"
      "ip_sort_pref = REQUIRE_V4\n"
      "table_tls = on_verify\n"
      "tls_min = 1.3\n"
      "tls_sni = off\n"
      "tls_accept_cn = on\n"
      "tls_broken_memory = 90s\n"
      "tls_ca_file = ca/Private CA=1.pem\n"
      "bounce_validation = on\n"
      "bounce_profile = TLS failed\n"
      "certificate = Mta-2026\n";
  EXPECT_EQ(Rewritten(text), text);
}

TEST(ControlsWriter, TheDefaultIsAlwaysWritten) {
  EXPECT_EQ(WriteControlsFile({}), "[DEFAULT]\n");
  EXPECT_EQ(Rewritten("[a.example]\n"), "[DEFAULT]\n\n[a.example]\n");
}

TEST(ControlsWriter, EveryLimit) {
  for (const absl::string_view section : {"[DEFAULT]\n", "[DEFAULT]\n\n[a.example]\n"}) {
    const std::string text = absl::StrCat(section,
                                          "max_host_concurrency = 20\n"
                                          "max_messages_per_connection = 5\n"
                                          "recipient_minutes = 1\n"
                                          "recipient_limit = 180\n"
                                          "limit_type = MXIP\n"
                                          "limit_apply = VG\n"
                                          "system_concurrency = 200\n"
                                          "system_recipient_minutes = 60\n"
                                          "system_recipient_limit = 0\n");
    EXPECT_EQ(Rewritten(text), text);
  }
}

// The kind of limit is written where it is said, with a limit and without one; it is never made up.
TEST(ControlsWriter, TheKindOfLimitWhereItIsSaid) {
  for (const absl::string_view section : {"[DEFAULT]\n", "[DEFAULT]\n\n[a.example]\n"}) {
    for (const absl::string_view said :
         {"limit_type = host\n", "limit_type = MXIP\n", "limit_apply = system\n",
          "limit_apply = VG\n", "limit_type = MXIP\nlimit_apply = system\n",
          "max_messages_per_connection = 1\n", "system_concurrency = 1\n",
          "max_host_concurrency = 1\nlimit_type = host\nlimit_apply = VG\n",
          "recipient_minutes = 60\nrecipient_limit = 0\nlimit_type = host\nlimit_apply = "
          "system\n"}) {
      const std::string text = absl::StrCat(section, said);
      EXPECT_EQ(Rewritten(text), text);
    }
  }
  EXPECT_EQ(Rewritten("[DEFAULT]\nmax_host_concurrency = 1\n"),
            "[DEFAULT]\nmax_host_concurrency = 1\n");
}

TEST(ControlsWriter, WhatAsksForNothingIsNotWritten) {
  EXPECT_EQ(Rewritten("[a.example]\ndane_option = none\nbounce_profile = Default\n"
                      "table_tls = default\n"),
            "[DEFAULT]\n\n[a.example]\n");
}

TEST(ControlsWriter, SectionsByNameADomainBeforeItsPartialOne) {
  const std::string expected =
      "[DEFAULT]\n\n[192.0.2.1]\n\n[2001:db8::1]\n\n[a.example]\n\n[.a.example]\n\n"
      "[b.a.example]\n\n[z.example]\n";
  EXPECT_EQ(Rewritten("[z.example]\n[.a.example]\n[2001:DB8::1]\n[b.a.example]\n[DEFAULT]\n"
                      "[[192.0.2.1]]\n[A.example.]\n"),
            expected);
  EXPECT_EQ(Rewritten(expected), expected);
}

// Their last dot makes them domains; without it they are the default, an error, and an address.
TEST(ControlsWriter, NamesThatWouldBeReadAsSomethingElseKeepTheirLastDot) {
  const std::string text =
      "[DEFAULT]\n\n[192.0.2.1]\n\n[192.0.2.1.]\n\n[all.]\n\n[.all]\n\n[default.]\n\n[.default]\n";
  EXPECT_EQ(Rewritten(text), text);
  EXPECT_EQ(SectionName("default"), "default.");
  EXPECT_EQ(SectionName("all"), "all.");
  EXPECT_EQ(SectionName("192.0.2.1"), "192.0.2.1.");
  EXPECT_EQ(SectionName("[192.0.2.1]"), "192.0.2.1");
  EXPECT_EQ(SectionName("[IPv6:2001:db8::1]"), "2001:db8::1");
  EXPECT_EQ(SectionName(".all"), ".all");
  EXPECT_EQ(SectionName(""), "DEFAULT");
}

TEST(ControlsWriter, TimesInTheLargestUnitThatHoldsThemWhole) {
  const struct {
    Duration time;
    const char* text;
  } kRows[] = {
      {seconds(0), "0"},     {seconds(1), "1s"},          {seconds(59), "59s"},
      {seconds(60), "1m"},   {seconds(90), "90s"},        {seconds(3599), "3599s"},
      {seconds(3600), "1h"}, {minutes(90), "90m"},        {hours(23), "23h"},
      {hours(24), "1d"},     {hours(25), "25h"},          {hours(168), "7d"},
      {hours(167), "167h"},  {minutes(10'079), "10079m"}, {seconds(604'799), "604799s"},
  };
  for (const auto& row : kRows) {
    ControlsEntry entry{.domain = "a.example"};
    entry.tls.level = TlsLevel::kOn;
    entry.tls.broken_memory = row.time;
    EXPECT_EQ(WriteControlsFile({entry}),
              absl::StrCat("[DEFAULT]\n\n[a.example]\ntable_tls = on\ntls_broken_memory = ",
                           row.text, "\n"));
    ExpectReadBack({entry});
  }
}

TEST(ControlsWriter, NumbersAtTheirBounds) {
  for (const uint32_t connections : {1u, 2u, 999u, 1000u}) {
    for (const uint32_t recipients : {0u, 1u, 1000u, 1001u, 999'999'999u, 1'000'000'000u}) {
      for (const uint32_t period : {1u, 59u, 60u}) {
        ControlsEntry entry{.domain = ".example"};
        entry.connections_max = connections;
        entry.messages_per_connection_max = connections;
        entry.recipients_max = recipients;
        entry.recipient_minutes = period;
        entry.limits_each_address = connections == 1;
        entry.limits_each_source = period == 1;
        entry.system_connections_max = connections;
        entry.system_recipients_max = recipients;
        entry.system_recipient_minutes = period;
        ExpectReadBack({entry});
      }
    }
  }
}

TEST(ControlsWriter, TheOrderOfTheEntriesIsNotInTheText) {
  std::vector<ControlsEntry> entries;
  for (const char* domain : {"", "a.example", ".a.example", "b.example", "[192.0.2.1]"}) {
    entries.push_back({.domain = domain, .messages_per_connection_max = entries.size() + 1});
  }
  const std::string text = WriteControlsFile(entries);
  std::mt19937 random(1);
  for (int i = 0; i < 20; ++i) {
    std::shuffle(entries.begin(), entries.end(), random);
    EXPECT_EQ(WriteControlsFile(entries), text);
  }
}

// Random tables, valid by the rules of the file.
class Tables {
 public:
  explicit Tables(uint32_t seed) : random_(seed) {}

  std::vector<ControlsEntry> Next();

 private:
  bool Chance() { return Below(2) == 0; }
  uint32_t Below(uint32_t end) {
    return std::uniform_int_distribution<uint32_t>(0, end - 1)(random_);
  }
  uint32_t Within(uint32_t min, uint32_t max);
  ControlsEntry Entry(std::string domain, TlsLevel default_level);

  std::mt19937 random_;
};

// The bounds more often than chance would have them.
uint32_t Tables::Within(uint32_t min, uint32_t max) {
  switch (Below(4)) {
    case 0:
      return min;
    case 1:
      return max;
    default:
      return std::uniform_int_distribution<uint32_t>(min, max)(random_);
  }
}

ControlsEntry Tables::Entry(std::string domain, TlsLevel default_level) {
  ControlsEntry entry{.domain = std::move(domain)};
  if (Chance()) entry.connections_max = Within(1, 1000);
  if (Chance()) entry.messages_per_connection_max = Within(1, 1000);
  if (Chance()) {
    entry.recipients_max = Within(0, 1'000'000'000);
    entry.recipient_minutes = Within(1, 60);
  }
  // In a domain's section a limit needs its kind.
  const bool needs = !entry.domain.empty() && (entry.connections_max || entry.recipients_max);
  if (needs || Chance()) entry.limits_each_address = Chance();
  if (needs || Chance()) entry.limits_each_source = Chance();
  if (Chance()) entry.system_connections_max = Within(1, 1000);
  if (Chance()) {
    entry.system_recipients_max = Within(0, 1'000'000'000);
    entry.system_recipient_minutes = Within(1, 60);
  }
  if (Chance()) entry.ip_preference = static_cast<IpPreference>(Below(4));
  if (Chance()) entry.tls.level = static_cast<TlsLevel>(Below(6));
  if (Chance()) entry.tls.version_min = Chance() ? TlsVersion::k12 : TlsVersion::k13;
  if (Chance()) entry.tls.sni = Chance();
  if (Chance()) entry.tls.accept_cn = Chance();
  if (Chance()) entry.tls.ca_file = Chance() ? "/etc/ssl/a = b.pem" : "=x#;";
  if (Chance()) entry.tls.certificate = Chance() ? "mta 2026" : "bücher:[x]";
  if (Chance()) entry.tag_sender = Chance();
  if (Chance() && !entry.domain.empty()) entry.bounce_profile = Chance() ? "tls failed" : "Ours#;";
  if (Chance() && entry.domain.empty()) entry.tls.alert_where_required_fails = Chance();
  const TlsLevel level = entry.tls.level.value_or(default_level);
  const bool may_remember = level == TlsLevel::kOn || level == TlsLevel::kOnVerify;
  if (Chance()) entry.tls.broken_memory = seconds(may_remember ? Within(0, 604'800) : 0);
  return entry;
}

std::vector<ControlsEntry> Tables::Next() {
  std::vector<std::string> domains = {
      "a.example",          "b.a.example", ".a.example", "default",     ".all",
      "[IPv6:2001:db8::1]", "all",         "192.0.2.1",  "[192.0.2.1]", "xn--bcher-kva.example"};
  std::shuffle(domains.begin(), domains.end(), random_);
  domains.resize(Below(static_cast<uint32_t>(domains.size()) + 1));
  std::vector<ControlsEntry> entries;
  TlsLevel default_level = TlsLevel::kOff;
  if (Chance()) {
    entries.push_back(Entry("", TlsLevel::kOff));
    default_level = entries[0].tls.level.value_or(TlsLevel::kOff);
  }
  for (const std::string& domain : domains) entries.push_back(Entry(domain, default_level));
  std::shuffle(entries.begin(), entries.end(), random_);
  return entries;
}

TEST(ControlsWriter, RandomTablesAreReadBackAsTheyWere) {
  Tables tables(20260726);
  for (int i = 0; i < 3000 && !HasFailure(); ++i) ExpectReadBack(tables.Next());
}

// Order, lines and default too, and the text is the same.
TEST(ControlsWriter, RewrittenEntriesAreThoseThatReadingTheTextGives) {
  Tables tables(20261126);
  for (int i = 0; i < 1000 && !HasFailure(); ++i) {
    std::vector<ControlsEntry> entries = tables.Next();
    const std::string text = WriteControlsFile(entries);
    EXPECT_EQ(RewriteControlsFile(entries), text);
    EXPECT_EQ(entries, ParseControlsFile(text).entries) << text;
  }
}

}  // namespace
}  // namespace sluice::policy
