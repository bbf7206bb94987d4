// Walks the records of one segment, from its front to where they end.
//
// Reads in chunks; no file is mapped, since a page that cannot be read would then be a signal. What
// does not check is passed over: to where its own header says the next record begins, if one is
// there, else to the next place at which one checks. So the inside of a body is searched only when
// its own header is gone.
//
// The search has a bound (kSearchFactor): old bodies may be full of what looks like headers.
//
// A batch was begun when the one before was on the disk, and a segment when the one before was
// whole. So where a record does not check and a later one begins a batch, or a later segment says
// where the records end, that is damage, and reading goes on behind it. Else it is the batch that
// was being written when the power went: the disk may have taken its end and not its front, and
// what ends something may stand there without what it made necessary. The log is cut at the first
// record that does not check.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/spool/disk.h"
#include "engine/spool/record.h"

namespace sluice::spool {

struct PlacedRecord {
  uint64_t offset = 0;
  RecordView view;  // Lent until the next Next.
};

class SegmentReader {
 public:
  // `sealed_bytes`: where the records are known to end, all of them having been on the disk.
  // `buffer` is lent and may be used for one segment after another.
  SegmentReader(Disk& disk, const OpenSegment& segment, std::optional<uint64_t> sealed_bytes,
                std::vector<std::byte>& buffer);

  // The next record; nothing at the end. An error: the disk could not be read.
  absl::StatusOr<std::optional<PlacedRecord>> Next();

  // Behind the last record that was returned.
  uint64_t used_bytes() const { return used_bytes_; }
  // Stretches that did not check though they had been on the disk.
  uint64_t damaged() const { return damaged_; }

 private:
  absl::Status Load(uint64_t offset);
  Bytes At(uint64_t offset) const;
  absl::StatusOr<std::optional<uint64_t>> FindNext(uint64_t bad);
  absl::StatusOr<bool> WasOnDisk(uint64_t bad);

  Disk& disk_;
  const OpenSegment segment_;
  const bool sealed_;
  uint64_t end_;                // No record reaches beyond it.
  uint64_t on_disk_until_ = 0;  // A batch was begun there.
  std::vector<std::byte>& buffer_;
  uint64_t loaded_at_ = 0;
  uint64_t loaded_bytes_ = 0;
  uint64_t position_ = 0;
  uint64_t used_bytes_ = 0;
  uint64_t damaged_ = 0;
  uint64_t search_budget_bytes_;
};

}  // namespace sluice::spool
