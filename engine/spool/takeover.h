// The messages of one shard's segments, taken up after a start, some at a time, oldest segment
// first: each with what became of it since its promise (stock.h). Reads the indexes blockingly, one
// segment's at a time.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "engine/base/message_id.h"
#include "engine/spool/disk.h"
#include "engine/spool/index.h"
#include "engine/spool/stock.h"

namespace sluice::spool {

// A message that is not done.
struct TakenMessage {
  struct Group {  // As BeginEntry's, brought up to date; one that waits for nothing is left out.
    absl::string_view destination;  // Lent until the next message.
    uint32_t first = 0;
    uint32_t count = 0;
    uint32_t waiting = 0;  // Of them.
    uint16_t attempts = 0;
    WallTime next_attempt{};
    Extent deferred;  // The records of its last deferral; nowhere: see the promise.
  };
  MessageId id;
  Extent accepted;
  SegmentId first_segment;
  uint64_t log_bytes = 0;
  WallTime accepted_at{};
  std::vector<uint32_t> delivered;  // Recipients that became final after the promise was written.
  std::vector<uint32_t> bounced;
  std::vector<Group> groups;
};

class Takeover {
 public:
  // What follows the last segment of the stock is taken up by this shard's log. `disk` is lent.
  Takeover(Disk& disk, std::vector<StockSegment> segments, std::shared_ptr<const Changes> changes);

  // The next message, lent until the next call; null: there is none. An error: the disk could not
  // be read.
  absl::StatusOr<const TakenMessage*> Next();

 private:
  absl::Status Load();
  bool Current(const BeginEntry& entry) const;
  void Apply(const BeginEntry& entry);
  void ApplyDeferral(const Changes::Change& change);

  Disk& disk_;
  std::vector<StockSegment> segments_;
  size_t next_segment_ = 0;
  std::shared_ptr<const Changes> changes_;

  std::vector<std::byte> begins_;
  std::optional<BeginsReader> reader_;
  BeginEntry entry_;
  TakenMessage message_;
  std::vector<uint8_t> final_;     // Of each recipient.
  std::vector<uint8_t> deferred_;  // A later deferral of it has been met.
};

}  // namespace sluice::spool
