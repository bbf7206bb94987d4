// What answers of the DNS make of a route. A zone is a map from name and type to an answer; the
// look-up is run against it, taking the answers in several orders, which must not matter. Expected
// results are those of RFC 5321 5.1, RFC 7505 and engine/dns/README.md.

#include "engine/dns/route_lookup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/base/limits.h"
#include "engine/dns/limits.h"

namespace sluice::dns {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string Bytes(const IpAddress& address) {
  const size_t size = address.family == Family::kIpv4 ? 4 : 16;
  return std::string(reinterpret_cast<const char*>(address.bytes.data()), size);
}

// "10 mx.example" or "0 ." as RDATA.
std::string MxRdata(absl::string_view text) {
  const std::vector<std::string> parts = absl::StrSplit(text, ' ');
  const int preference = std::stoi(parts[0]);
  std::string rdata = {static_cast<char>(preference >> 8), static_cast<char>(preference)};
  for (const absl::string_view label : absl::StrSplit(parts[1], '.', absl::SkipEmpty())) {
    absl::StrAppend(&rdata, std::string(1, static_cast<char>(label.size())), label);
  }
  return rdata + '\0';
}

class RouteLookupTest : public ::testing::Test {
 protected:
  // Builds the zone. A name that is not in it does not exist; a name that is has no other records.
  void Mx(const std::string& name, std::vector<std::string> records, Duration ttl = minutes(30)) {
    for (std::string& record : records) record = MxRdata(record);
    Put(name, RecordType::kMx, std::move(records), ttl);
  }
  void Address(const std::string& name, std::vector<std::string> addresses,
               Duration ttl = minutes(30)) {
    std::vector<std::string> v4;
    std::vector<std::string> v6;
    for (const std::string& text : addresses) {
      const IpAddress address = *IpAddress::Parse(text);
      (address.family == Family::kIpv4 ? v4 : v6).push_back(Bytes(address));
    }
    if (!v4.empty()) Put(name, RecordType::kA, std::move(v4), ttl);
    if (!v6.empty()) Put(name, RecordType::kAaaa, std::move(v6), ttl);
  }
  void Fails(const std::string& name, RecordType type) {
    zone_[{name, type}] = DnsAnswer::Failed("SERVFAIL");
  }
  void FailsWholly(const std::string& name) {
    for (const RecordType type : {RecordType::kMx, RecordType::kA, RecordType::kAaaa}) {
      Fails(name, type);
    }
  }

  enum class Order { kAsAsked, kBackwards };

  Route Run(RouteLookup& lookup, Order order) {
    std::vector<DnsQuestion> open;
    while (true) {
      for (DnsQuestion& question : lookup.TakeQuestions()) open.push_back(std::move(question));
      if (lookup.done()) break;
      EXPECT_FALSE(open.empty());
      if (open.empty()) return {};
      const auto next = order == Order::kAsAsked ? open.begin() : open.end() - 1;
      asked_.push_back(next->name);
      lookup.OnAnswer(next->number, Answer(next->name, next->type));
      open.erase(next);
    }
    return lookup.TakeRoute();
  }

  // The route of `domain`, which every order of the answers must give alike.
  Route LookUp(const std::string& domain, const std::vector<TableHost>* table = nullptr) {
    RouteLookup backwards(rules_, domain, table);
    const Route other = Run(backwards, Order::kBackwards);
    asked_.clear();
    RouteLookup lookup(rules_, domain, table);
    const Route route = Run(lookup, Order::kAsAsked);
    EXPECT_EQ(route.result, other.result);
    EXPECT_EQ(route.ttl, other.ttl);
    EXPECT_EQ(Hosts(route).size(), Hosts(other).size());
    EXPECT_EQ(route.reason.empty(), route.result == RouteResult::kFound);
    return route;
  }

