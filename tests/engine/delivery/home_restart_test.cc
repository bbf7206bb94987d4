// A start with what the log holds: every recipient that waits is there again, none that is final,
// and its times are those of the log by the wall clock.

#include "tests/engine/delivery/home_words.h"

namespace sluice::delivery {
namespace {

using spool::RecipientState;

class HomeRestartTest : public HomeTest {
 protected:
  HomeRestartTest() {
    options_.bounce_profiles.by_default.initial_retry = seconds(60);
    options_.bounce_profiles.by_default.max_retry = seconds(600);
    options_.bounce_profiles.by_default.max_queue = hours(24);
  }
};

TEST_F(HomeRestartTest, WhatWaitsComesAgainAndWhatIsFinalDoesNot) {
  Start();
  const std::string wire = WireOf(1, 5000);
  const MessageId id = Accept(wire, {"a@one.example", "b@one.example", "c@two.example",
                                     "d@three.example", "e@four.example"});
  Parcel& one = Out("one.example");
  Answer(one, 0, Verdict::kDelivered, "250 ok");
  Answer(one, 1, Verdict::kDeferred, "450 4.2.1 busy");
  Returns(one, ParcelResult::kAttempted);
  Delivered(Out("two.example"));
  Refused(Out("three.example"));
  Delivered(Out("sender.example"));  // The bounce.
  PowerCut();
  Start();
  EXPECT_EQ(damaged_records_, 0u);

  EXPECT_EQ(home_->messages(), 1u);
  EXPECT_EQ(home_->parcels(), 2u);
  Parcel& four = Out("four.example");
  EXPECT_EQ(four.message->id, id);
  EXPECT_EQ(Waiting(four), (Texts{"e@four.example"}));
  EXPECT_TRUE(BodyOf(four) == wire);
  Delivered(four);
  Pass(minutes(2));
  Parcel& late = Out("one.example");
  EXPECT_EQ(Waiting(late), (Texts{"b@one.example"}));
  EXPECT_EQ(late.attempts, 1u);
  EXPECT_TRUE(BodyOf(late) == wire);
  Delivered(late);
  EXPECT_EQ(home_->messages(), 0u);
  EXPECT_EQ(home_->blocks_taken(), 0u);
  PowerCut();
  Start();
  EXPECT_EQ(home_->messages(), 0u);
}

// S5 of FORMAT.md: the crash came between the last outcome and the end.
TEST_F(HomeRestartTest, AMessageWithoutWaitingRecipientsIsEnded) {
  Start();
  const MessageId id = Accept(WireOf(1, 1000), {"a@one.example"});
  log_->AppendOutcome({.id = id, .state = RecipientState::kDelivered, .recipients = {0}},
                      now_.wall);
  home_->WriteBatch();
  Settle();
  Kill();
  ASSERT_EQ(AfterKill().messages.size(), 1u);
  Start();
  EXPECT_TRUE(out_.empty());
  EXPECT_EQ(home_->messages(), 0u);
  EXPECT_EQ(AfterPowerCut(1).messages.size(), 0u);
}

TEST_F(HomeRestartTest, TheNextAttemptIsWhenTheLogSays) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example"});
  Deferred(Out("one.example"));
  const WallTime next = AfterPowerCut(1).messages.at(0).accepted.recipients[0].next_attempt;
  now_.wall += seconds(20);  // Down for so long.
  PowerCut();
  Start();
  Pass(next - now_.wall - milliseconds(1));
  EXPECT_FALSE(IsOut("one.example"));
  Pass(milliseconds(2));
  EXPECT_TRUE(IsOut("one.example"));
}

TEST_F(HomeRestartTest, WhatIsOverdueIsSpreadOverTheFirstRetrysDelay) {
  Start();
  constexpr int kMessages = 200;
  for (int i = 0; i < kMessages; ++i) Accept(WireOf(1, 100), {"a@one.example"});
  while (!out_.empty()) {
    Parcel* parcel = out_.back();
    out_.pop_back();
    Deferred(*parcel);
  }
  now_.wall += hours(2);
  PowerCut();
  Start();
  for (int quarter = 1; quarter <= 4; ++quarter) {
    Pass(seconds(15));
    // About a quarter of them each: 50, and 5 times the deviation of 6.
    EXPECT_NEAR(static_cast<double>(out_.size()), 50.0 * quarter, 31.0) << quarter;
  }
  Pass(milliseconds(2));
  EXPECT_EQ(out_.size(), size_t{kMessages});
}

TEST_F(HomeRestartTest, AWallClockThatWasSetBackDoesNotMakeMailSleep) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example"});
  Deferred(Out("one.example"));
  now_.wall -= hours(24 * 30);
  PowerCut();
  Start();
  Pass(seconds(600) / 4 * 5 + milliseconds(2));  // The longest wait there is.
  EXPECT_TRUE(IsOut("one.example"));
}

TEST_F(HomeRestartTest, ItsTimeGoesOnByTheWallClock) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example"});
  Pass(minutes(10));
  PowerCut();
  now_.wall += minutes(50);
  Start();
  EXPECT_EQ(Out("one.example").expires, now_.instant + hours(23));
}

// The rest is taken up as slots become free.
TEST_F(HomeRestartTest, MoreMessagesThanSlotsWaitForTheOthers) {
  options_.messages_max = 32;
  Start();
  for (int i = 0; i < 30; ++i) Accept(WireOf(1, 100), {"a@one.example"});
  Kill();
  options_.messages_max = 28;
  Start();
  EXPECT_EQ(home_->messages(), 28u);
  EXPECT_TRUE(home_->taking_up());
  EXPECT_EQ(Begin(), nullptr);
  for (int i = 0; i < 30; ++i) {
    ASSERT_FALSE(out_.empty());
    Parcel& parcel = *out_.front();
    out_.erase(out_.begin());
    Delivered(parcel);
  }
  EXPECT_FALSE(home_->taking_up());
  EXPECT_EQ(home_->messages(), 0u);
}

// The slots that are kept for bounces are not kept from what was promised before.
TEST_F(HomeRestartTest, AllSlotsMayBeRestored) {
  options_.messages_max = 32;
  options_.parcels_max = 32;
  Start();
  for (int i = 0; i < 30; ++i) Accept(WireOf(1, 100), {"a@one.example"});
  Kill();
  options_.messages_max = 30;
  options_.parcels_max = 30;
  Start();
  EXPECT_EQ(out_.size(), 30u);
  EXPECT_EQ(home_->messages(), 30u);
}

}  // namespace
}  // namespace sluice::delivery
