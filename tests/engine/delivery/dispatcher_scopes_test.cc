// Limits of each address, each source and each pair, with the system's beside them: where
// connections go, who waits for what, and what a new table does to mail under way. Expectations are
// arithmetic on the limits, by lane.h, policy/destination_budget.h and reference controls 4.1.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>

#include "tests/engine/delivery/dispatcher_words.h"

namespace sluice::delivery {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using testing::IsEmpty;
using testing::SizeIs;

constexpr absl::string_view kThird = "192.0.2.3";
constexpr absl::string_view kOur1 = "198.51.100.1";
constexpr absl::string_view kOur2 = "198.51.100.2";

class Scopes : public DispatcherTest {
 protected:
  Scopes() {
    UseEqualHosts();
    for (const absl::string_view ip : {kOur1, kOur2}) {
      sources_.AddSource({.name = std::string(ip), .ipv4 = *IpAddress::Parse(ip)});
    }
    both_ = sources_.AddPool({.name = "both", .members = {{.source = 1}, {.source = 2}}});
    options_.sources = &sources_;
  }

  // Two addresses of the same preference.
  void UseEqualHosts() {
    dns::Route route = RouteTo({kFirst, kSecond});
    route.hosts[1].preference = route.hosts[0].preference;
    resolver_.Says(kDomain, route);
  }
  void HostsAreSlow() {
    for (const absl::string_view ip : {kFirst, kSecond, kThird}) host(ip).answers_connects = false;
  }
  void AnswerAll() {
    for (const absl::string_view ip : {kFirst, kSecond, kThird}) host(ip).answers_connects = true;
    for (const int peer : network_.All()) {
      if (!network_.Closed(peer)) network_.Accept(peer);
    }
  }
  void QueueBy(uint32_t pool, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      Mail& mail = Make();
      mail.message.pool = pool;
      Queue(mail);
    }
  }
  void SendBy(uint32_t pool, size_t count) {
    QueueBy(pool, count);
    Turn();
  }
  size_t DeliveredBy(uint32_t pool) const {
    return static_cast<size_t>(std::count_if(mails_.begin(), mails_.end(), [&](const Mail& mail) {
      return mail.message.pool == pool && mail.Verdicts() == "D";
    }));
  }
  Lane* LaneOf(uint32_t pool) {
    for (Lane* lane = destination().lanes.Front(); lane != nullptr;
         lane = destination().lanes.Next(*lane)) {
      if (lane->pool == pool) return lane;
    }
    return nullptr;
  }
  size_t RecipientsAt(absl::string_view ip) const {
    size_t count = 0;
    for (const int peer : network_.To(ip)) count += network_.CountHeard(peer, "RCPT");
    return count;
  }

  policy::Sources sources_;
  uint32_t both_ = 0;
};

// -------------------------------------------------------------------------------------------------
// Connections.

TEST_F(Scopes, EachAddressHasTheWholeLimit) {
  Start({.connections_max = 3, .limits_each_address = true});
  HostsAreSlow();
  SendSome(100);
  EXPECT_EQ(Connects(kFirst), 3u);
  EXPECT_EQ(Connects(kSecond), 3u);
  EXPECT_EQ(lane().binding, "concurrency");
  AnswerAll();
  Turn();
  EXPECT_EQ(CountVerdicts("D"), 100u);
  EXPECT_EQ(network_.most_open(), 6u);
}

TEST_F(Scopes, TheWholeDestinationSharesItOtherwise) {
  Start({.connections_max = 3});
  HostsAreSlow();
  SendSome(100);
  EXPECT_EQ(network_.open(), 3u);
}

TEST_F(Scopes, EachSourceHasTheWholeLimit) {
  Start({.connections_max = 3, .limits_each_source = true});
  HostsAreSlow();
  SendBy(both_, 100);
  EXPECT_THAT(network_.From(kOur1), SizeIs(3));
  EXPECT_THAT(network_.From(kOur2), SizeIs(3));
  EXPECT_EQ(lane().binding, "concurrency");
}

TEST_F(Scopes, EachPairHasTheWholeLimit) {
  Start({.connections_max = 3, .limits_each_address = true, .limits_each_source = true});
  HostsAreSlow();
  SendBy(both_, 100);
  for (const absl::string_view from : {kOur1, kOur2}) {
    for (const absl::string_view to : {kFirst, kSecond}) {
      EXPECT_THAT(network_.From(from, to), SizeIs(3)) << from << " " << to;
    }
  }
}

