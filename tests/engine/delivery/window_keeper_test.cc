// The keeper of windows over a log on a disk in memory: what is durable is told of, what is not
// comes back as it was before, segments are kept and given back, and what a start makes of it all.

#include "engine/delivery/window_keeper.h"

#include <cerrno>

#include "engine/delivery/window_record.h"
#include "gtest/gtest.h"
#include "tests/engine/spool/spool_words.h"

namespace sluice::delivery {
namespace {

using spool::SeenBy;
using spool::WindowRecord;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr uint64_t kSegmentBytes = 8192;
constexpr spool::Log::Options kSmall = {.number = 0,
                                        .segment_bytes = kSegmentBytes,
                                        .outcome_reserve_bytes = 1024,
                                        .free_segments_kept = 2};

class WindowKeeperTest : public testing::Test {
 protected:
  WindowKeeperTest() { Start(); }

  // With what the disk holds, as the shard that owns all domains, and keeps all segments.
  void Start() {
    absl::StatusOr<spool::Recovered> recovered = spool::Recover(disk_);
    ASSERT_TRUE(recovered.ok());
    std::vector<InheritedWindow> inherited;
    for (spool::RecoveredWindow& window : recovered->windows) {
      inherited.push_back({.record = window.record,
                           .segment = holds_ ? window.segment : spool::SegmentId{},
                           .owned = owns_});
    }
    log_ =
        std::make_unique<spool::Log>(kSmall, disk_, recovered->segments, recovered->next_sequence);
    keeper_ = std::make_unique<WindowKeeper>(options_, *log_, std::move(inherited),
                                             recovered->greatest_window, now_);
    ASSERT_TRUE(log_->Begin(now_.wall).ok());
    Turn();
  }
  // The process is gone for that long. The clock of the next one begins anew.
  void KillAndStart(Duration away = {}) {
    disk_.Kill();
    now_.wall += away;
    now_.instant = Instant(minutes(1));
    Start();
  }
  void Pass(Duration duration) {
    now_.wall += duration;
    now_.instant += duration;
  }

  void Commit() {
    while (true) {
      const spool::Step step = log_->NextStep();
      if (step.kind == spool::StepKind::kNone) return;
      log_->OnDone(disk_.Perform(step));
    }
  }
  void Turn() {
    keeper_->Turn(now_);
    log_->Reclaim();
    Commit();
  }
  // Mail that comes and goes, and leaves so many segments dead.
  void FillLog(size_t segments) {
    const std::string body(1900, 'x');
    const uint64_t until = log_->open_batch() + 6 * segments;
    while (log_->open_batch() < until) {
      const spool::Bytes parts[] = {spool::AsBytes(body)};
      log_->AppendBody({next_id_}, 0, parts, now_.wall);
      log_->AppendDone({next_id_++}, now_.wall);
      Commit();
      Turn();
    }
  }

  WindowRecord State(absl::string_view destination, uint32_t reserved,
                     std::vector<SeenBy> seen = {}) {
    return {.key = {.destination = std::string(destination)},
            .period = minutes(60),
            .reserved = reserved,
            .seen = std::move(seen)};
  }
  uint64_t Keep(absl::string_view destination, uint32_t reserved, std::vector<SeenBy> seen = {}) {
    return keeper_->Keep(State(destination, reserved, std::move(seen)), now_);
  }
  SeenBy Ago(Duration duration, uint32_t recipients) {
    return {.by = now_.wall - duration, .recipients = recipients};
  }
  std::vector<uint64_t> Kept() {
    std::vector<KeptWindow> kept;
    keeper_->TakeKept(kept);
    std::vector<uint64_t> numbers;
    for (const KeptWindow& window : kept) numbers.push_back(window.number);
    return numbers;
  }
  std::vector<SeenBy> Restored(absl::string_view destination) {
    const std::vector<WindowRecord> records = keeper_->TakeRestored(destination, now_);
    EXPECT_LE(records.size(), 1u);
    return records.empty() ? std::vector<SeenBy>() : records[0].seen;
  }

