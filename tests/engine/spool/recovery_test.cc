// What recovery finds: living messages with the state of each recipient, over all logs; and how it
// tells a write that was cut off from damage, an empty segment from a foreign one.

#include "engine/spool/recovery.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>

#include "engine/base/limits.h"
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

TEST(Recovery, EmptySpoolHoldsNothing) {
  MemoryDisk disk;
  const Recovered recovered = MustRecover(disk);
  EXPECT_TRUE(recovered.messages.empty());
  EXPECT_TRUE(recovered.segments.empty());
  EXPECT_EQ(recovered.next_sequence, 1u);
}

TEST(Recovery, PromisedMessageComesBackWhole) {
  MemoryDisk disk;
  Segment segment(disk, 0, 4);
  segment.Begins().Body(7, 0, "Hello ").Body(7, 6, "world").Promise(7, 11, 2);
  const Recovered recovered = MustRecover(disk);
  ASSERT_EQ(recovered.messages.size(), 1u);
  const RecoveredMessage& message = recovered.messages[0];
  EXPECT_EQ(BodyOnDisk(disk, message), "Hello world");
  EXPECT_EQ(message.first_segment, segment.id());
  EXPECT_EQ(message.log_bytes,
            segment.used() - kSegmentRecordBytes);  // All but the segment record.
  EXPECT_EQ(recovered.records, 4u);
  EXPECT_EQ(recovered.next_sequence, 5u);
  EXPECT_EQ(recovered.greatest_id.value, 7u);
  ASSERT_EQ(recovered.segments.size(), 1u);
  EXPECT_EQ(recovered.segments[0].used_bytes, segment.used());
}

TEST(Recovery, BodyWithoutAPromiseIsNoMessage) {
  MemoryDisk disk;
  Segment(disk, 0, 1).Begins().Body(7, 0, "Hello");
  const Recovered recovered = MustRecover(disk);
  EXPECT_TRUE(recovered.messages.empty());
  EXPECT_EQ(recovered.incomplete_messages, 1u);
  EXPECT_EQ(recovered.damaged_records, 0u);
}

TEST(Recovery, PromiseWithoutItsWholeBodyIsNoMessage) {
  MemoryDisk disk;
  Segment segment(disk, 0, 1);
  segment.Begins();
  segment.Promise(7, 0);                                    // A body is never empty.
  segment.Promise(1, 5);                                    // Nothing of it.
  segment.Body(2, 0, "Hell").Promise(2, 5);                 // One byte short.
  segment.Body(3, 0, "Hello!").Promise(3, 5);               // One too many.
  segment.Body(4, 3, "lo").Promise(4, 5);                   // The front is gone.
  segment.Body(5, 0, "He").Body(5, 3, "lo").Promise(5, 5);  // A gap.
  segment.Body(6, 0, "Hello").Promise(6, 5);                // As it should be.
  const Recovered recovered = MustRecover(disk);
  ASSERT_EQ(recovered.messages.size(), 1u);
  EXPECT_EQ(recovered.messages[0].accepted.id.value, 6u);
  EXPECT_EQ(recovered.incomplete_messages, 6u);
}

// M2: one recipient has failed for good; a restart must not try it again.
TEST(Recovery, EachRecipientHasItsOwnState) {
  MemoryDisk disk;
  Segment(disk, 0, 1)
      .Begins()
      .Body(1, 0, "x")
      .Promise(1, 1, 4)
      .Deferred(1, 1, {0, 1, 2})
      .Outcome(1, {1}, RecipientState::kBounced)
      .Deferred(1, 2, {2})
      .Outcome(1, {3});
  const Recovered recovered = MustRecover(disk);
  const std::vector<RecipientRecord>& recipients = recovered.messages.at(0).accepted.recipients;
  EXPECT_EQ(recipients[0].state, RecipientState::kWaiting);
  EXPECT_EQ(recipients[0].attempts, 1);
  EXPECT_EQ(recipients[0].next_attempt, At(1));
  EXPECT_EQ(recipients[0].last_reply, "450 1");
  EXPECT_EQ(recipients[1].state, RecipientState::kBounced);
  EXPECT_EQ(recipients[2].state, RecipientState::kWaiting);
  EXPECT_EQ(recipients[2].attempts, 2);
  EXPECT_EQ(recipients[2].last_reply, "450 2");
  EXPECT_EQ(recipients[3].state, RecipientState::kDelivered);
  EXPECT_EQ(recipients[3].attempts, 0);
}

