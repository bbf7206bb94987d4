// Whether a spool is sound: reads every record of every segment, each index beside the records of
// its segment, and the body of every message that waits. Changes nothing; what is wrong is told and
// passed over.
//
// Another process may write to the spool meanwhile. Then what it wrote after the beginning may be
// missing here, and segments that it has given back since are not judged.
//
// Keeps some 32 bytes in memory for each message of which there is a record, no envelopes, and of
// bodies a piece at a time.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/message_id.h"
#include "engine/spool/disk.h"
#include "engine/spool/record.h"

namespace sluice::spool {

enum class FaultKind : uint8_t {
  kRecords,     // Bytes that are no records, though records had been on the disk there.
  kPromise,     // The promise of `message` was there, by the index: it is lost.
  kBody,        // The body of `message` is not what was promised.
  kIndex,       // The index does not check, or does not say what the records do.
  kVersion,     // The segment has a format version that is not known.
  kUnreadable,  // The segment could not be read.
};

struct Fault {
  FaultKind kind{};
  Extent place;  // `bytes` at `offset` of the segment.
  MessageId message;
  uint32_t version = 0;
  std::string error;
};

struct LogAudit {
  uint16_t log = 0;
  uint64_t segments = 0;
  uint64_t bytes = 0;
  uint64_t records = 0;
  uint64_t waiting = 0;     // Messages that are promised here and not done.
  uint64_t incomplete = 0;  // Bodies without a promise: arriving, or cut off by a crash.
  uint64_t indexed = 0;     // Segments with an index.
  std::vector<SegmentId> set_aside;
  std::optional<Extent> cut_off;  // The write that a crash cut off, or that is under way: no fault.
  std::vector<Fault> faults;      // kFaultsToldMax at most;
  uint64_t faults_found = 0;      // so many there are.
};

inline constexpr size_t kFaultsToldMax = 1000;

struct SpoolAudit {
  std::vector<LogAudit> logs;  // By number.
  uint64_t given_back = 0;     // Segments that were given back while this was made.
  uint64_t faults = 0;
};

// An error: the segments cannot be listed.
absl::StatusOr<SpoolAudit> AuditSpool(Disk& disk);

}  // namespace sluice::spool
