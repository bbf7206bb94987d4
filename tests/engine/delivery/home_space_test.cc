// The room that messages take in the log: refused when it is short, given back from the old end,
// and what lives long is moved, with its bytes and its state (engine/spool/log.h).

#include <cerrno>

#include "tests/engine/delivery/home_words.h"

namespace sluice::delivery {
namespace {

using spool::SegmentId;

class HomeSpaceTest : public HomeTest {
 protected:
  static constexpr uint64_t kSegmentBytes = 64 << 10;

  HomeSpaceTest() {
    log_options_ = {.segment_bytes = kSegmentBytes, .outcome_reserve_bytes = kSegmentBytes / 8};
    options_.bounce_profiles.by_default.initial_retry = minutes(10);
  }

  // More than the log bears of dead mail before it wants the oldest segment moved.
  void PassEnough() { PassThrough(50, 8000); }
  // Until a message of the oldest segment is being read back, to be moved.
  void PassUntilRead() {
    io_.Hold(Kind::kRead);
    for (int i = 0; i < 100 && io_.in_flight(Kind::kRead) == 0; ++i) PassThrough(1, 8000);
    ASSERT_EQ(io_.in_flight(Kind::kRead), 1u);
  }
  void PowerCutAndStart() {
    PowerCut();
    Start();
  }
};

// --- Moving.

TEST_F(HomeSpaceTest, WhatWasDeliveredIsGivenBack) {
  Start();
  PassThrough(200, 8000);  // 1.6 MB.
  EXPECT_LE(disk_.allocated_bytes(), 4 * kSegmentBytes);
}

TEST_F(HomeSpaceTest, AMessageThatWaitsLongIsMovedAndDeliveredAsItCame) {
  Start();
  const std::string wire = WireOf(1, 8000);
  Accept(wire, {"a@old.example"});
  Parcel& parcel = Out("old.example");
  const Message& message = *parcel.message;
  const SegmentId first = message.kept->first_segment;
  Deferred(parcel);
  PassEnough();
  EXPECT_FALSE(OnDisk(first));
  EXPECT_NE(message.kept->first_segment, first);
  EXPECT_LE(disk_.allocated_bytes(), 6 * kSegmentBytes);
  EXPECT_EQ(home_->blocks_taken(), 0u);

  Pass(minutes(15));
  Parcel& again = Out("old.example");
  EXPECT_EQ(again.attempts, 1u);
  EXPECT_TRUE(BodyOf(again) == wire);
  Delivered(again);
  EXPECT_EQ(home_->messages(), 0u);
}

TEST_F(HomeSpaceTest, AsItWasMovedItIsFoundAgain) {
  Start();
  const std::string wire = WireOf(1, 8000);
  const MessageId id =
      Accept(wire, {"a@old.example", "b@old.example", "c@old.example", "d@other.example"});
  sender_ = "";  // Of the mail that passes.
  Parcel& parcel = Out("old.example");
  const SegmentId first = parcel.message->kept->first_segment;
  Answer(parcel, 0, Verdict::kDelivered, "250 ok");
  Answer(parcel, 1, Verdict::kBounced, "550 5.1.1 no such user");
  Answer(parcel, 2, Verdict::kDeferred, "450 4.2.1 busy");
  Returns(parcel, ParcelResult::kAttempted);
  Delivered(Out("sender.example"));
  Deferred(Out("other.example"));
  PassEnough();
  ASSERT_FALSE(OnDisk(first));
  PowerCutAndStart();
  EXPECT_EQ(damaged_records_, 0u);

  EXPECT_EQ(home_->messages(), 1u);
  Pass(minutes(15));
  Parcel& again = Out("old.example");
  EXPECT_EQ(again.message->id, id);
  EXPECT_EQ(Waiting(again), (Texts{"c@old.example"}));
  EXPECT_EQ(again.attempts, 1u);
  EXPECT_EQ(again.message->envelope.sender, kSender);
  EXPECT_TRUE(BodyOf(again) == wire);
  EXPECT_EQ(Waiting(Out("other.example")), (Texts{"d@other.example"}));
}

TEST_F(HomeSpaceTest, ManyInOneSegmentAreAllMoved) {
  Start();
  constexpr int kMessages = 60;  // Of which one turn moves only some.
  for (int i = 0; i < kMessages; ++i) {
    const std::string destination = absl::StrCat("d", i, ".example");
    Accept(WireOf(i, 400), {"a@" + destination});
    Deferred(Out(destination));
  }
  const SegmentId first = AfterPowerCut(1).messages.front().first_segment;
  ASSERT_EQ(AfterPowerCut(1).messages.back().first_segment, first);
  PassEnough();
  EXPECT_FALSE(OnDisk(first));
  Pass(minutes(15));
  for (int i = 0; i < kMessages; ++i) {
    Parcel& parcel = Out(absl::StrCat("d", i, ".example"));
    EXPECT_TRUE(BodyOf(parcel) == WireOf(i, 400));
    Delivered(parcel);
  }
}

// Moving costs as much as it gives back: a log that mostly lives is left as it is.
TEST_F(HomeSpaceTest, ALogThatLivesIsNotMoved) {
  Start();
  std::vector<std::pair<const Message*, SegmentId>> places;
  for (int i = 0; i < 50; ++i) {
    Accept(WireOf(i, 8000), {"a@old.example"});
    Parcel& parcel = Out("old.example");
    places.emplace_back(parcel.message, parcel.message->kept->first_segment);
    Deferred(parcel);
  }
  for (int i = 0; i < 20; ++i) Turn();
  for (const auto& [message, place] : places) EXPECT_EQ(message->kept->first_segment, place);
  EXPECT_EQ(io_.reads_begun(), 0u);
}

// --- Moving while something else goes on.

TEST_F(HomeSpaceTest, ABodyThatIsLentIsMovedUnderItsBorrower) {
  Start();
  const std::string wire = WireOf(1, 8000);
  Accept(wire, {"a@old.example"});
  Parcel& parcel = Out("old.example");
  const SegmentId first = parcel.message->kept->first_segment;
  ASSERT_TRUE(BodyOf(parcel) == wire);
  PassEnough();
  EXPECT_FALSE(OnDisk(first));
  EXPECT_TRUE(TextOf(parcel.message->body) == wire);
  Deferred(parcel);
  EXPECT_EQ(home_->blocks_taken(), 0u);
  Pass(minutes(15));
  EXPECT_TRUE(BodyOf(Out("old.example")) == wire);
}

TEST_F(HomeSpaceTest, WhoAsksWhileItIsReadToBeMovedGetsThatRead) {
  Start();
  const std::string wire = WireOf(1, 8000);
  Accept(wire, {"a@old.example"});
  Kill();
  Start();
  PassUntilRead();
  Parcel& parcel = Out("old.example");
  const SegmentId first = parcel.message->kept->first_segment;
  Asks(parcel);
  Settle();
  EXPECT_EQ(io_.in_flight(Kind::kRead), 1u);
  io_.Free(Kind::kRead);
  Settle();
  ASSERT_EQ(Decided(parcel), BodyState::kLent);
  EXPECT_TRUE(TextOf(parcel.message->body) == wire);
  PassThrough(20, 8000);
  EXPECT_FALSE(OnDisk(first));
  Delivered(parcel);
  EXPECT_EQ(home_->messages(), 0u);
  EXPECT_EQ(home_->blocks_taken(), 0u);
}

TEST_F(HomeSpaceTest, AMessageThatEndsWhileItIsReadToBeMovedIsFreedAfterwards) {
  sender_ = "";
  Start();
  Accept(WireOf(1, 8000), {"a@old.example"});
  Kill();
  Start();
  PassUntilRead();
  Refused(Out("old.example"));  // At RCPT, without its body.
  EXPECT_EQ(events_.Count(EventType::kBounce), 1u);
  EXPECT_EQ(home_->blocks_taken(), 1u);  // The read writes there.
  EXPECT_FALSE(home_->AtRest());
  io_.Free(Kind::kRead);
  Settle();
  EXPECT_EQ(home_->messages(), 0u);
  EXPECT_EQ(home_->blocks_taken(), 0u);
  EXPECT_TRUE(home_->AtRest());
}

// Its blocks are lent to the log until its new place is written, whatever becomes of the message.
TEST_F(HomeSpaceTest, AMessageThatEndsWhileItsMoveIsWrittenKeepsItsBlocks) {
  sender_ = "";
  Start();
  Accept(WireOf(1, 8000), {"a@old.example"});
  Kill();
  Start();
  PassUntilRead();
  io_.Free(Kind::kRead);
  io_.Hold(Kind::kWrite);
  Settle();
  ASSERT_EQ(io_.in_flight(Kind::kWrite), 1u);
  Refused(Out("old.example"));
  Incoming* arriving = Begin();
  Sends(*arriving, std::string(30000, '#'));  // Would overwrite blocks that are free.
  io_.Free(Kind::kWrite);
  Settle();
  home_->Abandon(*arriving);
  EXPECT_EQ(home_->messages(), 0u);
  EXPECT_EQ(home_->blocks_taken(), 0u);
  PowerCutAndStart();
  EXPECT_EQ(damaged_records_, 0u);
  EXPECT_EQ(home_->messages(), 0u);
}

// The old copy counts until the new one is durable.
TEST_F(HomeSpaceTest, APowerCutAnywhereInAMoveLosesNothing) {
  Start();
  const std::string wire = WireOf(1, 8000);
  const MessageId id = Accept(wire, {"a@old.example", "b@other.example"});
  Delivered(Out("other.example"));
  Kill();
  Start();
  PassUntilRead();
  io_.Hold(Kind::kWrite);
  io_.Hold(Kind::kSync);
  disk_.faults.write_bytes_max = 3000;  // In several writes.
  while (io_.in_flight() > 0) {
    for (uint64_t seed = 0; seed < 10; ++seed) {
      const spool::Recovered left = AfterPowerCut(seed);
      ASSERT_EQ(left.messages.size(), 1u);
      const spool::RecoveredMessage& message = left.messages[0];
      ASSERT_EQ(message.accepted.id, id);
      EXPECT_EQ(message.accepted.wire_bytes, wire.size());
      EXPECT_EQ(message.accepted.recipients[0].state, spool::RecipientState::kWaiting);
      EXPECT_EQ(message.accepted.recipients[1].state, spool::RecipientState::kDelivered);
    }
    Step();
  }
  for (const Kind kind : {Kind::kWrite, Kind::kRead, Kind::kSync}) io_.Free(kind);
  PowerCutAndStart();
  EXPECT_TRUE(BodyOf(Out("old.example")) == wire);
}

// It stays where it is, is looked at again after a while, and nothing else is held up for it.
TEST_F(HomeSpaceTest, AMessageThatCannotBeReadIsNotMoved) {
  Start();
  Accept(WireOf(1, 8000), {"a@old.example"});
  Parcel& parcel = Out("old.example");
  const Message& message = *parcel.message;
  const spool::Extent extent = message.extents.at(0);
  Deferred(parcel);
  disk_.BytesOf(extent.segment).at(extent.offset) ^= std::byte{1};
  PassEnough();
  EXPECT_TRUE(OnDisk(extent.segment));
  EXPECT_EQ(io_.reads_begun(), 1u);
  Pass(seconds(59));
  EXPECT_EQ(io_.reads_begun(), 1u);
  Pass(seconds(2));
  EXPECT_EQ(io_.reads_begun(), 2u);
  EXPECT_EQ(home_->blocks_taken(), 0u);

  // Those were no tries to deliver it.
  for (const BodyState state : {BodyState::kDamaged, BodyState::kDamaged, BodyState::kLost}) {
    Pass(hours(2));
    Parcel& again = Out("old.example");
    EXPECT_EQ(Ask(again), state);
    Deferred(again);
  }
}

// --- A full disk.

class FullDiskTest : public HomeSpaceTest {
 protected:
  FullDiskTest() { disk_.faults.capacity_bytes = 4 * kSegmentBytes; }