TEST(Recovery, RecipientThatTheMessageDoesNotHaveIsDamage) {
  MemoryDisk disk;
  Segment(disk, 0, 1).Begins().Body(1, 0, "x").Promise(1, 1, 2).Outcome(1, {1}).Outcome(1, {2});
  const Recovered recovered = MustRecover(disk);
  EXPECT_EQ(recovered.damaged_records, 1u);
  EXPECT_EQ(recovered.messages.at(0).accepted.recipients[1].state, RecipientState::kDelivered);
}

TEST(Recovery, DoneMessageIsGone) {
  MemoryDisk disk;
  Segment(disk, 0, 1).Begins().Body(1, 0, "x").Promise(1, 1).Outcome(1, {0}).Done(1);
  const Recovered recovered = MustRecover(disk);
  EXPECT_TRUE(recovered.messages.empty());
  EXPECT_EQ(recovered.incomplete_messages, 0u);
  EXPECT_EQ(recovered.greatest_id.value, 1u);
}

TEST(Recovery, MessageWithoutWaitingRecipientsStillLives) {
  MemoryDisk disk;
  Segment(disk, 0, 1).Begins().Body(1, 0, "x").Promise(1, 1).Outcome(1, {0});
  EXPECT_EQ(MustRecover(disk).messages.size(), 1u);
}

TEST(Recovery, WhatOnlyEndsAMessageIsNothing) {
  MemoryDisk disk;
  Segment(disk, 0, 1).Begins().Outcome(1, {0}).Done(1).Deferred(2, 1, {0});
  const Recovered recovered = MustRecover(disk);
  EXPECT_TRUE(recovered.messages.empty());
  EXPECT_EQ(recovered.incomplete_messages, 0u);
  EXPECT_EQ(recovered.damaged_records, 0u);
}

// --- Moved messages.

TEST(Recovery, MovedMessageIsWhereItWasMovedTo) {
  MemoryDisk disk;
  Segment first(disk, 0, 1), second(disk, 0, 2);
  first.Begins().Body(1, 0, "x").Promise(1, 1, 2).Outcome(1, {0});
  AcceptedRecord moved = Accepted(1, 1, 2);
  moved.recipients[0].state = RecipientState::kDelivered;
  moved.recipients[1].attempts = 9;
  second.Begins(first.id(), first.used()).Body(1, 0, "x").Promise(moved);
  const Recovered recovered = MustRecover(disk);
  ASSERT_EQ(recovered.messages.size(), 1u);
  EXPECT_EQ(recovered.messages[0].first_segment, second.id());
  EXPECT_EQ(recovered.messages[0].body.size(), 1u);
  EXPECT_EQ(recovered.messages[0].accepted.recipients[0].state, RecipientState::kDelivered);
  EXPECT_EQ(recovered.messages[0].accepted.recipients[1].attempts, 9);
}

TEST(Recovery, FinalStateStaysWhateverANewPromiseSays) {
  MemoryDisk disk;
  Segment(disk, 0, 1)
      .Begins()
      .Body(1, 0, "x")
      .Promise(1, 1, 2)
      .Outcome(1, {0})
      .Body(1, 0, "x")
      .Promise(1, 1, 2);
  const Recovered recovered = MustRecover(disk);
  EXPECT_EQ(recovered.messages.at(0).accepted.recipients[0].state, RecipientState::kDelivered);
  EXPECT_EQ(recovered.messages.at(0).accepted.recipients[1].state, RecipientState::kWaiting);
}

