// The resolver as a shard sees it, against name servers on loopback. NSD serves a zone of ours with
// every shape of mail route, so that libunbound's own doing (following CNAMEs, asking again by TCP,
// negative answers) is part of the test; OddServer does what NSD refuses to do. Without NSD the
// tests that need it are skipped. A waiting test waits for a wake, as a shard does.

#include "engine/dns/unbound_resolver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/limits.h"
#include "name_server.h"

namespace sluice::dns {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

constexpr absl::string_view kZone = R"(
$ORIGIN example.
$TTL 3600
.                   SOA  ns. root. 1 3600 600 86400 120
.                   NS   ns.
ns.                 A    127.0.0.1
mx1                 A    192.0.2.1
mx1                 AAAA 2001:db8::1
mx2                 A    192.0.2.2
mx3          600    AAAA 2001:db8::3
set                 MX   20 mx2
set                 MX   10 mx1
set                 MX   30 mx3
equal               MX   10 mx1
equal               MX   10 mx2
null                MX   0 .
null                A    192.0.2.9
null-among          MX   0 .
null-among          MX   10 mx2
implicit            A    192.0.2.4
implicit            TXT  "no MX here"
implicit-six        AAAA 2001:db8::6
six                 MX   10 mx3
nodata              TXT  "nothing for mail"
upper               MX   10 MX2.EXAMPLE.
alias-mx            MX   10 alias
alias               CNAME mx2
alias-domain        CNAME set
loop-mx             MX   10 loop1
loop1               CNAME loop2
loop2               CNAME loop1
gone-mx             MX   10 gone
gone-mx             A    192.0.2.9
loopback            MX   10 inside
inside              A    127.0.0.1
inside              AAAA ::1
metadata            MX   10 metadata-host
metadata-host       A    169.254.169.254
private             MX   10 private-host
private-host        A    10.1.2.3
mapped              MX   10 mapped-host
mapped-host         AAAA ::ffff:127.0.0.1
partly              MX   10 partly-host
partly-host         A    127.0.0.1
partly-host         A    192.0.2.5
ours                MX   10 mx1
ours                MX   20 mta.own
ours                MX   30 mx2
only-ours           MX   10 mta.own
mta.own             A    192.0.2.7
xn--bcher-kva       MX   10 mx.xn--bcher-kva
mx.xn--bcher-kva    A    192.0.2.8
*.many              MX   10 mx2
relay               A    10.0.0.1
in.test.            A    192.0.2.10
)";

std::string ZoneWithBigSets() {
  std::string zone(kZone);
  for (int i = 0; i < 500; ++i) {
    absl::StrAppend(&zone, "big MX ", i, " mx", i, ".big\nmx", i, ".big A 192.0.2.11\n");
    absl::StrAppend(&zone, "wide A 198.51.", i % 100, ".", i / 100, "\n");
  }
  return zone;
}

// The shard's side: woken, it polls.
class Shards {
 public:
  explicit Shards(uint32_t count) : answers_(count) {}

  std::function<void()> Waker() {
    return [this] {
      const std::lock_guard lock(mutex_);
      ++wakes_;
      woken_.notify_all();
    };
  }

  // Polls `shard` until it has so many answers. Long waits mean a fault, not a slow machine.
  std::vector<RouteAnswer> Collect(Resolver& resolver, uint32_t shard, size_t count) {
    std::vector<RouteAnswer>& answers = answers_[shard];
    int seen = 0;
    while (true) {
      {
        std::unique_lock lock(mutex_);
        seen = wakes_;
      }
      resolver.Poll(shard, answers);
      if (answers.size() >= count) break;
      std::unique_lock lock(mutex_);
      if (!woken_.wait_for(lock, seconds(60), [&] { return wakes_ != seen; })) {
        ADD_FAILURE() << "no answer";
        break;
      }
    }
    return std::exchange(answers, {});
  }

 private:
  std::mutex mutex_;
  std::condition_variable woken_;
  int wakes_ = 0;
  std::vector<std::vector<RouteAnswer>> answers_;
};

std::vector<std::string> Hosts(const Route& route) {
  std::vector<std::string> hosts;
  for (const RouteHost& host : route.hosts) {
    std::string text = absl::StrCat(host.preference, " ", host.name);
    for (const IpAddress& address : host.addresses) absl::StrAppend(&text, " ", address.ToString());
    hosts.push_back(text);
  }
  return hosts;
}

class UnboundResolverTest : public ::testing::Test {
 protected:
  UnboundResolverTest() {
    options_.rules.own_names = {"MTA.Own.Example."};
    options_.now = [] { return Instant(std::chrono::steady_clock::now().time_since_epoch()); };
    options_.wakers = {shards_.Waker(), shards_.Waker()};
  }

