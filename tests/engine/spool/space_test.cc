// Space: the floor below which mail is not accepted, the segment that is kept back from it, and a
// start on a full disk. The disk in memory says what is free; what is expected is arithmetic on
// segments of 8 KiB.

#include <gtest/gtest.h>

#include "tests/engine/spool/spool_words.h"

namespace sluice::spool {
namespace {

constexpr uint64_t kSegmentBytes = 8192;

// As one that others write to as well.
class SharedDisk : public MemoryDisk {
 public:
  uint64_t FreeBytes() override {
    ++asked;
    return faults.capacity_bytes - allocated_bytes();
  }
  int asked = 0;
};

Log::Options Options(uint64_t floor, size_t kept_back) {
  return {.segment_bytes = kSegmentBytes,
          .outcome_reserve_bytes = 1024,
          .free_segments_kept = 2,
          .min_free_bytes = floor,
          .spares_kept_back = kept_back};
}

// Accepts messages of a kilobyte, each at a later second, until that is refused.
int Fill(LogOnDisk& log, int64_t& second, uint64_t first_id = 1) {
  for (int accepted = 0;; ++accepted) {
    if (accepted > 1000) ADD_FAILURE() << "it is never full";
    if (accepted > 1000 || !log->MayAccept(1000, At(second += 2))) return accepted;
    log.Accept(first_id + static_cast<uint64_t>(accepted), 1000);
    log.Commit();
  }
}

TEST(Space, NothingIsMadeForAcceptingBelowTheFloor) {
  SharedDisk disk;
  disk.faults.capacity_bytes = 10 * kSegmentBytes;
  LogOnDisk log(disk, Options(4 * kSegmentBytes, 0));
  int64_t second = 0;
  EXPECT_GT(Fill(log, second), 0);
  EXPECT_TRUE(log->low_space());
  EXPECT_EQ(disk.FreeBytes(), 4 * kSegmentBytes);
}

TEST(Space, OutcomesAndMovesGoOnBelowTheFloor) {
  SharedDisk disk;
  disk.faults.capacity_bytes = 10 * kSegmentBytes;
  LogOnDisk log(disk, Options(4 * kSegmentBytes, 0));
  int64_t second = 0;
  Fill(log, second);
  EXPECT_FALSE(log->MayAccept(1000, At(second += 2)));
  EXPECT_TRUE(log->MayMove(1000, At(second += 2)));
  for (int i = 0; i < 300; ++i) {
    log->AppendOutcome({.id = {1}, .state = RecipientState::kDelivered, .recipients = {0}},
                       At(second));
    log.Commit();
  }
  EXPECT_FALSE(log->failed());
  EXPECT_LT(disk.FreeBytes(), 4 * kSegmentBytes);
}

TEST(Space, SpaceThatReturnsIsUsedByItself) {
  SharedDisk disk;
  disk.faults.capacity_bytes = 10 * kSegmentBytes;
  LogOnDisk log(disk, Options(4 * kSegmentBytes, 0));
  int64_t second = 0;
  Fill(log, second);
  log->LookForSpace(At(second += 2));
  EXPECT_TRUE(log->low_space());
  disk.faults.capacity_bytes += 2 * kSegmentBytes;  // Somebody removed a file.
  EXPECT_TRUE(log->MayAccept(1000, At(second += 2)));
  EXPECT_TRUE(log->low_space());  // That is not much.
  log->LookForSpace(At(second += 2));
  EXPECT_FALSE(log->low_space());
  EXPECT_GT(Fill(log, second, 500), 0);
  EXPECT_EQ(disk.FreeBytes(), 4 * kSegmentBytes);
}

// What little is left would still take a small message.
TEST(Space, ASmallMessageIsNoSpaceForMuchMail) {
  SharedDisk disk;
  disk.faults.capacity_bytes = 10 * kSegmentBytes;
  LogOnDisk log(disk, Options(4 * kSegmentBytes, 0));
  int64_t second = 0;
  while (log->MayAccept(kSegmentBytes / 8, At(second += 2))) {
    log.Accept(static_cast<uint64_t>(second), 1000);
    log.Commit();
  }
  EXPECT_TRUE(log->MayAccept(100, At(second += 2)));
  log->LookForSpace(At(second += 2));
  EXPECT_TRUE(log->low_space());
}

TEST(Space, TheDiskIsAskedOnceASecond) {
  SharedDisk disk;
  disk.faults.capacity_bytes = 10 * kSegmentBytes;
  LogOnDisk log(disk, Options(4 * kSegmentBytes, 0));
  int64_t second = 0;
  Fill(log, second);
  const int before = disk.asked;
  for (int i = 0; i < 100; ++i) log->MayAccept(1000, At(second + 10));
  EXPECT_EQ(disk.asked, before + 1);
  log->MayAccept(1000, At(second + 11));
  EXPECT_EQ(disk.asked, before + 2);
}

TEST(Space, ASegmentIsKeptBackFromAccepting) {
  SharedDisk disk;
  disk.faults.capacity_bytes = 4 * kSegmentBytes;
  LogOnDisk log(disk, Options(0, 1));
  int64_t second = 0;
  Fill(log, second);
  EXPECT_EQ(disk.allocated_bytes(), 4 * kSegmentBytes);
  EXPECT_EQ(log->segments(), 3u);  // The fourth has not been begun.
}

TEST(Space, AStartOnAFullDiskBeginsWithTheSegmentKeptBack) {
  SharedDisk disk;
  disk.faults.capacity_bytes = 4 * kSegmentBytes;
  LogOnDisk log(disk, Options(0, 1));
  int64_t second = 0;
  const int accepted = Fill(log, second);
  disk.Kill();
  log.Start();  // It asserts that the log begins.
  EXPECT_FALSE(log->MayAccept(1000, At(second += 2)));
  disk.Kill();
  EXPECT_EQ(Recover(disk)->messages.size(), static_cast<size_t>(accepted));
}

// Without one: what is dead can be given back, when it is known what lives.
TEST(Space, AStartThatFindsNoSegmentBeginsWhenDeadOnesAreGivenBack) {
  SharedDisk disk;
  disk.faults.capacity_bytes = 4 * kSegmentBytes;
  LogOnDisk log(disk, Options(0, 0));
  int64_t second = 0;
  const SegmentId first = log.Accept(1, 7000);  // No other finds room behind it.
  log.Commit();
  Fill(log, second, 10);
  log.Finish(1, first, 7000);
  log.Commit();
  disk.Kill();
  const absl::StatusOr<Recovered> recovered = Recover(disk);
  ASSERT_TRUE(recovered.ok());
  ASSERT_EQ(recovered->segments.size(), 4u);
  Log next(Options(0, 0), disk, recovered->segments, recovered->next_sequence);
  next.Hold();
  ASSERT_TRUE(absl::IsResourceExhausted(next.Begin(At(second))));
  for (const RecoveredMessage& message : recovered->messages) {
    ASSERT_NE(message.first_segment, first);
    next.Lives(message.first_segment, message.log_bytes);
  }
  next.LetGo();
  EXPECT_TRUE(next.Begin(At(second)).ok());
  EXPECT_EQ(next.segments(), 4u);
}

}  // namespace
}  // namespace sluice::spool