TEST(Recovery, PromiseOfAnotherMessageUnderTheSameIdIsDamage) {
  MemoryDisk disk;
  Segment segment(disk, 0, 1);
  segment.Begins().Body(1, 0, "ab").Promise(1, 2, 2);
  segment.Promise(1, 3, 2);                    // Another size,
  segment.Body(1, 0, "abc").Promise(1, 3, 2);  // with a body too;
  segment.Body(1, 0, "ab").Promise(1, 2, 1);   // other recipients.
  const Recovered recovered = MustRecover(disk);
  ASSERT_EQ(recovered.messages.size(), 1u);
  EXPECT_EQ(BodyOnDisk(disk, recovered.messages[0]), "ab");
  EXPECT_EQ(recovered.messages[0].accepted.recipients.size(), 2u);
  EXPECT_EQ(recovered.damaged_records, 3u);
}

// The segment in which it was first promised has been given back; what was said there since then
// has not.
TEST(Recovery, DeferralFromBeforeTheMoveIsOlderThanTheNewPromise) {
  MemoryDisk disk;
  AcceptedRecord moved = Accepted(1, 1, 2);
  moved.recipients[1].attempts = 2;
  Segment(disk, 0, 2).Begins().Deferred(1, 1, {1}).Outcome(1, {0}).Body(1, 0, "x").Promise(moved);
  const Recovered recovered = MustRecover(disk);
  EXPECT_EQ(recovered.messages.at(0).accepted.recipients[1].attempts, 2);
  EXPECT_EQ(recovered.messages.at(0).accepted.recipients[0].state, RecipientState::kDelivered);
}

TEST(Recovery, MoveThatWasCutOffLeavesTheOldPlace) {
  MemoryDisk disk;
  Segment first(disk, 0, 1), second(disk, 0, 2);
  first.Begins().Body(1, 0, "ab").Promise(1, 2);
  second.Begins(first.id(), first.used()).Body(1, 0, "a").Body(1, 1, "b");
  Recovered recovered = MustRecover(disk);
  ASSERT_EQ(recovered.messages.size(), 1u);
  EXPECT_EQ(recovered.messages[0].first_segment, first.id());
  // The next try begins at the front again.
  second.Body(1, 0, "a").Body(1, 1, "b").Promise(1, 2);
  recovered = MustRecover(disk);
  EXPECT_EQ(recovered.messages[0].first_segment, second.id());
  EXPECT_EQ(BodyOnDisk(disk, recovered.messages[0]), "ab");
}

TEST(Recovery, DamagedNewPlaceLeavesTheOldBodyAndTheNewState) {
  MemoryDisk disk;
  Segment first(disk, 0, 1), second(disk, 0, 2);
  first.Begins().Body(1, 0, "ab").Promise(1, 2);
  second.Begins(first.id(), first.used()).Body(1, 0, "ab").Damage().Promise(1, 2).Outcome(1, {0});
  second.Batch();
  const Recovered recovered = MustRecover(disk);
  ASSERT_EQ(recovered.messages.size(), 1u);
  EXPECT_EQ(recovered.messages[0].first_segment, first.id());
  EXPECT_EQ(recovered.messages[0].accepted.recipients[0].state, RecipientState::kDelivered);
  EXPECT_EQ(recovered.damaged_records, 1u);
}

// --- Several logs.

TEST(Recovery, EndCountsInWhicheverLogItStands) {
  MemoryDisk disk;
  Segment(disk, 2, 1).Begins().Body(1, 0, "x").Promise(1, 1, 2).Body(2, 0, "y").Promise(2, 1);
  Segment(disk, 0, 5).Begins().Outcome(1, {1}).Done(2);
  const Recovered recovered = MustRecover(disk);
  ASSERT_EQ(recovered.messages.size(), 1u);
  EXPECT_EQ(recovered.messages[0].accepted.recipients[1].state, RecipientState::kDelivered);
}

