// Which entry governs a domain and what it inherits: exact, longest partial, default; and the
// look-up against a plain search through all entries.

#include "policy/controls_table.h"

#include <chrono>
#include <cstddef>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/random.h"
#include "gtest/gtest.h"

namespace sluice::policy {
namespace {

// An entry that is known by its concurrency.
ControlsEntry Entry(std::string domain, uint32_t connections_max) {
  return {.domain = std::move(domain), .connections_max = connections_max};
}

TEST(ControlsTable, WithoutADefaultTheFactoryValuesStand) {
  const ControlsTable table({});
  const Controls& controls = table.Lookup("example.com");
  EXPECT_EQ(controls.limits.connections_max, 500u);
  EXPECT_EQ(controls.messages_per_connection_max, 50u);
  EXPECT_FALSE(controls.limits.recipients_limited);
  EXPECT_EQ(table.size(), 0u);
  EXPECT_EQ(table.version(), 0u);
}

TEST(ControlsTable, ExactThenLongestPartialThenDefault) {
  const ControlsTable table(
      {Entry("", 1), Entry("example.com", 2), Entry(".example.com", 3), Entry(".a.example.com", 4),
       Entry("x.a.example.com", 5), Entry("[192.0.2.1]", 6)},
      7);
  const struct {
    const char* domain;
    uint32_t connections_max;
  } kRows[] = {
      {"example.com", 2},       {"b.example.com", 3},    {"c.b.example.com", 3},
      {"a.example.com", 3},     {"b.a.example.com", 4},  {"x.a.example.com", 5},
      {"y.x.a.example.com", 4}, {"notexample.com", 1},   {"com", 1},
      {"example.com.org", 1},   {"b.notexample.com", 1}, {"[192.0.2.1]", 6},
      {"[192.0.2.2]", 1},       {"x.example", 1},        {"", 1},
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(table.Lookup(row.domain).limits.connections_max, row.connections_max) << row.domain;
  }
  EXPECT_EQ(table.size(), 5u);
  EXPECT_EQ(table.version(), 7u);
}

TEST(ControlsTable, AFieldThatIsLeftOutIsTheDefaults) {
  const ControlsTable table({
      {.domain = "messages.example", .messages_per_connection_max = 9},
      {.domain = "connections.example", .connections_max = 8},
      {.domain = "recipients.example", .recipients_max = 7, .recipient_minutes = 6},
      {.domain = "", .connections_max = 20, .recipients_max = 100, .recipient_minutes = 60},
      {.domain = "nothing.example"},
  });
  const Controls by_default{.limits = {.connections_max = 20,
                                       .recipients_limited = true,
                                       .recipients_max = 100,
                                       .recipient_period = std::chrono::hours(1)},
                            .messages_per_connection_max = 50};
  EXPECT_EQ(table.Lookup("else.example"), by_default);
  EXPECT_EQ(table.Lookup("nothing.example"), by_default);

  Controls expected = by_default;
  expected.messages_per_connection_max = 9;
  EXPECT_EQ(table.Lookup("messages.example"), expected);
  expected = by_default;
  expected.limits.connections_max = 8;
  EXPECT_EQ(table.Lookup("connections.example"), expected);
  expected = by_default;
  expected.limits.recipients_max = 7;
  expected.limits.recipient_period = std::chrono::minutes(6);
  EXPECT_EQ(table.Lookup("recipients.example"), expected);
}

TEST(ControlsTable, APartialEntryInheritsFromTheDefaultNotFromAShorterOne) {
  const ControlsTable table(
      {Entry(".example", 3), {.domain = ".a.example", .messages_per_connection_max = 9}});
  EXPECT_EQ(table.Lookup("x.a.example").limits.connections_max, 500u);
}

TEST(ControlsTable, ALimitOfZeroIsALimit) {
  const ControlsTable table(
      {{.domain = "held.example", .recipients_max = 0, .recipient_minutes = 1}});
  EXPECT_TRUE(table.Lookup("held.example").limits.recipients_limited);
  EXPECT_EQ(table.Lookup("held.example").limits.recipients_max, 0u);
}

TEST(ControlsTableDeathTest, EntriesAreDistinctAndWhole) {
  EXPECT_DEATH(ControlsTable({Entry("a.example", 1), Entry("a.example", 2)}), "CHECK");
  EXPECT_DEATH(ControlsTable({Entry("", 1), Entry("", 2)}), "CHECK");
  EXPECT_DEATH(ControlsTable({{.domain = "a.example", .recipients_max = 1}}), "CHECK");
  EXPECT_DEATH(ControlsTable({{.domain = "a.example", .recipient_minutes = 1}}), "CHECK");
  EXPECT_DEATH(ControlsTable({Entry("a.example", 0)}), "CHECK");
}

std::string RandomDomain(Random& random) {
  static constexpr absl::string_view kLabels[] = {"a", "b", "ab", "ba"};
  std::string domain(kLabels[random.Below(4)]);
  for (uint64_t i = random.Below(5); i > 0; --i) {
    absl::StrAppend(&domain, ".", kLabels[random.Below(4)]);
  }
  return domain;
}

// The plain twin: the entry with the longest name that matches; an exact one is the longest.
uint32_t SearchAll(const std::vector<ControlsEntry>& entries, const std::string& domain) {
  const ControlsEntry* best = nullptr;
  for (const ControlsEntry& entry : entries) {
    const bool matches = entry.domain.empty() || entry.domain == domain ||
                         (entry.domain[0] == '.' && absl::EndsWith(domain, entry.domain));
    if (matches && (!best || entry.domain.size() > best->domain.size())) best = &entry;
  }
  return *best->connections_max;
}

TEST(ControlsTable, AsASearchThroughAllEntries) {
  Random random(1);
  for (int round = 0; round < 50; ++round) {
    std::set<std::string> domains = {""};
    for (int i = 0; i < 40; ++i) {
      domains.insert(absl::StrCat(random.Chance(0.5) ? "." : "", RandomDomain(random)));
    }
    std::vector<ControlsEntry> entries;
    for (const std::string& domain : domains) {
      entries.push_back(Entry(domain, static_cast<uint32_t>(entries.size() + 1)));
    }
    const ControlsTable table(entries);
    for (int i = 0; i < 200; ++i) {
      const std::string domain = RandomDomain(random);
      ASSERT_EQ(table.Lookup(domain).limits.connections_max, SearchAll(entries, domain)) << domain;
    }
  }
}

// A domain's own controls and its twin's, at many domains.
void ExpectTheSame(const ControlsTable& table, const std::vector<ControlsEntry>& entries,
                   Random& random) {
  for (int i = 0; i < 30; ++i) {
    const std::string domain = RandomDomain(random);
    ASSERT_EQ(table.Lookup(domain).limits.connections_max, SearchAll(entries, domain)) << domain;
  }
}

// Entries that are edited as an operator does, one or a few at a time.
class Edits {
 public:
  explicit Edits(Random& random) : random_(random) {
    for (int i = 0; i < 60; ++i) Add();
  }

