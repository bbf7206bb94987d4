// A disk that takes everything at once and keeps nothing: segments that are never read back.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/spool/disk.h"

namespace sluice::spool {

class BlankDisk : public Disk {
 public:
  absl::StatusOr<std::vector<OpenSegment>> OpenAll() override { return std::vector<OpenSegment>(); }
  absl::StatusOr<OpenSegment> Create(SegmentId id, uint64_t bytes) override {
    return OpenSegment{.id = id, .descriptor = next_descriptor_++, .bytes = bytes};
  }
  absl::StatusOr<OpenSegment> Recycle(const OpenSegment& dead, SegmentId id) override {
    return OpenSegment{.id = id, .descriptor = dead.descriptor, .bytes = dead.bytes};
  }
  absl::Status Remove(const OpenSegment&) override { return absl::OkStatus(); }
  absl::StatusOr<size_t> ReadAt(const OpenSegment&, std::span<std::byte>, uint64_t) override {
    return 0;
  }

 private:
  int32_t next_descriptor_ = 1;
};

}  // namespace sluice::spool