TEST(Recovery, EndCountsEvenWhereItStandsFirst) {
  MemoryDisk disk;
  Segment(disk, 0, 1).Begins().Outcome(1, {1}).Done(2);
  Segment(disk, 2, 5).Begins().Body(1, 0, "x").Promise(1, 1, 2).Body(2, 0, "y").Promise(2, 1);
  const Recovered recovered = MustRecover(disk);
  ASSERT_EQ(recovered.messages.size(), 1u);
  EXPECT_EQ(recovered.messages[0].accepted.recipients[1].state, RecipientState::kDelivered);
}

TEST(Recovery, LogsThatShareAMessageHaveOneKeeper) {
  MemoryDisk disk;
  Segment(disk, 1, 1).Begins().Body(1, 0, "x").Promise(1, 1);
  Segment(disk, 2, 2).Begins().Body(2, 0, "y").Promise(2, 1);
  Segment(disk, 3, 3).Begins().Done(2);  // Took log 2 on.
  Segment(disk, 4, 4).Begins().Body(3, 0, "z").Promise(3, 1);
  Segment(disk, 3, 5).Begins().Outcome(3, {0});  // And log 4.
  const Recovered recovered = MustRecover(disk);
  std::vector<uint16_t> keepers;
  for (const Log::LiveSegment& live : recovered.segments) keepers.push_back(live.keeper);
  EXPECT_EQ(keepers, (std::vector<uint16_t>{1, 2, 2, 2, 2}));
  ASSERT_EQ(recovered.messages.size(), 2u);
  EXPECT_EQ(recovered.messages[0].keeper, 1);
  EXPECT_EQ(recovered.messages[1].keeper, 2);
}

// --- Windows.

TEST(Recovery, OfOneWindowTheGreatestNumberCountsWhereverItStands) {
  MemoryDisk disk;
  Segment first(disk, 0, 1);
  first.Begins().Window(5, "a.example", 50).Window(3, "a.example", 30).Window(4, "b.example", 4);
  Segment second(disk, 1, 2);
  second.Begins().Window(2, "a.example", 20).Window(6, "b.example", 6);
  const Recovered recovered = MustRecover(disk);
  EXPECT_EQ(recovered.damaged_records, 0u);
  ASSERT_EQ(recovered.windows.size(), 2u);  // By number.
  EXPECT_EQ(recovered.windows[0].record.key.destination, "a.example");
  EXPECT_EQ(recovered.windows[0].record.reserved, 50u);
  EXPECT_EQ(recovered.windows[0].segment, first.id());
  EXPECT_EQ(recovered.windows[0].keeper, 0);
  EXPECT_EQ(recovered.windows[1].record.key.destination, "b.example");
  EXPECT_EQ(recovered.windows[1].record.reserved, 6u);
  EXPECT_EQ(recovered.windows[1].segment, second.id());
  EXPECT_EQ(recovered.windows[1].keeper, 1);
  EXPECT_EQ(recovered.greatest_window, 6u);
}

TEST(Recovery, WindowThatWasMovedIsWhereItWasMovedTo) {
  MemoryDisk disk;
  Segment(disk, 0, 1).Begins().Window(5, "a.example", 50);
  Segment second(disk, 0, 2);
  second.Begins().Window(5, "a.example", 50);
  const Recovered recovered = MustRecover(disk);
  ASSERT_EQ(recovered.windows.size(), 1u);
  EXPECT_EQ(recovered.windows[0].segment, second.id());
}

TEST(Recovery, PartsOfADestinationHaveWindowsOfTheirOwn) {
  MemoryDisk disk;
  Segment segment(disk, 0, 1);
  segment.Begins();
  segment.Window(1, "a.example", 1, WindowPart::kScope);
  segment.Window(2, "a.example", 2, WindowPart::kSystem);
  segment.Window(3, "a.example", 3, WindowPart::kBefore);
  const Recovered recovered = MustRecover(disk);
  ASSERT_EQ(recovered.windows.size(), 3u);
  for (uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(recovered.windows[i].record.key.part, static_cast<WindowPart>(i));
    EXPECT_EQ(recovered.windows[i].record.reserved, i + 1);
  }
}