  Now now_ = {.instant = Instant(hours(1)), .wall = spool::At(0)};
  spool::MemoryDisk disk_;
  WindowKeeper::Options options_;
  bool owns_ = true;
  bool holds_ = true;
  std::unique_ptr<spool::Log> log_;
  std::unique_ptr<WindowKeeper> keeper_;
  uint64_t next_id_ = 1;
};

TEST_F(WindowKeeperTest, TellsOfARecordWhenItIsDurable) {
  const uint64_t first = Keep("a.example", 16);
  const uint64_t second = Keep("b.example", 16);
  EXPECT_GT(first, 0u);
  EXPECT_GT(second, first);
  EXPECT_TRUE(Kept().empty());
  log_->OnDone(disk_.Perform(log_->NextStep()));
  const uint64_t third = Keep("c.example", 16);  // Goes with the next batch.
  EXPECT_FALSE(keeper_->busy());
  log_->OnDone(disk_.Perform(log_->NextStep()));
  EXPECT_TRUE(keeper_->busy());
  EXPECT_EQ(Kept(), (std::vector<uint64_t>{first, second}));
  EXPECT_FALSE(keeper_->AtRest());
  Commit();
  EXPECT_EQ(Kept(), (std::vector<uint64_t>{third}));
  EXPECT_TRUE(keeper_->AtRest());
}

TEST_F(WindowKeeperTest, AStartCountsWhatWasReservedAsSeen) {
  Keep("a.example", 16, {Ago(minutes(50), 3), Ago(minutes(10), 4)});
  Commit();
  KillAndStart(minutes(20));  // The first three have left.
  EXPECT_EQ(Restored("a.example"), (std::vector<SeenBy>{Ago(minutes(30), 4), Ago({}, 16)}));
  EXPECT_TRUE(Restored("a.example").empty());  // Given once.
  EXPECT_TRUE(Restored("b.example").empty());
}

TEST_F(WindowKeeperTest, TheLastDurableRecordCounts) {
  Keep("a.example", 16);
  Commit();
  Keep("a.example", 17);
  Commit();
  Keep("a.example", 18);
  KillAndStart();
  EXPECT_EQ(Restored("a.example"), (std::vector<SeenBy>{Ago({}, 17)}));
}

TEST_F(WindowKeeperTest, WhatAStartCountedKeepsItsTimeOverTheNext) {
  Keep("a.example", 16);
  Commit();
  KillAndStart();
  Pass(minutes(40));
  KillAndStart();
  EXPECT_EQ(Restored("a.example"), (std::vector<SeenBy>{Ago(minutes(40), 16)}));
  Pass(minutes(20));
  KillAndStart();
  EXPECT_TRUE(Restored("a.example").empty());
}

TEST_F(WindowKeeperTest, AWallClockThatWasSetBackMeansThatNoTimeHasPassed) {
  Keep("a.example", 16, {Ago(minutes(10), 4)});
  Commit();
  KillAndStart(-hours(5));
  // Both were seen by now, at the latest: one pair.
  EXPECT_EQ(Restored("a.example"), (std::vector<SeenBy>{Ago({}, 20)}));
}

TEST_F(WindowKeeperTest, AWallClockThatIsSetWhileItRunsChangesNothing) {
  for (const Duration step : {Duration(hours(3)), Duration(-hours(3))}) {
    Keep("a.example", 0, {Ago(minutes(10), 4)});
    Commit();
    now_.wall += step;
    Turn();
    KillAndStart(minutes(5));
    EXPECT_EQ(Restored("a.example"), (std::vector<SeenBy>{Ago(minutes(15), 4)}));
  }
}

TEST_F(WindowKeeperTest, MorePairsThanARecordHoldsAreMerged) {
  std::vector<SeenBy> seen;
  for (int i = 65; i > 0; --i) seen.push_back(Ago(seconds(i), 1));
  Keep("a.example", 7, seen);
  Commit();
  KillAndStart();
  const std::vector<SeenBy> restored = Restored("a.example");
  ASSERT_EQ(restored.size(), 65u);
  EXPECT_EQ(restored[0], Ago(seconds(64), 2));
  EXPECT_EQ(restored[64], Ago({}, 7));
}

TEST_F(WindowKeeperTest, ReservedOnesAreMovedAndLastForEver) {
  Keep("a.example", 16);
  Commit();
  Pass(hours(100));
  FillLog(20);
  EXPECT_LE(log_->segments(), 5u);
  KillAndStart();
  EXPECT_EQ(Restored("a.example"), (std::vector<SeenBy>{Ago({}, 16)}));
}

TEST_F(WindowKeeperTest, SettledOnesAreMovedUntilAllInThemIsAPeriodOld) {
  Keep("a.example", 0, {Ago(minutes(20), 5)});
  Commit();
  Pass(minutes(39));
  FillLog(20);
  EXPECT_EQ(keeper_->windows(), 1u);
  Pass(minutes(1));
  Turn();
  EXPECT_EQ(keeper_->windows(), 0u);
  EXPECT_EQ(log_->living_bytes(), 0u);
  FillLog(1);
  EXPECT_LE(log_->segments(), 2u);
}

TEST_F(WindowKeeperTest, AnEndLeavesNothing) {
  Keep("a.example", 16);
  Commit();
  EXPECT_EQ(Kept().size(), 1u);
  const uint64_t end = Keep("a.example", 0);
  EXPECT_EQ(keeper_->windows(), 0u);
  EXPECT_EQ(log_->living_bytes(), 0u);
  Commit();
  EXPECT_EQ(Kept(), std::vector<uint64_t>{end});
  KillAndStart();
  EXPECT_TRUE(Restored("a.example").empty());
}

TEST_F(WindowKeeperTest, TheEndOfAWindowWithoutARecordIsKeptAtOnce) {
  const uint64_t end = Keep("a.example", 0);
  EXPECT_GT(end, 0u);
  EXPECT_EQ(Kept(), std::vector<uint64_t>{end});
}

TEST_F(WindowKeeperTest, OneMoreThanTheBoundIsRefused) {
  options_.windows_max = 2;
  KillAndStart();
  EXPECT_GT(Keep("a.example", 16), 0u);
  EXPECT_GT(Keep("b.example", 16), 0u);
  EXPECT_EQ(Keep("c.example", 16), 0u);
  EXPECT_GT(Keep("a.example", 17), 0u);
  EXPECT_GT(Keep("a.example", 0), 0u);  // It ends, and leaves its place.
  EXPECT_GT(Keep("c.example", 16), 0u);
}

TEST_F(WindowKeeperTest, WithoutSpaceAReserveIsRefusedAndASettlementWaits) {
  Keep("a.example", 16);
  Commit();
  Kept();
  disk_.faults.capacity_bytes = disk_.allocated_bytes();
  while (log_->MayMove(1, now_.wall)) {
    log_->AppendDone({1}, now_.wall);
    Commit();
  }
  EXPECT_EQ(Keep("a.example", 40), 0u);
  EXPECT_EQ(Keep("b.example", 16), 0u);
  const uint64_t settled = Keep("a.example", 0, {Ago({}, 5)});
  EXPECT_GT(settled, 0u);
  Turn();
  EXPECT_TRUE(Kept().empty());
  disk_.faults.capacity_bytes = UINT64_MAX;
  Pass(seconds(2));  // A full disk is asked again once a second.
  Turn();
  EXPECT_EQ(Kept(), std::vector<uint64_t>{settled});
  EXPECT_FALSE(log_->failed());
  KillAndStart();
  EXPECT_EQ(Restored("a.example"), (std::vector<SeenBy>{Ago(seconds(2), 5)}));
}

TEST_F(WindowKeeperTest, NothingIsKeptOnceTheLogHasFailed) {
  Keep("a.example", 16);
  disk_.faults.sync_error = EIO;
  Commit();
  ASSERT_TRUE(log_->failed());
  EXPECT_TRUE(Kept().empty());
  EXPECT_EQ(Keep("a.example", 17), 0u);
  EXPECT_EQ(Keep("b.example", 0), 0u);
  keeper_->Turn(now_);
  EXPECT_TRUE(keeper_->AtRest());
}

// The segment's shard is not the owner: it keeps the record for a period, as it is.
TEST_F(WindowKeeperTest, AnothersWindowIsHeldForAPeriod) {
  const uint64_t number = Keep("a.example", 16);
  Commit();
  owns_ = false;
  KillAndStart();
  EXPECT_TRUE(Restored("a.example").empty());
  Pass(minutes(59));
  FillLog(20);
  disk_.Kill();
  const absl::StatusOr<spool::Recovered> recovered = spool::Recover(disk_);
  ASSERT_TRUE(recovered.ok());
  ASSERT_EQ(recovered->windows.size(), 1u);
  EXPECT_EQ(recovered->windows[0].record.number, number);
  EXPECT_EQ(recovered->windows[0].record.reserved, 16u);
  KillAndStart();  // From here on, another hour.
  Pass(minutes(60));
  Turn();
  EXPECT_EQ(keeper_->windows(), 0u);
}

TEST_F(WindowKeeperTest, AnOwnerWithoutTheSegmentWritesItsOwn) {
  const uint64_t number = Keep("a.example", 16);
  Commit();
  holds_ = false;
  KillAndStart();
  EXPECT_EQ(Restored("a.example"), (std::vector<SeenBy>{Ago({}, 16)}));
  disk_.Kill();
  const absl::StatusOr<spool::Recovered> recovered = spool::Recover(disk_);
  ASSERT_TRUE(recovered.ok());
  ASSERT_EQ(recovered->windows.size(), 1u);
  EXPECT_GT(recovered->windows[0].record.number, number);
  EXPECT_EQ(recovered->windows[0].record.reserved, 0u);
}

// --- Between states and records.

TEST(WindowRecord, KeepsAgesOverTheChangeOfClocks) {
  const Now now = {.instant = Instant(hours(5)), .wall = spool::At(1000)};
  policy::WindowState state = {.scope = {.each_address = true, .each_source = true},
                               .key = {.address = *IpAddress::Parse("192.0.2.1"), .source = 3},
                               .period = minutes(60),
                               .reserved = 20,
                               .ahead = 16,
                               .seen = {{.by = Instant(hours(5) - minutes(7)), .recipients = 2}}};
  spool::WindowRecord record = RecordOf("a.example", state, "vg1", now);
  EXPECT_EQ(record.key.destination, "a.example");
  EXPECT_EQ(record.key.source, "vg1");
  EXPECT_EQ(record.reserved, 20u);
  EXPECT_EQ(record.seen, (std::vector<SeenBy>{{.by = spool::At(1000 - 420), .recipients = 2}}));

  record.reserved = 0;
  const Now later = {.instant = Instant(minutes(1)), .wall = spool::At(1060)};
  const policy::WindowState back = StateOf(record, 5, later);
  EXPECT_EQ(back.scope, state.scope);
  EXPECT_EQ(back.key.address, state.key.address);
  EXPECT_EQ(back.key.source, 5u);
  EXPECT_EQ(back.part, policy::WindowPart::kScope);
  ASSERT_EQ(back.seen.size(), 1u);
  EXPECT_EQ(back.seen[0].by, Instant(minutes(1) - minutes(8)));  // Before this clock began.
  EXPECT_EQ(StateOf(record, std::nullopt, later).part, policy::WindowPart::kBefore);
}

}  // namespace
}  // namespace sluice::delivery
