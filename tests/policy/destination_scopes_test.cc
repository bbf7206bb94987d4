// What a destination may still do where each address, each source or each pair has limits of its
// own, and the system's limits hold for all of them: each limit at its bound and one over, which
// one is named, when to look again; connections that move; and scopes that change while mail flows.
// Expectations are arithmetic on the limits, by destination_budget.h and reference controls 4.1.

#include <array>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "policy/destination_budget.h"

namespace sluice::policy {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::nanoseconds;

constexpr Instant kNow = Instant(hours(1000));
constexpr LimitScope kWhole;
constexpr LimitScope kByAddress = {.each_address = true};
constexpr LimitScope kBySource = {.each_source = true};
constexpr LimitScope kByPair = {.each_address = true, .each_source = true};
constexpr std::array kAllScopes = {kWhole, kByAddress, kBySource, kByPair};

IpAddress Address(int number) {
  return *IpAddress::Parse(absl::StrCat("192.0.", number / 256, ".", number % 256));
}

Controls Connections(LimitScope scope, uint32_t each, uint32_t all = kNoConnectionLimit) {
  return {.limits = {.connections_max = each}, .scope = scope, .system = {.connections_max = all}};
}

// 64 minutes, so that a bucket is a minute; the system's period is twice that.
Limits Recipients(uint32_t most, int period_minutes = 64) {
  return {.connections_max = 1000,
          .recipients_limited = true,
          .recipients_max = most,
          .recipient_period = minutes(period_minutes)};
}
Controls EachRecipients(LimitScope scope, uint32_t each) {
  return {.limits = Recipients(each), .scope = scope};
}
Controls BothRecipients(LimitScope scope, uint32_t each, uint32_t all) {
  return {.limits = Recipients(each), .scope = scope, .system = Recipients(all, 128)};
}

// A budget, and the controls and the time by which it is asked.
class Scopes {
 public:
  explicit Scopes(Controls controls) : controls_(std::move(controls)) {}

  ScopeKey Key(int address, uint32_t source) const {
    return KeyOf(controls_.scope, Address(address), source);
  }
  Permit MayConnect(int address, uint32_t source) {
    return budget_.MayConnect(controls_, Key(address, source), now_);
  }
  // As many as may be, and so many at most.
  int Connect(int address, uint32_t source, int wanted = 100) {
    for (int opened = 0; opened < wanted; ++opened) {
      if (!MayConnect(address, source)) return opened;
      budget_.ConnectionOpened(controls_, Key(address, source));
    }
    return wanted;
  }
  void Close(int address, uint32_t source) {
    budget_.ConnectionClosed(Key(address, source), /*was_leaving=*/false);
  }
  Permit MayStart(int address, uint32_t source, uint32_t recipients = 1000) {
    return budget_.MayStart(controls_, Key(address, source), 0, recipients, now_);
  }
  void Start(int address, uint32_t source, uint32_t recipients) {
    budget_.TransactionStarted(controls_, Key(address, source), recipients, now_);
  }
  void End(int address, uint32_t source, uint32_t recipients) {
    budget_.TransactionEnded(controls_, Key(address, source), recipients, recipients, now_);
  }
  // A connection on which so many recipients are sent; it stays.
  void Send(int address, uint32_t source, uint32_t recipients) {
    ASSERT_EQ(Connect(address, source, 1), 1);
    Start(address, source, recipients);
    End(address, source, recipients);
  }
  // How many recipients more a new connection there could send now.
  uint32_t Room(int address, uint32_t source) {
    if (Connect(address, source, 1) == 0) return 0;
    const uint32_t room = MayStart(address, source).recipients;
    Close(address, source);
    return room;
  }
  // A new table. No connection is open.
  void Rescope(Controls controls) {
    const Limits before = controls_.limits;
    controls_ = std::move(controls);
    budget_.BeginRescope(before, controls_.limits, now_);
  }