TEST(Recovery, WindowThatWasCutOffLeavesTheOneBefore) {
  MemoryDisk disk;
  Segment segment(disk, 0, 1);
  segment.Begins().Window(1, "a.example", 10).Batch().Window(2, "a.example", 20).Damage();
  Recovered recovered = MustRecover(disk);
  ASSERT_EQ(recovered.windows.size(), 1u);
  EXPECT_EQ(recovered.windows[0].record.reserved, 10u);
  EXPECT_EQ(recovered.damaged_records, 0u);
}

TEST(Recovery, NextSequenceIsAboveThatOfAllLogs) {
  MemoryDisk disk;
  Segment(disk, 0, 3).Begins();
  Segment(disk, 9, 40).Begins();
  Segment(disk, 1, 7);  // Never begun.
  const Recovered recovered = MustRecover(disk);
  EXPECT_EQ(recovered.next_sequence, 41u);
  ASSERT_EQ(recovered.segments.size(), 3u);
  EXPECT_EQ(recovered.segments[1].segment.id, SegmentId::Of(1, 7));  // By sequence, then log.
  EXPECT_EQ(recovered.segments[1].used_bytes, 0u);
}

// --- The end, and damage.

TEST(Recovery, TornTailIsTheEnd) {
  // A cut at every byte of the last record, which was being written (K27).
  MemoryDisk disk;
  Segment segment(disk, 0, 1);
  segment.Begins().Body(1, 0, "x").Promise(1, 1);
  const uint64_t good = segment.used();
  AcceptedRecord torn = Accepted(2, 1);
  torn.recipients[0].last_reply = "450";  // Its last bytes: no zeros, which a cut would not change.
  segment.Body(2, 0, "y").Promise(torn);
  const std::vector<std::byte> bytes = disk.BytesOf(segment.id());
  for (uint64_t cut = good; cut < segment.used(); cut += 8) {
    std::vector<std::byte>& now = disk.BytesOf(segment.id());
    now = bytes;
    std::fill(now.begin() + static_cast<std::ptrdiff_t>(cut), now.end(), std::byte{0});
    const Recovered recovered = MustRecover(disk);
    ASSERT_EQ(recovered.messages.size(), 1u) << cut;
    EXPECT_EQ(recovered.damaged_records, 0u);
  }
}

TEST(Recovery, FileCutOffIsReadAsFarAsItGoes) {
  MemoryDisk disk;
  Segment segment(disk, 0, 1);
  segment.Begins().Body(1, 0, "x").Promise(1, 1).Body(2, 0, "y").Promise(2, 1);
  disk.BytesOf(segment.id()).resize(segment.used() - 1);
  EXPECT_EQ(MustRecover(disk).messages.size(), 1u);
}

TEST(Recovery, DamageIsPassedOverAndCounted) {
  MemoryDisk disk;
  Segment segment(disk, 0, 1);
  segment.Begins().Body(1, 0, "x").Promise(1, 1);
  segment.Body(2, 0, "y").Damage().Promise(2, 1);
  segment.Body(3, 0, "z").Promise(3, 1).Batch();
  const Recovered recovered = MustRecover(disk);
  ASSERT_EQ(recovered.messages.size(), 2u);
  EXPECT_EQ(recovered.messages[0].accepted.id.value, 1u);
  EXPECT_EQ(recovered.messages[1].accepted.id.value, 3u);
  EXPECT_EQ(recovered.damaged_records, 1u);
  EXPECT_EQ(recovered.incomplete_messages, 1u);
}