  void Start() {
    resolver_ = std::make_unique<UnboundResolver>(options_);
    const absl::Status status = resolver_->Start();
    ASSERT_TRUE(status.ok()) << status.ToString();
  }

  Route LookUp(const std::string& domain) {
    if (resolver_ == nullptr) Start();
    resolver_->Ask({.shard = 0, .destination = {.slot = 1, .generation = 7}, .domain = domain});
    std::vector<RouteAnswer> answers = shards_.Collect(*resolver_, 0, 1);
    if (answers.size() != 1) return {};
    EXPECT_EQ(answers[0].destination, (Handle{.slot = 1, .generation = 7}));
    return answers[0].route;
  }

  Shards shards_{2};  // Outlives the resolver.
  UnboundResolver::Options options_;
  std::unique_ptr<UnboundResolver> resolver_;
};

class WithZone : public UnboundResolverTest {
 protected:
  static void SetUpTestSuite() { server_ = std::make_unique<NameServer>(ZoneWithBigSets()); }
  static void TearDownTestSuite() { server_.reset(); }

  void SetUp() override {
    if (access("/usr/sbin/nsd", X_OK) != 0) GTEST_SKIP() << server_->trouble();
    ASSERT_TRUE(server_->ready()) << server_->trouble();
    options_.forward = {server_->forward()};
  }

  static std::unique_ptr<NameServer> server_;
};
std::unique_ptr<NameServer> WithZone::server_;

TEST_F(WithZone, SetsOfHostsAreFoundInOrder) {
  const Route route = LookUp("set.example");
  EXPECT_EQ(route.result, RouteResult::kFound);
  EXPECT_THAT(Hosts(route), ElementsAre("10 mx1.example 2001:db8::1 192.0.2.1",
                                        "20 mx2.example 192.0.2.2", "30 mx3.example 2001:db8::3"));
  EXPECT_GT(route.ttl, minutes(9));  // mx3's 600 s, of which little has passed, is the least.
  EXPECT_LE(route.ttl, minutes(10));
  EXPECT_THAT(
      Hosts(LookUp("equal.example")),
      UnorderedElementsAre("10 mx1.example 2001:db8::1 192.0.2.1", "10 mx2.example 192.0.2.2"));
  EXPECT_THAT(Hosts(LookUp("six.example")), ElementsAre("10 mx3.example 2001:db8::3"));
  EXPECT_THAT(Hosts(LookUp("upper.example")), ElementsAre("10 mx2.example 192.0.2.2"));
  EXPECT_THAT(Hosts(LookUp("xn--bcher-kva.example")),
              ElementsAre("10 mx.xn--bcher-kva.example 192.0.2.8"));
}

TEST_F(WithZone, ANullMxTakesNoMail) {
  EXPECT_EQ(LookUp("null.example").result, RouteResult::kNullMx);
  EXPECT_THAT(Hosts(LookUp("null-among.example")), ElementsAre("10 mx2.example 192.0.2.2"));
}

TEST_F(WithZone, NoMxMeansTheDomainItself) {
  EXPECT_THAT(Hosts(LookUp("implicit.example")), ElementsAre("0 implicit.example 192.0.2.4"));
  EXPECT_THAT(Hosts(LookUp("implicit-six.example")),
              ElementsAre("0 implicit-six.example 2001:db8::6"));
  EXPECT_EQ(LookUp("nodata.example").result, RouteResult::kNoHost);
}

TEST_F(WithZone, WhatDoesNotExistIsSaidSoForItsNegativeTtl) {
  const Route route = LookUp("gone.example");
  EXPECT_EQ(route.result, RouteResult::kNoSuchDomain);
  EXPECT_GT(route.ttl, seconds(60));  // The zone's 120 s, of which little has passed.
  EXPECT_LE(route.ttl, seconds(120));
  EXPECT_EQ(LookUp("gone-mx.example").result, RouteResult::kNoHost);
}

TEST_F(WithZone, AliasesAreFollowedAndLoopsOfThemEnd) {
  EXPECT_THAT(Hosts(LookUp("alias-mx.example")), ElementsAre("10 alias.example 192.0.2.2"));
  EXPECT_EQ(LookUp("alias-domain.example").hosts.size(), 3u);
  EXPECT_EQ(LookUp("loop-mx.example").result, RouteResult::kTemporary);  // By SERVFAIL.
}