  Controls controls_;
  Instant now_ = kNow;
  DestinationBudget budget_;
};

TEST(KeyOf, KeepsWhatHasLimitsOfItsOwn) {
  EXPECT_EQ(KeyOf(kWhole, Address(1), 2), ScopeKey{});
  EXPECT_EQ(KeyOf(kByAddress, Address(1), 2), (ScopeKey{.address = Address(1)}));
  EXPECT_EQ(KeyOf(kBySource, Address(1), 2), (ScopeKey{.source = 2}));
  EXPECT_EQ(KeyOf(kByPair, Address(1), 2), (ScopeKey{.address = Address(1), .source = 2}));
}

// -------------------------------------------------------------------------------------------------
// Connections.

// Two addresses and two sources, all asked for as much as they may: 3 for each scope there is.
TEST(EachScope, GetsTheWholeLimitOfConnections) {
  const uint32_t scopes[] = {1, 2, 2, 4};
  for (size_t i = 0; i < kAllScopes.size(); ++i) {
    Scopes scope(Connections(kAllScopes[i], 3));
    for (const int address : {1, 2}) {
      for (const uint32_t source : {1, 2}) scope.Connect(address, source);
    }
    EXPECT_EQ(scope.budget_.connections(), 3 * scopes[i]) << i;
    EXPECT_EQ(scope.MayConnect(1, 1).binds, Limit::kConnections) << i;
    EXPECT_EQ(scope.MayConnect(1, 1).look_again, kNever) << i;
  }
}

TEST(EachScope, HasRoomAgainOnlyWhereAConnectionEnded) {
  Scopes scope(Connections(kByPair, 1));
  scope.Connect(1, 1);
  scope.Connect(1, 2);
  scope.Close(1, 2);
  EXPECT_FALSE(scope.MayConnect(1, 1));
  EXPECT_TRUE(scope.MayConnect(1, 2));
}

// Source 0, the system's choice, is a source like any other.
TEST(EachScope, TheSystemsChoiceIsASource) {
  Scopes scope(Connections(kBySource, 2));
  EXPECT_EQ(scope.Connect(1, 0), 2);
  EXPECT_EQ(scope.Connect(1, 1), 2);
}

TEST(System, HoldsAllScopesTogether) {
  for (const LimitScope each : kAllScopes) {
    Scopes scope(Connections(each, 3, /*all=*/2));
    EXPECT_EQ(scope.Connect(1, 1, 1), 1);
    EXPECT_EQ(scope.Connect(2, 2), 1);
    EXPECT_EQ(scope.MayConnect(3, 3).binds, Limit::kSystemConnections);
    EXPECT_EQ(scope.MayConnect(3, 3).look_again, kNever);
    scope.Close(1, 1);
    EXPECT_TRUE(scope.MayConnect(3, 3));
  }
}

TEST(System, ItsLimitOfConnectionsIsNamedBeforeThatOfTheScope) {
  Scopes scope(Connections(kByAddress, 1, /*all=*/1));
  scope.Connect(1, 0);
  EXPECT_EQ(scope.MayConnect(1, 0).binds, Limit::kSystemConnections);
  scope.controls_.system.connections_max = 2;
  EXPECT_EQ(scope.MayConnect(1, 0).binds, Limit::kConnections);
  EXPECT_TRUE(scope.MayConnect(2, 0));
}

TEST(Excess, IsOfTheScopeThatHasTooMany) {
  Scopes scope(Connections(kByAddress, 2));
  scope.Connect(1, 0);
  scope.Connect(2, 0, 1);
  EXPECT_FALSE(scope.budget_.Excess(scope.controls_, scope.Key(1, 0)));
  scope.controls_.limits.connections_max = 1;
  EXPECT_TRUE(scope.budget_.Excess(scope.controls_, scope.Key(1, 0)));
  EXPECT_FALSE(scope.budget_.Excess(scope.controls_, scope.Key(2, 0)));
  scope.budget_.ConnectionLeaving(scope.Key(1, 0));
  EXPECT_FALSE(scope.budget_.Excess(scope.controls_, scope.Key(1, 0)));
  EXPECT_FALSE(scope.MayConnect(1, 0));  // It counts until it is closed.
  scope.budget_.ConnectionClosed(scope.Key(1, 0), /*was_leaving=*/true);
  EXPECT_FALSE(scope.MayConnect(1, 0));
  scope.Close(1, 0);
  EXPECT_TRUE(scope.MayConnect(1, 0));
}

TEST(Excess, OfTheSystemIsThatOfEveryScope) {
  Scopes scope(Connections(kByPair, 2));
  scope.Connect(1, 1, 1);
  scope.Connect(2, 2);
  scope.controls_.system.connections_max = 2;
  EXPECT_TRUE(scope.budget_.Excess(scope.controls_, scope.Key(1, 1)));
  EXPECT_TRUE(scope.budget_.Excess(scope.controls_, scope.Key(2, 2)));
  scope.budget_.ConnectionLeaving(scope.Key(1, 1));
  EXPECT_FALSE(scope.budget_.Excess(scope.controls_, scope.Key(2, 2)));
}

TEST(Move, CountsAtTheNextAddressAndNoLongerAtTheLast) {
  Scopes scope(Connections(kByAddress, 1, /*all=*/2));
  scope.Connect(1, 0);
  EXPECT_TRUE(scope.budget_.MayMove(scope.controls_, scope.Key(2, 0), kNow));
  scope.budget_.ConnectionMoved(scope.controls_, scope.Key(1, 0), scope.Key(2, 0), false);
  EXPECT_EQ(scope.budget_.connections(), 1u);
  EXPECT_FALSE(scope.MayConnect(2, 0));
  EXPECT_EQ(scope.Connect(1, 0), 1);
  EXPECT_FALSE(scope.budget_.MayMove(scope.controls_, scope.Key(1, 0), kNow));
  // The system has as many as it may: one that moves is none more.
  EXPECT_EQ(scope.MayConnect(3, 0).binds, Limit::kSystemConnections);
  EXPECT_TRUE(scope.budget_.MayMove(scope.controls_, scope.Key(3, 0), kNow));
}

TEST(Move, NotToAnAddressThatMayBeSentNothing) {
  Scopes scope(EachRecipients(kByAddress, 2));
  scope.Send(1, 0, 2);
  EXPECT_FALSE(scope.budget_.MayMove(scope.controls_, scope.Key(1, 0), kNow));
  EXPECT_TRUE(scope.budget_.MayMove(scope.controls_, scope.Key(2, 0), kNow));
}

TEST(Move, OfOneThatLeavesStaysOneThatLeaves) {
  Scopes scope(Connections(kByAddress, 1));
  scope.Connect(1, 0);
  scope.budget_.ConnectionLeaving(scope.Key(1, 0));
  scope.budget_.ConnectionMoved(scope.controls_, scope.Key(1, 0), scope.Key(2, 0), true);
  scope.budget_.ConnectionClosed(scope.Key(2, 0), /*was_leaving=*/true);
  EXPECT_TRUE(scope.budget_.Idle(scope.controls_, kNow));
}

TEST(ScopesDeathTest, WhatIsCountedElsewhereCannotEndHere) {
  Scopes scope(Connections(kByAddress, 1));
  scope.Connect(1, 0);
  EXPECT_DEATH(scope.budget_.ConnectionOpened(scope.controls_, scope.Key(1, 0)), "CHECK");
  EXPECT_DEATH(scope.Close(2, 0), "CHECK");
  EXPECT_DEATH(scope.MayStart(2, 0), "CHECK");  // No connection is there.
  scope.Connect(2, 0);
  EXPECT_DEATH(
      scope.budget_.ConnectionMoved(scope.controls_, scope.Key(1, 0), scope.Key(2, 0), false),
      "CHECK");
}

// -------------------------------------------------------------------------------------------------
// Recipients.

TEST(EachScope, GetsTheWholeLimitOfRecipients) {
  const uint32_t scopes[] = {1, 2, 2, 4};
  for (size_t i = 0; i < kAllScopes.size(); ++i) {
    Scopes scope(EachRecipients(kAllScopes[i], 5));
    uint32_t sent = 0;
    for (const int address : {1, 2}) {
      for (const uint32_t source : {1, 2}) {
        const uint32_t room = scope.Room(address, source);
        if (room > 0) scope.Send(address, source, room);
        sent += room;
      }
    }
    EXPECT_EQ(sent, 5 * scopes[i]) << i;
    EXPECT_EQ(scope.MayConnect(2, 2).binds, Limit::kRecipients) << i;
    EXPECT_EQ(scope.MayConnect(2, 2).look_again, kNow + minutes(65)) << i;
  }
}

TEST(System, ItsRecipientsHaveAPeriodOfTheirOwn) {
  Scopes scope(BothRecipients(kByAddress, 4, /*all=*/6));
  scope.Send(1, 0, 4);
  EXPECT_EQ(scope.MayConnect(1, 0).binds, Limit::kRecipients);
  EXPECT_EQ(scope.MayConnect(1, 0).look_again, kNow + minutes(65));
  EXPECT_EQ(scope.Room(2, 0), 2u);  // Of the system's.
  scope.Send(2, 0, 2);
  EXPECT_EQ(scope.MayConnect(2, 0).binds, Limit::kSystemRecipients);
  EXPECT_EQ(scope.MayConnect(2, 0).look_again, kNow + minutes(128) + minutes(2));
  EXPECT_EQ(scope.MayStart(2, 0).binds, Limit::kSystemRecipients);
  scope.now_ = kNow + minutes(65);  // The addresses have room, the system has none.
  EXPECT_EQ(scope.MayConnect(1, 0).binds, Limit::kSystemRecipients);
  scope.now_ = kNow + minutes(130) - nanoseconds(1);
  EXPECT_FALSE(scope.MayConnect(1, 0));
  scope.now_ = kNow + minutes(130);
  EXPECT_EQ(scope.Room(1, 0), 4u);
}

TEST(System, GrantsAreTheLeastOfBoth) {
  Scopes scope(BothRecipients(kBySource, 4, /*all=*/6));
  EXPECT_EQ(scope.Room(1, 1), 4u);
  scope.controls_.system.recipients_max = 3;
  EXPECT_EQ(scope.Room(1, 1), 3u);
}

TEST(System, ItsRecipientsAloneAreEnough) {
  Scopes scope({.limits = {.connections_max = 9}, .scope = kByPair, .system = Recipients(3)});
  scope.Send(1, 1, 2);
  EXPECT_EQ(scope.Room(2, 2), 1u);
  scope.Send(2, 2, 1);
  EXPECT_EQ(scope.MayConnect(3, 3).binds, Limit::kSystemRecipients);
  EXPECT_EQ(scope.MayConnect(3, 3).look_again, kNow + minutes(65));
}

TEST(System, InFlightThereIsNothingToWaitForButAnEnd) {
  Scopes scope(BothRecipients(kByAddress, 9, /*all=*/3));
  scope.Connect(1, 0, 1);
  scope.Start(1, 0, 3);
  EXPECT_EQ(scope.MayConnect(2, 0).binds, Limit::kSystemRecipients);
  EXPECT_EQ(scope.MayConnect(2, 0).look_again, kNever);
  scope.budget_.TransactionEnded(scope.controls_, scope.Key(1, 0), 3, /*seen=*/1, kNow);
  EXPECT_EQ(scope.Room(2, 0), 2u);
}

TEST(System, ZeroHoldsAllMail) {
  Scopes scope(BothRecipients(kByAddress, 9, /*all=*/0));
  EXPECT_EQ(scope.MayConnect(1, 0).binds, Limit::kSystemRecipients);
  EXPECT_EQ(scope.MayConnect(1, 0).look_again, kNever);
}

TEST(Forget, AllScopesAndTheSystemButNotWhatIsInFlight) {
  Scopes scope(BothRecipients(kByAddress, 4, /*all=*/6));
  scope.Send(1, 0, 4);
  scope.Connect(2, 0, 1);
  scope.Start(2, 0, 2);
  scope.budget_.ForgetSeen();
  EXPECT_EQ(scope.Room(1, 0), 4u);  // 6 less the 2 in flight.
  EXPECT_EQ(scope.Room(2, 0), 2u);
}

// -------------------------------------------------------------------------------------------------
// Idle, and how many scopes there may be.

TEST(Idle, OnlyWhenEveryScopeIs) {
  Scopes scope(EachRecipients(kByAddress, 4));
  scope.Send(1, 0, 1);
  scope.Close(1, 0);
  EXPECT_FALSE(scope.budget_.Idle(scope.controls_, kNow));
  scope.now_ = kNow + minutes(30);
  scope.Send(2, 0, 1);
  scope.Close(2, 0);
  EXPECT_FALSE(scope.budget_.Idle(scope.controls_, kNow + minutes(65)));
  EXPECT_TRUE(scope.budget_.Idle(scope.controls_, kNow + minutes(95)));
}

TEST(Idle, NotWhileTheSystemCounts) {
  Scopes scope(BothRecipients(kByAddress, 4, /*all=*/6));
  scope.Send(1, 0, 1);
  scope.Close(1, 0);
  EXPECT_FALSE(scope.budget_.Idle(scope.controls_, kNow + minutes(130) - nanoseconds(1)));
  EXPECT_TRUE(scope.budget_.Idle(scope.controls_, kNow + minutes(130)));
}

class ManyScopes : public testing::Test {
 protected:
  static constexpr int kMost = static_cast<int>(DestinationBudget::kScopesMax);
  Scopes scope_{EachRecipients(kByAddress, 4)};
};

TEST_F(ManyScopes, BeyondTheMostAnotherOneWaits) {
  for (int i = 0; i < kMost; ++i) ASSERT_EQ(scope_.Connect(i, 0, 1), 1);
  EXPECT_EQ(scope_.MayConnect(kMost, 0).binds, Limit::kScopes);
  EXPECT_FALSE(scope_.budget_.MayMove(scope_.controls_, scope_.Key(kMost, 0), kNow));
  EXPECT_TRUE(scope_.MayConnect(7, 0));  // One that is there goes on.
  scope_.Close(7, 0);
  EXPECT_TRUE(scope_.MayConnect(kMost, 0));  // Idle, it is no more.
}

// Nothing will end that would wake anybody up: the time must be told.
TEST_F(ManyScopes, ThatOnlyRememberAreForgottenInTime) {
  for (int i = 0; i < kMost; ++i) {
    if (i == 1) scope_.now_ = kNow + minutes(10);
    scope_.Send(i, 0, 1);
    scope_.Close(i, 0);
  }
  const Permit no = scope_.MayConnect(kMost, 0);
  EXPECT_EQ(no.binds, Limit::kScopes);
  EXPECT_EQ(no.look_again, kNow + minutes(65));
  scope_.now_ = no.look_again;
  EXPECT_TRUE(scope_.MayConnect(kMost, 0));
  EXPECT_EQ(scope_.Room(kMost, 0), 4u);
  EXPECT_EQ(scope_.Room(2, 0), 3u);  // The others remember.
}

// -------------------------------------------------------------------------------------------------
// New scopes while mail flows.

TEST(Rescope, CountsConnectionsAnewExactly) {
  for (const LimitScope from : kAllScopes) {
    for (const LimitScope to : kAllScopes) {
      if (from == to) continue;
      Scopes scope(Connections(from, 4, /*all=*/4));
      for (const int address : {1, 2}) {
        for (const uint32_t source : {1, 2}) ASSERT_EQ(scope.Connect(address, source, 1), 1);
      }
      scope.Rescope(Connections(to, 2, /*all=*/5));
      EXPECT_EQ(scope.budget_.connections(), 4u);
      for (const int address : {1, 2}) {
        for (const uint32_t source : {1, 2}) {
          scope.budget_.Recount(scope.Key(address, source), /*leaving=*/false, 0);
        }
      }
      EXPECT_EQ(scope.budget_.connections(), 4u);
      // In the scope of a pair there are 4, 2, 2 or 1 now.
      const uint32_t there = 4 / ((to.each_address ? 2 : 1) * (to.each_source ? 2 : 1));
      EXPECT_EQ(scope.budget_.Excess(scope.controls_, scope.Key(1, 1)), there > 2);
      EXPECT_EQ(scope.MayConnect(1, 1).binds, there >= 2 ? Limit::kConnections : Limit::kNone);
      for (const int address : {1, 2}) {
        for (const uint32_t source : {1, 2}) scope.Close(address, source);
      }
      EXPECT_EQ(scope.budget_.connections(), 0u);
      EXPECT_TRUE(scope.budget_.Idle(scope.controls_, kNow));
    }
  }
}

TEST(Rescope, WhatWasSeenCountsAgainstEachNewScope) {
  for (const LimitScope from : kAllScopes) {
    for (const LimitScope to : kAllScopes) {
      if (from == to) continue;
      Scopes scope(EachRecipients(from, 10));
      scope.Send(1, 1, 3);
      scope.Close(1, 1);
      scope.Send(2, 2, 4);
      scope.Close(2, 2);
      scope.Rescope(EachRecipients(to, 10));
      for (const int address : {1, 2, 3}) {
        for (const uint32_t source : {0, 1, 2}) EXPECT_EQ(scope.Room(address, source), 3u);
      }
      scope.Send(3, 1, 3);
      EXPECT_EQ(scope.MayConnect(3, 1).binds, Limit::kRecipients);
      EXPECT_EQ(scope.MayConnect(3, 1).look_again, kNow + minutes(65));
      scope.now_ = kNow + minutes(65);
      EXPECT_EQ(scope.Room(3, 1), 10u);
    }
  }
}

TEST(Rescope, TheSystemsCountsGoOn) {
  Scopes scope(BothRecipients(kWhole, 10, /*all=*/6));
  scope.Send(1, 1, 4);
  scope.Close(1, 1);
  scope.Rescope(BothRecipients(kByPair, 10, /*all=*/6));
  EXPECT_EQ(scope.Room(1, 1), 2u);
  EXPECT_EQ(scope.Room(2, 2), 2u);
}

TEST(Rescope, WhatIsInFlightCountsWhereItIs) {
  Scopes scope(EachRecipients(kWhole, 10));
  scope.Connect(1, 0, 1);
  scope.Start(1, 0, 6);
  scope.Rescope(EachRecipients(kByAddress, 10));
  scope.budget_.Recount(scope.Key(1, 0), /*leaving=*/false, 6);
  EXPECT_EQ(scope.Room(1, 0), 4u);
  EXPECT_EQ(scope.Room(2, 0), 10u);
  scope.End(1, 0, 6);
  EXPECT_EQ(scope.Room(1, 0), 4u);
  EXPECT_EQ(scope.Room(2, 0), 10u);
}

TEST(Rescope, TheFirstToLeaveSaysWhenToLookAgain) {
  Scopes scope(EachRecipients(kWhole, 10));
  scope.Send(1, 0, 6);
  scope.Close(1, 0);
  scope.now_ = kNow + minutes(10);
  scope.Rescope(EachRecipients(kByAddress, 10));  // As if the 6 were seen now.
  scope.now_ = kNow + minutes(20);
  scope.Send(1, 0, 4);
  scope.Close(1, 0);
  EXPECT_EQ(scope.MayConnect(1, 0).look_again, kNow + minutes(75));
  scope.now_ = kNow + minutes(75);
  EXPECT_EQ(scope.Room(1, 0), 6u);
  EXPECT_EQ(scope.Room(2, 0), 10u);
}

// Nothing is counted twice, however often the table changes, and nobody is held for ever.
TEST(Rescope, BackAndForthNeitherGrowsNorStarves) {
  Scopes scope(EachRecipients(kWhole, 10));
  uint32_t sent = 0;
  for (int minute = 0; minute < 640; ++minute) {
    scope.now_ = kNow + minutes(minute);
    scope.Rescope(EachRecipients(kAllScopes[minute % 4], 10));
    const uint32_t room = scope.Room(1, 1);
    if (room == 0) continue;
    scope.Send(1, 1, room);
    scope.Close(1, 1);
    sent += room;
  }
  // Each is remembered for less than two periods and a bucket each: 130 minutes.
  EXPECT_GE(sent, 10u * (640 / 131));
  EXPECT_LE(sent, 10u * (640 / 64));
  scope.now_ += minutes(130);
  EXPECT_TRUE(scope.budget_.Idle(scope.controls_, scope.now_));
}

// A table without a recipient limit in between forgets nothing that was counted.
TEST(Rescope, ATableWithoutALimitInBetweenForgetsNothing) {
  Controls unlimited = EachRecipients(kWhole, 0);
  unlimited.limits.recipients_limited = false;
  Controls unlimited_by_source = unlimited;
  unlimited_by_source.scope = kBySource;
  for (const Controls& between : {unlimited, unlimited_by_source}) {
    Scopes scope(EachRecipients(kWhole, 10));
    scope.Send(1, 1, 7);
    scope.Close(1, 1);
    if (between.scope == kWhole) {
      scope.controls_ = between;
    } else {
      scope.Rescope(between);
    }
    EXPECT_EQ(scope.Room(1, 1), 1000u);
    Controls after = EachRecipients(between.scope == kWhole ? kBySource : kWhole, 10);
    scope.now_ = kNow + minutes(5);
    scope.Rescope(after);
    EXPECT_EQ(scope.Room(1, 1), 3u);
    scope.now_ = kNow + minutes(70);
    EXPECT_EQ(scope.Room(1, 1), 10u);
  }
}

TEST(Rescope, UnderALoweredLimitNoRoomIsNotAnError) {
  Scopes scope(EachRecipients(kBySource, 10));
  for (const uint32_t source : {1, 2, 3}) {
    scope.Send(1, source, 10);
    scope.Close(1, source);
  }
  scope.Rescope(EachRecipients(kWhole, 5));  // 30 seen.
  EXPECT_EQ(scope.MayConnect(1, 1).binds, Limit::kRecipients);
  scope.now_ = scope.MayConnect(1, 1).look_again;
  EXPECT_EQ(scope.Room(1, 1), 5u);
}

TEST(LimitName, OfTheSystemAndOfScopes) {
  EXPECT_STREQ(LimitName(Limit::kSystemConnections), "system_concurrency");
  EXPECT_STREQ(LimitName(Limit::kSystemRecipients), "system_recipients");
  EXPECT_STREQ(LimitName(Limit::kScopes), "scopes");
}

}  // namespace
}  // namespace sluice::policy