// The power went while a batch was written: the disk has its end and not its front. The outcome
// that stands there was the reason of a bounce that does not.
TEST(Recovery, BatchIsCutWhereItsWriteDidNotReachTheDisk) {
  MemoryDisk disk;
  Segment first(disk, 0, 1), second(disk, 0, 2);
  first.Begins().Body(1, 0, "x").Promise(1, 1, 2).Batch().Outcome(1, {0});
  const uint64_t whole = first.used();
  first.Body(2, 0, "bounce").Damage().Promise(2, 6).Outcome(1, {1}, RecipientState::kBounced);
  Recovered recovered = MustRecover(disk);
  ASSERT_EQ(recovered.messages.size(), 1u);
  EXPECT_EQ(recovered.messages[0].accepted.recipients[0].state, RecipientState::kDelivered);
  EXPECT_EQ(recovered.messages[0].accepted.recipients[1].state, RecipientState::kWaiting);
  EXPECT_EQ(recovered.damaged_records, 0u);
  EXPECT_EQ(recovered.segments[0].used_bytes, whole);

  // The next run goes on behind the cut, and the cut stays.
  second.Begins(first.id(), whole);
  recovered = MustRecover(disk);
  EXPECT_EQ(recovered.messages.at(0).accepted.recipients[1].state, RecipientState::kWaiting);
  EXPECT_EQ(recovered.damaged_records, 0u);
}

// With a batch behind it, it had been on the disk: damage, and its neighbours count.
TEST(Recovery, BatchBehindProvesThatTheOneBeforeWasWhole) {
  MemoryDisk disk;
  Segment segment(disk, 0, 1);
  segment.Begins().Body(1, 0, "x").Promise(1, 1, 2).Batch();
  segment.Body(2, 0, "bounce").Damage().Promise(2, 6).Outcome(1, {1}, RecipientState::kBounced);
  segment.Batch();
  const Recovered recovered = MustRecover(disk);
  ASSERT_EQ(recovered.messages.size(), 1u);
  EXPECT_EQ(recovered.messages[0].accepted.recipients[1].state, RecipientState::kBounced);
  EXPECT_EQ(recovered.damaged_records, 1u);
}

// Every single byte of a segment that is not the newest changed: all its other messages come back.
TEST(Recovery, OneBadByteCostsAtMostItsOwnMessage) {
  MemoryDisk disk;
  Segment first(disk, 0, 1), second(disk, 0, 2);
  first.Begins();
  for (uint64_t id = 1; id <= 3; ++id) first.Body(id, 0, BodyOf(id, 50)).Promise(id, 50);
  second.Begins(first.id(), first.used());
  for (uint64_t offset = 0; offset < first.used(); ++offset) {
    // A changed version is a question for the operator, see below.
    if (offset >= 32 && offset < 36) continue;
    first.DamageAt(offset);
    const Recovered recovered = MustRecover(disk);
    EXPECT_GE(recovered.messages.size(), 2u) << offset;
    EXPECT_EQ(recovered.damaged_records, 1u) << offset;
    EXPECT_EQ(recovered.segments[0].used_bytes, first.used());
    first.DamageAt(offset);
  }
}

TEST(Recovery, BadEndOfAnOlderSegmentIsDamageAndOfTheNewestIsNot) {
  MemoryDisk disk;
  Segment first(disk, 0, 1), second(disk, 0, 2);
  first.Begins().Body(1, 0, "x").Promise(1, 1).Damage();
  EXPECT_EQ(MustRecover(disk).damaged_records, 0u);
  second.Begins(first.id(), first.used());
  EXPECT_EQ(MustRecover(disk).damaged_records, 1u);
}

// Cut off in one run, sealed by the next: not damage, however often the engine is started.
TEST(Recovery, OldTornTailIsNotDamageLater) {
  MemoryDisk disk;
  {
    LogOnDisk log(disk, kSmall);
    log.Accept(1, 100);
    log.Commit();
    log.Accept(2, 3000);
    const Step step = log->NextStep();
    disk.faults.write_bytes_max = 1000;
    disk.Perform(step);
    disk.faults = {};
  }
  for (int start = 0; start < 3; ++start) {
    disk.Kill();
    LogOnDisk log(disk, kSmall);
    log.Accept(10 + static_cast<uint64_t>(start), 100);
    log.Commit();
    const Recovered recovered = MustRecover(disk);
    EXPECT_EQ(recovered.damaged_records, 0u);
    EXPECT_EQ(recovered.messages.size(), 2u + static_cast<size_t>(start));
  }
}