  ControlsChange Next() {
    ControlsChange change;
    for (uint64_t i = 1 + random_.Below(4); i > 0; --i) {
      random_.Chance(0.4) ? Remove(change) : Put(change);
    }
    return change;
  }

  void ChangeDefault() { entries_[0].connections_max = Value(); }

  const std::vector<ControlsEntry>& entries() const { return entries_; }

 private:
  uint32_t Value() { return ++last_value_; }

  void Add() {
    std::string domain = absl::StrCat(random_.Chance(0.5) ? "." : "", RandomDomain(random_));
    for (const ControlsEntry& entry : entries_) {
      if (entry.domain == domain) return;
    }
    entries_.push_back(Entry(std::move(domain), Value()));
  }

  // One that is new, or was there.
  void Put(ControlsChange& change) {
    const size_t before = entries_.size();
    if (random_.Chance(0.5)) Add();
    ControlsEntry& entry = entries_.size() > before
                               ? entries_.back()
                               : entries_[1 + random_.Below(entries_.size() - 1)];
    entry.connections_max = Value();
    change.put.push_back(entry);
  }

  // Removals come before what is put.
  void Remove(ControlsChange& change) {
    if (entries_.size() < 3 || !change.put.empty()) return;
    const size_t at = 1 + random_.Below(entries_.size() - 1);
    change.removed.push_back(entries_[at].domain);
    entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(at));
  }

