// Routes: what becomes of the mail when there is none, when it is old, and when another one takes
// its place. Expectations are RFC 5321 5.1, RFC 7505, RFC 3463's codes and
// engine/delivery/README.md.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <ostream>
#include <string>

#include "tests/engine/delivery/dispatcher_words.h"

namespace sluice::delivery {
namespace {

using dns::RouteResult;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::SizeIs;

const smtp::EnhancedCode kRoutingFailed{4, 4, 3};  // RFC 3463: directory server failure.

class Routes : public DispatcherTest {
 protected:
  void NamesAreAway() {
    resolver_.Says(kDomain, NoRoute(RouteResult::kTemporary, "the name servers do not answer"));
  }
};

// --- Without a route.

struct NoRouteCase {
  RouteResult result;
  absl::string_view reply;
};
void PrintTo(const NoRouteCase& c, std::ostream* out) {
  *out << c.reply;
}

class PermanentlyWithoutRoute : public Routes, public testing::WithParamInterface<NoRouteCase> {};

TEST_P(PermanentlyWithoutRoute, AllMailBounces) {
  resolver_.Says(kDomain, NoRoute(GetParam().result, "so it is"));
  SendSome(3);
  EXPECT_EQ(AllVerdicts(), "B B B");
  EXPECT_EQ(mails_.front().parcel.reply.ToString(), absl::StrCat(GetParam().reply, " so it is"));
  EXPECT_EQ(mails_.front().parcel.peer_name, "");
  EXPECT_THAT(network_.All(), SizeIs(0));
  EXPECT_EQ(resolver_.asked(), 1u);
}

INSTANTIATE_TEST_SUITE_P(ForEachReason, PermanentlyWithoutRoute,
                         testing::Values(NoRouteCase{RouteResult::kNoSuchDomain, "550 5.1.2"},
                                         NoRouteCase{RouteResult::kNullMx, "556 5.1.10"},
                                         NoRouteCase{RouteResult::kNoHost, "550 5.4.4"},
                                         NoRouteCase{RouteResult::kRefused, "550 5.4.6"}));

TEST_F(Routes, ThatCannotBeLookedUpNowDeferTheMailInFrontAndHoldTheRest) {
  NamesAreAway();
  SendSome(3);
  EXPECT_EQ(AllVerdicts(), "d - -");
  EXPECT_EQ(mails_.front().parcel.reply.ToString(), "451 4.4.3 the name servers do not answer");
  EXPECT_EQ(lane().binding, "route");
  EXPECT_EQ(resolver_.asked(), 1u);
  resolver_.Says(kDomain, RouteTo({kFirst}));
  PassUntil(lane().not_before - kTick);
  EXPECT_EQ(resolver_.asked(), 1u);
  Pass(2 * kTick);
  EXPECT_EQ(AllVerdicts(), "d D D");
}

TEST_F(Routes, AreAskedForOnceForAllThatWaits) {
  resolver_.Hold();
  SendSome(3);
  SendSome(3);
  EXPECT_EQ(resolver_.asked(), 1u);
  EXPECT_THAT(network_.All(), SizeIs(0));
  resolver_.Free();
  Turn();
  EXPECT_EQ(CountVerdicts("D"), 6u);
}

// --- An old route.

class OldRoute : public Routes {
 protected:
  void SetUp() override {
    resolver_.Says(kDomain, RouteTo({kFirst}, seconds(10)));
    host().answers.erase(".");  // Keeps the destination while time passes.
    Send();
    Pass(seconds(11));
    host() = FakeHost();
    EXPECT_EQ(resolver_.asked(), 1u);
  }
};

TEST_F(OldRoute, ServesUntilTheNewOneIsThere) {
  resolver_.Hold();
  EXPECT_EQ(Send().Verdicts(), "D");
  EXPECT_EQ(resolver_.asked(), 2u);
}

TEST_F(OldRoute, ServesOnWhileTheNewOneCannotBeLookedUp) {
  NamesAreAway();
  EXPECT_EQ(Send().Verdicts(), "D");
  EXPECT_EQ(resolver_.asked(), 2u);
  Pass(seconds(30));
  EXPECT_EQ(Send().Verdicts(), "D");
  EXPECT_EQ(resolver_.asked(), 2u);
  Pass(seconds(31));  // It is not asked for at every message, nor never again.
  EXPECT_EQ(Send().Verdicts(), "D");
  EXPECT_EQ(resolver_.asked(), 3u);
}

TEST_F(OldRoute, GivesWayToTheNewOne) {
  resolver_.Says(kDomain, RouteTo({kSecond}));
  resolver_.Hold();
  host(kFirst).answers_connects = false;
  Send();
  resolver_.Free();
  network_.Refuse(network_.To(kFirst).back(), ECONNREFUSED);
  Turn();
  Pass(minutes(2));
  EXPECT_EQ(mails_.back().Verdicts(), "D");
  EXPECT_EQ(Connects(kSecond), 1u);
}

TEST_F(OldRoute, BouncesWhatWaitsWhenTheDomainIsGone) {
  resolver_.Says(kDomain, NoRoute(RouteResult::kNoSuchDomain, "no such domain"));
  resolver_.Hold();
  host(kFirst).answers_connects = false;
  Mail& mail = Send();
  resolver_.Free();
  Turn();
  EXPECT_EQ(mail.Verdicts(), "B");
}

// --- Another table of routes. While it is asked, the old route may serve; when it has answered,
// and whatever it has answered, it may not.

class ReloadedRoutes : public Routes {
 protected:
  // The one connection that there may be is in a transaction with the first host.
  void SetUp() override {
    Start({.connections_max = 1});
    host().answers.erase(".");
    Send();
    ASSERT_THAT(network_.All(), SizeIs(1));
    peer_ = network_.All()[0];
  }
  void Reload() { DispatcherTest::Reload({.connections_max = 1}); }
  void TransactionEnds() {
    host() = FakeHost();
    network_.Says(peer_, "250 2.0.0 taken\r\n");
    Turn();
  }
  size_t Mails() const { return network_.CountHeard(peer_, "MAIL"); }
  size_t Quits() const { return network_.CountHeard(peer_, "QUIT"); }

