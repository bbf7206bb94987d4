// Which entry governs a domain and what it inherits: exact, longest partial, default; and the
// look-up against a plain search through all entries.

#include "policy/controls_table.h"

#include <chrono>
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

}  // namespace
}  // namespace sluice::policy
