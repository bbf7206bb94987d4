// A body that is too large for memory goes to the end of the log in pieces, while it is lent,
// ended, or cut off by a crash: of what was promised, one whole copy can be found at any time.

#include <cerrno>

#include "tests/engine/delivery/home_words.h"

namespace sluice::delivery {
namespace {

using spool::SegmentId;

class HomeMoveTest : public HomeTest {
 protected:
  static constexpr uint64_t kSegmentBytes = 2 << 20;
  static constexpr uint64_t kPieceBytes = 512 << 10;
  static constexpr uint64_t kLarge = 3 * kPieceBytes + 12345;  // Over two segments, at least.

  HomeMoveTest() {
    log_options_ = {.segment_bytes = kSegmentBytes, .outcome_reserve_bytes = kSegmentBytes / 8};
    options_.body_blocks = 64;  // 1 MiB: less than the body.
    options_.bounce_profiles.by_default.initial_retry = minutes(10);
  }

  // Accepted, tried, and waiting for its next try.
  Message& Waits(const std::string& wire, const Texts& recipients = {"a@old.example"}) {
    Incoming* incoming = Begin();
    for (size_t at = 0; at < wire.size(); at += kReceived) {
      Sends(*incoming, absl::string_view(wire).substr(at, kReceived));
      Settle();
    }
    const Handle session = Ends(*incoming, recipients);
    Settle();
    EXPECT_EQ(Kept(session), true);
    Parcel& parcel = Out("old.example");
    Message& message = *parcel.message;
    Deferred(parcel);
    return message;
  }
  // Mail passes until the log wants the message's segment back and its move has begun.
  void PassUntilItMoves() {
    io_.Hold(Kind::kRead);
    for (int i = 0; i < 100 && io_.in_flight(Kind::kRead) == 0; ++i) PassThrough(1, 200000);
    ASSERT_EQ(io_.in_flight(Kind::kRead), 1u);
  }
  void FreeAll() {
    for (const Kind kind : {Kind::kWrite, Kind::kRead, Kind::kSync}) io_.Free(kind);
    Settle();
  }
  static std::string At(spool::MemoryDisk& disk, const std::vector<spool::Extent>& extents) {
    std::string text;
    for (const spool::Extent& extent : extents) {
      const io::Bytes segment = disk.BytesOf(extent.segment);
      absl::StrAppend(&text, io::TextOf(segment.subspan(extent.offset, extent.bytes)));
    }
    return text;
  }
  std::string BodyOf(const Message& message) { return At(disk_, message.extents); }
  // If the power went now, or the process ended, the message would be there once, with its body.
  void ExpectOneWholeCopy(uint64_t seed, const std::string& wire) {
    spool::MemoryDisk disk = disk_;
    if (seed == 0) {
      disk.Kill();
    } else {
      Random random(seed);
      disk.Crash(random);
    }
    const spool::Recovered left = *spool::Recover(disk);
    ASSERT_EQ(left.messages.size(), 1u);
    EXPECT_TRUE(At(disk, left.messages[0].body) == wire);
    EXPECT_EQ(left.messages[0].accepted.recipients[0].state, spool::RecipientState::kWaiting);
  }
};

TEST_F(HomeMoveTest, ALargeMessageThatWaitsIsMovedAndIsAsItCame) {
  Start();
  const std::string wire = WireOf(1, kLarge);
  const Message& message = Waits(wire);
  const SegmentId first = message.kept->first_segment;
  PassThrough(60, 200000);
  EXPECT_FALSE(OnDisk(first));
  EXPECT_NE(message.kept->first_segment, first);
  EXPECT_TRUE(BodyOf(message) == wire);
  EXPECT_EQ(home_->blocks_taken(), 0u);
  EXPECT_LE(disk_.allocated_bytes(), 8 * kSegmentBytes);
  Pass(minutes(15));
  Parcel& again = Out("old.example");
  EXPECT_EQ(again.attempts, 1u);
  ASSERT_EQ(Ask(again), BodyState::kLent);
  Delivered(again);
  EXPECT_EQ(home_->messages(), 0u);
  EXPECT_EQ(log_->living_bytes(), 0u);
}

TEST_F(HomeMoveTest, EachPieceWaitsForTheOneBefore) {
  Start();
  Waits(WireOf(1, kLarge));
  PassUntilItMoves();
  io_.Hold(Kind::kSync);
  io_.Free(Kind::kRead);
  Settle();
  const uint64_t reads = io_.reads_begun();
  Settle();
  EXPECT_EQ(io_.in_flight(Kind::kSync), 1u);
  EXPECT_EQ(io_.in_flight(Kind::kRead), 0u);
  EXPECT_EQ(io_.reads_begun(), reads);
  Step();
  EXPECT_EQ(io_.in_flight(Kind::kRead), 1u);
  FreeAll();
}

TEST_F(HomeMoveTest, ACrashAnywhereInItLeavesOneWholeCopy) {
  Start();
  const std::string wire = WireOf(1, kLarge);
  Waits(wire);
  sender_ = "";
  PassUntilItMoves();
  io_.Hold(Kind::kWrite);
  io_.Hold(Kind::kSync);
  disk_.faults.write_bytes_max = 200000;  // In several writes.
  int steps = 0;
  for (; io_.in_flight() > 0; ++steps) {
    for (uint64_t seed = 0; seed < 4; ++seed) ExpectOneWholeCopy(seed, wire);
    Step();
  }
  EXPECT_GT(steps, 12);
  PowerCut();
  for (const Kind kind : {Kind::kWrite, Kind::kRead, Kind::kSync}) io_.Free(kind);
  Start();
  EXPECT_EQ(home_->messages(), 1u);
  Pass(minutes(15));
  Parcel& parcel = Out("old.example");
  EXPECT_TRUE(BodyOf(*parcel.message) == wire);
}

// What a crash left of a copy goes with its segments, and does not count.
TEST_F(HomeMoveTest, ACopyThatACrashCutOffIsMadeAnew) {
  Start();
  const std::string wire = WireOf(1, kLarge);
  Waits(wire);
  for (int crash = 0; crash < 3; ++crash) {
    PassUntilItMoves();
    while (io_.in_flight(Kind::kWrite) + io_.in_flight(Kind::kSync) == 0) Step();
    while (io_.in_flight(Kind::kRead) == 0) Step();  // One piece is durable.
    Kill();
    io_.Free(Kind::kRead);
    Start();
    ASSERT_EQ(home_->messages(), 1u);
  }
  PassThrough(60, 200000);
  Pass(minutes(15));
  Parcel& parcel = Out("old.example");
  EXPECT_TRUE(BodyOf(*parcel.message) == wire);
  EXPECT_LE(disk_.allocated_bytes(), 8 * kSegmentBytes);
}

TEST_F(HomeMoveTest, WhereAReadFailsItStaysAndIsTriedAgainAMinuteLater) {
  Start();
  const std::string wire = WireOf(1, kLarge);
  const Message& message = Waits(wire);
  const SegmentId first = message.kept->first_segment;
  for (int good_reads = 0; good_reads < 4; ++good_reads) {
    PassUntilItMoves();
    for (int i = 0; i < good_reads; ++i) {
      while (io_.in_flight(Kind::kRead) == 0) Step();
      Step();
    }
    while (io_.in_flight(Kind::kRead) == 0) Step();
    disk_.faults.read_error = EIO;
    io_.Free(Kind::kRead);
    Settle();
    disk_.faults.read_error = 0;
    EXPECT_EQ(message.kept->first_segment, first);
    EXPECT_FALSE(message.reading);
    const uint64_t reads = io_.reads_begun();
    PassThrough(3, 200000);
    EXPECT_EQ(io_.reads_begun(), reads);
    io_.Hold(Kind::kRead);
    Pass(seconds(61));
    EXPECT_EQ(io_.reads_begun(), reads + 1);
  }
  io_.Free(Kind::kRead);
  PassThrough(60, 200000);
  EXPECT_FALSE(OnDisk(first));
  EXPECT_TRUE(BodyOf(message) == wire);
}

TEST_F(HomeMoveTest, ADamagedBodyIsNotMoved) {
  Start();
  const Message& message = Waits(WireOf(1, kLarge));
  const SegmentId first = message.kept->first_segment;
  const spool::Extent last = message.extents.back();
  disk_.BytesOf(last.segment).at(last.offset) ^= std::byte{1};
  PassThrough(60, 200000);
  EXPECT_EQ(message.kept->first_segment, first);
  EXPECT_TRUE(OnDisk(first));
}

// --- While something else goes on.

TEST_F(HomeMoveTest, WhoHasItLentKeepsItsPlaceUntilItIsBack) {
  Start();
  const std::string wire = WireOf(1, kLarge);
  Message& message = Waits(wire);
  const SegmentId first = message.kept->first_segment;
  Pass(minutes(15));
  Parcel& parcel = Out("old.example");
  ASSERT_EQ(Ask(parcel), BodyState::kLent);
  PassThrough(60, 200000);
  EXPECT_TRUE(OnDisk(first));
  EXPECT_EQ(message.kept->first_segment, first);
  EXPECT_TRUE(BodyOf(message) == wire);
  Deferred(parcel);
  EXPECT_NE(message.kept->first_segment, first);
  PassThrough(5, 200000);
  EXPECT_FALSE(OnDisk(first));
  EXPECT_TRUE(BodyOf(message) == wire);
}

// Else a message that is always lent to somebody would never go.
TEST_F(HomeMoveTest, WhoAsksWhenTheCopyIsThereComesAgain) {
  Start();
  const std::string wire = WireOf(1, kLarge);
  Message& message = Waits(wire, {"a@old.example", "b@other.example"});
  const SegmentId first = message.kept->first_segment;
  Parcel& other = Out("other.example");
  ASSERT_EQ(Ask(other), BodyState::kLent);
  PassThrough(60, 200000);
  ASSERT_EQ(message.kept->first_segment, first);
  Pass(minutes(15));
  Parcel& parcel = Out("old.example");
  EXPECT_EQ(Ask(parcel), BodyState::kNoRoom);
  Delivered(other);
  EXPECT_NE(message.kept->first_segment, first);
  Returns(parcel, ParcelResult::kRecalled);
  Pass(seconds(5));
  Parcel& again = Out("old.example");
  EXPECT_EQ(Ask(again), BodyState::kLent);
  EXPECT_TRUE(BodyOf(message) == wire);
  Delivered(again);
  EXPECT_EQ(home_->messages(), 0u);
}

TEST_F(HomeMoveTest, AMessageThatEndsMeanwhileIsForgottenAfterwards) {
  for (const int pieces : {0, 1}) {
    sender_ = "";
    Start();
    Waits(WireOf(1, kLarge));
    Pass(minutes(15));
    Parcel& parcel = Out("old.example");
    PassUntilItMoves();
    if (pieces == 1) {
      while (io_.in_flight(Kind::kWrite) == 0) Step();
      io_.Hold(Kind::kWrite);
    }
    Refused(parcel);  // At RCPT: the body was never asked for.
    EXPECT_EQ(home_->messages(), 1u);
    FreeAll();
    EXPECT_EQ(home_->messages(), 0u);
    EXPECT_EQ(log_->living_bytes(), 0u);
    EXPECT_TRUE(home_->AtRest());
    PowerCut();
    Start();
    EXPECT_EQ(home_->messages(), 0u);
    PowerCut();
  }
}

TEST_F(HomeMoveTest, ADrainGivesItUp) {
  Start();
  const std::string wire = WireOf(1, kLarge);
  const Message& message = Waits(wire);
  const SegmentId first = message.kept->first_segment;
  PassUntilItMoves();
  home_->BeginDrain();
  Turn();
  EXPECT_FALSE(home_->AtRest());  // The read is in flight.
  io_.Free(Kind::kRead);
  Settle();
  EXPECT_TRUE(home_->AtRest());
  EXPECT_EQ(message.kept->first_segment, first);
  const uint64_t reads = io_.reads_begun();
  Pass(seconds(61));
  EXPECT_EQ(io_.reads_begun(), reads);  // Nor is it begun again.
  PowerCut();
  Start();
  Pass(minutes(15));
  EXPECT_TRUE(BodyOf(*Out("old.example").message) == wire);
}

TEST_F(HomeMoveTest, ALogThatFailsInItLosesNothing) {
  Start();
  const std::string wire = WireOf(1, kLarge);
  Waits(wire);
  PassUntilItMoves();
  disk_.faults.write_error = EIO;
  io_.Free(Kind::kRead);
  Settle();
  ASSERT_TRUE(home_->log_failed());
  EXPECT_TRUE(home_->AtRest());
  disk_.faults.write_error = 0;
  PowerCut();
  Start();
  Pass(minutes(15));
  EXPECT_TRUE(BodyOf(*Out("old.example").message) == wire);
}

TEST_F(HomeMoveTest, WithoutSpaceItStays) {
  Start();
  const std::string wire = WireOf(1, kLarge);
  const Message& message = Waits(wire);
  const SegmentId first = message.kept->first_segment;
  PassUntilItMoves();
  disk_.faults.capacity_bytes = 0;
  io_.Free(Kind::kRead);
  Settle();
  EXPECT_FALSE(home_->log_failed());
  disk_.faults.capacity_bytes = UINT64_MAX;
  Pass(seconds(61));
  PassThrough(60, 200000);
  EXPECT_NE(message.kept->first_segment, first);
  EXPECT_TRUE(BodyOf(message) == wire);
}

TEST_F(HomeMoveTest, SeveralGoOneAfterTheOther) {
  Start();
  std::vector<std::pair<const Message*, std::string>> messages;
  for (uint64_t i = 0; i < 3; ++i) {
    messages.emplace_back(nullptr, WireOf(i, kLarge));
    messages.back().first = &Waits(messages.back().second);
  }
  const SegmentId newest = messages.back().first->kept->first_segment;
  PassThrough(150, 200000);
  for (const auto& [message, wire] : messages) {
    EXPECT_GT(message->kept->first_segment, newest);
    EXPECT_TRUE(BodyOf(*message) == wire);
  }
}

}  // namespace
}  // namespace sluice::delivery
