// What becomes of a parcel that comes back: states in the log, events, the next attempt. The retry
// delays are the bounce profile's: doubled at each attempt, within a quarter of that.

#include "tests/engine/delivery/home_words.h"

namespace sluice::delivery {
namespace {

using spool::RecipientState;

class HomeOutcomeTest : public HomeTest {
 protected:
  HomeOutcomeTest() {
    options_.bounce_profiles.by_default.initial_retry = seconds(60);
    options_.bounce_profiles.by_default.max_retry = seconds(600);
  }

  // How long until a parcel to this destination is out, to the second.
  Duration UntilOut(absl::string_view destination, Duration most = hours(2)) {
    Duration waited{};
    while (!IsOut(destination) && waited < most) {
      Pass(seconds(1));
      waited += seconds(1);
    }
    return waited;
  }
  std::string ReplyTold(EventType type) const {
    for (const Told& event : events_.told) {
      if (event.type == type) return event.reply;
    }
    return "not told";
  }
};

void ExpectNear(Duration waited, Duration delay) {
  EXPECT_GE(waited, delay - delay / 4) << Seconds(delay);
  EXPECT_LE(waited, delay + delay / 4 + seconds(1)) << Seconds(delay);
}

// --- Final.

TEST_F(HomeOutcomeTest, ADeliveredMessageIsGone) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example"});
  Delivered(Out("one.example"));
  EXPECT_EQ(events_.Count(EventType::kDelivery, "a@one.example"), 1u);
  EXPECT_EQ(events_.told.back().attempts, 1u);
  EXPECT_EQ(home_->messages(), 0u);
  EXPECT_EQ(home_->parcels(), 0u);
  EXPECT_EQ(home_->blocks_taken(), 0u);
  EXPECT_TRUE(home_->AtRest());
  PowerCut();
  Start();
  EXPECT_EQ(home_->messages(), 0u);
  EXPECT_TRUE(out_.empty());
}

TEST_F(HomeOutcomeTest, ItsEventIsToldWhenItIsOnTheDisk) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example", "b@two.example"});
  io_.Hold(Kind::kWrite);
  io_.Hold(Kind::kSync);
  Delivered(Out("one.example"));
  ASSERT_EQ(io_.in_flight(), 1u);
  EXPECT_EQ(events_.Count(EventType::kDelivery), 0u);
  Step();  // Written.
  ASSERT_EQ(io_.in_flight(Kind::kSync), 1u);
  EXPECT_EQ(events_.Count(EventType::kDelivery), 0u);
  Step();  // Synced.
  EXPECT_EQ(events_.Count(EventType::kDelivery), 1u);
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const spool::Recovered left = AfterPowerCut(seed);
    ASSERT_EQ(left.messages.size(), 1u);
    EXPECT_EQ(left.messages[0].accepted.recipients[0].state, RecipientState::kDelivered);
    EXPECT_EQ(left.messages[0].accepted.recipients[1].state, RecipientState::kWaiting);
  }
}

TEST_F(HomeOutcomeTest, NothingIsToldOfWhatTheLogLost) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example"});
  disk_.faults.sync_error = EIO;
  Delivered(Out("one.example"));
  EXPECT_EQ(events_.Count(EventType::kDelivery), 0u);
  EXPECT_TRUE(home_->log_failed());
}

// --- Partial.

