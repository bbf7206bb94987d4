// A message that arrives slowly holds no space that others need: not when it has been refused
// already, and not when the log wants its oldest segment back (engine/spool/log.h).

#include "tests/engine/delivery/home_words.h"

namespace sluice::delivery {
namespace {

using limits::kBodyBlockBytes;
using spool::SegmentId;

class SlowArrivalTest : public HomeTest {
 protected:
  static constexpr uint64_t kSegmentBytes = 2 << 20;

  SlowArrivalTest() {
    log_options_ = {.segment_bytes = kSegmentBytes, .outcome_reserve_bytes = kSegmentBytes / 8};
    options_.body_blocks = 64;
  }

  // So much that it has a first piece in the log.
  Incoming& BeginLarge() {
    Incoming* incoming = Begin();
    CHECK(incoming != nullptr);
    Sends(*incoming, WireOf(1, kPieceBytes));
    Settle();
    CHECK(incoming->extents.size() == 1);
    return *incoming;
  }
  void PassSegments(uint64_t segments) {
    PassThrough(segments * kSegmentBytes / kMessageBytes + 1, kMessageBytes);
  }

  static constexpr size_t kPieceBytes = limits::kBodyBlocksBeforeLog * kBodyBlockBytes;
  static constexpr size_t kMessageBytes = 200000;
};

TEST_F(SlowArrivalTest, ThatHadNoMemoryGivesItsPlaceInTheLogBack) {
  Start();
  Incoming& arriving = BeginLarge();
  const SegmentId first = arriving.extents.front().segment;
  Incoming* other = Begin();
  Sends(*other, WireOf(2, 10 * kBodyBlockBytes));
  ASSERT_EQ(home_->blocks_taken(), 10u);
  io_.Hold(Kind::kWrite);  // Pieces that are being written hold their memory.
  for (int i = 0; i < 4; ++i) Sends(arriving, WireOf(3, kPieceBytes));
  io_.Free(Kind::kWrite);
  Settle();
  home_->Abandon(*other);
  ASSERT_EQ(home_->blocks_taken(), 0u);

  PassSegments(2);
  EXPECT_FALSE(OnDisk(first));
  Sends(arriving, WireOf(4, 2 * kPieceBytes));
  EXPECT_EQ(home_->blocks_taken(), 0u);
  const Handle session = Ends(arriving, {"a@one.example"});
  Settle();
  EXPECT_EQ(Kept(session), false);
  EXPECT_EQ(home_->messages(), 0u);
  EXPECT_EQ(log_->living_bytes(), 0u);
}

TEST_F(SlowArrivalTest, ThatHadNoSpaceGivesItsPlaceInTheLogBack) {
  disk_.faults.capacity_bytes = 2 * kSegmentBytes;
  Start();
  Incoming& arriving = BeginLarge();
  const SegmentId first = arriving.extents.front().segment;
  for (int i = 0; i < 20; ++i) {
    Sends(arriving, WireOf(2, kPieceBytes));  // Five times what there is.
    Settle();
  }
  disk_.faults.capacity_bytes = UINT64_MAX;
  Pass(seconds(2));
  PassSegments(2);
  EXPECT_FALSE(OnDisk(first));
  const Handle session = Ends(arriving, {"a@one.example"});
  Settle();
  EXPECT_EQ(Kept(session), false);
  PassSegments(2);
  EXPECT_LE(log_->segments(), 2u);
}

TEST_F(SlowArrivalTest, ThatWasRefusedMayBeAbandonedWhenItsSegmentIsGone) {
  options_.body_blocks = 32;
  Start();
  Incoming& arriving = BeginLarge();
  const SegmentId first = arriving.extents.front().segment;
  io_.Hold(Kind::kWrite);
  Sends(arriving, WireOf(2, 40 * kBodyBlockBytes));
  io_.Free(Kind::kWrite);
  Settle();
  PassSegments(2);
  ASSERT_FALSE(OnDisk(first));
  home_->Abandon(arriving);
  PassSegments(2);
  EXPECT_LE(log_->segments(), 2u);
  EXPECT_EQ(home_->blocks_taken(), 0u);
}

TEST_F(SlowArrivalTest, IsRefusedWhenTheLogWantsItsOldestSegmentBack) {
  Start();
  Incoming& slow = BeginLarge();
  const SegmentId first = slow.extents.front().segment;
  PassSegments(1);
  ASSERT_TRUE(OnDisk(first));
  EXPECT_EQ(log_->MoveWanted(), std::nullopt);
  PassSegments(4);
  EXPECT_FALSE(OnDisk(first));
  EXPECT_LE(log_->segments(), 4u);
  Sends(slow, WireOf(2, 2 * kPieceBytes));
  const Handle session = Ends(slow, {"a@one.example"});
  Settle();
  EXPECT_EQ(Kept(session), false);
  EXPECT_TRUE(out_.empty());
  EXPECT_FALSE(home_->log_failed());
  EXPECT_EQ(home_->blocks_taken(), 0u);
}

TEST_F(SlowArrivalTest, InAYoungerSegmentGoesOnAndIsKept) {
  Start();
  Incoming& slow = BeginLarge();
  const SegmentId first = slow.extents.front().segment;
  PassSegments(1);
  const std::string wire = WireOf(7, 40 * kBodyBlockBytes);
  Incoming* younger = Begin();
  Sends(*younger, absl::string_view(wire).substr(0, kPieceBytes));
  Settle();
  ASSERT_GT(younger->extents.front().segment, first);
  for (int i = 0; i < 30 && OnDisk(first); ++i) PassThrough(1, kMessageBytes);
  ASSERT_FALSE(OnDisk(first));
  Sends(*younger, absl::string_view(wire).substr(kPieceBytes));
  const Handle kept = Ends(*younger, {"a@one.example"});
  const Handle refused = Ends(slow, {"a@two.example"});
  Settle();
  EXPECT_EQ(Kept(kept), true);
  EXPECT_EQ(Kept(refused), false);
  EXPECT_TRUE(BodyOf(Out("one.example")) == wire);
}

// A large one is itself most of what the log holds: its pieces live, so that nobody, and it least
// of all, has to give way.
TEST_F(SlowArrivalTest, OfManySegmentsIsNotInItsOwnWay) {
  Start();
  const std::string wire = WireOf(1, 5 * kSegmentBytes);
  Incoming* large = Begin();
  for (size_t at = 0; at < wire.size(); at += kPieceBytes) {
    Sends(*large, absl::string_view(wire).substr(at, kPieceBytes));
    Settle();
    EXPECT_EQ(log_->MoveWanted(), std::nullopt);
  }
  const Handle session = Ends(*large, {"a@one.example"});
  Settle();
  ASSERT_EQ(Kept(session), true);
  EXPECT_EQ(log_->MoveWanted(), std::nullopt);
  EXPECT_EQ(home_->blocks_taken(), 0u);
  Delivered(Out("one.example"));
  EXPECT_EQ(log_->living_bytes(), 0u);
}

// Nothing of it is in the log yet, so it stands in nobody's way.
TEST_F(SlowArrivalTest, OfASmallMessageIsLeftAlone) {
  Start();
  Incoming& large = BeginLarge();
  const SegmentId first = large.extents.front().segment;
  const std::string wire = WireOf(1, 1000);
  Incoming* small = Begin();
  Sends(*small, absl::string_view(wire).substr(0, 500));
  PassSegments(5);
  ASSERT_FALSE(OnDisk(first));  // The log wanted it back.
  Sends(*small, absl::string_view(wire).substr(500));
  const Handle session = Ends(*small, {"a@one.example"});
  Settle();
  EXPECT_EQ(Kept(session), true);
  EXPECT_TRUE(BodyOf(Out("one.example")) == wire);
}

TEST_F(SlowArrivalTest, OnceDeliveredHoldsNothing) {
  Start();
  Incoming& large = BeginLarge();
  const SegmentId first = large.extents.front().segment;
  const Handle session = Ends(large, {"a@one.example"});
  Settle();
  ASSERT_EQ(Kept(session), true);
  Delivered(Out("one.example"));
  PassSegments(1);
  EXPECT_FALSE(OnDisk(first));
  EXPECT_EQ(log_->living_bytes(), 0u);
}

// Its first piece lives before its end does, in a segment that would else be given back.
TEST_F(SlowArrivalTest, KeepsItsPlaceWhileItArrives) {
  Start();
  const std::string wire = WireOf(1, 40 * kBodyBlockBytes);
  Incoming* large = Begin();
  Sends(*large, absl::string_view(wire).substr(0, kPieceBytes));
  Settle();
  const SegmentId first = large->extents.front().segment;
  PassSegments(1);
  EXPECT_TRUE(OnDisk(first));
  Sends(*large, absl::string_view(wire).substr(kPieceBytes));
  const Handle session = Ends(*large, {"a@one.example"});
  Settle();
  ASSERT_EQ(Kept(session), true);
  EXPECT_TRUE(BodyOf(Out("one.example")) == wire);
}

}  // namespace
}  // namespace sluice::delivery