  // "preference name:port address address", one a host.
  static std::vector<std::string> Hosts(const Route& route) {
    std::vector<std::string> hosts;
    for (const RouteHost& host : route.hosts) {
      std::string text = absl::StrCat(host.preference, " ", host.name, ":", host.port);
      for (const IpAddress& address : host.addresses) {
        absl::StrAppend(&text, " ", address.ToString());
      }
      hosts.push_back(text);
    }
    return hosts;
  }

  DnsAnswer Answer(const std::string& name, RecordType type) const {
    if (const auto found = zone_.find({name, type}); found != zone_.end()) return found->second;
    DnsAnswer answer;
    answer.ttl = negative_ttl_;
    answer.result = DnsAnswer::Result::kNoSuchName;
    for (const auto& [key, unused] : zone_) {
      if (key.first == name) answer.result = DnsAnswer::Result::kNoRecords;
    }
    return answer;
  }

  void Put(const std::string& name, RecordType type, std::vector<std::string> records,
           Duration ttl) {
    DnsAnswer answer;
    answer.result = DnsAnswer::Result::kRecords;
    answer.records = std::move(records);
    answer.ttl = ttl;
    zone_[{name, type}] = std::move(answer);
  }

  RouteRules rules_{.delivery_port = 25,
                    .allow_addresses = {},
                    .own_names = {"mta.own.example"},
                    .own_addresses = {*IpAddress::Parse("203.0.113.1")}};
  Duration negative_ttl_ = minutes(2);
  std::map<std::pair<std::string, RecordType>, DnsAnswer> zone_;
  std::vector<std::string> asked_;
};

TEST_F(RouteLookupTest, MxHostsAreSortedByPreference) {
  Mx("a.example", {"20 b.mx.example", "10 a.mx.example", "20 c.mx.example"});
  Address("a.mx.example", {"192.0.2.1", "2001:db8::1"});
  Address("b.mx.example", {"192.0.2.2", "192.0.2.3"});
  Address("c.mx.example", {"2001:db8::3"});
  const Route route = LookUp("a.example");
  EXPECT_EQ(route.result, RouteResult::kFound);
  EXPECT_FALSE(route.from_table);
  EXPECT_THAT(Hosts(route), ElementsAre("10 a.mx.example:25 2001:db8::1 192.0.2.1",
                                        "20 b.mx.example:25 192.0.2.2 192.0.2.3",
                                        "20 c.mx.example:25 2001:db8::3"));
}

TEST_F(RouteLookupTest, AllAddressesAreAskedForAtOnce) {
  Mx("a.example", {"10 a.mx.example", "20 b.mx.example"});
  RouteLookup lookup(rules_, "a.example", nullptr);
  const std::vector<DnsQuestion> first = lookup.TakeQuestions();
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0].type, RecordType::kMx);
  EXPECT_THAT(lookup.TakeQuestions(), IsEmpty());
  lookup.OnAnswer(first[0].number, Answer("a.example", RecordType::kMx));
  EXPECT_EQ(lookup.TakeQuestions().size(), 4u);
  EXPECT_FALSE(lookup.done());
}

TEST_F(RouteLookupTest, NoMxMeansTheDomainItself) {
  Address("a.example", {"192.0.2.1", "2001:db8::1"});
  EXPECT_THAT(Hosts(LookUp("a.example")), ElementsAre("0 a.example:25 2001:db8::1 192.0.2.1"));
  Address("six.example", {"2001:db8::6"});
  EXPECT_THAT(Hosts(LookUp("six.example")), ElementsAre("0 six.example:25 2001:db8::6"));
}

TEST_F(RouteLookupTest, NoMxAndNoAddressIsNoHost) {
  zone_[{"a.example", RecordType::kMx}].result = DnsAnswer::Result::kNoRecords;
  EXPECT_EQ(LookUp("a.example").result, RouteResult::kNoHost);
}

TEST_F(RouteLookupTest, ThereIsNoSuchDomain) {
  const Route route = LookUp("a.example");
  EXPECT_EQ(route.result, RouteResult::kNoSuchDomain);
  EXPECT_THAT(route.reason, HasSubstr("a.example"));
  EXPECT_EQ(asked_.size(), 1u);
}

