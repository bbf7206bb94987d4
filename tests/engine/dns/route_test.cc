// The order of one attempt. Properties of the list (preference, families taking turns, its length,
// two hosts, both families) over many seeds and every preference of a family, and fairness: counts
// over thousands of draws against the binomial distribution, within six standard deviations, which
// a fair draw leaves once in 5e8.

#include "engine/dns/route.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/limits.h"

namespace sluice::dns {
namespace {

constexpr size_t kTriedMax = limits::kRouteAddressesTriedMax;
constexpr int kDraws = 12'000;

constexpr FamilyOrder kPreferV6 = {.first = Family::kIpv6, .only = false};
constexpr FamilyOrder kPreferV4 = {.first = Family::kIpv4, .only = false};
constexpr FamilyOrder kRequireV6 = {.first = Family::kIpv6, .only = true};
constexpr FamilyOrder kRequireV4 = {.first = Family::kIpv4, .only = true};

IpAddress Ip(absl::string_view text) {
  return *IpAddress::Parse(text);
}

// A host with so many addresses of each family, all different from those of every other `number`.
RouteHost Host(int number, int preference, int v6, int v4) {
  RouteHost host;
  host.name = absl::StrCat("mx", number, ".example");
  host.preference = static_cast<uint16_t>(preference);
  for (int i = 0; i < v4; ++i) host.addresses.push_back(Ip(absl::StrCat("192.0.", number, ".", i)));
  for (int i = 0; i < v6; ++i) {
    host.addresses.push_back(Ip(absl::StrCat("2001:db8:", number, "::", i)));
  }
  return host;
}

Route Found(std::vector<RouteHost> hosts) {
  Route route;
  route.result = RouteResult::kFound;
  route.hosts = std::move(hosts);
  return route;
}

std::string Families(const std::vector<RouteStep>& steps) {
  std::string families;
  for (const RouteStep& step : steps) {
    families += step.address.ip.family == Family::kIpv6 ? '6' : '4';
  }
  return families;
}

std::set<std::string> Names(const std::vector<RouteStep>& steps) {
  std::set<std::string> names;
  for (const RouteStep& step : steps) names.insert(step.host);
  return names;
}

void ExpectFair(int count, double probability) {
  const double mean = kDraws * probability;
  const double deviation = std::sqrt(mean * (1 - probability));
  EXPECT_NEAR(count, mean, 6 * deviation);
}

TEST(OrderRoute, OfNothingIsEmpty) {
  Random random(1);
  EXPECT_TRUE(OrderRoute(Found({}), kPreferV6, random).empty());
  EXPECT_TRUE(OrderRoute(Found({Host(1, 10, 0, 0)}), kPreferV6, random).empty());
}

TEST(OrderRoute, CarriesNameAddressAndPortOfItsHost) {
  Random random(1);
  RouteHost host = Host(1, 0, 0, 1);
  host.port = 2525;
  const std::vector<RouteStep> steps = OrderRoute(Found({host}), kPreferV6, random);
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps[0].host, "mx1.example");
  EXPECT_EQ(steps[0].address.ToString(), "192.0.1.0:2525");
}

TEST(OrderRoute, TriesLowerPreferencesFirst) {
  const Route route =
      Found({Host(3, 30, 0, 1), Host(1, 0, 0, 1), Host(4, 65535, 0, 1), Host(2, 10, 0, 1)});
  for (uint64_t seed = 0; seed < 100; ++seed) {
    Random random(seed);
    const std::vector<RouteStep> steps = OrderRoute(route, kPreferV6, random);
    ASSERT_EQ(steps.size(), 4u);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(steps[i].host, absl::StrCat("mx", i + 1, ".example"));
  }
}

TEST(OrderRoute, FamiliesTakeTurnsBeginningWithIpv6) {
  const struct {
    int v6;
    int v4;
    const char* families;
  } kHosts[] = {{1, 1, "64"},    {2, 2, "6464"},  {0, 3, "444"},   {3, 0, "666"},   {1, 3, "6444"},
                {3, 1, "6466"},  {3, 2, "64646"}, {8, 2, "64646"}, {2, 8, "64644"}, {1, 8, "64444"},
                {8, 1, "64666"}, {0, 8, "44444"}, {8, 0, "66666"}};
  for (const auto& host : kHosts) {
    Random random(7);
    EXPECT_EQ(Families(OrderRoute(Found({Host(1, 0, host.v6, host.v4)}), kPreferV6, random)),
              host.families);
  }
}

TEST(OrderRoute, FamiliesTakeTurnsBeginningWithIpv4WhereThatIsPreferred) {
  const struct {
    int v6;
    int v4;
    const char* families;
  } kHosts[] = {{1, 1, "46"},   {2, 2, "4646"}, {0, 3, "444"},   {3, 0, "666"},
                {1, 3, "4644"}, {3, 1, "4666"}, {8, 2, "46466"}, {8, 8, "46464"}};
  for (const auto& host : kHosts) {
    Random random(7);
    EXPECT_EQ(Families(OrderRoute(Found({Host(1, 0, host.v6, host.v4)}), kPreferV4, random)),
              host.families);
  }
}

TEST(OrderRoute, TheOtherFamilyIsLeftOutWhereOneIsRequired) {
  const Route route = Found({Host(1, 0, 1, 2), Host(2, 5, 3, 0), Host(3, 5, 0, 1)});
  Random random(7);
  EXPECT_EQ(Families(OrderRoute(route, kRequireV6, random)), "6666");
  EXPECT_EQ(Families(OrderRoute(route, kRequireV4, random)), "444");
  EXPECT_TRUE(OrderRoute(Found({Host(1, 0, 0, 8)}), kRequireV6, random).empty());
  EXPECT_TRUE(OrderRoute(Found({Host(1, 0, 8, 0)}), kRequireV4, random).empty());
}

// RFC 5321 5.1: equal hosts are tried at random where there is no clear reason to favour one, and a
// preferred family is one. A lower preference comes first whatever its family.
TEST(OrderRoute, APreferredFamilyDecidesAmongEqualHostsAlone) {
  const Route equal = Found({Host(1, 10, 0, 1), Host(2, 10, 1, 0), Host(3, 10, 0, 1)});
  const Route ranked = Found({Host(1, 10, 0, 1), Host(2, 20, 1, 0), Host(3, 30, 0, 1)});
  for (uint64_t seed = 0; seed < 100; ++seed) {
    Random random(seed);
    EXPECT_EQ(Families(OrderRoute(equal, kPreferV6, random)), "644");
    EXPECT_EQ(Families(OrderRoute(equal, kPreferV4, random)), "464");
    EXPECT_EQ(Families(OrderRoute(ranked, kPreferV6, random)), "464");
    EXPECT_EQ(Families(OrderRoute(ranked, kPreferV4, random)), "464");
  }
}

// What the rules say of a route of two preferences with so many addresses of each family.
std::string Turns(int firsts, int others, FamilyOrder order) {
  const char first = order.first == Family::kIpv6 ? '6' : '4';
  const char other = order.first == Family::kIpv6 ? '4' : '6';
  std::string turns;
  while (firsts > 0 || others > 0) {
    if (firsts-- > 0) turns += first;
    if (others-- > 0 && !order.only) turns += other;
  }
  return turns;
}

// Every mixture of three small or large hosts, two of them equal, in every order. What an attempt
// must hold may take its last place; all before it is as the rules say.
TEST(OrderRoute, AsTheRulesSayForEveryPreference) {
  constexpr int kCounts[] = {0, 1, 2, 8};
  for (int shape = 0; shape < 4 * 4 * 4 * 4 * 4 * 4; ++shape) {
    int v6[3];
    int v4[3];
    for (int i = 0, rest = shape; i < 3; ++i, rest /= 16) {
      v6[i] = kCounts[rest % 4];
      v4[i] = kCounts[rest / 4 % 4];
    }
    const Route route =
        Found({Host(1, 10, v6[0], v4[0]), Host(2, 10, v6[1], v4[1]), Host(3, 20, v6[2], v4[2])});
    for (const FamilyOrder order : {kPreferV6, kPreferV4, kRequireV6, kRequireV4}) {
      const int* firsts = order.first == Family::kIpv6 ? v6 : v4;
      const int* others = order.first == Family::kIpv6 ? v4 : v6;
      const std::string equal = Turns(firsts[0] + firsts[1], others[0] + others[1], order);
      const std::string all = equal + Turns(firsts[2], others[2], order);
      size_t hosts = 0;
      for (int i = 0; i < 3; ++i) hosts += firsts[i] > 0 || (others[i] > 0 && !order.only);

      Random random(static_cast<uint64_t>(shape));
      const std::vector<RouteStep> steps = OrderRoute(route, order, random);
      const std::string families = Families(steps);
      ASSERT_EQ(steps.size(), std::min(all.size(), kTriedMax)) << shape;
      const size_t ruled = all.size() > kTriedMax ? kTriedMax - 1 : all.size();
      ASSERT_EQ(families.substr(0, ruled), all.substr(0, ruled)) << shape;
      for (size_t i = 0; i < ruled; ++i) {
        ASSERT_EQ(steps[i].host == "mx3.example", i >= equal.size()) << shape;
      }
      ASSERT_GE(Names(steps).size(), std::min<size_t>(hosts, 2)) << shape;
      for (const char family : {'4', '6'}) {
        ASSERT_EQ(families.find(family) == std::string::npos, all.find(family) == std::string::npos)
            << shape;
      }
    }
  }
}

TEST(OrderRoute, NeverTriesOneAddressTwice) {
  const Route route = Found({Host(1, 0, 8, 8), Host(2, 0, 8, 8), Host(3, 5, 1, 1)});
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Random random(seed);
    std::set<std::string> addresses;
    for (const RouteStep& step : OrderRoute(route, kPreferV6, random)) {
      EXPECT_TRUE(addresses.insert(step.address.ToString()).second);
    }
    EXPECT_EQ(addresses.size(), kTriedMax);
  }
}

