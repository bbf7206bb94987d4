// How the segments of a spool begin: what is known of each before its records are read.

#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/spool/disk.h"
#include "engine/spool/record.h"

namespace sluice::spool {

struct Beginning {
  OpenSegment segment;
  std::optional<SegmentRecord> record;
  bool blank = false;  // Never begun, or cut off in its first record.
  // The first record of the next segment of its log, which was written when all of this one was on
  // the disk; nothing: there is none, or it does not check.
  std::optional<SegmentRecord> next;

  // Where its records are known to end.
  std::optional<uint64_t> records_end() const {
    return next ? std::optional(next->previous_bytes) : std::nullopt;
  }
};

// Of all segments of all logs, oldest first. An error: a segment cannot be read, or has a version
// that is not known; nothing has been touched.
absl::StatusOr<std::vector<Beginning>> ReadBeginnings(Disk& disk);

}  // namespace sluice::spool