TEST_F(RouteLookupTest, ANullMxEndsItWithoutAnAddressLookUp) {
  Mx("a.example", {"0 ."});
  Address("a.example", {"192.0.2.1"});
  EXPECT_EQ(LookUp("a.example").result, RouteResult::kNullMx);
  EXPECT_EQ(asked_.size(), 1u);
}

TEST_F(RouteLookupTest, ANullMxAmongOthersIsSkipped) {
  Mx("a.example", {"0 .", "10 mx.example"});
  Address("mx.example", {"192.0.2.1"});
  EXPECT_THAT(Hosts(LookUp("a.example")), ElementsAre("10 mx.example:25 192.0.2.1"));
}

TEST_F(RouteLookupTest, MxRecordsWithoutAUsableHostNeverFallBackToTheDomain) {
  Mx("a.example", {"10 gone.example"});
  Address("a.example", {"192.0.2.1"});
  EXPECT_EQ(LookUp("a.example").result, RouteResult::kNoHost);
  Put("b.example", RecordType::kMx, {"malformed"}, minutes(30));
  Address("b.example", {"192.0.2.1"});
  EXPECT_EQ(LookUp("b.example").result, RouteResult::kNoHost);
}

TEST_F(RouteLookupTest, AFailureOfTheMxIsTemporary) {
  Fails("a.example", RecordType::kMx);
  Address("a.example", {"192.0.2.1"});
  const Route route = LookUp("a.example");
  EXPECT_EQ(route.result, RouteResult::kTemporary);
  EXPECT_EQ(route.reason, "no answer about the MX records of a.example: SERVFAIL");
}

TEST_F(RouteLookupTest, OneHostWithoutAnAnswerMakesItTemporaryWhenNoOtherIsLeft) {
  Mx("a.example", {"10 gone.example", "20 broken.example"});
  Fails("broken.example", RecordType::kAaaa);
  EXPECT_EQ(LookUp("a.example").result, RouteResult::kTemporary);
  Mx("b.example", {"10 loop.example", "20 broken.example"});
  Address("loop.example", {"127.0.0.1"});
  EXPECT_EQ(LookUp("b.example").result, RouteResult::kTemporary);
}

TEST_F(RouteLookupTest, AHostWithoutAnAnswerDoesNotSpoilTheOthersButIsLookedUpAgainSoon) {
  Mx("a.example", {"10 broken.example", "20 mx.example"}, hours(1));
  FailsWholly("broken.example");
  Address("mx.example", {"192.0.2.1"}, hours(1));
  const Route route = LookUp("a.example");
  EXPECT_THAT(Hosts(route), ElementsAre("20 mx.example:25 192.0.2.1"));
  EXPECT_EQ(route.ttl, kTemporaryTtl);
}

TEST_F(RouteLookupTest, AMissingFamilyIsNoReasonToLookAgainSoon) {
  Mx("a.example", {"10 mx.example"}, hours(1));
  Address("mx.example", {"192.0.2.1"}, hours(1));
  Fails("mx.example", RecordType::kAaaa);
  EXPECT_EQ(LookUp("a.example").ttl, hours(1));
}

TEST_F(RouteLookupTest, OurOwnNameDropsItAndAllOfEqualOrWorsePreference) {
  Mx("a.example",
     {"10 better.example", "20 mta.own.example", "20 equal.example", "30 worse.example"});
  for (const char* name : {"better.example", "equal.example", "worse.example"}) {
    Address(name, {"192.0.2.1"});
  }
  EXPECT_THAT(Hosts(LookUp("a.example")), ElementsAre("10 better.example:25 192.0.2.1"));
}

TEST_F(RouteLookupTest, OurOwnNameAsTheBestIsALoop) {
  Mx("a.example", {"10 mta.own.example", "20 worse.example"});
  Address("worse.example", {"192.0.2.1"});
  const Route route = LookUp("a.example");
  EXPECT_EQ(route.result, RouteResult::kRefused);
  EXPECT_EQ(route.reason, "mail for a.example loops back to myself");
}

