// What the logs hold when the engine starts: the living messages and the segments that keep them.
//
// All logs are read, whoever wrote them and however many shards there are now: a record that ends a
// message counts in whichever log it stands. Reads blockingly, before any shard runs.
//
// The end of a log is where its newest segment's records stop checking: a write that was under way at
// the crash is cut there, and nothing in it had been promised. A record that does not check *before*
// the end (there are good ones behind it, or the segment is not the newest) is counted as damage and
// skipped by looking for the next record that checks; its neighbours are read.
// A segment with an unknown version: an error, nothing is touched.

#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/spool/disk.h"
#include "engine/spool/log.h"
#include "engine/spool/record.h"

namespace sluice::spool {

struct RecoveredMessage {
  AcceptedRecord accepted;         // With each recipient's state as it stands now.
  std::vector<Extent> body;        // In order; adds up to accepted.wire_bytes.
  SegmentId first_segment;
  uint64_t log_bytes = 0;          // What its records take.
};

struct Recovered {
  std::vector<RecoveredMessage> messages;       // By id.
  std::vector<Log::LiveSegment> segments;       // All, by log and sequence.
  std::vector<uint64_t> next_sequence;          // By log number; logs without a segment: 1.
  uint64_t records = 0;
  uint64_t damaged_records = 0;                 // Did not check and were not the end.
  uint64_t incomplete_messages = 0;             // Bodies without a promise: cut off before it.
  MessageId greatest_id;
};

absl::StatusOr<Recovered> Recover(Disk& disk);

}  // namespace sluice::spool