TEST_F(Scopes, TheSystemsLimitHoldsForAllOfThem) {
  Start({.connections_max = 3,
         .limits_each_address = true,
         .limits_each_source = true,
         .system_connections_max = 5});
  HostsAreSlow();
  SendBy(both_, 100);
  EXPECT_EQ(network_.open(), 5u);
  EXPECT_EQ(lane().binding, "system_concurrency");
  AnswerAll();
  Turn();
  EXPECT_EQ(CountVerdicts("D"), 100u);
  EXPECT_EQ(network_.most_open(), 5u);
}

// No more than are useful, whatever the limits (K20): a connection takes four messages.
TEST_F(Scopes, NoMoreConnectionsThanAreUseful) {
  Start({.connections_max = 1000, .limits_each_address = true, .limits_each_source = true});
  HostsAreSlow();
  SendBy(both_, 50);
  EXPECT_EQ(network_.open(), 13u);
}

// --- Hosts of a lower preference.

TEST_F(Scopes, ALesserHostIsNotThereForFullOnes) {
  UseTwoHosts();
  Start({.connections_max = 2, .limits_each_address = true});
  HostsAreSlow();
  SendSome(100);
  EXPECT_EQ(Connects(kFirst), 2u);
  EXPECT_EQ(Connects(kSecond), 0u);
  EXPECT_EQ(lane().binding, "concurrency");
}

TEST_F(Scopes, ALesserHostIsThereForThoseThatFail) {
  UseTwoHosts();
  Start({.connections_max = 2, .limits_each_address = true});
  host(kFirst).refuses_with = ECONNREFUSED;
  host(kSecond).answers_connects = false;
  SendSome(100);
  Pass(seconds(20));
  EXPECT_THAT(network_.To(kSecond), SizeIs(2));
  AnswerAll();
  Pass(seconds(1));
  EXPECT_EQ(CountVerdicts("D"), 100u);
  EXPECT_EQ(network_.most_open(), 2u);
}

// It counts at the next address from then on, and a full one is passed over.
TEST_F(Scopes, OnTheWayToTheNextAddressItCountsThere) {
  resolver_.Says(kDomain, RouteTo({kFirst, kSecond, kThird}));
  Start({.connections_max = 1, .messages_per_connection_max = 1, .limits_each_address = true});
  HostsAreSlow();
  SendSome(1);
  ASSERT_EQ(Connects(kFirst), 1u);
  network_.Refuse(network_.To(kFirst)[0], ECONNREFUSED);
  Turn();
  ASSERT_EQ(Connects(kSecond), 1u);  // Its one connection.
  SendSome(1);
  ASSERT_EQ(Connects(kFirst), 2u);  // There is room again.
  network_.Refuse(network_.To(kFirst)[1], ECONNREFUSED);
  Turn();
  EXPECT_EQ(Connects(kSecond), 1u);
  EXPECT_EQ(Connects(kThird), 0u);  // It was not there for the full one, when this was opened.
  EXPECT_EQ(destination().budget.connections(), network_.open());
}

// An address that has failed is not hammered because another one is full.
TEST_F(Scopes, AFailedAddressBesideAFullOneIsNotTriedAtOnce) {
  Start({.connections_max = 1, .limits_each_address = true});
  host(kFirst).answers_connects = false;
  host(kSecond).refuses_with = ECONNREFUSED;
  SendSome(100);
  EXPECT_EQ(Connects(kFirst), 1u);
  const size_t tried = Connects(kSecond);
  EXPECT_LE(tried, 2u);
  Pass(seconds(4));
  EXPECT_LE(Connects(kSecond), tried + 1);
}

// Once it may be tried again, it is: nothing else needs to happen. For so long it is left out.
TEST_F(Scopes, AFailedAddressIsTriedAgainThoughAnotherOneIsUsedUp) {
  Start({.connections_max = 1,
         .recipients_max = 1,
         .recipient_minutes = 60,
         .limits_each_address = true});
  host(kSecond).refuses_with = ECONNREFUSED;
  SendSome(1);
  SendSome(1);
  Pass(seconds(30));  // Twice in a row: it is left out, and the first has had its one.
  SendSome(2);
  Pass(seconds(15));
  ASSERT_GE(Connects(kSecond), 1u);
  host(kSecond).refuses_with = 0;
  Pass(minutes(5));
  EXPECT_EQ(RecipientsAt(kFirst), 1u);
  EXPECT_EQ(RecipientsAt(kSecond), 1u);
}