TEST_F(HomeOutcomeTest, EachRecipientHasItsOwn) {
  Start();
  const MessageId id =
      Accept(WireOf(1, 1000), {"bad@one.example", "good@one.example", "late@one.example"});
  Parcel& parcel = Out("one.example");
  parcel.reply = OwnReply("250 2.0.0 queued");
  parcel.outcome(1).verdict = Verdict::kDelivered;
  Answer(parcel, 0, Verdict::kBounced, "550 5.1.1 no such user");
  Answer(parcel, 2, Verdict::kDeferred, "450 4.2.1 greylisted");
  Returns(parcel, ParcelResult::kAttempted);

  EXPECT_EQ(events_.Count(EventType::kBounce, "bad@one.example"), 1u);
  EXPECT_EQ(events_.Count(EventType::kDelivery, "good@one.example"), 1u);
  EXPECT_EQ(events_.Count(EventType::kTransientFailure, "late@one.example"), 1u);
  EXPECT_EQ(events_.told.size(), 3u + 3u + 1u);  // Receptions; outcomes; the bounce's reception.
  EXPECT_EQ(ReplyTold(EventType::kBounce), "550 5.1.1 no such user");
  EXPECT_EQ(ReplyTold(EventType::kDelivery), "250 2.0.0 queued");
  EXPECT_EQ(ReplyTold(EventType::kTransientFailure), "450 4.2.1 greylisted");

  const std::string bounce = BodyOf(Out("sender.example"));
  EXPECT_TRUE(absl::StrContains(bounce, "<bad@one.example>"));
  EXPECT_TRUE(absl::StrContains(bounce, "550 5.1.1 no such user"));
  EXPECT_FALSE(absl::StrContains(bounce, "good@"));
  EXPECT_FALSE(absl::StrContains(bounce, "late@"));

  const spool::Recovered left = AfterPowerCut(1);
  ASSERT_EQ(left.messages.size(), 2u);  // It, and the bounce.
  const spool::AcceptedRecord& accepted = left.messages[0].accepted;
  EXPECT_EQ(accepted.id, id);
  EXPECT_EQ(accepted.recipients[0].state, RecipientState::kBounced);
  EXPECT_EQ(accepted.recipients[1].state, RecipientState::kDelivered);
  EXPECT_EQ(accepted.recipients[2].state, RecipientState::kWaiting);
  EXPECT_EQ(accepted.recipients[2].attempts, 1u);

  UntilOut("one.example");
  EXPECT_EQ(Waiting(Out("one.example")), (Texts{"late@one.example"}));
}

TEST_F(HomeOutcomeTest, OneDestinationsOutcomeIsNotAnothers) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example", "b@two.example"});
  Delivered(Out("one.example"));
  EXPECT_EQ(home_->messages(), 1u);
  EXPECT_EQ(Waiting(Out("two.example")), (Texts{"b@two.example"}));
}

// A transaction took some of the recipients (452 4.5.3, RFC 5321 4.5.3.1.10): the rest is the next
// one's, at once and in the same round.
TEST_F(HomeOutcomeTest, RecipientsLeftOverGoOnAtOnce) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example", "b@one.example", "c@one.example"});
  Parcel& parcel = Out("one.example");
  EXPECT_FALSE(parcel.continues);
  Answer(parcel, 0, Verdict::kDelivered, "250 ok");
  Answer(parcel, 1, Verdict::kDeferred, "450 4.2.1 busy");
  Returns(parcel, ParcelResult::kAttempted);

  Parcel& rest = Out("one.example");
  EXPECT_TRUE(rest.continues);
  EXPECT_EQ(rest.outcome(1).verdict, Verdict::kDeferred);  // Has had its turn in this round.
  EXPECT_EQ(rest.outcome(2).verdict, Verdict::kUntried);
  EXPECT_EQ(events_.Count(EventType::kTransientFailure, "b@one.example"), 1u);
  Answer(rest, 2, Verdict::kDelivered, "250 ok");
  Returns(rest, ParcelResult::kAttempted);
  EXPECT_EQ(events_.Count(EventType::kTransientFailure, "b@one.example"), 1u);  // Told once.
  EXPECT_EQ(events_.Count(EventType::kDelivery), 2u);

  ExpectNear(UntilOut("one.example"), seconds(60));
  Parcel& again = Out("one.example");
  EXPECT_FALSE(again.continues);
  EXPECT_EQ(again.attempts, 1u);
  EXPECT_EQ(Waiting(again), (Texts{"b@one.example"}));
  EXPECT_EQ(again.outcome(1).verdict, Verdict::kUntried);
}

// --- Deferred.

