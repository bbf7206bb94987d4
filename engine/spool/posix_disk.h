// The spool's folder on a real file system:
//
//   PATH/lock                              held exclusively (flock) while an engine runs
//   PATH/shard-000/0000000000000001.log    log 0, segment 1 (the sequence number, 16 hex digits)
//   PATH/set-aside/shard-000-….log         a segment with a damaged promise, for people to look at
//
// Other files are left alone. The shards share it: its calls may come from several threads, each
// for segments of its own. Every error says which call on which path failed, and what to do about
// it.

#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/spool/disk.h"

namespace sluice::spool {

class PosixDisk : public Disk {
 public:
  // Makes the folder if there is none and takes the lock; fails if another process holds it.
  static absl::StatusOr<std::unique_ptr<PosixDisk>> Open(const std::string& path);
  // For looking at it only, also while an engine runs on it: nothing is made, written or locked,
  // and a segment that goes away meanwhile is left out. It must be there.
  static absl::StatusOr<std::unique_ptr<PosixDisk>> OpenToRead(const std::string& path);
  ~PosixDisk() override;  // Closes all segments, and gives the lock back.

  absl::StatusOr<std::vector<OpenSegment>> OpenAll() override;  // Once.
  absl::StatusOr<OpenSegment> Create(SegmentId id, uint64_t bytes) override;
  absl::StatusOr<OpenSegment> Recycle(const OpenSegment& dead, SegmentId id) override;
  absl::Status Remove(const OpenSegment& dead) override;
  absl::StatusOr<std::string> SetAside(const OpenSegment& segment) override;
  uint64_t FreeBytes() override;
  bool StillHolds(const OpenSegment& segment) const override;
  absl::StatusOr<size_t> ReadAt(const OpenSegment& segment, std::span<std::byte> into,
                                uint64_t offset) override;

  // Of the file system that the folder is on, free or not; 0: it cannot be asked.
  static uint64_t TotalBytes(const std::string& path);
  // Within the spool's folder.
  static std::string NameOf(SegmentId id);
  // The process that holds the lock of the spool in this folder; nothing: none does.
  static std::optional<int> HolderOf(const std::string& path);

 private:
  explicit PosixDisk(std::string path) : path_(std::move(path)) {}

  absl::Status TakeLock();
  std::string FolderOf(SegmentId id) const;
  std::string PathOf(SegmentId id) const;
  absl::Status OpenFolder(const std::string& folder, uint16_t log, std::vector<OpenSegment>& found);
  absl::Status Allocate(int descriptor, const std::string& path, uint64_t bytes);

  void Keep(int descriptor);

  std::string path_;
  bool reads_only_ = false;
  int lock_ = -1;
  std::mutex mutex_;
  std::vector<int> descriptors_;  // Guarded by it.
};

}  // namespace sluice::spool
