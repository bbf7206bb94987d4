// The family of addresses that the controls prefer or require: which address is connected to, what
// becomes of the mail when there is none, and what a new table changes. The hosts have an address
// of each family. Expectations are ip_sort_pref as the appliance documents it (a preference falls
// back, a requirement never does and is retried) and RFC 3463.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <ostream>
#include <string>

#include "tests/engine/delivery/dispatcher_words.h"

namespace sluice::delivery {
namespace {

using policy::IpPreference;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::SizeIs;

constexpr absl::string_view kSix = "2001:db8::1";
constexpr absl::string_view kFour = "192.0.2.1";
constexpr absl::string_view kNoFour =
    "451 4.4.4 no IPv4 address of mx1.example.com, and the destination requires IPv4";

// One host with these addresses.
dns::Route HostWith(std::initializer_list<absl::string_view> ips, Duration ttl = hours(1)) {
  dns::Route route = RouteTo({kFour}, ttl);
  route.hosts[0].addresses.clear();
  for (const absl::string_view ip : ips) {
    route.hosts[0].addresses.push_back(*IpAddress::Parse(ip));
  }
  return route;
}

class Families : public DispatcherTest {
 protected:
  Families() { resolver_.Says(kDomain, HostWith({kSix, kFour})); }

  void Start(IpPreference preference) { DispatcherTest::Start({.ip_preference = preference}); }
  void Reload(IpPreference preference) { DispatcherTest::Reload({.ip_preference = preference}); }
  int OnlyPeer() const {
    EXPECT_THAT(network_.All(), SizeIs(1));
    return network_.All()[0];
  }
};

TEST_F(Families, BeginWithIpv6WhereNothingIsSaid) {
  EXPECT_EQ(Send().Verdicts(), "D");
  EXPECT_EQ(Connects(kSix), 1u);
  EXPECT_EQ(Connects(kFour), 0u);
}

// --- Each preference.

struct Case {
  IpPreference preference;
  absl::string_view wanted;
  absl::string_view other;
  bool required;
};
void PrintTo(const Case& c, std::ostream* out) {
  *out << policy::IpPreferenceName(c.preference);
}

class EachPreference : public Families, public testing::WithParamInterface<Case> {
 protected:
  void SetUp() override { Start(GetParam().preference); }
};

TEST_P(EachPreference, ConnectsToItsFamilyFirst) {
  EXPECT_EQ(Send().Verdicts(), "D");
  EXPECT_EQ(Connects(GetParam().wanted), 1u);
  EXPECT_EQ(Connects(GetParam().other), 0u);
}

TEST_P(EachPreference, FallsBackWithinTheAttemptOrNeverDoes) {
  host(GetParam().wanted).refuses_with = ECONNREFUSED;
  Mail& mail = Send();
  if (!GetParam().required) {
    EXPECT_EQ(mail.Verdicts(), "D");
    EXPECT_THAT(mail.returns, ElementsAre(ParcelResult::kAttempted));
    EXPECT_EQ(mail.parcel.peer_address.ip.ToString(), GetParam().other);
    return;
  }
  ExpectDeferred(mail);
  SendSome(3);
  Pass(hours(3));
  EXPECT_GE(Connects(GetParam().wanted), 3u);
  EXPECT_EQ(Connects(GetParam().other), 0u);
  host(GetParam().wanted).refuses_with = 0;
  Pass(hours(2));
  EXPECT_EQ(Retry(mail).Verdicts(), "D");
  EXPECT_EQ(Connects(GetParam().other), 0u);
}

TEST_P(EachPreference, FallsBackFromSilenceOrWaits) {
  host(GetParam().wanted).answers_connects = false;
  Mail& mail = Send();
  Pass(minutes(1));
  EXPECT_EQ(mail.Verdicts(), GetParam().required ? "d" : "D");
  EXPECT_THAT(mail.returns, ElementsAre(ParcelResult::kAttempted));
  EXPECT_EQ(Connects(GetParam().other), GetParam().required ? 0u : 1u);
}

TEST_P(EachPreference, GoesToTheOtherFamilyAloneUnlessItIsRequired) {
  resolver_.Says(kDomain, HostWith({GetParam().other}));
  EXPECT_EQ(Send().Verdicts(), GetParam().required ? "d" : "D");
  EXPECT_EQ(Connects(GetParam().other), GetParam().required ? 0u : 1u);
}

// What was left out is no address that might still be tried: the others wait for a retry, not for
// the five seconds after which the next address is.
TEST_P(EachPreference, DefersWhenTheLastAddressDropsItsFirstMessage) {
  DispatcherTest::Reload({.connections_max = 1, .ip_preference = GetParam().preference});
  for (const absl::string_view ip : {kSix, kFour}) {
    host(ip).closes_after = "MAIL";
    host(ip).closes_unanswered = true;
  }
  SendSome(2);
  Pass(seconds(10));
  ExpectDeferred(mails_.front());
  EXPECT_EQ(Connects(GetParam().wanted), 1u);
  EXPECT_EQ(Connects(GetParam().other), GetParam().required ? 0u : 1u);
}

INSTANTIATE_TEST_SUITE_P(Words, EachPreference,
                         testing::Values(Case{IpPreference::kPreferV6, kSix, kFour, false},
                                         Case{IpPreference::kRequireV6, kSix, kFour, true},
                                         Case{IpPreference::kPreferV4, kFour, kSix, false},
                                         Case{IpPreference::kRequireV4, kFour, kSix, true}));

// --- A family that is required, and is not there.

class WithoutItsFamily : public Families {
 protected:
  WithoutItsFamily() { resolver_.Says(kDomain, HostWith({kSix}, seconds(10))); }
  void SetUp() override { Start(IpPreference::kRequireV4); }
};

TEST_F(WithoutItsFamily, DefersTheMailInFrontWithTheReasonAndHoldsTheRest) {
  SendSome(3);
  EXPECT_EQ(AllVerdicts(), "d - -");
  const Parcel& first = mails_.front().parcel;
  EXPECT_EQ(first.reply.ToString(), kNoFour);
  EXPECT_EQ(first.binding_limit, "ip_preference");
  EXPECT_EQ(first.peer_name, "");
  EXPECT_EQ(lane().binding, "ip_preference");
  EXPECT_THAT(network_.All(), SizeIs(0));
}

TEST_F(WithoutItsFamily, SaysSoOfIpv6Too) {
  resolver_.Says(kDomain, HostWith({kFour}));
  Reload(IpPreference::kRequireV6);
  EXPECT_EQ(Send().parcel.reply.ToString(),
            "451 4.4.4 no IPv6 address of mx1.example.com, and the destination requires IPv6");
}

TEST_F(WithoutItsFamily, NamesSomeOfManyHosts) {
  dns::Route route = HostWith({kSix});
  for (int i = 2; i <= 5; ++i) {
    route.hosts.push_back(route.hosts[0]);
    route.hosts.back().name = absl::StrCat("mx", i, ".example.com");
  }
  resolver_.Says(kDomain, route);
  EXPECT_EQ(Send().parcel.reply.ToString(),
            "451 4.4.4 no IPv4 address of mx1.example.com, mx2.example.com, mx3.example.com and 2 "
            "more, and the destination requires IPv4");
}

TEST_F(WithoutItsFamily, LooksAgainAtGrowingIntervals) {
  SendSome(4);
  Duration pause_before{};
  for (size_t deferred = 1; deferred <= 3; ++deferred) {
    EXPECT_EQ(CountVerdicts("d"), deferred);
    const Duration pause = lane().not_before - now_.instant;
    EXPECT_GT(pause, pause_before);
    PassUntil(lane().not_before - kTick);
    EXPECT_EQ(CountVerdicts("d"), deferred);
    Pass(2 * kTick);
    pause_before = pause;
  }
  EXPECT_EQ(AllVerdicts(), "d d d d");
  EXPECT_THAT(network_.All(), SizeIs(0));
}

TEST_F(WithoutItsFamily, DeliversOnceTheRouteHasIt) {
  SendSome(2);
  resolver_.Says(kDomain, HostWith({kSix, kFour}));
  PassUntil(lane().not_before + kTick);
  EXPECT_EQ(AllVerdicts(), "d D");
  EXPECT_EQ(Retry(mails_.front()).Verdicts(), "D");
  EXPECT_EQ(Connects(kSix), 0u);
}

// The mail that comes is judged by the answer that is under way, not by the one that is too old.
TEST_F(WithoutItsFamily, WaitsForTheAnswerWhenTheRouteIsOld) {
  SendSome(2);
  const Instant retry = lane().not_before;
  Pass(seconds(11));
  ASSERT_LT(now_.instant, retry);
  resolver_.Says(kDomain, HostWith({kSix, kFour}));
  resolver_.Hold();
  Send();
  EXPECT_EQ(AllVerdicts(), "d - -");
  EXPECT_EQ(lane().binding, "route");
  resolver_.Free();
  Turn();
  EXPECT_EQ(AllVerdicts(), "d D D");
  EXPECT_LT(now_.instant, retry);
}

TEST_F(WithoutItsFamily, DeliversAtOnceWhenATableNoLongerRequiresIt) {
  SendSome(2);
  Reload(IpPreference::kPreferV4);
  EXPECT_EQ(AllVerdicts(), "d D");
  EXPECT_EQ(Connects(kSix), 1u);
}

TEST_F(WithoutItsFamily, DeliversAtOnceWhenATableOfRoutesHasIt) {
  SendSome(2);
  resolver_.Says(kDomain, HostWith({kFour}));
  Reload(IpPreference::kRequireV4);
  EXPECT_EQ(AllVerdicts(), "d D");
  EXPECT_EQ(Connects(kFour), 1u);
}

TEST_F(WithoutItsFamily, TellsItWhenTheTimeIsUp) {
  Send();
  Mail& mail = Make();
  mail.parcel.expires = now_.instant + seconds(5);
  Queue(mail);
  Pass(seconds(6));
  EXPECT_THAT(mail.returns, ElementsAre(ParcelResult::kExpired));
  EXPECT_EQ(mail.parcel.binding_limit, "ip_preference");
  EXPECT_EQ(mail.parcel.reply.ToString(), kNoFour);
}

// --- A new table.

class NewFamilies : public Families {
 protected:
  // A transaction over IPv6 under way.
  void SetUp() override {
    Start(IpPreference::kPreferV6);
    host(kSix).answers.erase(".");
    Send();
    peer_ = OnlyPeer();
    ASSERT_EQ(Connects(kSix), 1u);
  }
  void TransactionEnds() {
    host(kSix) = FakeHost();
    network_.Says(peer_, "250 2.0.0 taken\r\n");
    Turn();
  }

