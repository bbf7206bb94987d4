// Sources: from which address a connection leaves, by which name, and in which share of the pool;
// addresses that are missing, families that do not meet, receivers that block one source of two;
// and what the engine may have as a whole. Expectations are policy/sources.h's, lane.h's and
// engine_caps.h's, cases K28, O2, Z3 and S7.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <set>
#include <string>
#include <vector>

#include "tests/engine/delivery/dispatcher_words.h"

namespace sluice::delivery {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using testing::AllOf;
using testing::Ge;
using testing::IsEmpty;
using testing::Le;
using testing::SizeIs;

constexpr absl::string_view kOur1 = "198.51.100.1";
constexpr absl::string_view kOur2 = "198.51.100.2";
constexpr absl::string_view kOur6 = "2001:db8::1";
constexpr absl::string_view kHost6 = "2001:db8:1::1";

class SourcesTest : public DispatcherTest {
 protected:
  SourcesTest() {
    one_ = sources_.AddSource({.name = "one", .ipv4 = Ip(kOur1), .hostname = "one.example.net"});
    two_ = sources_.AddSource({.name = "two", .ipv4 = Ip(kOur2)});
    six_ = sources_.AddSource({.name = "six", .ipv6 = Ip(kOur6)});
    dual_ = sources_.AddSource({.name = "dual", .ipv4 = Ip(kOur1), .ipv6 = Ip(kOur6)});
    both_ = sources_.AddPool(
        {.name = "both", .members = {{.source = 1, .weight = 3}, {.source = 2, .weight = 1}}});
    options_.sources = &sources_;
  }
  static IpAddress Ip(absl::string_view text) { return *IpAddress::Parse(text); }
  uint32_t Pool(absl::string_view name) const { return *sources_.FindPool(name); }

  Mail& SendFrom(absl::string_view pool) {
    Mail& mail = Make();
    mail.message.pool = Pool(pool);
    Queue(mail);
    Turn();
    return mail;
  }
  Lane& LaneOf(absl::string_view pool) {
    Lane* lane = destination().lanes.Front();
    while (lane->pool != Pool(pool)) lane = destination().lanes.Next(*lane);
    return *lane;
  }