// Every mixture of two and three small or large hosts: the bound, two hosts, and both families.
TEST(OrderRoute, AnAttemptHoldsTwoHostsAndBothFamiliesWheneverTheRouteDoes) {
  constexpr int kCounts[] = {0, 1, 2, 8};
  for (int shape = 0; shape < 4 * 4 * 4 * 4 * 4 * 4; ++shape) {
    std::vector<int> counts;
    for (int i = 0, rest = shape; i < 6; ++i, rest /= 4) counts.push_back(kCounts[rest % 4]);
    const Route route = Found({Host(1, 10, counts[0], counts[1]), Host(2, 10, counts[2], counts[3]),
                               Host(3, 20, counts[4], counts[5])});
    int hosts = 0;
    for (int i = 0; i < 6; i += 2) hosts += counts[i] + counts[i + 1] > 0;
    const int v6 = counts[0] + counts[2] + counts[4];
    const int v4 = counts[1] + counts[3] + counts[5];

    Random random(static_cast<uint64_t>(shape));
    const std::vector<RouteStep> steps = OrderRoute(route, kPreferV6, random);
    const std::string families = Families(steps);
    ASSERT_EQ(steps.size(), std::min<size_t>(v6 + v4, kTriedMax)) << shape;
    ASSERT_GE(Names(steps).size(), static_cast<size_t>(std::min(hosts, 2))) << shape;
    ASSERT_EQ(families.find('6') != std::string::npos, v6 > 0) << shape;
    ASSERT_EQ(families.find('4') != std::string::npos, v4 > 0) << shape;
  }
}