// A body may hold what looks like records; it is not searched while its own header is good.
TEST(Recovery, RecordsInsideABodyAreNotTaken) {
  std::vector<std::byte> forged;
  EncodeDone(SegmentId::Of(0, 1), {1}, forged);
  for (const bool damaged : {false, true}) {
    MemoryDisk disk;
    Segment segment(disk, 0, 1);
    segment.Begins().Body(1, 0, "x").Promise(1, 1).Body(2, 0, AsText(forged));
    if (damaged) segment.Damage();
    segment.Promise(2, forged.size());
    const Recovered recovered = MustRecover(disk);
    EXPECT_EQ(recovered.messages.size(), damaged ? 1u : 2u);
    EXPECT_EQ(recovered.messages.at(0).accepted.id.value, 1u);
  }
}

// Half a segment of headers that each claim the longest record: the search gives up, in bounded
// time.
TEST(Recovery, SearchHasABound) {
  MemoryDisk disk;
  constexpr uint64_t kBytes = 4 << 20;
  Segment segment(disk, 0, 1, kBytes);
  segment.Begins().Body(1, 0, "x").Promise(1, 1);
  std::vector<std::byte>& bytes = disk.BytesOf(segment.id());
  for (uint64_t at = segment.used() + 8; at + 24 < kBytes; at += 24) {
    bytes[at + 10] = std::byte{0x08};  // 512 KiB.
    bytes[at + 12] = std::byte{2};
    bytes[at + 16] = std::byte{1};
  }
  const Recovered recovered = MustRecover(disk);
  EXPECT_EQ(recovered.messages.size(), 1u);
}

TEST(Recovery, RecordsOverTheReadersChunksAreFound) {
  MemoryDisk disk;
  constexpr uint64_t kBytes = 16 << 20;
  LogOnDisk log(disk, {.segment_bytes = kBytes, .outcome_reserve_bytes = 1024});
  for (uint64_t id = 1; id <= 14; ++id) log.Accept(id, 1000000 + id * 4321);
  log.Commit();
  const Recovered recovered = MustRecover(disk);
  ASSERT_EQ(recovered.messages.size(), 14u);
  for (const RecoveredMessage& message : recovered.messages) {
    const uint64_t id = message.accepted.id.value;
    EXPECT_EQ(BodyOnDisk(disk, message), BodyOf(id, 1000000 + id * 4321));
  }
}

// The proof that it is damage lies chunks behind it: the search goes back.
TEST(Recovery, DamageLongBeforeTheNextBatchIsPassedOver) {
  MemoryDisk disk;
  LogOnDisk log(disk, {.segment_bytes = 16 << 20, .outcome_reserve_bytes = 1024});
  for (uint64_t id = 1; id <= 10; ++id) log.Accept(id, 1000000);
  log.Commit();
  log.Accept(11, 100);
  log.Commit();
  disk.BytesOf(SegmentId::Of(0, 1)).at(1000) ^= std::byte{1};
  const Recovered recovered = MustRecover(disk);
  ASSERT_EQ(recovered.messages.size(), 10u);
  EXPECT_EQ(recovered.messages.front().accepted.id.value, 2u);
  EXPECT_EQ(recovered.messages.back().accepted.id.value, 11u);
  EXPECT_EQ(recovered.damaged_records, 1u);
}

// --- Segments that are not ours, or not begun.