  Random& random_;
  uint32_t last_value_ = 0;
  std::vector<ControlsEntry> entries_ = {Entry("", 1'000'000)};
};

TEST(ControlsTable, ChangedAgainAndAgainIsAsASearchThroughAllEntries) {
  Random random(2);
  for (int round = 0; round < 30; ++round) {
    Edits edits(random);
    auto table = std::make_unique<ControlsTable>(edits.entries());
    for (uint64_t step = 1; step <= 60; ++step) {
      if (random.Chance(0.05)) {
        edits.ChangeDefault();
        table = std::make_unique<ControlsTable>(edits.entries(), step);
      } else {
        table = std::make_unique<ControlsTable>(*table, edits.Next(), step);
      }
      ASSERT_NO_FATAL_FAILURE(ExpectTheSame(*table, edits.entries(), random));
      ASSERT_EQ(table->size(), edits.entries().size() - 1);
      ASSERT_EQ(table->version(), step);
    }
  }
}

TEST(ControlsTable, TheOlderOneStaysAsItWas) {
  const ControlsTable older({Entry("", 1), Entry("a.example", 2), Entry(".example", 3)}, 1);
  const ControlsTable table(
      older, {.removed = {".example"}, .put = {Entry("a.example", 4), Entry("b.example", 5)}}, 2);
  EXPECT_EQ(older.Lookup("a.example").limits.connections_max, 2u);
  EXPECT_EQ(older.Lookup("b.example").limits.connections_max, 3u);
  EXPECT_EQ(older.size(), 2u);
  EXPECT_EQ(table.Lookup("a.example").limits.connections_max, 4u);
  EXPECT_EQ(table.Lookup("b.example").limits.connections_max, 5u);
  EXPECT_EQ(table.Lookup("c.example").limits.connections_max, 1u);
  EXPECT_EQ(table.size(), 2u);
}

TEST(ControlsTable, OutlivesTheOlderOne) {
  auto older = std::make_unique<ControlsTable>(std::vector{Entry("a.example", 2)});
  const ControlsTable table(*older, {.put = {Entry("b.example", 5)}}, 2);
  older.reset();
  EXPECT_EQ(table.Lookup("a.example").limits.connections_max, 2u);
}

TEST(ControlsTable, WhatIsPutInheritsFromTheDefault) {
  const ControlsTable older({{.domain = "", .messages_per_connection_max = 9}});
  const ControlsTable table(older, {.put = {Entry("a.example", 5)}}, 2);
  EXPECT_EQ(table.Lookup("a.example").messages_per_connection_max, 9u);
}

TEST(ControlsTable, AnEntryMayBeRemovedAndPutInOneChange) {
  const ControlsTable older({Entry("", 1), Entry("a.example", 2)});
  const ControlsTable table(older, {.removed = {"a.example"}, .put = {Entry("a.example", 3)}}, 1);
  EXPECT_EQ(table.Lookup("a.example").limits.connections_max, 3u);
  EXPECT_EQ(table.size(), 1u);
}

TEST(ControlsTableDeathTest, AChangeIsOfEntriesThatAreThereAndNotOfTheDefault) {
  const ControlsTable older({Entry("", 1), Entry("a.example", 2)});
  EXPECT_DEATH(ControlsTable(older, {.removed = {"b.example"}}, 1), "CHECK");
  EXPECT_DEATH(ControlsTable(older, {.removed = {""}}, 1), "CHECK");
  EXPECT_DEATH(ControlsTable(older, {.put = {Entry("", 2)}}, 1), "CHECK");
}

std::vector<std::string> Certificates(const ControlsTable& table) {
  std::set<std::string> names;
  for (const TlsControls& tls : table.DistinctTls()) names.insert(tls.certificate.str());
  return {names.begin(), names.end()};
}

// A name that no entry has any more may be gone from the configuration.
TEST(ControlsTable, DistinctTlsIsOfTheEntriesThatAreThere) {
  const auto shows = [](std::string domain, std::string certificate) {
    return ControlsEntry{.domain = std::move(domain), .tls = {.certificate = certificate}};
  };
  using Names = std::vector<std::string>;
  const ControlsTable first({shows("a.example", "a"), shows("b.example", "b"),
                             shows("c.example", "b"), shows(".example", "p")});
  EXPECT_EQ(Certificates(first), (Names{"", "a", "b", "p"}));
  EXPECT_EQ(first.DistinctTls().size(), 4u);
  const ControlsTable second(first, {.removed = {"a.example", "b.example"}}, 1);
  EXPECT_EQ(Certificates(second), (Names{"", "b", "p"}));
  const ControlsTable third(second, {.put = {shows("c.example", "c"), shows(".example", "")}}, 2);
  EXPECT_EQ(Certificates(third), (Names{"", "c"}));
}

// 200 bytes are the aim; a name, however long it is, takes none of them.
TEST(ControlsTable, TakesFewBytesAnEntry) {
  constexpr uint32_t kEntries = 50'000;
  for (const uint32_t settings : {1u, kEntries}) {
    std::vector<ControlsEntry> entries;
    for (uint32_t i = 0; i < kEntries; ++i) {
      entries.push_back(Entry(absl::StrCat(std::string(200, 'x'), i), i % settings + 1));
      entries.back().tls.certificate = absl::StrCat("mta-", i % settings);
      entries.back().tls.ca_file = "/etc/ssl/certs/a-private-authority.pem";
    }
    const ControlsTable table(entries);
    EXPECT_LT(table.memory_bytes(), (settings == 1 ? 50u : 200u) * kEntries) << settings;
  }
}

}  // namespace
}  // namespace sluice::policy
