// The order of one attempt. Properties of the list (preference, families taking turns, its length,
// two hosts, both families) over many seeds, and fairness: counts over thousands of draws against
// the binomial distribution, within six standard deviations, which a fair draw leaves once in 5e8.

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
  EXPECT_TRUE(OrderRoute(Found({}), random).empty());
  EXPECT_TRUE(OrderRoute(Found({Host(1, 10, 0, 0)}), random).empty());
}

TEST(OrderRoute, CarriesNameAddressAndPortOfItsHost) {
  Random random(1);
  RouteHost host = Host(1, 0, 0, 1);
  host.port = 2525;
  const std::vector<RouteStep> steps = OrderRoute(Found({host}), random);
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps[0].host, "mx1.example");
  EXPECT_EQ(steps[0].address.ToString(), "192.0.1.0:2525");
}

TEST(OrderRoute, TriesLowerPreferencesFirst) {
  const Route route =
      Found({Host(3, 30, 0, 1), Host(1, 0, 0, 1), Host(4, 65535, 0, 1), Host(2, 10, 0, 1)});
  for (uint64_t seed = 0; seed < 100; ++seed) {
    Random random(seed);
    const std::vector<RouteStep> steps = OrderRoute(route, random);
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
    EXPECT_EQ(Families(OrderRoute(Found({Host(1, 0, host.v6, host.v4)}), random)), host.families);
  }
}

TEST(OrderRoute, NeverTriesOneAddressTwice) {
  const Route route = Found({Host(1, 0, 8, 8), Host(2, 0, 8, 8), Host(3, 5, 1, 1)});
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Random random(seed);
    std::set<std::string> addresses;
    for (const RouteStep& step : OrderRoute(route, random)) {
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
    const std::vector<RouteStep> steps = OrderRoute(route, random);
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
      OrderRoute(Found({Host(1, 0, 8, 0), Host(2, 5, 8, 0), Host(3, 9, 0, 1)}), random);
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
    for (const RouteStep& step : OrderRoute(route, random)) order += step.host[2];
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
    first += OrderRoute(route, random).front().host == "mx1.example";
  }
  ExpectFair(first, 1.0 / 2);
}

TEST(OrderRoute, TheAddressesOfAFamilyComeFirstEquallyOften) {
  const Route route = Found({Host(1, 0, 4, 4)});
  Random random(11);
  std::map<std::string, int> first;
  std::map<std::string, int> second;
  for (int draw = 0; draw < kDraws; ++draw) {
    const std::vector<RouteStep> steps = OrderRoute(route, random);
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
    const auto left = OrderRoute(route, a);
    const auto right = OrderRoute(route, b);
    ASSERT_EQ(left.size(), right.size());
    for (size_t i = 0; i < left.size(); ++i) EXPECT_EQ(left[i].address, right[i].address);
  }
}

}  // namespace
}  // namespace sluice::dns
