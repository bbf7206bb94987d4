// What a start must know of the logs before anything is delivered: all that ends or changes a
// message, the windows, and where the promises stand. Reads the ends of the segments' indexes, and
// the records of those segments that have none; it changes nothing. The promises themselves are
// taken up afterwards, while mail flows (takeover.h).
//
// recovery.h finds the same by reading every record; it is the plain twin of these two, and their
// test.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "engine/spool/beginning.h"
#include "engine/spool/disk.h"
#include "engine/spool/index.h"
#include "engine/spool/log.h"
#include "engine/spool/recovery.h"
#include "engine/spool/segment_reader.h"

namespace sluice::spool {

// All that became of messages after their promise, in the order in which it was written. Shared by
// the shards while they take up their messages; nothing changes it then.
class Changes {
 public:
  struct Change {
    EndKind kind = EndKind::kOutcome;  // kOutcome, kDeferred or kAgain.
    RecipientState state = RecipientState::kWaiting;
    uint16_t attempts = 0;
    uint32_t before = 0;  // The message's change before this one, by number; 0: none.
    uint32_t first_recipient = 0;
    uint32_t recipients = 0;
    Extent place;
    WallTime next_attempt{};
  };

  void Add(const EndEntry& entry);

  bool Done(MessageId id) const;
  // The last of a message that is not done, or null; then the ones before it.
  const Change* Last(MessageId id) const;
  const Change* Before(const Change& change) const;
  std::span<const uint32_t> RecipientsOf(const Change& change) const;

 private:
  static constexpr uint32_t kDone = UINT32_MAX;

  absl::flat_hash_map<uint64_t, uint32_t> last_;  // By message; kDone.
  std::vector<Change> changes_ = {Change{}};      // Number 0 is none.
  std::vector<uint32_t> recipients_;
};

// A segment, and where its promises are found.
struct StockSegment {
  Log::LiveSegment live;
  std::vector<std::byte> begins;  // They have been read; else
  uint64_t begins_at = 0;         // this is where the index has them,
  uint64_t begins_end = 0;        // up to here. Equal: there are none.
};

struct Stock {
  std::vector<StockSegment> segments;  // All, oldest first.
  std::shared_ptr<const Changes> changes;
  std::vector<RecoveredWindow> windows;  // By number.
  uint64_t next_sequence = 1;
  uint64_t damaged_records = 0;  // In the segments that were read.
  MessageId greatest_id;
  uint64_t greatest_window = 0;
};

absl::StatusOr<Stock> TakeStock(Disk& disk);

// Whether a record's payload is what its type says; gathers what it says. Of a promise it says that
// it stands in the log already: nobody knows, and where it does not, that does no harm.
bool AddToIndex(const OpenSegment& segment, const PlacedRecord& record, Index& index);

// Reads a segment's records and gathers their index. Returns where they end.
absl::StatusOr<uint64_t> ReadRecords(Disk& disk, const Beginning& beginning,
                                     std::vector<std::byte>& buffer, Index& index,
                                     uint64_t& damaged_records);

// The entries of one part of an index, as one run of bytes; nothing: it does not check. An error:
// the disk could not be read.
absl::StatusOr<std::optional<std::vector<std::byte>>> ReadIndexPart(Disk& disk,
                                                                    const OpenSegment& segment,
                                                                    uint8_t part, uint64_t from,
                                                                    uint64_t to);

}  // namespace sluice::spool
