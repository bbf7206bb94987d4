// The end of a message's time: by its profile, where it is then, and that nobody is given up before
// the report of it stands in the log.

#include "tests/engine/delivery/home_words.h"

namespace sluice::delivery {
namespace {

using limits::kBodyBlockBytes;

class ExpiryTest : public HomeTest {
 protected:
  ExpiryTest() {
    options_.bounce_profiles.by_default.initial_retry = seconds(60);
    options_.bounce_profiles.by_default.max_queue = hours(1);
  }
};

TEST_F(ExpiryTest, InTheDestinationsQueue) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example"});
  Parcel& parcel = Out("one.example");
  EXPECT_EQ(parcel.expires, now_.instant + hours(1));
  parcel.reply = OwnReply("450 4.2.1 busy");
  Pass(hours(1));
  Returns(parcel, ParcelResult::kExpired);
  EXPECT_EQ(events_.Count(EventType::kExpiration, "a@one.example"), 1u);
  EXPECT_EQ(events_.Count(EventType::kBounce), 0u);
  const std::string text = BodyOf(Out("sender.example"));
  EXPECT_TRUE(absl::StrContains(text, "<a@one.example>"));
  EXPECT_TRUE(absl::StrContains(text, "until its time was up"));
  EXPECT_EQ(home_->messages(), 1u);
}

TEST_F(ExpiryTest, ByTheTimerAtHome) {
  Start();
  const Instant accepted = now_.instant;
  Accept(WireOf(1, 1000), {"a@one.example"});
  for (int i = 0; i < 100 && !IsOut("sender.example"); ++i) {
    if (IsOut("one.example")) Deferred(Out("one.example"));
    Pass(minutes(1));
  }
  EXPECT_EQ(events_.Count(EventType::kExpiration, "a@one.example"), 1u);
  EXPECT_TRUE(absl::StrContains(BodyOf(Out("sender.example")), "450 4.2.1 busy"));
  EXPECT_GE(now_.instant - accepted, hours(1));
  EXPECT_LE(now_.instant - accepted, hours(1) + minutes(1));
}

// max_retries: the first try and so many more (policy/bounce_profile.h: given up once more than
// max_retries attempts have failed).
TEST_F(ExpiryTest, AfterItsLastRetry) {
  options_.bounce_profiles.by_default.max_retries = 2;
  Start();
  Accept(WireOf(1, 1000), {"a@one.example"});
  for (int attempt = 1; attempt <= 3; ++attempt) {
    EXPECT_EQ(events_.Count(EventType::kExpiration), 0u) << attempt;
    Deferred(Out("one.example"));
    if (attempt < 3) Pass(minutes(10));
  }
  EXPECT_EQ(events_.Count(EventType::kExpiration, "a@one.example"), 1u);
  EXPECT_EQ(events_.told.back().attempts, 3u);
  EXPECT_TRUE(IsOut("sender.example"));
}

TEST_F(ExpiryTest, LeavesTheFinalOnesAlone) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example", "b@one.example"});
  Parcel& parcel = Out("one.example");
  Answer(parcel, 0, Verdict::kDelivered, "250 ok");
  Answer(parcel, 1, Verdict::kDeferred, "450 4.2.1 busy");
  Returns(parcel, ParcelResult::kAttempted);
  Pass(minutes(2));
  Parcel& again = Out("one.example");
  Pass(hours(1));
  Returns(again, ParcelResult::kExpired);
  EXPECT_EQ(events_.Count(EventType::kExpiration), 1u);
  EXPECT_EQ(events_.Count(EventType::kExpiration, "b@one.example"), 1u);
  const std::string text = BodyOf(Out("sender.example"));
  EXPECT_TRUE(absl::StrContains(text, "<b@one.example>"));
  EXPECT_FALSE(absl::StrContains(text, "<a@one.example>"));
}

// --- Without room for the report.

class NoRoomToGiveUpTest : public HomeTest {
 protected:
  NoRoomToGiveUpTest() {
    options_.bounce_profiles.by_default.initial_retry = seconds(60);
    options_.bounce_profiles.by_default.max_queue = hours(1);
    options_.incoming_max = 1;
  }
  void TakeRoom() { arriving_ = Begin(); }