TEST_F(RouteLookupTest, AnImplicitMxCanBeALoopToo) {
  Address("mta.own.example", {"192.0.2.1"});
  EXPECT_EQ(LookUp("mta.own.example").result, RouteResult::kRefused);
}

TEST_F(RouteLookupTest, OurOwnAddressIsALoopUnlessAllowed) {
  Mx("a.example", {"10 better.example", "20 ours.example", "30 worse.example"});
  Address("better.example", {"192.0.2.1"});
  Address("ours.example", {"192.0.2.2", "203.0.113.1"});
  Address("worse.example", {"192.0.2.3"});
  EXPECT_THAT(Hosts(LookUp("a.example")), ElementsAre("10 better.example:25 192.0.2.1"));
  Mx("b.example", {"10 ours.example"});
  EXPECT_THAT(LookUp("b.example").reason, HasSubstr("loops back to myself"));
  EXPECT_THAT(LookUp("[203.0.113.1]").reason, HasSubstr("loops back to myself"));
  rules_.allow_addresses = {*Network::Parse("203.0.113.0/24")};
  EXPECT_EQ(LookUp("b.example").result, RouteResult::kFound);
}

TEST_F(RouteLookupTest, AddressesThatMailIsNotSentToAreRefusedByName) {
  for (const char* address :
       {"127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "0.0.0.0",
        "224.0.0.1", "100.64.0.1", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "64:ff9b::7f00:1",
        "2002:7f00:1::"}) {
    Mx("a.example", {"10 mx.example"});
    zone_.erase({"mx.example", RecordType::kA});
    zone_.erase({"mx.example", RecordType::kAaaa});
    Address("mx.example", {address});
    const Route route = LookUp("a.example");
    EXPECT_EQ(route.result, RouteResult::kRefused) << address;
    EXPECT_THAT(route.reason, HasSubstr(address));
    EXPECT_THAT(route.reason, HasSubstr("mx.example"));
  }
}

TEST_F(RouteLookupTest, ARefusedAddressLeavesTheOthers) {
  Mx("a.example", {"10 mx.example", "20 inner.example"});
  Address("mx.example", {"127.0.0.1", "192.0.2.1", "fe80::1"});
  Address("inner.example", {"10.0.0.1"});
  EXPECT_THAT(Hosts(LookUp("a.example")), ElementsAre("10 mx.example:25 192.0.2.1"));
}

TEST_F(RouteLookupTest, AllowedNetworksAreNotRefused) {
  rules_.allow_addresses = {*Network::Parse("10.0.0.0/8"), *Network::Parse("::1/128")};
  Mx("a.example", {"10 mx.example"});
  Address("mx.example", {"10.1.2.3", "127.0.0.1", "::1"});
  EXPECT_THAT(Hosts(LookUp("a.example")), ElementsAre("10 mx.example:25 ::1 10.1.2.3"));
  EXPECT_EQ(LookUp("[10.1.2.3]").result, RouteResult::kFound);
  EXPECT_EQ(LookUp("[127.0.0.1]").result, RouteResult::kRefused);
}

TEST_F(RouteLookupTest, AnAddressLiteralNeedsNoLookUp) {
  rules_.delivery_port = 2525;
  const Route route = LookUp("[192.0.2.1]");
  EXPECT_THAT(Hosts(route), ElementsAre("0 192.0.2.1:2525 192.0.2.1"));
  EXPECT_EQ(route.ttl, Duration::max());
  EXPECT_THAT(Hosts(LookUp("[IPv6:2001:db8::1]")), ElementsAre("0 2001:db8::1:2525 2001:db8::1"));
  EXPECT_THAT(asked_, IsEmpty());
  EXPECT_EQ(LookUp("[IPv6:::1]").result, RouteResult::kRefused);
  EXPECT_EQ(LookUp("[169.254.169.254]").result, RouteResult::kRefused);
}

