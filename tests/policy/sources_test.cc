// Which pool a sender's mail leaves by: rules of each kind, and which of them comes first. The
// order is the appliance's: client address, whole sender, local part, domain, partial domain,
// default.

#include "policy/sources.h"

#include <initializer_list>
#include <optional>
#include <string>
#include <utility>

#include "gtest/gtest.h"

namespace sluice::policy {
namespace {

constexpr const char* kSources[] = {"default", "a", "b", "c", "d", "e"};

Sources WithRules(std::initializer_list<std::pair<const char*, const char*>> rules) {
  Sources sources;
  for (const char* name : kSources) sources.AddSource({.name = name});
  for (const auto& [text, pool] : rules) {
    std::optional<SourceRule> rule = ParseSourceRule(text);
    if (!rule) {
      ADD_FAILURE() << text;
      continue;
    }
    rule->pool = *sources.FindPool(pool);
    sources.AddRule(*std::move(rule));
  }
  sources.SetDefaultPool(*sources.FindPool("default"));
  return sources;
}

std::string PoolOf(const Sources& sources, absl::string_view client, absl::string_view sender) {
  const std::optional<IpAddress> address = IpAddress::Parse(client);
  return sources.pool(sources.PoolFor(address.value_or(IpAddress{}), sender)).name;
}

TEST(Sources, WithoutRulesAllLeavesByTheDefault) {
  EXPECT_EQ(Sources().PoolFor(*IpAddress::Parse("192.0.2.1"), "a@b.example"), 0u);
  EXPECT_EQ(PoolOf(WithRules({}), "192.0.2.1", "a@b.example"), "default");
}

TEST(Sources, KindsOfRulesInTheirOrder) {
  const Sources sources = WithRules({{"@.example", "e"},
                                     {"@x.example", "d"},
                                     {"news@", "c"},
                                     {"news@x.example", "b"},
                                     {"192.0.2.0/24", "a"}});
  EXPECT_EQ(PoolOf(sources, "192.0.2.9", "news@x.example"), "a");
  EXPECT_EQ(PoolOf(sources, "198.51.100.1", "news@x.example"), "b");
  EXPECT_EQ(PoolOf(sources, "", "news@x.example"), "b");
  EXPECT_EQ(PoolOf(sources, "", "news@other.test"), "c");
  EXPECT_EQ(PoolOf(sources, "", "joe@x.example"), "d");
  EXPECT_EQ(PoolOf(sources, "", "joe@y.example"), "e");
  EXPECT_EQ(PoolOf(sources, "", "joe@other.test"), "default");
}

TEST(Sources, TheLongestPrefixAndTheLongestPartialDomain) {
  const Sources sources = WithRules({{"192.0.2.0/24", "a"},
                                     {"192.0.2.7", "b"},
                                     {"192.0.0.0/16", "c"},
                                     {"@.example", "d"},
                                     {"@.b.example", "e"}});
  EXPECT_EQ(PoolOf(sources, "192.0.2.7", ""), "b");
  EXPECT_EQ(PoolOf(sources, "192.0.2.8", ""), "a");
  EXPECT_EQ(PoolOf(sources, "192.0.3.8", ""), "c");
  EXPECT_EQ(PoolOf(sources, "", "joe@a.b.example"), "e");
  EXPECT_EQ(PoolOf(sources, "", "joe@b.example"), "d");
  EXPECT_EQ(PoolOf(sources, "", "joe@example"), "default");
}

TEST(Sources, InAnyCaseAndTheNullSender) {
  const Sources sources = WithRules({{"News@X.Example", "a"}, {"OFFERS@", "b"}, {"<>", "c"}});
  EXPECT_EQ(PoolOf(sources, "", "nEWS@x.eXAMPLE"), "a");
  EXPECT_EQ(PoolOf(sources, "", "offers@y.example"), "b");
  EXPECT_EQ(PoolOf(sources, "", ""), "c");
  EXPECT_EQ(PoolOf(WithRules({{"news@", "a"}}), "", ""), "default");
}

TEST(Sources, TextsThatAreNoRule) {
  for (const char* text : {"", "@", "news", "@.", "@a..example", "192.0.2.0/33", "<x>"}) {
    EXPECT_FALSE(ParseSourceRule(text)) << text;
  }
}

}  // namespace
}  // namespace sluice::policy
