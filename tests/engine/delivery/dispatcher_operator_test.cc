// What operators do to destinations and are told of them: suspending, resuming, delivering now;
// what binds and since when; gauges. Expectations are dispatcher.h's and suspensions.h's.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/engine/delivery/dispatcher_words.h"

namespace sluice::delivery {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::IsEmpty;
using testing::SizeIs;

class Operator : public DispatcherTest {
 protected:
  std::shared_ptr<const policy::Suspensions> Suspension(
      std::string domain, std::optional<Duration> span = std::nullopt) const {
    policy::Suspension one = {.domain = std::move(domain), .since = now_.wall, .reason = "x"};
    if (span) one.until = now_.wall + *span;
    return std::make_shared<const policy::Suspensions>(std::vector{one});
  }
  void Suspend(std::string domain, std::optional<Duration> span = std::nullopt) {
    if (dispatcher_ == nullptr) Start();
    dispatcher_->UseSuspensions(Suspension(std::move(domain), span));
    Turn();
  }
  void Resume() {
    dispatcher_->UseSuspensions(nullptr);
    Turn();
  }
  void DeliverNow(absl::string_view domain, bool resets_limits = false) {
    dispatcher_->DeliverNow(domain, resets_limits, now_);
    Turn();
  }
  // The host refuses, and then would take mail.
  void ExpectTriedNowBy(absl::string_view named) {
    host().answers_connects = false;
    Mail& first = Send();
    Mail& second = Send();
    network_.Refuse(network_.All().back(), ECONNREFUSED);
    Turn();
    ExpectDeferred(first);
    EXPECT_EQ(lane().binding, "hosts");
    host().answers_connects = true;
    DeliverNow("example.org");  // Another one's.
    EXPECT_EQ(Connects(), 1u);
    DeliverNow(named);
    EXPECT_EQ(second.Verdicts(), "D");
  }
  DestinationStatus Status() { return *dispatcher_->Describe(kDomain, now_); }
  LaneStatus LaneOf() { return Status().lanes.at(0); }
  std::vector<DestinationGauges> Gauges() {
    std::vector<DestinationGauges> gauges;
    EXPECT_EQ(dispatcher_->CopyGauges(0, 1000, gauges), 0u);
    return gauges;
  }
};

// --- Suspending.

TEST_F(Operator, SuspendsBeforeAnyConnection) {
  Suspend(std::string(kDomain));
  Mail& mail = Send();
  Pass(hours(1));
  EXPECT_THAT(network_.All(), IsEmpty());
  EXPECT_EQ(lane().binding, "suspended");
  Resume();
  EXPECT_EQ(mail.Verdicts(), "D");
}

TEST_F(Operator, SuspendsFromTheStart) {
  options_.suspensions = Suspension("");
  Mail& mail = Send();
  EXPECT_THAT(network_.All(), IsEmpty());
  EXPECT_EQ(lane().binding, "suspended");
  Resume();
  EXPECT_EQ(mail.Verdicts(), "D");
}

TEST_F(Operator, SuspendsWhatIsBelowADomainAndNothingElse) {
  Suspend(".com");
  Send();
  EXPECT_EQ(lane().binding, "suspended");
  Suspend(".org");
  EXPECT_EQ(AllVerdicts(), "D");
}

TEST_F(Operator, LetsATransactionEndAndItsSessionGo) {
  Start({.connections_max = 1});
  host().answers.erase(".");
  SendSome(2);
  EXPECT_EQ(network_.CountHeardByAll("DATA"), 1u);
  Suspend(std::string(kDomain));
  EXPECT_EQ(network_.open(), 1u);
  network_.Says(network_.All()[0], "250 ok\r\n");
  Turn();
  EXPECT_EQ(AllVerdicts(), "D -");
  EXPECT_EQ(network_.CountHeardByAll("QUIT"), 1u);
  EXPECT_THAT(network_.All(), SizeIs(1));
}

TEST_F(Operator, ResumesByItselfAtItsTime) {
  Suspend(std::string(kDomain), seconds(10));
  Mail& mail = Send();
  EXPECT_EQ(LaneOf().look_again, now_.instant + seconds(10));
  Pass(seconds(10) - kTick);
  EXPECT_EQ(mail.Verdicts(), "-");
  Pass(kTick + kTick);
  EXPECT_EQ(mail.Verdicts(), "D");
}

TEST_F(Operator, ExpiresWhatIsSuspendedAndSaysWhy) {
  Suspend(std::string(kDomain));
  Mail& mail = Make();
  mail.parcel.expires = now_.instant + hours(1);
  Queue(mail);
  Pass(hours(1) + kTick);
  EXPECT_THAT(mail.returns, testing::ElementsAre(ParcelResult::kExpired));
  EXPECT_EQ(mail.parcel.binding_limit, "suspended");
}

TEST_F(Operator, DeliversNothingNowOfWhatIsSuspended) {
  Suspend(std::string(kDomain));
  Send();
  DeliverNow(kDomain);
  DeliverNow("");
  EXPECT_THAT(network_.All(), IsEmpty());
}

// --- Delivering now.

TEST_F(Operator, DeliversNowWhatWaitsForTheHostsOfOne) {
  ExpectTriedNowBy(kDomain);
}

TEST_F(Operator, DeliversNowWhatWaitsForTheHostsOfAny) {
  ExpectTriedNowBy("");
}

TEST_F(Operator, ResetsLimitsOfAllAlsoWhenToldAgainBeforeItIsDone) {
  Start({.recipients_max = 1, .recipient_minutes = 60});
  SendSome(2);
  EXPECT_EQ(AllVerdicts(), "D -");
  dispatcher_->DeliverNow("", /*resets_limits=*/true, now_);
  EXPECT_TRUE(dispatcher_->busy());
  dispatcher_->DeliverNow("", /*resets_limits=*/false, now_);
  Turn();
  EXPECT_EQ(AllVerdicts(), "D D");
  EXPECT_FALSE(dispatcher_->busy());
}

TEST_F(Operator, KeepsRecipientLimitsUnlessToldToResetThem) {
  Start({.recipients_max = 1, .recipient_minutes = 60});
  SendSome(3);
  EXPECT_EQ(AllVerdicts(), "D - -");
  DeliverNow(kDomain);
  EXPECT_EQ(AllVerdicts(), "D - -");
  EXPECT_EQ(lane().binding, "recipients");
  DeliverNow(kDomain, /*resets_limits=*/true);
  EXPECT_EQ(AllVerdicts(), "D D -");
}

// --- What is told.

TEST_F(Operator, IsToldOfNothingThatIsNotThere) {
  Start();
  EXPECT_FALSE(dispatcher_->Describe(kDomain, now_).has_value());
  EXPECT_THAT(Gauges(), IsEmpty());
}

TEST_F(Operator, IsToldWhatBindsAndSinceWhen) {
  Start({.connections_max = 1});
  host().answers.erase(".");
  SendSome(3);
  const Instant begin = now_.instant;
  Pass(seconds(5));
  Send();
  EXPECT_EQ(LaneOf().binding, "concurrency");
  EXPECT_EQ(LaneOf().binding_since, begin);
  EXPECT_EQ(LaneOf().waiting, 3u);
  EXPECT_EQ(LaneOf().connections, 1u);
  ASSERT_THAT(Status().scopes, SizeIs(1));
  EXPECT_EQ(Status().scopes[0].counts.connections, 1u);
  network_.Says(network_.All()[0], "250 ok\r\n");  // The next one starts: it still binds.
  Turn();
  EXPECT_EQ(LaneOf().waiting, 2u);
  EXPECT_EQ(LaneOf().binding_since, begin);
  Suspend(std::string(kDomain));
  EXPECT_EQ(LaneOf().binding, "suspended");
  EXPECT_EQ(LaneOf().binding_since, begin + seconds(5));
}

TEST_F(Operator, IsToldOfRecipientsAndOfRoom) {
  Start({.recipients_max = 2, .recipient_minutes = 60});
  SendSome(4);
  const DestinationStatus status = Status();
  ASSERT_THAT(status.scopes, SizeIs(1));
  EXPECT_EQ(status.scopes[0].counts.recipients, 2u);
  EXPECT_GE(status.scopes[0].counts.room_again, now_.instant + hours(1));
  EXPECT_LE(status.scopes[0].counts.room_again, now_.instant + hours(1) + minutes(1));
  EXPECT_EQ(status.lanes[0].binding, "recipients");
}

TEST_F(Operator, IsToldOfTheRouteAndOfHostsThatFail) {
  host().answers_connects = false;
  SendSome(2);
  network_.Refuse(network_.All().back(), ECONNREFUSED);
  Turn();
  const DestinationStatus status = Status();
  ASSERT_THAT(status.route.hosts, SizeIs(1));
  EXPECT_EQ(status.route.hosts[0].addresses[0].ToString(), kFirst);
  EXPECT_EQ(status.lanes[0].failures, 1u);
  EXPECT_GT(status.lanes[0].not_before, now_.instant);
  EXPECT_NE(status.lanes[0].last_reply, "");
  ASSERT_THAT(Gauges(), SizeIs(1));
  EXPECT_EQ(Gauges()[0].domain, kDomain);
  EXPECT_TRUE(Gauges()[0].down);
}

TEST_F(Operator, CountsConnectionsInGaugesSliceBySlice) {
  host().answers.erase(".");
  SendSome(20);
  ASSERT_THAT(Gauges(), SizeIs(1));
  EXPECT_EQ(Gauges()[0].connections, network_.open());
  EXPECT_FALSE(Gauges()[0].down);
  Mail& other = Make();
  other.message.envelope.recipients[0].destination = "example.org";
  resolver_.Says("example.org", RouteTo({kFirst}));
  Queue(other);
  Turn();
  std::vector<DestinationGauges> gauges;
  const uint32_t next = dispatcher_->CopyGauges(0, 1, gauges);
  EXPECT_EQ(next, 1u);
  EXPECT_EQ(dispatcher_->CopyGauges(next, 1, gauges), 0u);
  EXPECT_THAT(gauges, SizeIs(2));
}

}  // namespace
}  // namespace sluice::delivery
