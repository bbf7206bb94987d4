// The log of one shard: an ordered row of segments; records are appended to the newest, space is
// reclaimed from the oldest.
//
// No I/O of its own. Appended records gather into a batch; the shard asks for the next step and
// performs it:
//
//   idle ─ NextStep ─► kWrite … kWrite ─ OnDone ─► kSync ─ OnDone ─► durable() moves on, next batch
//
// All that is appended while a batch is written and synced forms the next one: one group commit after
// another. A promise may be given when durable() has reached the batch of its last record.
//
// First in, first out. A segment is given back only when it is the oldest and none of its messages
// lives. So the record that ends a message can never go before the record that began it, and no dead
// message rises again. One long-lived message would hold the whole log: so once more than half of the
// log is dead, the messages that live in the oldest segment are moved (MoveWanted): their body and
// their state are appended again, and the old segment dies. Space stays within about twice the living
// bytes plus a few segments.
//
// Space for accepting is refused before space for outcomes runs out (kOutcomeReserveBytes): a full disk
// stops intake, not delivery.
//
// After a write or sync error the log has failed for good: nothing is appended, nothing is retried as
// success; batches that were not durable never will be (fsync errors: PostgreSQL's lesson).
// Not thread-safe.

#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/spool/disk.h"
#include "engine/spool/record.h"

namespace sluice::spool {

// Where a message's record lies: for reading a body back.
struct Extent {
  SegmentId segment;
  uint32_t offset = 0;   // Of the body bytes themselves.
  uint32_t bytes = 0;
};

class Log {
 public:
  struct Options {
    uint16_t number = 0;                      // The shard.
    uint64_t segment_bytes = 64 << 20;
    uint64_t outcome_reserve_bytes = 4 << 20;
    size_t free_segments_kept = 2;            // Dead segments kept for reuse; more are removed.
  };

  // `segments` are those that recovery assigned to this shard, oldest first, with what lives in them;
  // also ones of other logs, when the number of shards has changed. A new segment is begun.
  struct LiveSegment {
    OpenSegment segment;
    uint64_t used_bytes = 0;
  };
  Log(const Options& options, Disk& disk, std::vector<LiveSegment> segments, uint64_t next_sequence);

  // Opens the first segment. Must succeed before anything is appended.
  absl::Status Begin(WallTime now);

  // --- Appending. Each returns the batch whose durability makes it hold.

  // Whether a message of about `bytes` may be accepted: the log has not failed and there is space
  // beyond the reserve. May create or recycle a segment.
  bool MayAccept(uint64_t bytes, WallTime now);

  // Bytes are lent until the batch is durable (or has failed). At most kRecordPayloadBytesMax a piece.
  Extent AppendBody(MessageId id, uint64_t body_offset, std::span<const Bytes> parts, WallTime now);
  void AppendAccepted(const AcceptedRecord& record, WallTime now);
  void AppendOutcome(const OutcomeRecord& record, WallTime now);
  void AppendDeferred(const DeferredRecord& record, WallTime now);
  void AppendDone(MessageId id, WallTime now);

  // The batch that appended records go into now. Numbers grow by one.
  uint64_t open_batch() const;
  // Every batch up to this one is on the disk.
  uint64_t durable() const;

  // --- The writing. One step at a time is in flight.
  enum class StepKind : uint8_t { kNone, kWrite, kSync };
  struct Step {
    StepKind kind = StepKind::kNone;
    int32_t descriptor = -1;
    uint64_t offset = 0;
    std::span<const Bytes> parts;  // kWrite; at most 1,024; lent until OnDone.
  };
  Step NextStep();                 // kNone: nothing to do, or a step is in flight.
  void OnDone(int32_t result);     // Bytes written, 0 for a sync, or -errno.

  bool failed() const;
  const absl::Status& failure() const;

  // --- What lives. The owner says where a message begins and when it has died.

  // The oldest segment that holds any of the message's records (its first body's) gets a living message.
  void Lives(SegmentId first_segment, uint64_t bytes);
  void Died(SegmentId first_segment, uint64_t bytes);

  // The oldest segment, if its living messages should be moved to the end of the log. The owner moves
  // each: appends its bodies and its accepted record again, and once that batch is durable says Died of
  // the old place and Lives of the new.
  std::optional<SegmentId> MoveWanted() const;

  // Gives back the dead segments at the old end, as far as what they end is durable. Blocking file
  // calls; once a turn of the loop is enough, and it mostly has nothing to do.
  void Reclaim();

  uint64_t living_bytes() const;
  uint64_t log_bytes() const;      // Of all segments that are not free.
  size_t segments() const;

  // For reading a body back.
  int32_t DescriptorOf(SegmentId segment) const;  // -1: not here any more.
};

}  // namespace sluice::spool
