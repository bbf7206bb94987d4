// The log of one shard on a disk in memory: when a batch is durable, how segments follow each
// other, when they are given back, and what the log does when the disk is full or fails.

#include "engine/spool/log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

#include "engine/base/random.h"
#include "tests/engine/spool/spool_words.h"

namespace sluice::spool {
namespace {

using Kind = MemoryDisk::Act::Kind;

constexpr uint64_t kSegmentBytes = 8192;
constexpr Log::Options kSmall = {.number = 0,
                                 .segment_bytes = kSegmentBytes,
                                 .outcome_reserve_bytes = 1024,
                                 .free_segments_kept = 2};

TEST(Log, BatchIsDurableWhenItIsSynced) {
  MemoryDisk disk;
  LogOnDisk log(disk, kSmall);
  log.Commit();
  const uint64_t batch = log->open_batch();
  EXPECT_EQ(log->durable(), batch - 1);
  log.Accept(1, 500);
  EXPECT_EQ(log->open_batch(), batch);
  const Step write = log->NextStep();
  EXPECT_EQ(write.kind, StepKind::kWrite);
  EXPECT_EQ(log->open_batch(), batch + 1);
  EXPECT_EQ(log->NextStep().kind, StepKind::kNone);  // One at a time.
  log->OnDone(disk.Perform(write));
  EXPECT_EQ(log->durable(), batch - 1);
  const Step sync = log->NextStep();
  EXPECT_EQ(sync.kind, StepKind::kSync);
  log->OnDone(disk.Perform(sync));
  EXPECT_EQ(log->durable(), batch);
  EXPECT_EQ(log->NextStep().kind, StepKind::kNone);
}

TEST(Log, WhatIsAppendedDuringASyncIsTheNextBatch) {
  MemoryDisk disk;
  LogOnDisk log(disk, kSmall);
  log.Commit();
  log.Accept(1, 100);
  const uint64_t first = log->open_batch();
  const Step write = log->NextStep();
  log.Accept(2, 100);
  log.Accept(3, 100);
  log->OnDone(disk.Perform(write));
  log->OnDone(disk.Perform(log->NextStep()));
  EXPECT_EQ(log->durable(), first);
  log.Commit();
  EXPECT_EQ(log->durable(), first + 1);
}

TEST(Log, BatchOverSeveralSegmentsSyncsEachInTurn) {
  MemoryDisk disk;
  LogOnDisk log(disk, kSmall);
  log.Commit();
  disk.acts.clear();
  const uint64_t batch = log->open_batch();
  const SegmentId first = log.Accept(1, 3 * kSegmentBytes);
  const std::vector<MemoryDisk::Act> made = disk.acts;
  disk.acts.clear();
  log.Commit();
  EXPECT_EQ(log->durable(), batch);
  ASSERT_EQ(disk.acts.size(), 8u);  // 24 KiB and a little over four segments of 8 KiB.
  for (size_t i = 0; i < 4; ++i) {
    const SegmentId segment = SegmentId::Of(0, first.sequence() + i);
    EXPECT_EQ(disk.acts[2 * i], (MemoryDisk::Act{Kind::kWrite, segment}));
    EXPECT_EQ(disk.acts[2 * i + 1], (MemoryDisk::Act{Kind::kSync, segment}));
  }
  EXPECT_EQ(log->segments(), 4u);
}

TEST(Log, ShortWritesAreFinished) {
  MemoryDisk disk;
  disk.faults.write_bytes_max = 37;
  LogOnDisk log(disk, kSmall);
  log.Accept(1, 5000);
  log.Commit();
  disk.Kill();
  const auto recovered = Recover(disk);
  ASSERT_TRUE(recovered.ok());
  ASSERT_EQ(recovered->messages.size(), 1u);
  EXPECT_EQ(BodyOnDisk(disk, recovered->messages[0]), BodyOf(1, 5000));
}

TEST(Log, ExtentNamesTheBodysOwnBytes) {
  MemoryDisk disk;
  LogOnDisk log(disk, kSmall);
  const Bytes parts[] = {AsBytes("Hel"), AsBytes("lo")};
  const Extent extent = log->AppendBody({1}, 0, parts, At(0));
  log.Commit();
  EXPECT_EQ(extent.bytes, 5u);
  EXPECT_EQ(AsText(Bytes(disk.BytesOf(extent.segment)).subspan(extent.offset, 5)), "Hello");
  EXPECT_GE(log->DescriptorOf(extent.segment), 0);
  EXPECT_EQ(log->DescriptorOf(SegmentId::Of(0, 99)), -1);
}

TEST(Log, PieceAtItsBoundIsTakenAndOneMoreIsNot) {
  MemoryDisk disk;
  LogOnDisk log(disk, kSmall);
  EXPECT_EQ(log->piece_bytes_max(), kSegmentBytes / 4);
  const std::string body(kSegmentBytes / 4 + 1, 'x');
  const Bytes fits[] = {AsBytes(body).first(kSegmentBytes / 4)};
  EXPECT_EQ(log->AppendBody({1}, 0, fits, At(0)).bytes, kSegmentBytes / 4);
  const Bytes over[] = {AsBytes(body)};
  EXPECT_DEATH(log->AppendBody({1}, 0, over, At(0)), "CHECK");
  EXPECT_DEATH(log->AppendBody({1}, 0, {}, At(0)), "CHECK");
}

// --- Giving back.

// A log whose first segment is full and all dead but for what the test says.
struct Rolled {
  explicit Rolled(MemoryDisk& disk, Log::Options options = kSmall) : log(disk, options) {
    log.Commit();
    first = log.Accept(1, 6000);
    second = log.Accept(2, 6000);
    log.Commit();
  }
  LogOnDisk log;
  SegmentId first;
  SegmentId second;
};

TEST(Reclaim, SegmentWaitsForTheBatchThatEndedItsMessages) {
  MemoryDisk disk;
  Rolled rolled(disk);
  LogOnDisk& log = rolled.log;
  log.Finish(1, rolled.first, 6000);
  log->Reclaim();
  EXPECT_TRUE(disk.Holds(rolled.first));
  const Step write = log->NextStep();
  log->Reclaim();
  EXPECT_TRUE(disk.Holds(rolled.first));
  log->OnDone(disk.Perform(write));
  log->Reclaim();
  EXPECT_TRUE(disk.Holds(rolled.first));
  log->OnDone(disk.Perform(log->NextStep()));
  log->Reclaim();
  EXPECT_FALSE(disk.Holds(rolled.first));
}

// The owner may say that a message died just before it appends why.
TEST(Reclaim, SegmentWaitsForWhatTheSameTurnAppends) {
  MemoryDisk disk;
  Rolled rolled(disk);
  LogOnDisk& log = rolled.log;
  log->Died(rolled.first, 6000);
  log->Reclaim();
  EXPECT_TRUE(disk.Holds(rolled.first));
  log->AppendDone({1}, At(2));
  log->Reclaim();
  EXPECT_TRUE(disk.Holds(rolled.first));
  log.Commit();
  log->Reclaim();
  EXPECT_FALSE(disk.Holds(rolled.first));
}

TEST(Reclaim, OnlyTheOldestGoes) {
  MemoryDisk disk;
  Rolled rolled(disk);
  LogOnDisk& log = rolled.log;
  const SegmentId third = log.Accept(3, 6000);
  log.Accept(4, 6000);
  EXPECT_GT(third, rolled.second);
  log.Finish(2, rolled.second, 6000);
  log.Finish(3, third, 6000);
  log.Commit();
  log->Reclaim();
  EXPECT_TRUE(disk.Holds(rolled.second));
  log.Finish(1, rolled.first, 6000);
  log.Commit();
  log->Reclaim();
  EXPECT_FALSE(disk.Holds(rolled.first));
  EXPECT_FALSE(disk.Holds(rolled.second));
}

TEST(Reclaim, TheNewestStaysEvenWhenNothingLives) {
  MemoryDisk disk;
  LogOnDisk log(disk, kSmall);
  const SegmentId only = log.Accept(1, 100);
  log.Finish(1, only, 100);
  log.Commit();
  log->Reclaim();
  EXPECT_TRUE(disk.Holds(only));
  EXPECT_EQ(log->segments(), 1u);
}

TEST(Reclaim, DeadSegmentIsKeptForReuseUpToTheBound) {
  for (const size_t kept : {0u, 1u, 2u}) {
    MemoryDisk disk;
    Log::Options options = kSmall;
    options.free_segments_kept = kept;
    LogOnDisk log(disk, options);
    std::vector<SegmentId> firsts;
    for (uint64_t id = 1; id <= 5; ++id) firsts.push_back(log.Accept(id, 7000));
    for (uint64_t id = 1; id <= 5; ++id) log.Finish(id, firsts[id - 1], 7000);
    log.Commit();
    disk.acts.clear();
    log->Reclaim();
    const auto recycled = std::count_if(disk.acts.begin(), disk.acts.end(),
                                        [](const auto& act) { return act.kind == Kind::kRecycle; });
    EXPECT_EQ(static_cast<size_t>(recycled), kept);
    EXPECT_EQ(log->segments(), 1u);
    EXPECT_EQ(disk.allocated_bytes(),
              (1 + std::max<size_t>(kept, disk.acts.back().kind == Kind::kCreate)) * kSegmentBytes);
  }
}

// A dead segment that is written again holds whole records of its former life behind its new ones.
TEST(Reclaim, FormerLifeOfASegmentIsNotRead) {
  MemoryDisk disk;
  LogOnDisk log(disk, kSmall);
  for (uint64_t id = 1; id <= 30; ++id) {
    const SegmentId first = log.Accept(id, 2000);
    log.Finish(id, first, 2000);
    log.Commit();
    log->Reclaim();
  }
  log.Accept(31, 300);
  log.Commit();
  disk.Kill();
  const auto recovered = Recover(disk);
  ASSERT_TRUE(recovered.ok());
  ASSERT_EQ(recovered->messages.size(), 1u);
  EXPECT_EQ(recovered->messages[0].accepted.id.value, 31u);
  EXPECT_EQ(recovered->damaged_records, 0u);
}

// --- Moving.

TEST(Move, OldestIsWantedOnceMoreThanTwoSegmentsAreDead) {
  MemoryDisk disk;
  LogOnDisk log(disk, kSmall);
  const SegmentId old = log.Accept(1, 100);
  std::vector<std::pair<uint64_t, SegmentId>> dead;
  uint64_t id = 2;
  // Dead bytes are those of all segments less 100: more than two segments' from the third on.
  while (log->segments() < 2) log.Finish(id, log.Accept(id, 1000), 1000), ++id;
  EXPECT_EQ(log->MoveWanted(), std::nullopt);
  while (log->segments() < 3) log.Finish(id, log.Accept(id, 1000), 1000), ++id;
  EXPECT_EQ(log->MoveWanted(), old);
}

TEST(Move, OneOldLivingMessageDoesNotHoldALongStreamOfDeadOnes) {
  MemoryDisk disk;
  LogOnDisk log(disk, kSmall);
  SegmentId old = log.Accept(1, 1500);
  for (uint64_t id = 2; id < 3000; ++id) {
    log.Finish(id, log.Accept(id, 1 + id % 1900), 1 + id % 1900);
    if (const auto wanted = log->MoveWanted()) {
      ASSERT_EQ(*wanted, old);
      ASSERT_TRUE(log->MayMove(1500, At(1)));
      log->Died(old, 1500);
      old = log.Accept(1, 1500);
    }
    log.Commit();
    log->Reclaim();
    // Twice what lives, two dead segments that are tolerated, the newest and the one being moved
    // to.
    ASSERT_LE(log->log_bytes(), 2 * log->living_bytes() + 4 * kSegmentBytes);
    ASSERT_LE(disk.allocated_bytes(), 2 * log->living_bytes() + 7 * kSegmentBytes);
  }
  disk.Kill();
  const auto recovered = Recover(disk);
  ASSERT_TRUE(recovered.ok());
  ASSERT_EQ(recovered->messages.size(), 1u);
  EXPECT_EQ(BodyOnDisk(disk, recovered->messages[0]), BodyOf(1, 1500));
}

// --- Windows.

WindowRecord Window(uint64_t number) {
  return {.key = {.destination = "example.com"},
          .number = number,
          .at = At(1),
          .period = std::chrono::minutes(60),
          .reserved = 16};
}

TEST(Windows, SegmentStaysWhileAWindowLivesInIt) {
  MemoryDisk disk;
  LogOnDisk log(disk, kSmall);
  const uint64_t bytes = WindowRecordBytes(Window(1));
  const SegmentId first = log->AppendWindow(Window(1), At(1));
  log->Lives(first, bytes);
  for (uint64_t id = 1; log->segments() < 3; ++id) log.Finish(id, log.Accept(id, 1000), 1000);
  log.Commit();
  log->Reclaim();
  EXPECT_TRUE(disk.Holds(first));
  EXPECT_EQ(log->living_bytes(), bytes);
  EXPECT_EQ(log->MoveWanted(), first);

  const SegmentId moved = log->AppendWindow(Window(1), At(2));
  log->Lives(moved, bytes);
  log->Died(first, bytes);
  log->Reclaim();
  EXPECT_TRUE(disk.Holds(first));  // Until the copy is durable.
  log.Commit();
  log->Reclaim();
  EXPECT_FALSE(disk.Holds(first));
  disk.Kill();
  const auto recovered = Recover(disk);
  ASSERT_TRUE(recovered.ok());
  ASSERT_EQ(recovered->windows.size(), 1u);
  EXPECT_EQ(recovered->windows[0].record.reserved, 16u);
}

TEST(Windows, AreWrittenNowhereWhenTheLogHasFailed) {
  MemoryDisk disk;
  LogOnDisk log(disk, kSmall);
  disk.faults.write_error = EIO;
  log.Commit();
  EXPECT_EQ(log->AppendWindow(Window(1), At(1)).value, 0u);
}

// --- A full disk (K13).

TEST(FullDisk, AcceptingIsRefusedBeforeOutcomesAre) {
  MemoryDisk disk;
  disk.faults.capacity_bytes = 2 * kSegmentBytes;
  LogOnDisk log(disk, kSmall);
  uint64_t id = 1;
  while (log->MayAccept(1000, At(1))) {
    log.Accept(id++, 1000);
    log.Commit();
  }
  EXPECT_GT(id, 8u);  // Two segments hold some 14 of them.
  EXPECT_FALSE(log->failed());
  // 1,024 bytes of reserve take at least ten outcomes of one recipient (48 bytes) and their ends
  // (32).
  for (uint64_t done = 1; done <= 10; ++done) {
    log->AppendOutcome({.id = {done}, .state = RecipientState::kDelivered, .recipients = {0}},
                       At(2));
    log->AppendDone({done}, At(2));
  }
  EXPECT_FALSE(log->failed());
  log.Commit();
  EXPECT_EQ(log->durable() + 1, log->open_batch());
}

// A reserve is worth what it says, whatever it is spent on: short ends and long ones, in one batch
// or in many, with small messages before it, whose entries in the index are longest beside them.
TEST(FullDisk, WhatIsAcceptedLeavesTheReserveForOutcomes) {
  uint64_t accepted_in_all = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    Random random(seed);
    MemoryDisk disk;
    Log::Options options = kSmall;
    options.segment_bytes = 8192 * (1 + random.Below(3));
    options.outcome_reserve_bytes = 8 * random.Between(16, 512);
    disk.faults.capacity_bytes = options.segment_bytes * random.Between(2, 5);
    LogOnDisk log(disk, options);
    const uint64_t body_max = random.Chance(0.5) ? 50 : 3000;
    const int recipients_max = random.Chance(0.5) ? 1 : 20;
    uint64_t accepted = 0;
    for (uint64_t id = 1;; ++id) {
      AcceptedRecord promise = Accepted(id, random.Between(1, body_max),
                                        static_cast<int>(random.Between(1, recipients_max)));
      for (RecipientRecord& recipient : promise.recipients) {  // An entry for each.
        recipient.destination = std::to_string(&recipient - promise.recipients.data());
      }
      promise.body.resize(4);  // At most so many pieces.
      std::vector<std::byte> encoded;
      EncodeAccepted({1}, promise, encoded);
      if (!log->MayAccept(promise.wire_bytes + encoded.size(), At(1))) break;
      log.Accept(promise);
      ++accepted;
      ASSERT_FALSE(log->failed()) << seed;
      if (random.Chance(0.3)) log.Commit();
      if (random.Chance(0.01)) break;
    }
    accepted_in_all += accepted;
    const bool many_batches = random.Chance(0.5);
    for (uint64_t spent = 0;;) {
      std::vector<uint32_t> recipients(random.Between(1, static_cast<uint64_t>(recipients_max)));
      const bool done = random.Chance(0.5);
      const uint64_t bytes = done ? 32 : 24 + 16 + (recipients.size() + 1) / 2 * 8;
      spent += bytes + (many_batches ? kBatchRecordBytes : 0);
      if (spent > options.outcome_reserve_bytes) break;
      if (many_batches) log.Commit();
      if (done) {
        log->AppendDone({1}, At(2));
      } else {
        log->AppendOutcome({.id = {1}, .recipients = recipients}, At(2));
      }
      ASSERT_FALSE(log->failed()) << seed << ": " << spent << " of "
                                  << options.outcome_reserve_bytes;
    }
    log.Commit();
    ASSERT_EQ(log->durable() + 1, log->open_batch());
  }
  EXPECT_GT(accepted_in_all, 4000u);
}

TEST(FullDisk, AcceptsAgainByItselfWhenThereIsSpace) {
  MemoryDisk disk;
  disk.faults.capacity_bytes = kSegmentBytes;
  LogOnDisk log(disk, kSmall);
  uint64_t id = 1;
  while (log->MayAccept(1000, At(1))) log.Accept(id++, 1000);
  disk.faults.capacity_bytes = UINT64_MAX;
  EXPECT_FALSE(log->MayAccept(1000, At(1)));  // Asked again once a second.
  EXPECT_TRUE(log->MayAccept(1000, At(2)));
}

TEST(FullDisk, AWallClockThatStepsBackDoesNotKeepIntakeShut) {
  MemoryDisk disk;
  disk.faults.capacity_bytes = kSegmentBytes;
  LogOnDisk log(disk, kSmall);
  uint64_t id = 1;
  while (log->MayAccept(1000, At(100000))) log.Accept(id++, 1000);
  disk.faults.capacity_bytes = UINT64_MAX;
  EXPECT_TRUE(log->MayAccept(1000, At(5)));
}

TEST(FullDisk, MovingMayUseHalfOfTheReserve) {
  MemoryDisk disk;
  disk.faults.capacity_bytes = kSegmentBytes;
  LogOnDisk log(disk, kSmall);
  uint64_t id = 1;
  while (log->MayAccept(100, At(1))) log.Accept(id++, 100);
  EXPECT_TRUE(log->MayMove(100, At(1)));
  while (log->MayMove(100, At(1))) log.Accept(id++, 100);
  EXPECT_FALSE(log->failed());
}

TEST(FullDisk, NothingLeftForOutcomesEndsTheLogAndItsBatch) {
  MemoryDisk disk;
  disk.faults.capacity_bytes = kSegmentBytes;
  LogOnDisk log(disk, kSmall);
  log.Commit();
  const uint64_t durable = log->durable();
  for (uint64_t i = 0; i < kSegmentBytes / 32; ++i) log->AppendDone({i}, At(1));
  EXPECT_TRUE(log->failed());
  EXPECT_EQ(log->failure().code(), absl::StatusCode::kResourceExhausted);
  log.Commit();
  EXPECT_EQ(log->durable(), durable);
}

TEST(FullDisk, MessageLargerThanASegmentIsMadeRoomFor) {
  MemoryDisk disk;
  LogOnDisk log(disk, kSmall);
  ASSERT_TRUE(log->MayAccept(5 * kSegmentBytes, At(1)));
  disk.faults.capacity_bytes = 0;
  log.Accept(1, 5 * kSegmentBytes);  // Needs nothing more.
  EXPECT_FALSE(log->failed());
}

TEST(FullDisk, ALogBeginsOnAFullDiskIfADeadSegmentIsThere) {
  MemoryDisk disk;
  {
    LogOnDisk log(disk, kSmall);
    log.Finish(1, log.Accept(1, 1000), 1000);
    log.Commit();
  }
  disk.Kill();
  disk.faults.capacity_bytes = disk.allocated_bytes();
  LogOnDisk log(disk, kSmall);
  EXPECT_EQ(log->segments(), 1u);
}

TEST(FullDisk, ALogThatCannotBeginSaysSo) {
  MemoryDisk disk;
  disk.faults.capacity_bytes = kSegmentBytes - 1;
  Log log(kSmall, disk, {}, 1);
  EXPECT_EQ(log.Begin(At(0)).code(), absl::StatusCode::kResourceExhausted);
}

// --- A failing disk (F33).

class FailingStep : public testing::TestWithParam<StepKind> {};

TEST_P(FailingStep, EndsTheLogForGood) {
  MemoryDisk disk;
  LogOnDisk log(disk, kSmall);
  log.Commit();
  log.Accept(1, 100);
  const uint64_t durable = log->durable();
  int& error = GetParam() == StepKind::kWrite ? disk.faults.write_error : disk.faults.sync_error;
  error = EIO;
  log.Commit();
  EXPECT_TRUE(log->failed());
  EXPECT_NE(log->failure().message().find("Input/output error"), std::string::npos);
  error = 0;  // A second sync would succeed, and mean nothing.
  log.Commit();
  EXPECT_EQ(log->durable(), durable);
  EXPECT_FALSE(log->MayAccept(1, At(10)));
  EXPECT_FALSE(log->MayMove(1, At(10)));
  log->AppendDone({1}, At(10));
  const SegmentId nowhere = log.AppendBodyOf(1);
  EXPECT_EQ(nowhere.value, 0u);
  log->Lives(nowhere, 100);  // As its owner says before it looks.
  log->Died(nowhere, 100);
  log->Reclaim();
  EXPECT_EQ(log->NextStep().kind, StepKind::kNone);
  EXPECT_EQ(log->MoveWanted(), std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(Log, FailingStep, testing::Values(StepKind::kWrite, StepKind::kSync));

TEST(FailingDisk, AWriteOfNothingIsAFailure) {
  MemoryDisk disk;
  LogOnDisk log(disk, kSmall);
  EXPECT_EQ(log->NextStep().kind, StepKind::kWrite);
  log->OnDone(0);
  EXPECT_TRUE(log->failed());
}

TEST(FailingDisk, ANameThatCannotBeChangedEndsTheLog) {
  for (const size_t kept : {0u, 2u}) {  // Removed, or recycled.
    MemoryDisk disk;
    Log::Options options = kSmall;
    options.free_segments_kept = kept;
    Rolled rolled(disk, options);
    rolled.log.Finish(1, rolled.first, 6000);
    rolled.log.Commit();
    disk.faults.name_error = EROFS;
    rolled.log->Reclaim();
    EXPECT_TRUE(rolled.log->failed());
    EXPECT_TRUE(disk.Holds(rolled.first));
  }
}

TEST(FailingDisk, AFailedStepMayComeBackAfterTheLogFailed) {
  MemoryDisk disk;
  disk.faults.capacity_bytes = kSegmentBytes;
  LogOnDisk log(disk, kSmall);
  const Step step = log->NextStep();
  for (uint64_t i = 0; i < kSegmentBytes / 32; ++i) log->AppendDone({i}, At(1));
  ASSERT_TRUE(log->failed());
  log->OnDone(disk.Perform(step));
  EXPECT_EQ(log->durable(), 0u);
}

}  // namespace
}  // namespace sluice::spool