TEST_F(WithZone, AddressesOfOursAndOfPrivateNetworksAreRefused) {
  EXPECT_THAT(LookUp("loopback.example").reason, HasSubstr("inside.example has the address"));
  EXPECT_THAT(LookUp("metadata.example").reason, HasSubstr("169.254.169.254"));
  EXPECT_THAT(LookUp("private.example").reason, HasSubstr("10.1.2.3"));
  EXPECT_THAT(LookUp("mapped.example").reason, HasSubstr("127.0.0.1"));
  for (const char* domain : {"loopback.example", "metadata.example", "private.example",
                             "mapped.example", "localhost", "[127.0.0.1]"}) {
    EXPECT_EQ(LookUp(domain).result, RouteResult::kRefused) << domain;
  }
  EXPECT_THAT(Hosts(LookUp("partly.example")), ElementsAre("10 partly-host.example 192.0.2.5"));
}

TEST_F(WithZone, AllowedNetworksAreUsed) {
  options_.rules.allow_addresses = {*Network::Parse("10.0.0.0/8")};
  EXPECT_THAT(Hosts(LookUp("private.example")), ElementsAre("10 private-host.example 10.1.2.3"));
  EXPECT_EQ(LookUp("loopback.example").result, RouteResult::kRefused);
}

TEST_F(WithZone, OurselvesInTheSetEndIt) {
  EXPECT_THAT(Hosts(LookUp("ours.example")), ElementsAre("10 mx1.example 2001:db8::1 192.0.2.1"));
  const Route route = LookUp("only-ours.example");
  EXPECT_EQ(route.result, RouteResult::kRefused);
  EXPECT_THAT(route.reason, HasSubstr("loops back to myself"));
}

TEST_F(WithZone, SetsTooLargeForADatagramAreCut) {
  const Route hosts = LookUp("big.example");
  ASSERT_EQ(hosts.hosts.size(), limits::kRouteHostsMax);
  EXPECT_EQ(hosts.hosts.front().name, "mx0.big.example");
  EXPECT_EQ(hosts.hosts.back().name, "mx99.big.example");
  const Route addresses = LookUp("wide.example");
  ASSERT_EQ(addresses.hosts.size(), 1u);
  EXPECT_EQ(addresses.hosts[0].addresses.size(), kAddressesPerFamilyMax);
}

// glibc would try "mx1.example" for "mx1" in this environment.
TEST_F(WithZone, NoSearchDomainIsAppended) {
  setenv("LOCALDOMAIN", "example", 1);
  EXPECT_EQ(LookUp("mx1").result, RouteResult::kNoSuchDomain);
  unsetenv("LOCALDOMAIN");
}

TEST_F(WithZone, WithForwardersTheTestDomainIsTheirs) {
  EXPECT_THAT(Hosts(LookUp("in.test")), ElementsAre("0 in.test 192.0.2.10"));
}

TEST_F(WithZone, TheRoutesTableComesFirst) {
  std::vector<RoutesError> errors;
  const auto routes = std::make_shared<const RoutesTable>(RoutesTable::Parse(
      "set.example relay.example:2525\nequal.example 127.0.0.1\nsix.example gone.example\n", 25,
      errors));
  ASSERT_TRUE(errors.empty());
  Start();
  resolver_->UseRoutes(routes);
  const Route route = LookUp("set.example");
  EXPECT_TRUE(route.from_table);
  EXPECT_THAT(Hosts(route), ElementsAre("0 relay.example 10.0.0.1"));
  EXPECT_EQ(route.hosts.at(0).port, 2525);
  EXPECT_EQ(LookUp("equal.example").ttl, Duration::max());
  EXPECT_EQ(LookUp("six.example").result, RouteResult::kTemporary);
  EXPECT_FALSE(LookUp("implicit.example").from_table);
}

TEST_F(WithZone, MoreRoutesThanTheBoundWaitAndAreAllAnswered) {
  constexpr uint32_t kRoutes = 3 * kLookupsUnderWayMax;
  Start();
  for (uint32_t i = 0; i < kRoutes; ++i) {
    resolver_->Ask({.shard = i % 2,
                    .destination = {.slot = i, .generation = 1},
                    .domain = absl::StrCat("d", i, ".many.example")});
  }
  std::vector<bool> answered(kRoutes);
  for (uint32_t shard = 0; shard < 2; ++shard) {
    for (const RouteAnswer& answer : shards_.Collect(*resolver_, shard, kRoutes / 2)) {
      EXPECT_EQ(answer.destination.slot % 2, shard);
      EXPECT_FALSE(answered[answer.destination.slot]);
      answered[answer.destination.slot] = true;
      EXPECT_EQ(answer.route.result, RouteResult::kFound) << answer.route.reason;
    }
  }
  EXPECT_EQ(std::count(answered.begin(), answered.end(), true), kRoutes);
}