  // For a minute nobody is tried and nothing is told; then there is room, and one report goes.
  void ExpectOnlyTheReportIsTriedAgain() {
    for (int second = 0; second < 60; ++second) {
      EXPECT_TRUE(out_.empty());
      EXPECT_EQ(events_.Count(EventType::kExpiration), 0u);
      Pass(seconds(1));
    }
    home_->Abandon(*arriving_);
    Pass(seconds(5));
    EXPECT_EQ(events_.Count(EventType::kExpiration, "a@one.example"), 1u);
    EXPECT_EQ(events_.Count(EventType::kExpiration, "b@one.example"), 1u);
    EXPECT_EQ(events_.Count(EventType::kBounce), 0u);
    EXPECT_FALSE(IsOut("one.example"));
    EXPECT_EQ(home_->messages(), 1u);
    const std::string text = BodyOf(Out("sender.example"));
    EXPECT_TRUE(absl::StrContains(text, "<a@one.example>"));
    EXPECT_TRUE(absl::StrContains(text, "<b@one.example>"));
    Pass(hours(2));
    EXPECT_TRUE(out_.empty());
    EXPECT_EQ(events_.Count(EventType::kExpiration), 2u);
  }

 private:
  Incoming* arriving_ = nullptr;
};

TEST_F(NoRoomToGiveUpTest, WhenItsTimeWasUpInTheDestinationsQueue) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example", "b@one.example"});
  TakeRoom();
  Parcel& parcel = Out("one.example");
  Pass(hours(1));
  Returns(parcel, ParcelResult::kExpired);
  ExpectOnlyTheReportIsTriedAgain();
}

TEST_F(NoRoomToGiveUpTest, WhenItsTimeWasUpAtHome) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example", "b@one.example"});
  TakeRoom();
  Deferred(Out("one.example"));
  Pass(hours(1));
  ExpectOnlyTheReportIsTriedAgain();
}

TEST_F(NoRoomToGiveUpTest, WhenItsLastTryHasFailed) {
  options_.bounce_profiles.by_default.max_retries = 0;
  Start();
  Accept(WireOf(1, 1000), {"a@one.example", "b@one.example"});
  TakeRoom();
  Deferred(Out("one.example"));
  ExpectOnlyTheReportIsTriedAgain();
}

// Memory, not a slot.
TEST_F(NoRoomToGiveUpTest, WhenMemoryIsOut) {
  options_.incoming_max = 2;
  options_.body_blocks = 4;
  options_.bounce_profiles.by_default.max_retries = 0;
  Start();
  Accept(WireOf(1, 1000), {"a@one.example"});
  Incoming* arriving = Begin();
  Sends(*arriving, WireOf(2, 4 * kBodyBlockBytes));
  Parcel& parcel = Out("one.example");
  Deferred(parcel);
  Sends(*arriving, "more");
  for (int second = 0; second < 60; ++second) {
    EXPECT_FALSE(IsOut("one.example"));
    Pass(seconds(1));
  }
  home_->Abandon(*arriving);
  Pass(seconds(5));
  EXPECT_EQ(events_.Count(EventType::kExpiration), 1u);
  EXPECT_TRUE(IsOut("sender.example"));
  EXPECT_FALSE(IsOut("one.example"));
  EXPECT_EQ(home_->messages(), 1u);
}

// What was given up and could not be told stays in the log, and is given up after a restart.
TEST_F(NoRoomToGiveUpTest, IsNotForgottenOverARestart) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example", "b@one.example"});
  TakeRoom();
  Parcel& parcel = Out("one.example");
  Pass(hours(1));
  Returns(parcel, ParcelResult::kExpired);
  PowerCut();
  Start();
  EXPECT_EQ(home_->messages(), 1u);
  EXPECT_EQ(events_.Count(EventType::kExpiration), 0u);
  Returns(Out("one.example"), ParcelResult::kExpired);
  EXPECT_EQ(events_.Count(EventType::kExpiration), 2u);
  EXPECT_TRUE(IsOut("sender.example"));
  EXPECT_EQ(home_->messages(), 1u);
}

}  // namespace
}  // namespace sluice::delivery
