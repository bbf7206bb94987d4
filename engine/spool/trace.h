// All that a spool says of one message, for people: reads every record of every segment, and
// changes nothing.

#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/message_id.h"
#include "engine/spool/record.h"
#include "engine/spool/segment_reader.h"
#include "engine/spool/stored_body.h"

namespace sluice::spool {

class ReadableDisk;

struct MessageTrace {
  struct Record {
    RecordType type{};
    Extent place;
  };
  std::vector<Record> records;             // Oldest first.
  std::optional<AcceptedRecord> accepted;  // The last promise, with what became of it since.
  bool done = false;
  SegmentsById segments;
};

absl::StatusOr<MessageTrace> TraceMessage(ReadableDisk& disk, MessageId id);

// The message that a record is about; nothing: it is about none.
std::optional<MessageId> MessageOf(const RecordView& view);

}  // namespace sluice::spool