// The anchor says that the zone is signed, and it is not.
TEST_F(WithZone, AZoneThatShouldBeSignedAndIsNotIsTemporary) {
  const std::string file = ::testing::TempDir() + "/sluice-anchor";
  std::ofstream(file) << "example. DS 12345 8 2 " << std::string(64, 'A') << "\n";
  options_.trust_anchor = file;
  const Route route = LookUp("set.example");
  EXPECT_EQ(route.result, RouteResult::kTemporary);
  EXPECT_THAT(route.reason, HasSubstr("bogus"));
  std::remove(file.c_str());
}

using WithOddServer = UnboundResolverTest;

TEST_F(WithOddServer, ErrorsOfTheServerAreTemporary) {
  OddServer server;
  options_.forward = {server.forward()};
  options_.budget = seconds(5);
  for (const char* domain : {"servfail.example", "refused.example", "formerr.example"}) {
    const Route route = LookUp(domain);
    EXPECT_EQ(route.result, RouteResult::kTemporary) << domain;
    EXPECT_THAT(route.reason, HasSubstr(domain));
  }
}

TEST_F(WithOddServer, WhatIsNoAnswerOrNoneAtAllIsTemporaryWhenTheBudgetIsSpent) {
  OddServer server;
  options_.forward = {server.forward()};
  options_.budget = milliseconds(300);
  for (const char* domain : {"garbage.example", "wrong-id.example", "cut.example",
                             "no-question.example", "silent.example"}) {
    EXPECT_EQ(LookUp(domain).result, RouteResult::kTemporary) << domain;
  }
}

TEST_F(WithOddServer, NoServerAtAllIsTemporary) {
  options_.forward = {absl::StrCat("127.0.0.1@", FreePort())};
  options_.budget = milliseconds(300);
  EXPECT_EQ(LookUp("a.example").result, RouteResult::kTemporary);
}

TEST_F(WithOddServer, AllWhoAskForTheSameDomainAreAnswered) {
  OddServer server;
  options_.forward = {server.forward()};
  Start();
  for (uint32_t i = 0; i < 4; ++i) {
    resolver_->Ask({.shard = i % 2,
                    .destination = {.slot = i, .generation = i + 1},
                    .domain = "held.example"});
  }
  LookUp("[192.0.2.1]");  // Asked last: by now all four are under way.
  server.Release();
  for (uint32_t shard = 0; shard < 2; ++shard) {
    std::vector<Handle> destinations;
    for (const RouteAnswer& answer : shards_.Collect(*resolver_, shard, 2)) {
      EXPECT_EQ(answer.route.result, RouteResult::kNullMx);
      destinations.push_back(answer.destination);
    }
    EXPECT_THAT(destinations, ElementsAre(Handle{shard, shard + 1}, Handle{shard + 2, shard + 3}));
  }
}

TEST_F(WithOddServer, WhoAsksAfterANewRoutesTableIsAnsweredByIt) {
  OddServer server;
  options_.forward = {server.forward()};
  Start();
  resolver_->Ask(
      {.shard = 1, .destination = {.slot = 9, .generation = 9}, .domain = "held.example"});
  LookUp("[192.0.2.1]");  // By now the one before is under way.
  std::vector<RoutesError> errors;
  resolver_->UseRoutes(
      std::make_shared<const RoutesTable>(RoutesTable::Parse("ALL 127.0.0.1:26", 25, errors)));
  EXPECT_TRUE(LookUp("held.example").from_table);
  server.Release();
  const std::vector<RouteAnswer> first = shards_.Collect(*resolver_, 1, 1);
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0].route.result, RouteResult::kNullMx);
}

TEST_F(WithOddServer, ItEndsWithQuestionsUnderWay) {
  OddServer server;
  options_.forward = {server.forward()};
  Start();
  for (uint32_t i = 0; i < 100; ++i) {
    resolver_->Ask({.shard = 0,
                    .destination = {.slot = i, .generation = 1},
                    .domain = absl::StrCat("silent.d", i, ".example")});
  }
  LookUp("[192.0.2.1]");
  resolver_.reset();
}

TEST_F(UnboundResolverTest, FaultyOptionsAreSaid) {
  options_.forward = {"dns.example.net"};
  EXPECT_THAT(std::string(UnboundResolver(options_).Start().message()),
              HasSubstr("\"dns.example.net\""));
  options_.forward = {"127.0.0.1@5353"};
  options_.rules.own_names = {"a..b"};
  EXPECT_FALSE(UnboundResolver(options_).Start().ok());
  options_.rules.own_names = {};
  const std::string file = ::testing::TempDir() + "/sluice-no-anchor";
  std::ofstream(file) << "this is no key\n";
  options_.trust_anchor = file;
  EXPECT_THAT(std::string(UnboundResolver(options_).Start().message()), HasSubstr(file));
  std::remove(file.c_str());
  EXPECT_TRUE(UnboundResolver(options_).Start().ok());  // A missing anchor is none.
}

}  // namespace
}  // namespace sluice::dns