TEST(Recovery, UnknownVersionIsRefusedAndNothingTouched) {
  for (const uint32_t version : {1u, 3u}) {
    for (const bool checks : {true, false}) {
      MemoryDisk disk;
      Segment(disk, 0, 1).Begins().Body(1, 0, "x").Promise(1, 1);
      Segment other(disk, 1, 2);
      other.Begins({}, 0, version);
      if (!checks) other.Damage();
      disk.acts.clear();
      disk.Kill();
      const absl::StatusOr<Recovered> recovered = Recover(disk);
      EXPECT_EQ(recovered.status().code(), absl::StatusCode::kFailedPrecondition);
      const std::string said = "version " + std::to_string(version) + ",";
      EXPECT_NE(recovered.status().message().find(said), std::string::npos) << recovered.status();
      EXPECT_TRUE(disk.acts.empty());
    }
  }
}

TEST(Recovery, SegmentMadeReadyAndNotBegunIsFree) {
  MemoryDisk disk;
  Segment(disk, 0, 1).Begins().Body(1, 0, "x").Promise(1, 1);
  Segment(disk, 0, 2);  // Zeros.
  EXPECT_EQ(MustRecover(disk).segments.at(1).used_bytes, 0u);
}

TEST(Recovery, RecycledSegmentNotBegunIsFree) {
  MemoryDisk disk;
  Segment old(disk, 0, 1);
  old.Begins().Body(1, 0, "x").Promise(1, 1);
  Recovered recovered = MustRecover(disk);
  ASSERT_TRUE(disk.Recycle(recovered.segments[0].segment, SegmentId::Of(0, 2)).ok());
  recovered = MustRecover(disk);
  EXPECT_EQ(recovered.segments.at(0).used_bytes, 0u);
  EXPECT_TRUE(recovered.messages.empty());
  EXPECT_EQ(recovered.damaged_records, 0u);
}

// A process killed in the first write to a segment, at every byte, on zeros and on a former life.
TEST(Recovery, SegmentCutOffInItsFirstRecordIsFree) {
  for (const bool recycled : {false, true}) {
    for (size_t cut = 0; cut < kSegmentRecordBytes; ++cut) {
      MemoryDisk disk;
      if (recycled) {
        Segment(disk, 0, 1).Begins().Body(1, 0, "x").Promise(1, 1);
        const Recovered recovered = MustRecover(disk);
        ASSERT_TRUE(disk.Recycle(recovered.segments[0].segment, SegmentId::Of(0, 2)).ok());
      } else {
        Segment(disk, 0, 2);
      }
      std::vector<std::byte> first;
      EncodeSegment({.id = SegmentId::Of(0, 2), .created = At(9)}, first);
      std::memcpy(disk.BytesOf(SegmentId::Of(0, 2)).data(), first.data(), cut);
      // Its last 32 bytes are zeros here, on the disk too: it is whole before its end.
      const bool whole =
          DecodeRecord(SegmentId::Of(0, 2), disk.BytesOf(SegmentId::Of(0, 2))).has_value();
      const Recovered recovered = MustRecover(disk);
      EXPECT_EQ(recovered.segments.at(0).used_bytes, whole ? kSegmentRecordBytes : 0u) << cut;
      EXPECT_EQ(recovered.damaged_records, 0u) << cut;
    }
  }
}

TEST(Recovery, SegmentOfWhichNothingChecksIsNotFree) {
  MemoryDisk disk;
  Segment segment(disk, 0, 1);
  std::fill(disk.BytesOf(segment.id()).begin(), disk.BytesOf(segment.id()).end(), std::byte{'?'});
  const Recovered recovered = MustRecover(disk);
  EXPECT_EQ(recovered.damaged_records, 1u);
  EXPECT_EQ(recovered.segments.at(0).used_bytes, kSegmentBytes);
}

TEST(Recovery, UnreadableDiskIsAnError) {
  MemoryDisk disk;
  Segment(disk, 0, 1).Begins();
  disk.Kill();
  disk.faults.read_error = EIO;
  EXPECT_FALSE(Recover(disk).ok());
}

}  // namespace
}  // namespace sluice::spool
