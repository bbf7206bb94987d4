// The start that reads indexes (TakeStock, then Takeover) beside the plain one that reads every
// record (Recover): the same is found, wherever a segment's index is missing, damaged, or has just
// room; and what the two hand out is enough to go on with. crash_test.cc compares them over drawn
// histories.

#include "engine/spool/takeover.h"

#include <gtest/gtest.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/base/random.h"
#include "tests/engine/spool/same_start.h"
#include "tests/engine/spool/spool_words.h"

namespace sluice::spool {
namespace {

constexpr uint64_t kSegmentBytes = 8192;
constexpr Log::Options kSmall = {.number = 0,
                                 .segment_bytes = kSegmentBytes,
                                 .outcome_reserve_bytes = 1024,
                                 .free_segments_kept = 2};

Recovered MustRecover(MemoryDisk& disk) {
  disk.Kill();
  absl::StatusOr<Recovered> recovered = Recover(disk);
  EXPECT_TRUE(recovered.ok()) << recovered.status();
  return *std::move(recovered);
}

uint64_t ExpectSame(MemoryDisk& disk, SameStart options = {}) {
  return ExpectSameStart(disk, MustRecover(disk), options);
}

Stock MustTakeStock(MemoryDisk& disk) {
  disk.Kill();
  absl::StatusOr<Stock> stock = TakeStock(disk);
  EXPECT_TRUE(stock.ok()) << stock.status();
  return *std::move(stock);
}

// Where a segment's index stands, as the next segment of its log says.
struct Indexed {
  SegmentId segment;
  uint64_t ends = 0;
  uint64_t begins = 0;
  uint64_t end = 0;
};

std::vector<Indexed> IndexesOn(MemoryDisk& disk) {
  disk.Kill();
  std::vector<Indexed> found;
  const absl::StatusOr<std::vector<Beginning>> beginnings = ReadBeginnings(disk);
  EXPECT_TRUE(beginnings.ok());
  for (const Beginning& beginning : *beginnings) {
    if (!beginning.next || beginning.next->previous_ends == 0) continue;
    found.push_back({.segment = beginning.segment.id,
                     .ends = beginning.next->previous_ends,
                     .begins = beginning.next->previous_begins,
                     .end = beginning.next->previous_bytes});
  }
  return found;
}

WindowRecord Window(absl::string_view destination, uint64_t number) {
  return {.key = {.destination = std::string(destination)},
          .number = number,
          .at = At(1),
          .period = std::chrono::minutes(60),
          .reserved = static_cast<uint32_t>(number)};
}

AcceptedRecord Promise(uint64_t id, uint64_t bytes) {
  AcceptedRecord promise = Accepted(id, bytes, 0);
  for (const char* address : {"a@x.example", "b@x.example", "c@y.example"}) {
    promise.recipients.push_back(Recipient(address));
  }
  return promise;
}

// A life of a log over several segments, with everything in it that an index knows.
void Live(LogOnDisk& log) {
  uint64_t number = 1;
  for (uint64_t id = 1; id <= 40; ++id) {
    log.Accept(Promise(id, 200 + id));
    if (id % 5 == 0) log->AppendWindow(Window(id % 2 == 0 ? "x" : "y", number++), At(1));
    const uint64_t before = id > 12 ? id - 12 : id;
    if (id % 2 == 0) {
      log->AppendOutcome({.id = {before}, .recipients = {0}}, At(2));
    } else {
      // One round, in two records: two replies.
      for (const uint32_t recipient : {0u, 1u}) {
        log->AppendDeferred({.id = {before},
                             .attempts = static_cast<uint16_t>(id),
                             .next_attempt = At(static_cast<int64_t>(id)),
                             .last_reply = "450 " + std::to_string(recipient),
                             .recipients = {recipient}},
                            At(2));
      }
    }
    if (id % 3 == 0) log->AppendDone({before}, At(2));
    if (id % 7 == 0) {  // Moved, with what it was then.
      AcceptedRecord moved = Promise(id, 200 + id);
      moved.recipients[2].state = RecipientState::kBounced;
      log.Accept(moved, /*again=*/true);
    }
    if (id % 4 == 0) log.Commit();
  }
  log.Commit();
}

// --- The same is found.

TEST(Takeover, EmptySpoolHoldsNothing) {
  MemoryDisk disk;
  EXPECT_EQ(ExpectSame(disk), 0u);
}

TEST(Takeover, FindsWhatRecoveryFinds) {
  MemoryDisk disk;
  LogOnDisk log(disk, kSmall);
  Live(log);
  EXPECT_GT(MustRecover(disk).messages.size(), 20u);
  EXPECT_GE(ExpectSame(disk), 3u);
  // Again after a restart: the segment that was written to last has no index, and never gets one.
  disk.Kill();
  log.Start();
  log.Accept(100, 100);
  log.Commit();
  EXPECT_GE(ExpectSame(disk), 3u);
}

TEST(Takeover, RoundInSeveralRecordsIsOneDeferral) {
  MemoryDisk disk;
  Segment segment(disk, 0, 1);
  segment.Begins().Body(1, 0, "x").Promise(1, 1, 3);
  segment.Deferred(1, 1, {0, 1, 2});
  const uint64_t begin = segment.used();
  segment.Deferred(1, 2, {0}).Deferred(1, 2, {2}).Deferred(1, 2, {1});
  ExpectSame(disk);
  Stock stock = MustTakeStock(disk);
  Takeover takeover(disk, std::move(stock.segments), stock.changes);
  const auto taken = takeover.Next();
  ASSERT_TRUE(taken.ok() && *taken != nullptr);
  ASSERT_EQ((*taken)->groups.size(), 1u);
  const TakenMessage::Group& group = (*taken)->groups[0];
  EXPECT_EQ(group.attempts, 2);
  EXPECT_EQ(group.deferred.segment, segment.id());
  EXPECT_EQ(group.deferred.offset, begin);
  EXPECT_EQ(group.deferred.offset + group.deferred.bytes, segment.used());
  EXPECT_EQ(*takeover.Next(), nullptr);
  EXPECT_EQ(*takeover.Next(), nullptr);  // And stays so.
}

// The crash came when only one of two was recorded. The round before stands right before it.
TEST(Takeover, RoundThatWasCutOffIsNotTheOneBefore) {
  MemoryDisk disk;
  Segment segment(disk, 0, 1);
  segment.Begins().Body(1, 0, "x").Promise(1, 1, 2).Deferred(1, 1, {0, 1}).Deferred(1, 2, {0});
  ExpectSame(disk);
}

TEST(Takeover, WhatStoodBeforeAMoveCountsNoMore) {
  MemoryDisk disk;
  Segment first(disk, 0, 1), second(disk, 0, 2);
  first.Begins().Body(1, 0, "x").Promise(1, 1, 2).Deferred(1, 9, {0, 1}).Outcome(1, {0});
  AcceptedRecord moved = Accepted(1, 1, 2);
  moved.recipients[0].state = RecipientState::kDelivered;
  second.Begins(first.id(), first.used()).Body(1, 0, "x").Promise(moved);
  ExpectSame(disk);
}

TEST(Takeover, WindowWithTheGreatestNumberCounts) {
  MemoryDisk disk;
  Segment(disk, 0, 1).Begins().Window(5, "a.example", 50).Window(3, "a.example", 30);
  Segment(disk, 1, 2).Begins().Window(2, "a.example", 20).Window(6, "b.example", 6);
  ExpectSame(disk);
}

// What a shard writes for messages that another shard made: all logs that hold their records.
TEST(Takeover, LogsWithMessagesOfOneShardStayTogether) {
  const auto id = [](uint64_t us, uint64_t shard) { return us << 8 | shard; };
  MemoryDisk disk;
  Segment(disk, 1, 1).Begins().Body(id(1, 1), 0, "x").Promise(id(1, 1), 1);
  Segment(disk, 2, 2).Begins().Body(id(2, 2), 0, "y").Promise(id(2, 2), 1);
  Segment(disk, 3, 3).Begins().Done(id(2, 2));  // Took log 2 on.
  Segment(disk, 4, 4).Begins().Body(id(3, 4), 0, "z").Promise(id(3, 4), 1);
  Segment(disk, 3, 5).Begins().Outcome(id(3, 4), {0});  // And log 4.
  // A body alone: of a move that was cut off.
  Segment(disk, 6, 6).Begins().Body(id(4, 7), 0, "u");
  Segment(disk, 7, 7).Begins().Body(id(4, 7), 0, "u").Promise(id(4, 7), 1);
  for (const uint64_t shards : {1u, 2u, 3u, 5u}) ExpectSame(disk, {.shards = shards});
  std::vector<uint16_t> keepers;
  for (const StockSegment& segment : MustTakeStock(disk).segments) {
    keepers.push_back(segment.live.keeper);
  }
  EXPECT_EQ(keepers, (std::vector<uint16_t>{1, 2, 2, 2, 2, 6, 6}));
}

TEST(Takeover, MessageWithoutWaitingRecipientsIsTakenToBeEnded) {
  MemoryDisk disk;
  Segment(disk, 0, 1).Begins().Body(1, 0, "x").Promise(1, 1).Outcome(1, {0});
  ExpectSame(disk);
}

// --- The bytes of the index are needed, and are believed only where they check.

// Every byte of every index on the disk, changed: nothing of it is believed, all is found.
TEST(Takeover, DamagedIndexIsReplacedByTheRecords) {
  MemoryDisk disk;
  LogOnDisk log(disk, kSmall);
  Live(log);
  const Recovered plain = MustRecover(disk);
  const std::vector<Indexed> indexes = IndexesOn(disk);
  ASSERT_GE(indexes.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    const Indexed& index = indexes[i];
    for (uint64_t offset = index.ends; offset < index.end; ++offset) {
      disk.BytesOf(index.segment)[offset] ^= std::byte{0x55};
      const uint64_t indexed = ExpectSameStart(disk, plain, {.damaged = true});
      EXPECT_EQ(indexed, indexes.size() - (offset < index.begins ? 1 : 0)) << offset;
      disk.BytesOf(index.segment)[offset] ^= std::byte{0x55};
      if (testing::Test::HasFailure()) FAIL() << offset;
    }
  }
}

// A segment that has an index is not read: else the index would be for nothing.
TEST(Takeover, RecordsBeforeAnIndexAreNotRead) {
  MemoryDisk disk;
  LogOnDisk log(disk, kSmall);
  for (uint64_t id = 1; id <= 40; ++id) log.Accept(id, 500);
  log.Commit();
  const Recovered plain = MustRecover(disk);
  const std::vector<Indexed> indexes = IndexesOn(disk);
  ASSERT_GE(indexes.size(), 2u);
  std::vector<std::vector<std::byte>> kept;
  for (const Indexed& index : indexes) {
    std::vector<std::byte>& bytes = disk.BytesOf(index.segment);
    kept.push_back(bytes);
    std::fill(bytes.begin() + kSegmentRecordBytes,
              bytes.begin() + static_cast<std::ptrdiff_t>(index.ends), std::byte{0});
  }
  Stock stock = MustTakeStock(disk);
  EXPECT_EQ(stock.damaged_records, 0u);
  Takeover takeover(disk, std::move(stock.segments), stock.changes);
  size_t taken = 0;
  for (auto next = takeover.Next(); next.ok() && *next != nullptr; next = takeover.Next()) ++taken;
  EXPECT_EQ(taken, plain.messages.size());
}

// A record of an index at `at`, without the encoder of indexes: a body's record with the same
// payload, and then the type, 9, and FORMAT.md's checksum.
void PutIndexRecord(MemoryDisk& disk, SegmentId segment, uint64_t at, absl::string_view payload) {
  std::byte* record = disk.BytesOf(segment).data() + at;
  std::memcpy(record + 24, payload.data(), payload.size());
  record[8] = static_cast<std::byte>(payload.size());
  record[9] = static_cast<std::byte>(payload.size() >> 8);
  record[12] = std::byte{9};
  const uint64_t checksum = XXH3_64bits_withSeed(record + 8, 16 + payload.size(), segment.value);
  std::memcpy(record, &checksum, 8);
  ASSERT_TRUE(DecodeRecord(segment, Bytes(disk.BytesOf(segment)).subspan(at)));
}

// It checks, and says what no index says: nonsense in either part, entries of the other part, and
// good entries before the nonsense, which are met again in the records.
TEST(Takeover, IndexThatIsNoneIsReplacedByTheRecords) {
  MemoryDisk disk;
  LogOnDisk log(disk, kSmall);
  Live(log);
  const Recovered plain = MustRecover(disk);
  for (const Indexed& index : IndexesOn(disk)) {
    const std::vector<std::byte> good = disk.BytesOf(index.segment);
    for (const bool is_ends : {true, false}) {
      const uint64_t at = is_ends ? index.ends : index.begins;
      const std::string payload =
          AsText(DecodeRecord(index.segment, Bytes(good).subspan(at))->payload);
      for (const char part : {0, 1, 2}) {
        std::string nonsense(payload.size(), '\3');
        nonsense[0] = part;
        PutIndexRecord(disk, index.segment, at, nonsense);
        ExpectSameStart(disk, plain, {.damaged = true});
      }
      std::string half = payload;
      std::fill(half.begin() + static_cast<std::ptrdiff_t>(half.size() / 2), half.end(), '\3');
      PutIndexRecord(disk, index.segment, at, half);
      ExpectSameStart(disk, plain, {.damaged = true});
      disk.BytesOf(index.segment) = good;
    }
  }
}

TEST(Takeover, UnreadableDiskIsAnError) {
  MemoryDisk disk;
  LogOnDisk log(disk, kSmall);
  Live(log);
  disk.Kill();
  disk.faults.read_error = EIO;
  EXPECT_FALSE(TakeStock(disk).ok());
  disk.faults.read_error = 0;
  Stock stock = MustTakeStock(disk);
  Takeover takeover(disk, std::move(stock.segments), stock.changes);
  disk.faults.read_error = EIO;
  absl::Status failed;
  for (int i = 0; i < 100 && failed.ok(); ++i) failed = takeover.Next().status();
  EXPECT_FALSE(failed.ok());
}

// --- The end of a segment: records and index fit exactly, or just do not.

// A promise of each length in a segment of its own. Its index takes, by FORMAT.md, 24 bytes for
// each of its two records and 7 for padding; a part each; the origins, 41; that it has been moved,
// 17; the promise's entry, 52 and for its one group 20 and the destination's 11. A record that
// begins a batch may stand before it, 32.
TEST(SegmentEnd, LongPromiseLeavesRoomForItsIndexOrNone) {
  constexpr uint64_t kIndexBytes = 2 * (24 + 7 + 1) + 41 + 17 + 52 + 31 + 32;
  int with = 0, without = 0;
  for (size_t length = 7000; length < 7930; ++length) {
    MemoryDisk disk;
    LogOnDisk log(disk, kSmall);
    log.Accept(1, 2000);
    AcceptedRecord promise = Accepted(1, 2000);  // It is moved.
    promise.envelope_id = std::string(length, 'e');
    std::vector<std::byte> encoded;
    promise.body.resize(1);
    EncodeAccepted({1}, promise, encoded);
    const uint64_t room = kSegmentBytes - kSegmentRecordBytes - encoded.size();
    log.Accept(promise, /*again=*/true);
    uint64_t id = 2;
    log.Accept(id, 1000);
    ASSERT_EQ(log->segments(), 3u);
    while (log->segments() < 4) log.Accept(++id, 1000);  // The next has an index, of its own.
    log.Commit();
    ASSERT_FALSE(log->failed());
    EXPECT_EQ(MustRecover(disk).messages.size(), id);
    ExpectSame(disk);
    const std::vector<Indexed> indexes = IndexesOn(disk);
    const bool has_index = indexes.size() == 3;
    EXPECT_EQ(has_index, room >= kIndexBytes);
    EXPECT_EQ(indexes.back().segment, SegmentId::Of(0, 3));
    ++(has_index ? with : without);
    ASSERT_FALSE(testing::Test::HasFailure()) << length;
  }
  EXPECT_GT(with, 0);
  EXPECT_GT(without, 0);
}

// The last record of a segment, of each length.
TEST(SegmentEnd, EveryFillLevelIsSealedWithItsIndex) {
  uint64_t least_left = kSegmentBytes;
  for (size_t filler = 1; filler <= kSegmentBytes / 4; ++filler) {
    MemoryDisk disk;
    LogOnDisk log(disk, kSmall);
    uint64_t id = 1;
    for (; id <= 4; ++id) log.Accept(id, 1000);
    log.Accept(id, filler);
    if (filler % 3 == 0) log.Commit();
    for (uint64_t end = 1; log->segments() < 2; ++end) {  // Short ones, until it is full.
      if (filler % 2 == 0) {
        log->AppendDone({end + 100}, At(1));
      } else {
        log->AppendOutcome({.id = {end + 100}, .recipients = {0}}, At(1));
      }
      if (filler % 5 == 0) log.Commit();
    }
    log.Commit();
    ASSERT_FALSE(log->failed());
    const std::vector<Indexed> indexes = IndexesOn(disk);
    ASSERT_EQ(indexes.size(), 1u) << filler;
    ASSERT_LE(indexes[0].end, kSegmentBytes);
    least_left = std::min(least_left, kSegmentBytes - indexes[0].end);
    EXPECT_EQ(ExpectSame(disk), 1u);
    ASSERT_FALSE(testing::Test::HasFailure()) << filler;
  }
  // At the fullest, no more is lost than a short record asks for: 32 bytes, as many again and 96
  // for its entry, and two batches.
  EXPECT_LT(least_left, 2 * 32 + 96 + 2 * 32u);
}

}  // namespace
}  // namespace sluice::spool