TEST_F(HomeOutcomeTest, ADeferredOneComesAgainAtTheTimeThatTheLogHas) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example"});
  Deferred(Out("one.example"));
  const spool::Recovered left = AfterPowerCut(1);
  ASSERT_EQ(left.messages.size(), 1u);
  const spool::RecipientRecord& record = left.messages[0].accepted.recipients[0];
  EXPECT_EQ(record.attempts, 1u);
  EXPECT_EQ(record.last_reply, "450 4.2.1 busy");
  const Duration delay = record.next_attempt - now_.wall;
  EXPECT_GE(delay, seconds(45));
  EXPECT_LE(delay, seconds(75));

  Pass(delay - milliseconds(1));
  EXPECT_FALSE(IsOut("one.example"));
  Pass(milliseconds(2));  // The wheel's tick is a millisecond.
  EXPECT_TRUE(IsOut("one.example"));
}

TEST_F(HomeOutcomeTest, TheWaitDoublesUpToItsMost) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example"});
  for (const int delay : {60, 120, 240, 480, 600, 600}) {
    Deferred(Out("one.example"));
    ExpectNear(UntilOut("one.example"), seconds(delay));
  }
  EXPECT_EQ(Out("one.example").attempts, 6u);
  EXPECT_EQ(events_.Count(EventType::kTransientFailure), 6u);
  for (uint32_t i = 0; i < 6; ++i) EXPECT_EQ(events_.told[1 + i].attempts, i + 1);
}

TEST_F(HomeOutcomeTest, AWallClockThatJumpsChangesNoWait) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example"});
  Deferred(Out("one.example"));
  now_.wall += hours(24 * 30);
  Settle();
  EXPECT_FALSE(IsOut("one.example"));
  now_.wall -= hours(24 * 60);
  ExpectNear(UntilOut("one.example"), seconds(60));
  EXPECT_EQ(events_.Count(EventType::kExpiration), 0u);
}

// --- Given back untouched.

TEST_F(HomeOutcomeTest, ARecalledOneComesAgainSoonAndNoAttemptIsCounted) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example"});
  Returns(Out("one.example"), ParcelResult::kRecalled);
  EXPECT_FALSE(IsOut("one.example"));  // Not at once: who gave it back had no room.
  EXPECT_LE(UntilOut("one.example", minutes(1)), seconds(5));
  EXPECT_EQ(Out("one.example").attempts, 0u);
  EXPECT_EQ(events_.Count(EventType::kTransientFailure), 0u);
}

TEST_F(HomeOutcomeTest, OneWhoseSessionWasLostGoesOnInFrontAtOnce) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example"});
  Returns(Out("one.example"), ParcelResult::kAgain);
  ASSERT_TRUE(IsOut("one.example"));
  Parcel& parcel = Out("one.example");
  EXPECT_TRUE(parcel.continues);
  EXPECT_EQ(parcel.attempts, 0u);
  EXPECT_EQ(events_.Count(EventType::kTransientFailure), 0u);
}

// --- The end of the engine.

TEST_F(HomeOutcomeTest, WhileItDrainsNothingGoesOut) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example", "b@two.example", "c@three.example"});
  Deferred(Out("one.example"));
  Parcel& out = Out("two.example");
  Parcel& recalled = Out("three.example");
  home_->BeginDrain();
  EXPECT_FALSE(home_->AtRest());  // Two are out.
  Deferred(out);
  Returns(recalled, ParcelResult::kRecalled);
  EXPECT_TRUE(home_->AtRest());
  Pass(hours(1));
  EXPECT_TRUE(out_.empty());

  Kill();
  Start();
  UntilOut("one.example");
  UntilOut("two.example");
  EXPECT_EQ(Out("one.example").attempts, 1u);
  EXPECT_EQ(Out("two.example").attempts, 1u);
  EXPECT_EQ(Out("three.example").attempts, 0u);
}

TEST_F(HomeOutcomeTest, IsNotAtRestBeforeTheLastOutcomeIsDurable) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example"});
  home_->BeginDrain();
  io_.Hold(Kind::kSync);
  Delivered(Out("one.example"));
  EXPECT_FALSE(home_->AtRest());
  Step();
  EXPECT_TRUE(home_->AtRest());
}

}  // namespace
}  // namespace sluice::delivery