TEST_F(RouteLookupTest, AnImpossibleDomainIsNotAskedFor) {
  for (const std::string& domain :
       std::vector<std::string>{"a..b", "", ".", std::string(64, 'a') + ".example", "a b"}) {
    EXPECT_EQ(LookUp(domain).result, RouteResult::kNoSuchDomain) << domain;
    EXPECT_THAT(asked_, IsEmpty());
  }
}

TEST_F(RouteLookupTest, TheRoutesTableNeedsNoMxAndRefusesNoAddress) {
  Mx("a.example", {"10 mx.example"});
  Address("relay.example", {"10.0.0.1", "192.0.2.1"});
  Address("mta.own.example", {"203.0.113.1"});
  const std::vector<TableHost> table = {{"relay.example", false, 2525, 10},
                                        {"127.0.0.1", true, 26, 0},
                                        {"mta.own.example", false, 10025, 20}};
  const Route route = LookUp("a.example", &table);
  EXPECT_TRUE(route.from_table);
  EXPECT_THAT(Hosts(route),
              ElementsAre("0 127.0.0.1:26 127.0.0.1", "10 relay.example:2525 10.0.0.1 192.0.2.1",
                          "20 mta.own.example:10025 203.0.113.1"));
  EXPECT_THAT(asked_,
              ElementsAre("relay.example", "relay.example", "mta.own.example", "mta.own.example"));
  EXPECT_EQ(route.ttl, minutes(30));
}

TEST_F(RouteLookupTest, LiteralsOfTheRoutesTableHoldForEver) {
  const std::vector<TableHost> table = {{"127.0.0.1", true, 26, 0}, {"::1", true, 26, 0}};
  const Route route = LookUp("a.example", &table);
  EXPECT_EQ(route.ttl, Duration::max());
  EXPECT_THAT(asked_, IsEmpty());
}

TEST_F(RouteLookupTest, AHostOfTheRoutesTableWithoutAnAddressIsTemporary) {
  const std::vector<TableHost> gone = {{"gone.example", false, 25, 0}};
  const Route route = LookUp("a.example", &gone);
  EXPECT_EQ(route.result, RouteResult::kTemporary);
  EXPECT_TRUE(route.from_table);
  EXPECT_THAT(route.reason, HasSubstr("routes table"));
  FailsWholly("broken.example");
  const std::vector<TableHost> broken = {{"broken.example", false, 25, 0}};
  EXPECT_THAT(LookUp("a.example", &broken).reason, HasSubstr("SERVFAIL"));
}

TEST_F(RouteLookupTest, TheRouteLivesAsLongAsItsShortestAnswer) {
  Address("mx.example", {"192.0.2.1"}, hours(2));
  const struct {
    Duration mx;
    Duration ttl;
  } kTtls[] = {{minutes(10), minutes(10)}, {hours(3), hours(2)},     {seconds(0), kRouteTtlMin},
               {seconds(4), seconds(5)},   {seconds(5), seconds(5)}, {seconds(6), seconds(6)}};
  for (const auto& ttl : kTtls) {
    Mx("a.example", {"10 mx.example"}, ttl.mx);
    EXPECT_EQ(LookUp("a.example").ttl, ttl.ttl);
  }
  Address("mx.example", {"192.0.2.1"}, hours(24 * 365));
  Mx("a.example", {"10 mx.example"}, hours(25));
  EXPECT_EQ(LookUp("a.example").ttl, hours(24));
}

