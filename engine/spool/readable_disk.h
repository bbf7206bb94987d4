// The segments of a disk that this program can read, as a disk; and the others, with the reason.
// For those who look at a spool in which something may be wrong: recovery touches nothing of it
// then.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/spool/disk.h"

namespace sluice::spool {

class ReadableDisk : public Disk {
 public:
  struct Other {
    OpenSegment segment;
    std::optional<uint32_t> version;  // One that is not known; nothing: it cannot be read,
    std::string error;                // for this reason.
  };

  // `disk` is lent.
  static absl::StatusOr<ReadableDisk> Of(Disk& disk);

  const std::vector<OpenSegment>& segments() const { return segments_; }
  const std::vector<Other>& others() const { return others_; }

  absl::StatusOr<std::vector<OpenSegment>> OpenAll() override { return segments_; }
  absl::StatusOr<OpenSegment> Create(SegmentId id, uint64_t bytes) override;
  absl::StatusOr<OpenSegment> Recycle(const OpenSegment& dead, SegmentId id) override;
  absl::Status Remove(const OpenSegment& dead) override;
  bool StillHolds(const OpenSegment& segment) const override { return disk_->StillHolds(segment); }
  absl::StatusOr<size_t> ReadAt(const OpenSegment& segment, std::span<std::byte> into,
                                uint64_t offset) override {
    return disk_->ReadAt(segment, into, offset);
  }

 private:
  explicit ReadableDisk(Disk& disk) : disk_(&disk) {}

  Disk* disk_;  // Not null.
  std::vector<OpenSegment> segments_;
  std::vector<Other> others_;
};

}  // namespace sluice::spool
