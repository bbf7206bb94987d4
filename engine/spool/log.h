// The log of one shard: an ordered row of segments; records are appended to the newest, space is
// reclaimed from the oldest.
//
// No I/O of its own. Appended records gather into a batch; the shard asks for the next step and
// performs it:
//
//   idle ─ NextStep ─► kWrite … kWrite ─ OnDone ─► kSync ─ OnDone ─► durable() moves on, next batch
//
// All that is appended while a batch is written and synced forms the next one: one group commit
// after another. A promise may be given when durable() has reached the batch of its last record. A
// batch that reaches over several segments writes and syncs one after the other.
//
// First in, first out. A segment is given back only when it is the oldest and none of its messages
// lives. So the record that ends a message can never go before the record that began it, and no
// dead message rises again. One long-lived message would hold the whole log: so once more than half
// of the log is dead, the messages that live in the oldest segment are moved (MoveWanted): their
// body and their state are appended again, and the old segment dies. Space stays within about twice
// the living bytes plus a few segments.
//
// A full segment gets its index behind its records (index.h), so that a start need not read them.
//
// A dead segment gets its next id at once, so that its old name and its dead messages are gone
// together.
//
// Space for accepting is refused before space for outcomes runs out (outcome_reserve_bytes): a full
// disk stops intake, not delivery; and so does a floor of bytes that are to stay free. The next
// segment is made ready when the newest is half full. Only when nothing is left at all does an
// append fail, and the log with it.
//
// After a write or sync error the log has failed for good: what is appended is ignored, nothing is
// retried as success; batches that were not durable never will be (fsync errors: PostgreSQL's
// lesson). Not thread-safe.

#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/spool/batch.h"
#include "engine/spool/disk.h"
#include "engine/spool/index.h"
#include "engine/spool/record.h"

namespace sluice::spool {

class Log {
 public:
  struct Options {
    uint16_t number = 0;                       // The shard.
    uint64_t segment_bytes = 64 << 20;         // A multiple of 8, below 4 GiB.
    uint64_t outcome_reserve_bytes = 4 << 20;  // Of records, those that begin batches too.
    size_t free_segments_kept = 2;             // Dead segments kept for reuse; more are removed.
    // No segment is made for accepting when less would be left free on the disk than this: others
    // write there too. Shards do not ask each other: each may pass it by a segment.
    uint64_t min_free_bytes = 0;
    // So many segments made ready are not for accepting, but for outcomes, and for the next start
    // to begin with when the disk is full.
    size_t spares_kept_back = 0;
  };

  // `segments` are those whose keeper (mod the number of shards) is this shard, as recovery gives
  // them; also ones of other logs, when the number of shards has changed. `next_sequence` is
  // recovery's.
  struct LiveSegment {
    OpenSegment segment;
    uint64_t used_bytes = 0;  // 0: it holds no records, it was made ready and not begun.
    uint16_t keeper = 0;      // The log that takes it on (recovery.h).
  };
  Log(const Options& options, Disk& disk, std::vector<LiveSegment> segments,
      uint64_t next_sequence);

  // Opens the first segment. Must succeed before anything is appended. Lives() has been said of
  // every recovered message: the segments in which none lives are given back here. Unless the log
  // is held: then messages are still being taken up, and nothing is given back until it is let go.
  absl::Status Begin(WallTime now);
  void Hold() { held_ = true; }
  void LetGo() { held_ = false; }

  // --- Appending, into open_batch(), whose durability makes it hold. Never refused; when no space
  // is left even so, failed() turns true and the batch never becomes durable.

  // Whether a message of about `bytes` may be accepted: the log has not failed and there is space
  // beyond the reserve. May create a segment; on a full disk tries again once a second. It holds
  // until something else is appended: ask again before each piece of a body that arrives slowly.
  bool MayAccept(uint64_t bytes, WallTime now);
  // An answer was no for want of space; until LookForSpace finds enough for much mail: what little
  // a small message asks for may be there all the while.
  bool low_space() const { return low_space_; }
  void LookForSpace(WallTime now);
  // The same for a message that is to be moved, which gives space back: may use half of the
  // reserve.
  bool MayMove(uint64_t bytes, WallTime now);

  // Bytes are lent until the batch is durable, or the log has failed and no step is in flight. A
  // piece is at most piece_bytes_max(), and not empty; pieces of a message come in order. Returns
  // where the bytes lie.
  Extent AppendBody(MessageId id, uint64_t body_offset, std::span<const Bytes> parts, WallTime now);
  // These two return where the record lies; nowhere when the log has failed. `again`: the message
  // has been moved, and stands in the log already.
  Extent AppendAccepted(const AcceptedRecord& record, WallTime now, bool again = false);
  Extent AppendDeferred(const DeferredRecord& record, WallTime now);
  void AppendOutcome(const OutcomeRecord& record, WallTime now);
  void AppendDone(MessageId id, WallTime now);
  // Returns the segment that it went to; 0 when the log has failed. It takes WindowRecordBytes.
  SegmentId AppendWindow(const WindowRecord& record, WallTime now);