// -------------------------------------------------------------------------------------------------
// Recipients.

TEST_F(Scopes, EachAddressMayBeSentTheWholeLimit) {
  Start({.recipients_max = 5, .recipient_minutes = 60, .limits_each_address = true});
  SendSome(30);
  Pass(minutes(30));
  EXPECT_EQ(RecipientsAt(kFirst), 5u);
  EXPECT_EQ(RecipientsAt(kSecond), 5u);
  EXPECT_EQ(lane().binding, "recipients");
  Pass(minutes(32));  // The hour, and a 64th.
  EXPECT_EQ(RecipientsAt(kFirst), 10u);
  EXPECT_EQ(RecipientsAt(kSecond), 10u);
  Pass(minutes(62));
  EXPECT_EQ(CountVerdicts("D"), 30u);
}

TEST_F(Scopes, AConnectionToAUsedUpAddressDoesNotBlockOneWithRoom) {
  Start({.connections_max = 1,
         .recipients_max = 2,
         .recipient_minutes = 60,
         .limits_each_address = true});
  HostsAreSlow();
  SendSome(8);  // Worth two connections.
  ASSERT_EQ(network_.open(), 2u);
  network_.Accept(network_.To(kFirst)[0]);
  Turn();
  EXPECT_EQ(RecipientsAt(kFirst), 2u);
  network_.Accept(network_.To(kSecond)[0]);
  Turn();
  EXPECT_EQ(RecipientsAt(kSecond), 2u);
  EXPECT_EQ(CountVerdicts("D"), 4u);
}

TEST_F(Scopes, EachSourceMaySendTheWholeLimit) {
  Start({.recipients_max = 5, .recipient_minutes = 60, .limits_each_source = true});
  SendBy(both_, 30);
  Pass(minutes(5));
  EXPECT_EQ(CountVerdicts("D"), 10u);
}

TEST_F(Scopes, TheSystemsRecipientsHaveTheirOwnPeriod) {
  Start({.recipients_max = 5,
         .recipient_minutes = 1,
         .limits_each_address = true,
         .system_recipients_max = 12,
         .system_recipient_minutes = 60});
  SendSome(30);
  Pass(seconds(30));
  EXPECT_EQ(CountVerdicts("D"), 10u);
  EXPECT_EQ(lane().binding, "recipients");
  Pass(minutes(5));
  EXPECT_EQ(CountVerdicts("D"), 12u);
  EXPECT_EQ(lane().binding, "system_recipients");
  Pass(minutes(70));
  EXPECT_EQ(CountVerdicts("D"), 24u);
}

// -------------------------------------------------------------------------------------------------
// New tables.

TEST_F(Scopes, ANewScopeCountsWhatIsUp) {
  Start({.connections_max = 3, .limits_each_address = true});
  HostsAreSlow();
  SendSome(100);
  ASSERT_EQ(network_.open(), 6u);
  Reload({.connections_max = 4});
  EXPECT_EQ(network_.open(), 6u);  // Those that are half open are not cut.
  EXPECT_EQ(destination().budget.connections(), 6u);
  host(kFirst).answers_connects = host(kSecond).answers_connects = true;
  for (const absl::string_view ip : {kFirst, kSecond}) host(ip).answers.erase(".");
  for (const int peer : network_.All()) network_.Accept(peer);
  Turn();
  EXPECT_EQ(network_.open(), 4u);  // When they are ready, what is too many leaves.
  EXPECT_EQ(destination().budget.connections(), 4u);
  Reload({.connections_max = 3, .limits_each_address = true});
  EXPECT_EQ(network_.open(), 6u);
}

TEST_F(Scopes, ANewScopeRemembersTheRecipients) {
  Start({.recipients_max = 6, .recipient_minutes = 60});
  SendSome(20);
  Pass(seconds(10));
  ASSERT_EQ(CountVerdicts("D"), 6u);
  Reload({.recipients_max = 8, .recipient_minutes = 60, .limits_each_address = true});
  Pass(minutes(1));
  EXPECT_EQ(CountVerdicts("D"), 10u);  // Two more for each address.
  EXPECT_EQ(lane().binding, "recipients");
}