TEST_F(RouteLookupTest, WhatIsNotThereIsBelievedForFiveMinutesAtMost) {
  Mx("null.example", {"0 ."}, hours(1));
  Mx("gone-mx.example", {"0 gone.example"}, hours(1));
  const struct {
    Duration negative;
    Duration ttl;
  } kTtls[] = {{seconds(0), kRouteTtlMin}, {minutes(2), minutes(2)}, {hours(3), minutes(5)}};
  for (const auto& ttl : kTtls) {
    negative_ttl_ = ttl.negative;
    EXPECT_EQ(LookUp("none.example").ttl, ttl.ttl);
    EXPECT_EQ(LookUp("gone-mx.example").ttl, ttl.ttl);
  }
  EXPECT_EQ(LookUp("null.example").ttl, kNegativeTtlMax);
  EXPECT_EQ(LookUp("[127.0.0.1]").ttl, kNegativeTtlMax);
  FailsWholly("broken.example");
  EXPECT_EQ(LookUp("broken.example").ttl, kTemporaryTtl);
}

TEST_F(RouteLookupTest, AHostNamedTwiceIsOneHostOfItsBestPreference) {
  Mx("a.example", {"20 mx.example", "10 MX.example", "10 mx.example"});
  Address("mx.example", {"192.0.2.1", "192.0.2.1"});
  EXPECT_THAT(Hosts(LookUp("a.example")), ElementsAre("10 mx.example:25 192.0.2.1"));
}

TEST_F(RouteLookupTest, FiveHundredHostsAreCutToTheBestHundred) {
  std::vector<std::string> records;
  for (int i = 499; i >= 0; --i) {
    records.push_back(absl::StrCat(i, " mx", i, ".example"));
    Address(absl::StrCat("mx", i, ".example"), {"192.0.2.1"});
  }
  Mx("a.example", records);
  const Route route = LookUp("a.example");
  ASSERT_EQ(route.hosts.size(), limits::kRouteHostsMax);
  EXPECT_EQ(route.hosts.front().name, "mx0.example");
  EXPECT_EQ(route.hosts.back().name, "mx99.example");
  EXPECT_EQ(asked_.size(), 1 + 2 * limits::kRouteHostsMax);
}

TEST_F(RouteLookupTest, AHostKeepsABoundedNumberOfAddressesOfEachFamily) {
  std::vector<std::string> addresses;
  for (size_t i = 0; i < kAddressesPerFamilyMax + 1; ++i) {
    addresses.push_back(absl::StrCat("192.0.2.", i));
    addresses.push_back(absl::StrCat("2001:db8::", i));
  }
  Address("a.example", addresses);
  const Route route = LookUp("a.example");
  ASSERT_EQ(route.hosts.size(), 1u);
  EXPECT_EQ(route.hosts[0].addresses.size(), 2 * kAddressesPerFamilyMax);
}

TEST_F(RouteLookupTest, WhenTheBudgetIsSpentWhatIsKnownMustDo) {
  Mx("a.example", {"10 slow.example", "20 mx.example"}, hours(1));
  Address("mx.example", {"192.0.2.1"}, hours(1));
  RouteLookup lookup(rules_, "a.example", nullptr);
  lookup.OnAnswer(lookup.TakeQuestions().at(0).number, Answer("a.example", RecordType::kMx));
  for (const DnsQuestion& question : lookup.TakeQuestions()) {
    if (question.name == "slow.example") continue;
    lookup.OnAnswer(question.number, Answer(question.name, question.type));
  }
  EXPECT_FALSE(lookup.done());
  lookup.OnBudgetSpent();
  ASSERT_TRUE(lookup.done());
  const Route route = lookup.TakeRoute();
  EXPECT_THAT(Hosts(route), ElementsAre("20 mx.example:25 192.0.2.1"));
  EXPECT_EQ(route.ttl, kTemporaryTtl);
}

TEST_F(RouteLookupTest, WhenTheBudgetIsSpentWithoutAnAnswerItIsTemporary) {
  RouteLookup lookup(rules_, "a.example", nullptr);
  lookup.OnBudgetSpent();
  ASSERT_TRUE(lookup.done());
  EXPECT_THAT(lookup.TakeQuestions(), IsEmpty());
  const Route route = lookup.TakeRoute();
  EXPECT_EQ(route.result, RouteResult::kTemporary);
  EXPECT_THAT(route.reason, HasSubstr("none in time"));
}

}  // namespace
}  // namespace sluice::dns