  // kBodyPieceBytesMax, or a quarter of a small segment.
  uint64_t piece_bytes_max() const;

  // The batch that appended records go into now. Numbers grow by one.
  uint64_t open_batch() const { return open_batch_; }
  // Every batch up to this one is on the disk.
  uint64_t durable() const { return durable_; }

  // --- The writing. One step at a time is in flight.
  using StepKind = spool::StepKind;
  using Step = spool::Step;
  Step NextStep();              // kNone: nothing to do, or a step is in flight.
  void OnDone(int32_t result);  // Bytes written (fewer: the rest is asked for again), 0 for a sync,
                                // or -errno.

  bool failed() const { return !failure_.ok(); }
  const absl::Status& failure() const { return failure_; }

  // --- What lives. The owner says where a message begins and when it has died. Ignored once the
  // log has failed: nothing is given back any more, and the message may have found no place to
  // begin in. The record of a window counts as a message: it lives until a later one stands in its
  // place or nothing in it counts any more.

  // The oldest segment that holds any of the message's records (its first body's) gets a living
  // message. Said in the turn in which that record was appended, also when the rest of the body is
  // still to come: a segment in which nothing lives may be gone the next turn.
  void Lives(SegmentId first_segment, uint64_t bytes);
  // Of a message that is done, refused, or moved. May be said when the records that make it so are
  // appended, before they are durable: the segment waits for them.
  void Died(SegmentId first_segment, uint64_t bytes);

  // The oldest segment, if its living messages should be moved to the end of the log. The owner
  // moves each: appends its bodies and its accepted record (or the record of a window) again, says
  // Died of the old place and Lives of the new.
  std::optional<SegmentId> MoveWanted() const;

  // Gives back the dead segments at the old end, as far as what they end is durable. Blocking file
  // calls; once a turn of the loop is enough, and it mostly has nothing to do.
  void Reclaim();

  uint64_t living_bytes() const { return living_bytes_; }
  uint64_t log_bytes() const { return log_bytes_; }  // Of all segments that are not free.
  size_t segments() const { return row_.size(); }    // The same.

  // Keeps the bytes of a segment under a second name, for people to look at; says where.
  absl::StatusOr<std::string> SetAside(SegmentId segment);

  // For reading back.
  int32_t DescriptorOf(SegmentId segment) const;  // -1: not here any more.

 private:
  struct RowSegment {
    OpenSegment segment;
    uint64_t used_bytes = 0;
    uint64_t living_messages = 0;
    uint64_t living_bytes = 0;
    uint64_t last_batch = 0;  // Whose durability giving it back waits for.
  };

  RowSegment& Newest() { return row_.back(); }
  RowSegment* Find(SegmentId segment);
  const RowSegment* Find(SegmentId segment) const;

  template <class Encode>
  Extent Append(Encode encode, WallTime now);
  bool MakeRoom(uint64_t bytes, uint64_t index_bytes, WallTime now);
  uint64_t LeftInNewest() const;
  void WriteToNewest();
  void Seal();
  absl::Status OpenNext(WallTime now);
  void Advance(uint64_t bytes);

  bool EnsureSpace(uint64_t bytes, uint64_t kept_bytes, bool accepting, WallTime now);
  uint64_t SpaceFor(uint64_t bytes, size_t spares_kept_back) const;
  uint64_t SpareBytes() const;
  bool AboveFloor(WallTime now);
  bool TryAddSpare(WallTime now);
  absl::Status AddSpare();
  bool HalfFull() const;

  void GiveBackEmpty();
  void GiveBackDead();
  void GiveBack(const OpenSegment& dead);
  void Fail(absl::Status failure) { failure_ = std::move(failure); }

  const Options options_;
  Disk& disk_;
  uint64_t next_sequence_;

  std::deque<RowSegment> row_;      // Oldest first; the last is written to, once begun.
  std::deque<OpenSegment> spares_;  // Under their next ids, in the order of use.
  std::vector<OpenSegment> empty_;  // Recovered without records; until Begin.
  Index index_;                     // Of the newest.
  SegmentId previous_;              // Of this log, before the newest.
  uint64_t previous_bytes_ = 0;
  uint64_t previous_ends_ = 0;
  uint64_t previous_begins_ = 0;
  bool begun_ = false;
  bool held_ = false;
  uint64_t living_bytes_ = 0;
  uint64_t log_bytes_ = 0;

  Batch open_;
  Batch writing_;
  uint64_t open_batch_ = 1;
  uint64_t durable_ = 0;
  bool is_writing_ = false;
  Step in_flight_;

  absl::Status spare_failure_;  // Why the last attempt to make a segment failed; ok: it did not.
  WallTime spare_tried_at_{};
  uint64_t free_bytes_ = 0;  // At most once a second.
  std::optional<WallTime> free_asked_at_;
  bool low_space_ = false;
  absl::Status failure_;
};

}  // namespace sluice::spool