  int peer_ = -1;
};

TEST_F(ReloadedRoutes, LetATransactionEndAndSendTheRestToTheNewHost) {
  SendSome(2);
  resolver_.Says(kDomain, RouteTo({kSecond}));
  Reload();
  EXPECT_EQ(Quits(), 0u);
  TransactionEnds();
  EXPECT_EQ(AllVerdicts(), "D D D");
  EXPECT_EQ(mails_.front().parcel.peer_address.ip.ToString(), kFirst);
  EXPECT_EQ(mails_.back().parcel.peer_address.ip.ToString(), kSecond);
  EXPECT_EQ(Mails(), 1u);
  EXPECT_EQ(Quits(), 1u);
  EXPECT_EQ(network_.most_open(), 1u);
}

TEST_F(ReloadedRoutes, EndIdleConnectionsToTheOldHost) {
  TransactionEnds();
  resolver_.Says(kDomain, RouteTo({kSecond}));
  Reload();
  Send();  // It has the route asked for.
  EXPECT_EQ(Quits(), 1u);
  EXPECT_TRUE(network_.Closed(peer_));
  Mail& next = Send();
  EXPECT_EQ(next.Verdicts(), "D");
  EXPECT_EQ(next.parcel.peer_address.ip.ToString(), kSecond);
}

TEST_F(Routes, ThatChangeEndAllIdleConnectionsToTheOldHost) {
  SendSome(2);  // One each.
  ASSERT_THAT(network_.All(), SizeIs(2));
  resolver_.Says(kDomain, RouteTo({kSecond}));
  Reload();
  Send();  // It has the route asked for.
  EXPECT_EQ(network_.CountHeardByAll("QUIT"), 2u);
  for (const int peer : network_.To(kFirst)) EXPECT_TRUE(network_.Closed(peer));
}

TEST_F(ReloadedRoutes, KeepTheConnectionToAHostThatIsStillThere) {
  SendSome(2);
  resolver_.Says(kDomain, RouteTo({kSecond, kFirst}));
  Reload();
  EXPECT_EQ(resolver_.asked(), 2u);
  TransactionEnds();
  EXPECT_EQ(AllVerdicts(), "D D D");
  EXPECT_EQ(Mails(), 3u);
  EXPECT_EQ(Quits(), 0u);
  EXPECT_THAT(network_.All(), SizeIs(1));
}

// Where a table once sent it mail must not go any more, also while the name servers are away.
TEST_F(ReloadedRoutes, AreNotServedWhileTheNewOnesCannotBeLookedUp) {
  SendSome(2);
  NamesAreAway();
  Reload();
  EXPECT_EQ(AllVerdicts(), "- d -");
  EXPECT_EQ(std::next(mails_.begin())->parcel.reply.enhanced, kRoutingFailed);
  TransactionEnds();
  EXPECT_EQ(AllVerdicts(), "D d -");
  EXPECT_EQ(Mails(), 1u);
  EXPECT_EQ(Quits(), 1u);
  EXPECT_EQ(lane().binding, "route");
  resolver_.Says(kDomain, RouteTo({kSecond}));
  Pass(minutes(2));
  EXPECT_EQ(AllVerdicts(), "D d D");
  EXPECT_EQ(Connects(kFirst), 1u);
  EXPECT_EQ(Connects(kSecond), 1u);
}

TEST_F(Routes, ThatChangeLeaveAConnectionThatIsBeingOpened) {
  host().answers_connects = false;
  Mail& mail = Send();
  ASSERT_EQ(Connects(kFirst), 1u);
  resolver_.Says(kDomain, RouteTo({kSecond}));
  Reload();
  const int opening = network_.To(kFirst)[0];
  if (!network_.Closed(opening)) network_.Accept(opening);
  Turn();
  EXPECT_EQ(mail.Verdicts(), "D");
  EXPECT_EQ(network_.CountHeard(opening, "MAIL"), 0u);
  EXPECT_EQ(Connects(kSecond), 1u);
}

TEST_F(Routes, AnsweredFromTheTableBeforeAreAskedForAgain) {
  resolver_.Hold();
  Mail& mail = Send();
  resolver_.Says(kDomain, RouteTo({kSecond}));
  Reload();
  resolver_.Free();  // The first answer is the one of the time when it was asked for.
  Turn();
  EXPECT_EQ(mail.Verdicts(), "D");
  EXPECT_EQ(Connects(kFirst), 0u);
  EXPECT_EQ(Connects(kSecond), 1u);
}

}  // namespace
}  // namespace sluice::delivery