  policy::Sources sources_;
  uint32_t one_ = 0;
  uint32_t two_ = 0;
  uint32_t six_ = 0;
  uint32_t dual_ = 0;
  uint32_t both_ = 0;
};

// -------------------------------------------------------------------------------------------------
// From where.

TEST_F(SourcesTest, WithoutOneTheSystemChooses) {
  Send();
  ASSERT_THAT(network_.All(), SizeIs(1));
  EXPECT_EQ(network_.LocalOf(network_.All()[0]), "");
  EXPECT_EQ(network_.CountHeardByAll("EHLO mta.example.net"), 1u);
  EXPECT_EQ(mails_.back().parcel.source, 0u);
}

TEST_F(SourcesTest, ItsAddressAndItsName) {
  EXPECT_EQ(SendFrom("one").Verdicts(), "D");
  ASSERT_THAT(network_.From(kOur1), SizeIs(1));
  EXPECT_EQ(network_.CountHeard(network_.From(kOur1)[0], "EHLO one.example.net"), 1u);
  EXPECT_EQ(mails_.back().parcel.source, one_);
}

TEST_F(SourcesTest, WithoutANameOfItsOwnTheEngines) {
  EXPECT_EQ(SendFrom("two").Verdicts(), "D");
  ASSERT_THAT(network_.From(kOur2), SizeIs(1));
  EXPECT_EQ(network_.CountHeard(network_.From(kOur2)[0], "EHLO mta.example.net"), 1u);
}

TEST_F(SourcesTest, TheAddressOfTheHostsFamily) {
  resolver_.Says(kDomain, RouteTo({kHost6, kFirst}));
  host(kHost6).refuses_with = ECONNREFUSED;
  EXPECT_EQ(SendFrom("dual").Verdicts(), "D");
  EXPECT_THAT(network_.From(kOur6, kHost6), SizeIs(1));
  EXPECT_THAT(network_.From(kOur1, kFirst), SizeIs(1));
}

// Lanes do not share their connections.
TEST_F(SourcesTest, MailOfAnotherPoolDoesNotLeaveByIt) {
  SendFrom("one");
  SendFrom("two");
  EXPECT_THAT(network_.From(kOur1), SizeIs(1));
  EXPECT_THAT(network_.From(kOur2), SizeIs(1));
}

// 400 drawings with 3 : 1: 300 expected; six standard deviations of sqrt(400 * 3/16) = 8.7 are 52.
TEST_F(SourcesTest, OfAPoolByTheirWeights) {
  options_.connections_max = 500;
  Start({.connections_max = 500, .messages_per_connection_max = 1});
  for (int i = 0; i < 400; ++i) SendFrom("both");
  EXPECT_EQ(CountVerdicts("D"), 400u);
  EXPECT_THAT(network_.From(kOur1).size(), AllOf(Ge(248u), Le(352u)));
  EXPECT_EQ(network_.From(kOur1).size() + network_.From(kOur2).size(), 400u);
}

// -------------------------------------------------------------------------------------------------
// An address that is not there (K28).

TEST_F(SourcesTest, AMissingOneIsLeftToTheOthers) {
  network_.Loses(kOur1);
  Start({.messages_per_connection_max = 1});
  for (int i = 0; i < 20; ++i) EXPECT_EQ(SendFrom("both").Verdicts(), "D");
  EXPECT_THAT(network_.From(kOur1), IsEmpty());
  EXPECT_THAT(network_.From(kOur2), SizeIs(20));
}

TEST_F(SourcesTest, OneThatGoesMissingIsLeftToTheOthers) {
  Start({.messages_per_connection_max = 1});
  network_.Loses(kOur1);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(SendFrom("both").Verdicts(), "D");
  EXPECT_THAT(network_.From(kOur2), SizeIs(20));
}

TEST_F(SourcesTest, WithNoneLeftTheMailWaitsAndSaysWhy) {
  network_.Loses(kOur1);
  network_.Loses(kOur2);
  Start();
  Mail& mail = SendFrom("both");
  ExpectDeferred(mail);
  EXPECT_EQ(mail.parcel.reply.ToString().substr(0, 9), "451 4.3.5");
  EXPECT_EQ(mail.parcel.binding_limit, "source_suspended");
  EXPECT_EQ(SendFrom("both").Verdicts(), "-");
  EXPECT_EQ(LaneOf("both").binding, "source_suspended");
  EXPECT_THAT(network_.All(), IsEmpty());
}

TEST_F(SourcesTest, ItGoesOnByItselfWhenTheAddressIsBack) {
  Start();
  network_.Loses(kOur1);
  ExpectDeferred(SendFrom("one"));
  Mail& waits = SendFrom("one");
  EXPECT_EQ(waits.Verdicts(), "-");
  network_.GetsBack(kOur1);
  Pass(SourceStates::kLookInterval + kTick);
  EXPECT_EQ(waits.Verdicts(), "D");
}

TEST_F(SourcesTest, AMissingFamilyLeavesTheOther) {
  resolver_.Says(kDomain, RouteTo({kHost6, kFirst}));
  Start();
  network_.Loses(kOur6);
  EXPECT_EQ(SendFrom("dual").Verdicts(), "D");
  EXPECT_THAT(network_.From(kOur1, kFirst), SizeIs(1));
  EXPECT_EQ(Connects(kHost6), 0u);
}

// -------------------------------------------------------------------------------------------------
// Families that do not meet (O2).

TEST_F(SourcesTest, WithoutTheFamilyOfTheHostsTheMailWaitsAndSaysWhy) {
  Mail& mail = SendFrom("six");
  ExpectDeferred(mail);
  EXPECT_EQ(mail.parcel.reply.ToString().substr(0, 9), "451 4.4.4");
  EXPECT_EQ(mail.parcel.binding_limit, "source_family");
  EXPECT_THAT(network_.All(), IsEmpty());
}

TEST_F(SourcesTest, OfOneFamilyItUsesTheHostsOfThat) {
  resolver_.Says(kDomain, RouteTo({kHost6, kFirst}));
  EXPECT_EQ(SendFrom("one").Verdicts(), "D");
  EXPECT_EQ(Connects(kHost6), 0u);
  EXPECT_EQ(SendFrom("six").Verdicts(), "D");
  EXPECT_THAT(network_.From(kOur6, kHost6), SizeIs(1));
}

TEST_F(SourcesTest, TheFamilyThatIsRequiredMustBeTheSourcesToo) {
  resolver_.Says(kDomain, RouteTo({kHost6, kFirst}));
  Start({.ip_preference = policy::IpPreference::kRequireV6});
  Mail& mail = SendFrom("one");
  ExpectDeferred(mail);
  EXPECT_EQ(mail.parcel.binding_limit, "source_family");
  EXPECT_THAT(network_.All(), IsEmpty());
}

// -------------------------------------------------------------------------------------------------
// Hosts that block one of our addresses (Z3).

// Of a fake host, by whom it is called: the greeting changes when source one calls.
class BlockedSource : public SourcesTest {
 protected:
  // Answers each call by its source, as long as there are any.
  void AnswerCalls() {
    host().answers_connects = false;
    for (int i = 0; i < 20; ++i) {
      Turn();
      for (const int peer : network_.All()) {
        if (network_.Closed(peer) || answered_.contains(peer)) continue;
        answered_.insert(peer);
        const bool blocked = network_.LocalOf(peer) == kOur1;
        host().answers["greeting"] = blocked ? "554 5.7.1 not from you" : "220 mx.example.com";
        network_.Accept(peer);
      }
    }
  }
  std::set<int> answered_;
};

TEST_F(BlockedSource, DoesNotPauseTheLaneOfAnother) {
  Start({.messages_per_connection_max = 1});
  host().answers_connects = false;
  Mail& blocked = SendFrom("one");
  AnswerCalls();
  EXPECT_EQ(blocked.Verdicts(), "d");
  Mail& waits = SendFrom("one");
  Mail& other = SendFrom("two");
  AnswerCalls();
  EXPECT_EQ(waits.Verdicts(), "-");
  EXPECT_EQ(other.Verdicts(), "D");
  EXPECT_EQ(LaneOf("one").binding, "hosts");
}

// Nor the other source of its own pool: mail that it could carry does not wait.
TEST_F(BlockedSource, LeavesItsPoolToTheOthers) {
  Start({.connections_max = 1, .messages_per_connection_max = 1});
  host().answers_connects = false;
  for (int i = 0; i < 12; ++i) SendFrom("both");
  AnswerCalls();
  EXPECT_EQ(CountVerdicts("D"), 12u);
  EXPECT_THAT(network_.From(kOur1), SizeIs(Le(2u)));
}

TEST_F(BlockedSource, WhereAllAreTheMailWaits) {
  Start({.connections_max = 1, .messages_per_connection_max = 1});
  host().answers["greeting"] = "554 5.7.1 not from you";
  EXPECT_EQ(SendFrom("both").Verdicts(), "d");
  EXPECT_EQ(SendFrom("both").Verdicts(), "-");
  EXPECT_THAT(network_.All(), SizeIs(2));  // Each has been tried.
  EXPECT_EQ(LaneOf("both").binding, "hosts");
}

// -------------------------------------------------------------------------------------------------
// What the engine may have as a whole (S7).

class Caps : public DispatcherTest {
 protected:
  Caps() { options_.caps = &caps_; }
  // All of it is free again.
  void ExpectAllBack() {
    for (uint32_t i = 0; i < 3; ++i) EXPECT_TRUE(caps_.connections.Take());
    EXPECT_FALSE(caps_.connections.Take());
    for (uint32_t i = 0; i < 3; ++i) caps_.connections.Give();
  }
  EngineCaps caps_{3, 2};
};

TEST_F(Caps, HoldTheConnectionsOfAllShards) {
  host().answers_connects = false;
  EXPECT_TRUE(caps_.connections.Take());  // Another shard's.
  SendSome(100);
  EXPECT_EQ(network_.open(), 2u);
  EXPECT_EQ(lane().binding, "engine_connections");
  caps_.connections.Give();
  Pass(seconds(1) + kTick);  // Nobody tells that there is room: it looks again.
  EXPECT_EQ(network_.open(), 3u);
}

TEST_F(Caps, AreBackAfterMailThatWasDelivered) {
  SendSome(100);
  Pass(seconds(30));
  EXPECT_EQ(CountVerdicts("D"), 100u);
  ExpectAllBack();
}

TEST_F(Caps, AreBackAfterEveryWayToFail) {
  UseTwoHosts();
  for (const int trouble : {0, 1, 2, 3, 4, 5, 6, 7}) {
    host(kFirst) = host(kSecond) = FakeHost{};
    int errno_of_socket = 0;
    if (trouble == 1) host(kFirst).refuses_with = host(kSecond).refuses_with = ECONNREFUSED;
    if (trouble == 2) host(kFirst).answers_connects = false;
    if (trouble == 3) errno_of_socket = EMFILE;
    if (trouble == 4) errno_of_socket = EAFNOSUPPORT;
    if (trouble == 5) host(kFirst).answers["greeting"] = "554 5.7.1 no";
    if (trouble == 6) host(kFirst).closes_after = "MAIL";
    if (trouble == 7) host(kFirst).answers.erase("EHLO");
    network_.NoMoreSockets(errno_of_socket);
    SendSome(10);
    Pass(minutes(20));
    network_.NoMoreSockets(0);
    host(kFirst) = host(kSecond) = FakeHost{};
    Pass(minutes(90));
    EXPECT_EQ(network_.open(), 0u) << trouble;
    ExpectAllBack();
  }
}

TEST_F(Caps, AreBackAfterADrain) {
  host().answers.erase(".");
  SendSome(100);
  EXPECT_EQ(network_.open(), 3u);
  TearDown();
  ExpectAllBack();
  dispatcher_.reset();
}

TEST(EngineCap, UpToItsNumberAndNotOneMore) {
  EngineCap cap(2);
  EXPECT_TRUE(cap.Take());
  EXPECT_TRUE(cap.Take());
  EXPECT_FALSE(cap.Take());
  cap.Give();
  EXPECT_TRUE(cap.Take());
  EngineCap none(0);
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(none.Take());
}

TEST(EngineCapDeathTest, NothingIsGivenThatWasNotTaken) {
  EngineCap cap(2);
  EXPECT_DEATH(cap.Give(), "CHECK");
}

}  // namespace
}  // namespace sluice::delivery