TEST(OrderRoute, OnlyTheLastPlaceIsGivenAway) {
  Random random(3);
  const std::vector<RouteStep> steps =
      OrderRoute(Found({Host(1, 0, 8, 0), Host(2, 5, 8, 0), Host(3, 9, 0, 1)}), kPreferV6, random);
  ASSERT_EQ(steps.size(), kTriedMax);
  EXPECT_EQ(Families(steps), "66664");
  for (int i = 0; i < 4; ++i) EXPECT_EQ(steps[i].host, "mx1.example");
  EXPECT_EQ(steps[4].host, "mx3.example");
}

TEST(OrderRoute, HostsOfEqualPreferenceComeFirstEquallyOften) {
  const Route route = Found({Host(1, 0, 0, 1), Host(2, 0, 0, 1), Host(3, 0, 0, 1)});
  Random random(20260801);
  std::map<std::string, int> orders;
  for (int draw = 0; draw < kDraws; ++draw) {
    std::string order;
    for (const RouteStep& step : OrderRoute(route, kPreferV6, random)) order += step.host[2];
    ++orders[order];
  }
  ASSERT_EQ(orders.size(), 6u);  // 3! orders, each as likely as the others.
  for (const auto& [order, count] : orders) ExpectFair(count, 1.0 / 6);
}

TEST(OrderRoute, AHostIsNotFavouredForItsManyAddresses) {
  const Route route = Found({Host(1, 0, 1, 0), Host(2, 0, 8, 8)});
  Random random(5);
  int first = 0;
  for (int draw = 0; draw < kDraws; ++draw) {
    first += OrderRoute(route, kPreferV6, random).front().host == "mx1.example";
  }
  ExpectFair(first, 1.0 / 2);
}

TEST(OrderRoute, TheAddressesOfAFamilyComeFirstEquallyOften) {
  const Route route = Found({Host(1, 0, 4, 4)});
  Random random(11);
  std::map<std::string, int> first;
  std::map<std::string, int> second;
  for (int draw = 0; draw < kDraws; ++draw) {
    const std::vector<RouteStep> steps = OrderRoute(route, kPreferV6, random);
    ++first[steps[0].address.ToString()];
    ++second[steps[1].address.ToString()];
  }
  ASSERT_EQ(first.size(), 4u);
  ASSERT_EQ(second.size(), 4u);
  for (const auto& [address, count] : first) ExpectFair(count, 1.0 / 4);
  for (const auto& [address, count] : second) ExpectFair(count, 1.0 / 4);
}

TEST(OrderRoute, TheSameSeedGivesTheSameOrder) {
  const Route route = Found({Host(1, 0, 4, 4), Host(2, 0, 4, 4)});
  Random a(42);
  Random b(42);
  for (int draw = 0; draw < 20; ++draw) {
    const auto left = OrderRoute(route, kPreferV6, a);
    const auto right = OrderRoute(route, kPreferV6, b);
    ASSERT_EQ(left.size(), right.size());
    for (size_t i = 0; i < left.size(); ++i) EXPECT_EQ(left[i].address, right[i].address);
  }
}

}  // namespace
}  // namespace sluice::dns