  // Messages until no more is taken. Returns how many.
  int Fill() {
    for (int i = 0; i < 1000; ++i) {
      Incoming* incoming = Begin();
      if (incoming == nullptr) return i;
      Sends(*incoming, WireOf(i, 8000));
      const Handle session = Ends(*incoming, {absl::StrCat("a@d", i, ".example")});
      Settle();
      if (Kept(session) != true) return i;
    }
    return -1;
  }
};

TEST_F(FullDiskTest, StopsIntakeAndNotDelivery) {
  Start();
  const int accepted = Fill();
  ASSERT_GT(accepted, 10);  // 4 segments hold 32 of them at most.
  ASSERT_LT(accepted, 32);
  EXPECT_EQ(Begin(), nullptr);
  EXPECT_FALSE(home_->log_failed());
  for (int i = 0; i < accepted; ++i) Delivered(Out(absl::StrCat("d", i, ".example")));
  EXPECT_EQ(events_.Count(EventType::kDelivery), static_cast<size_t>(accepted));
  EXPECT_FALSE(home_->log_failed());
  EXPECT_EQ(home_->messages(), 0u);
  Pass(seconds(2));
  EXPECT_GT(Fill(), 10);
}

TEST_F(FullDiskTest, LeavesRoomForBounces) {
  Start();
  Fill();
  ASSERT_EQ(Begin(), nullptr);
  Refused(Out("d0.example"));
  EXPECT_EQ(events_.Count(EventType::kBounce, "a@d0.example"), 1u);
  EXPECT_TRUE(IsOut("sender.example"));
}

TEST_F(FullDiskTest, RefusesTheMessageWhoseEndFindsNoRoom) {
  Start();
  Incoming* arriving = Begin();
  Sends(*arriving, WireOf(1, 16000));
  Fill();
  const Handle session = Ends(*arriving, {"a@late.example"});
  Settle();
  EXPECT_EQ(Kept(session), false);
  EXPECT_FALSE(home_->log_failed());
}

}  // namespace
}  // namespace sluice::delivery