TEST_F(Scopes, ATransactionUnderWayGoesOnUnderANewScope) {
  Start({.connections_max = 1, .recipients_max = 2, .recipient_minutes = 60});
  host(kFirst).answers.erase(".");
  host(kSecond).answers.erase(".");
  Send(2);
  ASSERT_EQ(network_.CountHeardByAll("RCPT"), 2u);
  Reload({.connections_max = 1,
          .recipients_max = 2,
          .recipient_minutes = 60,
          .limits_each_address = true});
  Send(2);  // The other address has had none.
  EXPECT_EQ(network_.open(), 2u);
  EXPECT_EQ(RecipientsAt(kFirst), 2u);
  EXPECT_EQ(RecipientsAt(kSecond), 2u);
  for (const int peer : network_.All()) network_.Says(peer, "250 2.0.0 taken\r\n");
  Turn();
  EXPECT_EQ(CountVerdicts("DD"), 2u);
  Send(1);
  EXPECT_EQ(lane().binding, "recipients");
}

TEST_F(Scopes, ALoweredLimitOfTheSystemDrains) {
  Start({.connections_max = 3, .limits_each_address = true});
  for (const absl::string_view ip : {kFirst, kSecond}) host(ip).answers.erase(".");
  SendSome(100);
  ASSERT_EQ(network_.open(), 6u);
  Reload({.connections_max = 3, .limits_each_address = true, .system_connections_max = 2});
  EXPECT_EQ(network_.open(), 6u);  // Transactions end first.
  for (const int peer : network_.All()) network_.Says(peer, "250 2.0.0 taken\r\n");
  Turn();
  EXPECT_EQ(network_.open(), 2u);
  EXPECT_EQ(lane().binding, "system_concurrency");
}

// -------------------------------------------------------------------------------------------------
// Lanes under a limit that they share.

TEST_F(Scopes, LanesTakeTurns) {
  Start({.connections_max = 1, .messages_per_connection_max = 1});
  QueueBy(1, 10);
  QueueBy(2, 10);
  for (size_t total = 2; total <= 20; total += 2) {
    for (int i = 0; i < 100 && DeliveredBy(1) + DeliveredBy(2) < total; ++i) TurnOnce();
    EXPECT_EQ(DeliveredBy(1), total / 2);
  }
}

// Mail that never stops coming for one of them does not keep the other out.
TEST_F(Scopes, ABusyLaneDoesNotStarveTheOther) {
  Start({.connections_max = 1, .messages_per_connection_max = 1});
  QueueBy(1, 5);
  TurnOnce();
  QueueBy(2, 3);
  for (int i = 0; i < 200; ++i) {
    QueueBy(1, 1);
    TurnOnce();
  }
  EXPECT_EQ(DeliveredBy(2), 3u);
  EXPECT_GE(DeliveredBy(1), 3u);
}

TEST_F(Scopes, LanesTakeTurnsWithTheRecipientsToo) {
  Start({.recipients_max = 1, .recipient_minutes = 1});
  SendBy(1, 20);
  SendBy(2, 20);
  Pass(minutes(21));
  EXPECT_GE(DeliveredBy(1) + DeliveredBy(2), 19u);
  EXPECT_GE(DeliveredBy(1), 5u);
  EXPECT_GE(DeliveredBy(2), 5u);
}

// Nor does a connection that only waits for mail of its own lane.
TEST_F(Scopes, AnIdleConnectionMakesRoomForAnotherLane) {
  Start({.connections_max = 1});
  SendBy(1, 1);
  ASSERT_EQ(network_.open(), 1u);
  SendBy(2, 1);
  for (int i = 0; i < 10; ++i) {  // A trickle that would keep it for ever.
    Pass(seconds(3));
    SendBy(1, 1);
  }
  EXPECT_EQ(DeliveredBy(2), 1u);
  EXPECT_EQ(network_.most_open(), 1u);
}

TEST_F(Scopes, AnIdleConnectionMakesRoomUnderTheSystemsLimit) {
  Start({.connections_max = 1, .limits_each_source = true, .system_connections_max = 1});
  SendBy(1, 1);
  SendBy(2, 1);
  Pass(seconds(1));
  EXPECT_EQ(DeliveredBy(2), 1u);
  EXPECT_EQ(network_.most_open(), 1u);
}

TEST_F(Scopes, CountsAreBackToZeroInTheEnd) {
  Start({.connections_max = 2, .limits_each_address = true, .limits_each_source = true});
  SendBy(both_, 20);
  SendBy(1, 20);
  EXPECT_EQ(CountVerdicts("D"), 40u);
  Pass(minutes(3));
  EXPECT_EQ(network_.open(), 0u);
  EXPECT_EQ(dispatcher_->destinations(), 0u);
}

}  // namespace
}  // namespace sluice::delivery