  int peer_ = -1;
};

TEST_F(NewFamilies, EndIdleConnectionsOfTheOtherAtOnce) {
  TransactionEnds();
  ASSERT_FALSE(network_.Closed(peer_));
  Reload(IpPreference::kRequireV4);
  EXPECT_EQ(network_.CountHeard(peer_, "QUIT"), 1u);
  EXPECT_TRUE(network_.Closed(peer_));
  EXPECT_EQ(Send().parcel.peer_address.ip.ToString(), kFour);
}

TEST_F(NewFamilies, KeepIdleConnectionsThatAreOnlyNotPreferred) {
  TransactionEnds();
  Reload(IpPreference::kPreferV4);
  EXPECT_EQ(Send().Verdicts(), "D");
  EXPECT_EQ(network_.CountHeard(peer_, "MAIL"), 2u);
  EXPECT_EQ(Connects(kFour), 0u);
}

TEST_F(NewFamilies, LetATransactionEnd) {
  Reload(IpPreference::kRequireV4);
  EXPECT_EQ(network_.CountHeard(peer_, "QUIT"), 0u);
  Mail& next = Send();
  EXPECT_EQ(next.parcel.peer_address.ip.ToString(), kFour);
  TransactionEnds();
  EXPECT_EQ(AllVerdicts(), "D D");
  EXPECT_EQ(network_.CountHeard(peer_, "MAIL"), 1u);
  EXPECT_EQ(network_.CountHeard(peer_, "QUIT"), 1u);
}

TEST_F(NewFamilies, LetATransactionEndAlsoWhereThereIsNoOtherAddress) {
  resolver_.Says(kDomain, HostWith({kSix}));
  Reload(IpPreference::kRequireV4);
  Mail& next = Send();
  EXPECT_EQ(next.parcel.reply.ToString(), kNoFour);
  TransactionEnds();
  EXPECT_EQ(AllVerdicts(), "D d");
  EXPECT_EQ(network_.CountHeard(peer_, "MAIL"), 1u);
  EXPECT_EQ(network_.CountHeard(peer_, "QUIT"), 1u);
}

TEST_F(Families, RuledOutWhileConnectingGetNoMail) {
  host(kSix).answers_connects = false;
  Mail& mail = Send();
  const int opening = OnlyPeer();
  Reload(IpPreference::kRequireV4);
  network_.Accept(opening);
  Turn();
  EXPECT_EQ(network_.CountHeard(opening, "MAIL"), 0u);
  EXPECT_EQ(network_.CountHeard(opening, "QUIT"), 1u);
  EXPECT_EQ(mail.Verdicts(), "D");
  EXPECT_EQ(mail.parcel.peer_address.ip.ToString(), kFour);
}

TEST_F(Families, RuledOutWhileConnectingAreNotFallenBackTo) {
  host(kSix).answers_connects = false;
  Mail& mail = Send();
  const int opening = OnlyPeer();
  Reload(IpPreference::kRequireV6);
  host(kSix).answers_connects = true;
  network_.Refuse(opening, ECONNREFUSED);
  Turn();
  EXPECT_EQ(mail.Verdicts(), "D");
  EXPECT_EQ(mail.parcel.peer_address.ip.ToString(), kSix);
  EXPECT_EQ(Connects(kFour), 0u);
}

TEST_F(Families, RuledOutWhileTheBodyIsFetchedGetNoMail) {
  bodies_held_ = true;
  Mail& mail = Send();
  const int ready = OnlyPeer();
  Reload(IpPreference::kRequireV4);
  bodies_held_ = false;
  GiveBodies();
  Turn();
  EXPECT_EQ(network_.CountHeard(ready, "MAIL"), 0u);
  EXPECT_EQ(mail.Verdicts(), "D");
  EXPECT_EQ(mail.parcel.peer_address.ip.ToString(), kFour);
}

}  // namespace
}  // namespace sluice::delivery
