// When a promise is given, and when it is refused: RFC 5321 4.2.5 makes us answer for what we said
// 250 to, so nothing is promised that a power cut could take away.

#include <cerrno>

#include "tests/engine/delivery/home_words.h"

namespace sluice::delivery {
namespace {

class HomePromiseTest : public HomeTest {
 protected:
  Handle Offers(absl::string_view wire = WireOf(1, 1000)) {
    Incoming* incoming = Begin();
    CHECK(incoming != nullptr);
    Sends(*incoming, wire);
    return Ends(*incoming, {"a@one.example"});
  }
};

TEST_F(HomePromiseTest, IsKeptWhenItsBatchHasBeenSyncedAndNotBefore) {
  Start();
  io_.Hold(Kind::kWrite);
  io_.Hold(Kind::kSync);
  const Handle session = Offers();
  Settle();
  ASSERT_EQ(io_.in_flight(Kind::kWrite), 1u);
  EXPECT_EQ(Kept(session), std::nullopt);
  EXPECT_FALSE(IsOut("one.example"));

  Step();  // Written.
  Settle();
  ASSERT_EQ(io_.in_flight(Kind::kSync), 1u);
  EXPECT_EQ(Kept(session), std::nullopt);
  EXPECT_FALSE(IsOut("one.example"));
  EXPECT_TRUE(events_.told.empty());

  Step();  // Synced.
  EXPECT_EQ(Kept(session), true);
  EXPECT_TRUE(IsOut("one.example"));
  EXPECT_EQ(events_.Count(EventType::kReception, "a@one.example"), 1u);
  for (uint64_t seed = 0; seed < 20; ++seed) EXPECT_EQ(AfterPowerCut(seed).messages.size(), 1u);
}

// What ends while a batch is written is the next batch's, and is not covered by the first sync.
TEST_F(HomePromiseTest, WaitsForItsOwnBatch) {
  Start();
  io_.Hold(Kind::kSync);
  const Handle first = Offers();
  Settle();
  ASSERT_EQ(io_.in_flight(Kind::kSync), 1u);
  const Handle second = Offers(WireOf(2, 1000));
  const Handle third = Offers(WireOf(3, 1000));
  Settle();
  EXPECT_EQ(Kept(first), std::nullopt);
  Step();
  EXPECT_EQ(Kept(first), true);
  EXPECT_EQ(Kept(second), std::nullopt);
  EXPECT_EQ(Kept(third), std::nullopt);
  Settle();
  Step();
  EXPECT_EQ(Kept(second), true);
  EXPECT_EQ(Kept(third), true);
}

// Nothing else wakes the shard: the turn of the completion gives the promise, or says that there is
// more to do at once.
TEST_F(HomePromiseTest, WithoutSyncsIsKeptWhenItsBatchHasBeenWritten) {
  options_.sync = false;
  Start();
  io_.Hold(Kind::kWrite);
  Incoming* incoming = Begin();
  Sends(*incoming, WireOf(1, 1000));
  const Handle session = Ends(*incoming, {"a@one.example"});
  Settle();
  EXPECT_EQ(Kept(session), std::nullopt);
  Step();
  while (home_->busy()) Turn({});
  EXPECT_EQ(Kept(session), true);
  EXPECT_EQ(io_.in_flight(), 0u);
}

// --- A log that fails.

TEST_F(HomePromiseTest, IsRefusedWhenTheSyncFails) {
  Start();
  disk_.faults.sync_error = EIO;
  const Handle session = Offers();
  Settle();
  EXPECT_EQ(Kept(session), false);
  EXPECT_TRUE(home_->log_failed());
  EXPECT_FALSE(IsOut("one.example"));
  EXPECT_TRUE(events_.told.empty());
  EXPECT_EQ(home_->messages(), 0u);
  EXPECT_EQ(home_->blocks_taken(), 0u);
}

TEST_F(HomePromiseTest, IsRefusedWhenTheWriteFails) {
  Start();
  disk_.faults.write_error = ENOSPC;
  const Handle session = Offers();
  Settle();
  EXPECT_EQ(Kept(session), false);
  EXPECT_TRUE(home_->log_failed());
}

// The kernel may say yes to the next sync (fsync errors are told once): it means nothing.
TEST_F(HomePromiseTest, IsNeverKeptAfterAFailureThatHasPassed) {
  Start();
  Incoming* arriving = Begin();
  Sends(*arriving, WireOf(2, 1000));
  disk_.faults.sync_error = EIO;
  const Handle first = Offers();
  Settle();
  disk_.faults.sync_error = 0;
  const Handle second = Ends(*arriving, {"b@two.example"});
  Settle();
  EXPECT_EQ(Kept(first), false);
  EXPECT_EQ(Kept(second), false);
  EXPECT_EQ(Begin(), nullptr);
  EXPECT_TRUE(home_->log_failed());
  EXPECT_TRUE(out_.empty());
  EXPECT_TRUE(home_->AtRest());
}

// While a write is in flight the kernel reads the blocks: the refusal waits for its end.
TEST_F(HomePromiseTest, WhatTheNextBatchHoldsIsRefusedWithTheFailedOne) {
  Start();
  io_.Hold(Kind::kSync);
  disk_.faults.sync_error = EIO;
  const Handle first = Offers();
  Settle();
  const Handle second = Offers(WireOf(2, 1000));
  Settle();
  EXPECT_EQ(Kept(second), std::nullopt);
  EXPECT_FALSE(home_->AtRest());
  Step();
  Settle();
  EXPECT_EQ(Kept(first), false);
  EXPECT_EQ(Kept(second), false);
  EXPECT_EQ(home_->messages(), 0u);
  EXPECT_TRUE(home_->AtRest());
}

TEST_F(HomePromiseTest, StandsThoughTheLogFailsLater) {
  Start();
  const Handle first = Offers();
  Settle();
  ASSERT_EQ(Kept(first), true);
  disk_.faults.sync_error = EIO;
  Offers(WireOf(2, 1000));
  Settle();
  ASSERT_TRUE(home_->log_failed());
  disk_.faults.sync_error = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const spool::Recovered left = AfterPowerCut(seed);
    ASSERT_GE(left.messages.size(), 1u);
    EXPECT_EQ(left.messages[0].accepted.recipients[0].address, "a@one.example");
  }
}

// A read in flight writes into the home's memory: the process cannot end before it.
TEST_F(HomePromiseTest, AfterAFailureIsNotAtRestBeforeItsReadsHaveCompleted) {
  log_options_ = {.segment_bytes = 64 << 10, .outcome_reserve_bytes = 8 << 10};
  options_.bounce_profiles.by_default.initial_retry = hours(1);
  Start();
  Accept(WireOf(1, 8000), {"a@old.example"});
  Deferred(Out("old.example"));
  io_.Hold(Kind::kRead);
  for (int i = 0; i < 100 && io_.in_flight(Kind::kRead) == 0; ++i) PassThrough(1, 8000);
  ASSERT_EQ(io_.in_flight(Kind::kRead), 1u);  // To be moved.

  disk_.faults.sync_error = EIO;
  Incoming* incoming = Begin();
  Sends(*incoming, WireOf(2, 100));
  const Handle session = Ends(*incoming, {"a@one.example"});
  Settle();
  ASSERT_TRUE(home_->log_failed());
  EXPECT_EQ(Kept(session), false);
  EXPECT_EQ(io_.in_flight(), 1u);
  EXPECT_FALSE(home_->AtRest());
  io_.Free(Kind::kRead);
  Settle();
  EXPECT_TRUE(home_->AtRest());
}

// --- Bounds.

TEST_F(HomePromiseTest, NoMoreMessagesThanSlotsLessThoseForBounces) {
  options_.messages_max = 32;  // A sixteenth of them is kept for bounces: 2.
  Start();
  for (int i = 0; i < 30; ++i) Accept(WireOf(1, 100), {"a@one.example"});
  EXPECT_EQ(Begin(), nullptr);
  Parcel* parcel = out_.front();
  out_.erase(out_.begin());
  Delivered(*parcel);
  EXPECT_NE(Begin(), nullptr);
}

TEST_F(HomePromiseTest, ThoseThatArriveCountAsMessages) {
  options_.messages_max = 16;  // One is kept for bounces.
  options_.incoming_max = 20;
  Start();
  for (int i = 0; i < 15; ++i) ASSERT_NE(Begin(), nullptr) << i;
  EXPECT_EQ(Begin(), nullptr);
}

TEST_F(HomePromiseTest, NoMoreArriveAtOnceThanThereAreSlots) {
  options_.incoming_max = 3;
  Start();
  Incoming* arriving[3];
  for (Incoming*& each : arriving) each = Begin();
  ASSERT_NE(arriving[2], nullptr);
  EXPECT_EQ(Begin(), nullptr);
  home_->Abandon(*arriving[1]);
  EXPECT_NE(Begin(), nullptr);
}

// The slots for parcels are asked for at the end, when the recipients are known.
TEST_F(HomePromiseTest, IsRefusedWhenItsDestinationsHaveNoRoom) {
  options_.parcels_max = 32;  // 2 are kept for bounces.
  Start();
  Texts recipients;
  for (int i = 0; i < 31; ++i) recipients.push_back(absl::StrCat("a@d", i, ".example"));
  Incoming* one = Begin();
  Sends(*one, WireOf(1, 100));
  const Handle too_many = Ends(*one, recipients);
  EXPECT_EQ(Kept(too_many), std::nullopt);
  Settle();
  EXPECT_EQ(Kept(too_many), false);
  EXPECT_EQ(home_->messages(), 0u);

  recipients.pop_back();
  Accept(WireOf(2, 100), recipients);
  EXPECT_EQ(home_->parcels(), 30u);

  Incoming* next = Begin();
  Sends(*next, WireOf(3, 100));
  const Handle refused = Ends(*next, {"a@one.example"});
  Settle();
  EXPECT_EQ(Kept(refused), false);
}

TEST_F(HomePromiseTest, TwoThatWaitForOneSyncDoNotGetTheSameRoom) {
  options_.parcels_max = 32;
  Start();
  Texts recipients;
  for (int i = 0; i < 16; ++i) recipients.push_back(absl::StrCat("a@d", i, ".example"));
  Incoming* one = Begin();
  Incoming* two = Begin();
  const Handle first = Ends((Sends(*one, WireOf(1, 100)), *one), recipients);
  const Handle second = Ends((Sends(*two, WireOf(2, 100)), *two), recipients);
  Settle();
  EXPECT_EQ(Kept(first), true);
  EXPECT_EQ(Kept(second), false);
}

TEST_F(HomePromiseTest, ABodyBeyondMemoryIsRefusedAtItsEnd) {
  options_.body_blocks = 4;
  Start();
  Incoming* incoming = Begin();
  Sends(*incoming, WireOf(1, 5 * limits::kBodyBlockBytes));
  EXPECT_EQ(home_->blocks_taken(), 0u);  // Others want it.
  const Handle session = Ends(*incoming, {"a@one.example"});
  Settle();
  EXPECT_EQ(Kept(session), false);

  Accept(WireOf(2, 4 * limits::kBodyBlockBytes), {"a@one.example"});
}

TEST_F(HomePromiseTest, AnAbandonedMessageLeavesNothing) {
  Start();
  Incoming* incoming = Begin();
  Sends(*incoming, WireOf(1, 50000));
  home_->Abandon(*incoming);
  Settle();
  EXPECT_EQ(home_->blocks_taken(), 0u);
  EXPECT_EQ(home_->messages(), 0u);
  EXPECT_TRUE(promises_.empty());
  EXPECT_TRUE(home_->AtRest());
  EXPECT_EQ(AfterPowerCut(1).messages.size(), 0u);
}

// --- What is promised.

TEST_F(HomePromiseTest, OneParcelForEachDestination) {
  Start();
  Accept(WireOf(1, 100), {"a@one.example", "b@two.example", "c@one.example"});
  EXPECT_EQ(out_.size(), 2u);
  EXPECT_EQ(Waiting(Out("one.example")), (Texts{"a@one.example", "c@one.example"}));
  EXPECT_EQ(Waiting(Out("two.example")), (Texts{"b@two.example"}));
}

TEST_F(HomePromiseTest, IdsGrowAlsoWhenTheWallClockStepsBack) {
  Start();
  MessageId last;
  for (int i = 0; i < 10; ++i) {
    const MessageId id = Accept(WireOf(1, 100), {absl::StrCat("a@d", i, ".example")});
    EXPECT_GT(id, last);
    last = id;
    now_.wall -= hours(1);
  }
  Kill();
  Start();
  EXPECT_GT(Accept(WireOf(1, 100), {"a@last.example"}), last);
}

// The record on the disk says what the client said.
TEST_F(HomePromiseTest, TheEnvelopeIsOnTheDiskAsItCame) {
  Start();
  Incoming* incoming = Begin();
  const std::string wire = WireOf(1, 70000);
  Sends(*incoming, wire);
  smtp::Envelope envelope = {.sender = "s@sender.example",
                             .body_type = smtp::BodyType::kEightBitMime,
                             .ret = smtp::Return::kHeaders,
                             .envelope_id = "QQ314159"};
  envelope.recipients.push_back({.address = "A@one.example",
                                 .destination = "one.example",
                                 .original_recipient = "rfc822;alias@one.example",
                                 .notify = smtp::kNotifyFailure | smtp::kNotifyDelay});
  const Handle session = Ends(*incoming, envelope);
  Settle();
  ASSERT_EQ(Kept(session), true);
  PowerCut();
  Start();
  const Parcel& parcel = Out("one.example");
  const Message& message = *parcel.message;
  EXPECT_EQ(message.envelope.sender, "s@sender.example");
  EXPECT_EQ(message.envelope.body_type, smtp::BodyType::kEightBitMime);
  EXPECT_EQ(message.envelope.ret, smtp::Return::kHeaders);
  EXPECT_EQ(message.envelope.envelope_id, "QQ314159");
  EXPECT_EQ(parcel.recipient(0).address, "A@one.example");
  EXPECT_EQ(parcel.recipient(0).original_recipient, "rfc822;alias@one.example");
  EXPECT_EQ(parcel.recipient(0).notify, smtp::kNotifyFailure | smtp::kNotifyDelay);
  EXPECT_EQ(message.wire_bytes, wire.size());
}

}  // namespace
}  // namespace sluice::delivery
