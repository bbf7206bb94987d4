// What the logs hold when the engine starts: the living messages and the segments that keep them.
//
// All logs are read, whoever wrote them and however many shards there are now: a record that ends a
// message counts in whichever log it stands. Reads blockingly, before any shard runs, and changes
// nothing.
//
// The end of a log is where the records of its last batch stop checking: a write that was under way
// at the crash is cut there, whatever good records the disk has taken behind, and nothing in it had
// been promised. A record that does not check *before* the end (a later batch or a later segment
// was begun) is counted as damage and skipped by looking for the next record that checks; its
// neighbours are read. A segment with an unknown version, or that cannot be read: an error, nothing
// is touched.
//
// A message that was moved stands in the log twice. The later promise counts, with whichever body
// is whole. Of the records of one window the one with the greatest number counts, wherever it
// stands: the shard that owns a destination may be another than the one that keeps the segment.

#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/spool/disk.h"
#include "engine/spool/log.h"
#include "engine/spool/record.h"

namespace sluice::spool {

struct RecoveredMessage {
  AcceptedRecord accepted;   // With each recipient's state as it stands now; all may be final.
  std::vector<Extent> body;  // In order; adds up to accepted.wire_bytes.
  SegmentId first_segment;
  uint64_t log_bytes = 0;  // What its bodies and its promise take.
  uint16_t keeper = 0;     // As of its segments.
};

// The state of a window as it was last written.
struct RecoveredWindow {
  WindowRecord record;
  SegmentId segment;  // That holds it; the last one, if it was moved.
  uint16_t keeper = 0;
};

// Which shard takes a segment on: `keeper` mod the number of shards. Mostly that is the log that
// wrote it. But a shard that took on another's segments wrote what ends their messages into its own
// log; those two logs must stay with one shard, which gives segments back in the order in which
// they came to be, or an end could go before its beginning. So all logs that hold records of one
// message have one keeper.
struct Recovered {
  std::vector<RecoveredMessage> messages;  // By id.
  std::vector<RecoveredWindow> windows;    // By number.
  std::vector<Log::LiveSegment> segments;  // All, by sequence and log: oldest first.
  // Of every log's next segment: above all there are, so that the order of the sequence numbers is
  // the order of the runs, over all logs.
  uint64_t next_sequence = 1;
  uint64_t records = 0;
  uint64_t damaged_records = 0;  // Did not check and were not the end.
  // Bodies without a promise, or a promise without its whole body: cut off before both were on the
  // disk.
  uint64_t incomplete_messages = 0;
  MessageId greatest_id;
  uint64_t greatest_window = 0;  // Its number.
};

absl::StatusOr<Recovered> Recover(Disk& disk);

}  // namespace sluice::spool
