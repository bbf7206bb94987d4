// The spool's folder on a real file system:
//
//   PATH/lock                              held exclusively (flock) while an engine runs
//   PATH/shard-000/0000000000000001.log    log 0, segment 1

#pragma once

#include <memory>
#include <string>

#include "engine/spool/disk.h"

namespace sluice::spool {

class PosixDisk : public Disk {
 public:
  // Makes the folder if there is none and takes the lock; fails if another process holds it.
  static absl::StatusOr<std::unique_ptr<PosixDisk>> Open(const std::string& path);
  ~PosixDisk() override;

  absl::StatusOr<std::vector<OpenSegment>> OpenAll() override;
  absl::StatusOr<OpenSegment> Create(SegmentId id, uint64_t bytes) override;
  absl::StatusOr<OpenSegment> Recycle(const OpenSegment& dead, SegmentId id) override;
  absl::Status Remove(const OpenSegment& dead) override;
  absl::StatusOr<size_t> ReadAt(const OpenSegment& segment, std::span<std::byte> into,
                                uint64_t offset) override;

 private:
  explicit PosixDisk(std::string path) : path_(std::move(path)) {}
  std::string path_;
  int lock_ = -1;
};

}  // namespace sluice::spool
