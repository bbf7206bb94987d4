// Messages that wait are not in memory: they come back whole, in turn and in time, however few can
// be in memory at once, and whatever became of them before they left it.

#include <set>

#include "tests/engine/delivery/home_words.h"

namespace sluice::delivery {
namespace {

class ResidentsTest : public HomeTest {
 protected:
  ResidentsTest() {
    options_.residents_max = 8;  // Of which 6 may be out.
    options_.out_max = 8;
    options_.bounce_profiles.by_default.initial_retry = seconds(60);
    options_.bounce_profiles.by_default.max_retry = seconds(60);
    options_.bounce_profiles.by_default.max_queue = hours(10);
  }
  // The longest out.
  Parcel& Next() {
    CHECK(!out_.empty());
    Parcel& parcel = *out_.front();
    out_.erase(out_.begin());
    return parcel;
  }
  // The disk gives nothing any more. Returns how many messages cannot be read back.
  uint32_t LeavesUnreadable() {
    Start();
    for (int i = 0; i < 30; ++i) Accept(WireOf(i, 300), {"a@one.example"});
    disk_.faults.read_error = EIO;
    while (!out_.empty()) Delivered(Next());
    return home_->messages();
  }
  // So many other messages pass through memory: what is idle has to leave it.
  void FillMemory() {
    for (int i = 0; i < 20; ++i) {
      Accept(WireOf(1000 + i, 300), {"f@filler.example"});
      Delivered(Out("filler.example"));
    }
    for (int i = 0; i < 8; ++i) Accept(WireOf(2000 + i, 300), {"f@filler.example"});
    for (int i = 0; i < 8; ++i) Delivered(Next());
  }
};

TEST_F(ResidentsTest, AQueuedRecipientTakes200BytesAtMost) {
  constexpr size_t kSlotBytes = 8;  // Of a slab, beside the value.
  EXPECT_LE(sizeof(KeptMessage) + sizeof(KeptParcel) + 2 * kSlotBytes, 200u);
}

TEST_F(ResidentsTest, ManyMoreThanFitAreAllDeliveredInTheirOrder) {
  Start();
  std::vector<MessageId> ids;
  for (int i = 0; i < 100; ++i) ids.push_back(Accept(WireOf(i, 300), {"a@one.example"}));
  EXPECT_EQ(home_->messages(), 100u);
  EXPECT_LE(home_->residents(), 8u);
  for (int i = 0; i < 100; ++i) {
    ASSERT_FALSE(out_.empty()) << i;
    EXPECT_LE(out_.size(), 6u);
    Parcel& parcel = Next();
    EXPECT_EQ(parcel.message->id, ids[i]);
    EXPECT_EQ(Waiting(parcel), (Texts{"a@one.example"}));
    EXPECT_TRUE(BodyOf(parcel) == WireOf(i, 300));
    Delivered(parcel);
  }
  EXPECT_EQ(home_->messages(), 0u);
  EXPECT_EQ(home_->residents(), 0u);
}

// Case R22: whoever has much mail that does not move takes none of the room of the others.
TEST_F(ResidentsTest, ADeadDestinationLeavesRoomForTheOthers) {
  options_.residents_max = 64;
  options_.out_max = 64;
  Start();
  for (int i = 0; i < 500; ++i) Accept(WireOf(i, 300), {"a@dead.example"});
  EXPECT_LE(out_.size(), 48u / 8);  // An eighth of what may be out.
  for (int i = 0; i < 20; ++i) {
    const std::string destination = absl::StrCat("d", i, ".example");
    Accept(WireOf(i, 300), {"a@" + destination});
    Delivered(Out(destination));
  }
  EXPECT_EQ(home_->messages(), 500u);
}

TEST_F(ResidentsTest, WhatWasDeferredComesBackWithItsAttempts) {
  Start();
  const MessageId id = Accept(WireOf(1, 5000), {"a@one.example", "b@one.example"});
  Deferred(Out("one.example"));
  FillMemory();
  Pass(minutes(2));
  Parcel& again = Out("one.example");
  EXPECT_EQ(again.message->id, id);
  EXPECT_EQ(again.attempts, 1u);
  EXPECT_EQ(Waiting(again), (Texts{"a@one.example", "b@one.example"}));
  EXPECT_TRUE(BodyOf(again) == WireOf(1, 5000));
}

TEST_F(ResidentsTest, WhoWasServedBeforeItLeftIsNotServedAgain) {
  Start();
  Accept(WireOf(1, 300), {"a@one.example", "b@one.example", "c@one.example", "d@two.example"});
  Parcel& parcel = Out("one.example");
  Answer(parcel, 0, Verdict::kDelivered, "250 ok");
  Answer(parcel, 1, Verdict::kDeferred, "450 4.2.1 busy");
  Answer(parcel, 2, Verdict::kBounced, "550 5.1.1 no such user");
  Returns(parcel, ParcelResult::kAttempted);
  Delivered(Out("sender.example"));
  Deferred(Out("two.example"));
  FillMemory();
  Pass(minutes(2));
  EXPECT_EQ(Waiting(Out("one.example")), (Texts{"b@one.example"}));
  EXPECT_EQ(Waiting(Out("two.example")), (Texts{"d@two.example"}));
}

TEST_F(ResidentsTest, SoAfterARestart) {
  Start();
  Accept(WireOf(1, 300), {"a@one.example", "b@one.example", "d@two.example"});
  Parcel& parcel = Out("one.example");
  Answer(parcel, 0, Verdict::kDelivered, "250 ok");
  Answer(parcel, 1, Verdict::kDeferred, "450 4.2.1 busy");
  Returns(parcel, ParcelResult::kAttempted);
  Deferred(Out("two.example"));
  PowerCut();
  Start();
  FillMemory();
  Pass(minutes(2));
  Parcel& again = Out("one.example");
  EXPECT_EQ(again.attempts, 1u);
  EXPECT_EQ(Waiting(again), (Texts{"b@one.example"}));
  EXPECT_EQ(Waiting(Out("two.example")), (Texts{"d@two.example"}));
}

// Case K1: in the queue at home, where nobody tries it.
TEST_F(ResidentsTest, TimeIsUpWhileItWaitsForItsTurn) {
  Start();
  for (int i = 0; i < 30; ++i) Accept(WireOf(i, 300), {"a@one.example"});
  const size_t out = out_.size();
  ASSERT_LT(out, 30u);
  Pass(hours(10));
  for (int i = 0; i < 10; ++i) Pass(minutes(1));  // The reports need room, too.
  EXPECT_EQ(events_.Count(EventType::kExpiration, "a@one.example"), 30 - out);
}

TEST_F(ResidentsTest, TheReportQuotesTheLastAnswerOfWhatWasNotInMemory) {
  for (const bool restarts : {true, false}) {
    SCOPED_TRACE(restarts);
    if (home_ != nullptr) PowerCut();
    disk_ = spool::MemoryDisk();
    options_.bounce_profiles.by_default.max_queue = hours(1);
    Start();
    Accept(WireOf(1, 300), {"a@one.example", "b@one.example"});
    Parcel& parcel = Out("one.example");
    parcel.peer_name = "mx.one.example";
    Answer(parcel, 0, Verdict::kDeferred, "452 4.2.2 full");
    parcel.outcome(1).verdict = Verdict::kDeferred;
    parcel.outcome(1).own_reply = false;
    parcel.reply = OwnReply("451 4.3.0 not now");
    parcel.command = "the final dot";
    Returns(parcel, ParcelResult::kAttempted);
    FillMemory();
    if (restarts) {
      PowerCut();
      Start();
    }
    home_->BeginDrain();  // Nobody tries it again.
    PowerCut();
    now_.wall += hours(2);
    Start();
    for (int i = 0; i < 200 && !IsOut("sender.example"); ++i) {
      while (IsOut("one.example")) Returns(Out("one.example"), ParcelResult::kExpired);
      Pass(minutes(1));
    }
    const std::string text = BodyOf(Out("sender.example"));
    SCOPED_TRACE(text);
    EXPECT_TRUE(absl::StrContains(text, "452 4.2.2 full"));
    EXPECT_TRUE(absl::StrContains(text, "451 4.3.0 not now"));
    if (restarts) continue;  // It has been moved, and its promise has the answers alone.
    EXPECT_TRUE(absl::StrContains(text, "mx.one.example answered to RCPT TO"));
    EXPECT_TRUE(absl::StrContains(text, "mx.one.example answered to the final dot"));
  }
}

TEST_F(ResidentsTest, APromiseThatCannotBeReadForAWhileIsDeliveredLater) {
  const uint32_t left = LeavesUnreadable();
  ASSERT_GT(left, 0u);
  Pass(minutes(10));
  EXPECT_EQ(home_->messages(), left);
  disk_.faults.read_error = 0;
  for (int i = 0; i < 100 && home_->messages() > 0; ++i) {
    while (!out_.empty()) Delivered(Next());
    Pass(minutes(10));
  }
  EXPECT_EQ(home_->messages(), 0u);
  EXPECT_EQ(events_.Count(EventType::kDelivery), 30u);
}

// What the disk does not give may come back: the sender is still told, though the time was up.
TEST_F(ResidentsTest, APromiseThatCannotBeReadUntilItHasExpiredIsStillReported) {
  options_.bounce_profiles.by_default.max_queue = hours(1);
  const uint32_t left = LeavesUnreadable();
  ASSERT_GT(left, 0u);
  for (int i = 0; i < 20; ++i) Pass(minutes(10));
  EXPECT_EQ(home_->messages(), left);
  disk_.faults.read_error = 0;
  uint32_t reports = 0;
  for (int i = 0; i < 100; ++i) {
    while (!out_.empty()) {
      const bool report = out_.front()->message->envelope.sender.empty();
      reports += report ? 1 : 0;
      report ? Delivered(Next()) : Returns(Next(), ParcelResult::kExpired);
    }
    Pass(minutes(10));
  }
  EXPECT_EQ(reports, left);
  EXPECT_EQ(home_->messages(), 0u);
  EXPECT_TRUE(disk_.set_aside.empty());
}

// Not for ever, or it would hold the log.
TEST_F(ResidentsTest, APromiseThatCannotBeReadForADayAfterItsExpiryIsSetAside) {
  options_.bounce_profiles.by_default.max_queue = hours(1);
  ASSERT_GT(LeavesUnreadable(), 0u);
  for (int i = 0; i < 24 * 6; ++i) Pass(minutes(10));
  ASSERT_GT(home_->messages(), 0u);
  for (int i = 0; i < 2 * 6; ++i) Pass(minutes(10));
  EXPECT_EQ(home_->messages(), 0u);
  EXPECT_FALSE(disk_.set_aside.empty());
}

// Case H21: its neighbours are delivered, and the log is not held by it.
TEST_F(ResidentsTest, ADamagedPromiseIsSetAside) {
  Start();
  std::vector<MessageId> ids;
  for (int i = 0; i < 30; ++i) ids.push_back(Accept(WireOf(i, 300), {"a@one.example"}));
  const spool::Recovered recovered = AfterKill();
  const spool::RecoveredMessage& message = recovered.messages.at(10);
  ASSERT_EQ(message.accepted.id, ids[10]);
  // Behind the body, in the promise.
  std::vector<std::byte>& bytes = disk_.BytesOf(message.body.at(0).segment);
  bytes.at(message.body.at(0).offset + message.body.at(0).bytes + 60) ^= std::byte{1};
  std::set<MessageId> delivered;
  for (int i = 0; i < 100; ++i) {
    while (!out_.empty()) {
      delivered.insert(out_.front()->message->id);
      Delivered(Next());
    }
    Pass(minutes(1));
  }
  EXPECT_EQ(delivered.size(), 29u);
  EXPECT_FALSE(delivered.contains(ids[10]));
  EXPECT_EQ(home_->messages(), 0u);
  EXPECT_EQ(disk_.set_aside, (std::vector<spool::SegmentId>{message.body.at(0).segment}));
}

TEST_F(ResidentsTest, ADrainLeavesWhatIsBeingReadInTheSpool) {
  Start();
  for (int i = 0; i < 30; ++i) Accept(WireOf(i, 300), {"a@one.example"});
  io_.Hold(Kind::kRead);
  while (!out_.empty()) Delivered(Next());
  ASSERT_GT(io_.in_flight(Kind::kRead), 0u);
  home_->BeginDrain();
  EXPECT_FALSE(home_->AtRest());
  io_.Free(Kind::kRead);
  Settle();
  EXPECT_TRUE(out_.empty());
  EXPECT_TRUE(home_->AtRest());
  const uint32_t left = home_->messages();
  Kill();
  Start();
  EXPECT_EQ(home_->messages(), left);
}

// A moved message keeps what is known of it though it was not in memory.
TEST_F(ResidentsTest, WhatIsMovedOutOfMemoryKeepsItsAttempts) {
  log_options_ = {.segment_bytes = 64 << 10, .outcome_reserve_bytes = 8 << 10};
  options_.bounce_profiles.by_default.initial_retry = hours(2);
  options_.bounce_profiles.by_default.max_retry = hours(2);
  Start();
  const MessageId id = Accept(WireOf(1, 5000), {"a@one.example"});
  Deferred(Out("one.example"), "450 4.7.1 greylisted");
  FillMemory();
  const spool::SegmentId first = AfterKill().messages.at(0).first_segment;
  PassThrough(100, 8000);
  EXPECT_FALSE(OnDisk(first));
  const spool::Recovered recovered = AfterPowerCut(1);
  ASSERT_EQ(recovered.messages.size(), 1u);
  const spool::RecipientRecord& recipient = recovered.messages[0].accepted.recipients.at(0);
  EXPECT_EQ(recovered.messages[0].accepted.id, id);
  EXPECT_EQ(recipient.attempts, 1u);
  EXPECT_EQ(recipient.last_reply, "450 4.7.1 greylisted");
  EXPECT_GT(recipient.next_attempt, now_.wall + hours(1));
  EXPECT_LT(recipient.next_attempt, now_.wall + hours(3));
}

}  // namespace
}  // namespace sluice::delivery
