// A spool's disk in memory that loses, at a power cut, what a real one may lose.
//
// Files have two contents: what was written (the page cache, which reads see) and what a sync has
// put on the disk. Crash keeps, of each 512-byte sector written since its last sync, any of the
// versions it has had: the one on the disk, or that after any of the writes. Sectors are kept or
// lost independently, so later bytes may be there without earlier ones. Names are durable when
// their call returns (disk.h).
//
// After a sync that failed, the sectors it was to write count as clean, as Linux does it: a later
// sync succeeds without them. Deterministic, given the Random.
//
// Write and Sync are what engine/io does for the log: Perform does one step of it.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "engine/base/random.h"
#include "engine/spool/batch.h"
#include "engine/spool/disk.h"

namespace sluice::spool {

class MemoryDisk : public Disk {
 public:
  static constexpr size_t kSectorBytes = 512;

  absl::StatusOr<std::vector<OpenSegment>> OpenAll() override;
  absl::StatusOr<OpenSegment> Create(SegmentId id, uint64_t bytes) override;
  absl::StatusOr<OpenSegment> Recycle(const OpenSegment& dead, SegmentId id) override;
  absl::Status Remove(const OpenSegment& dead) override;
  absl::StatusOr<std::string> SetAside(const OpenSegment& segment) override;
  absl::StatusOr<size_t> ReadAt(const OpenSegment& segment, std::span<std::byte> into,
                                uint64_t offset) override;

  // Bytes written or read, 0 for a sync, or -errno.
  virtual int32_t Write(int32_t descriptor, std::span<const Bytes> parts, uint64_t offset);
  int32_t Read(int32_t descriptor, std::span<std::byte> into, uint64_t offset);
  virtual int32_t Sync(int32_t descriptor);
  int32_t Perform(const Step& step);

  // A write has been asked for, and is carried out later (or never): for a disk that notes when.
  virtual void OnAsked(int32_t, std::span<const Bytes>, uint64_t) {}

  // The process ends; what it wrote is there. Its descriptors are not.
  virtual void Kill();
  // The power goes.
  virtual void Crash(Random& random);

  // Each error holds until it is set back to 0.
  struct Faults {
    uint64_t capacity_bytes = UINT64_MAX;   // Beyond: Create says that the disk is full.
    uint64_t write_bytes_max = UINT64_MAX;  // One Write takes no more.
    int write_error = 0;
    int sync_error = 0;
    int read_error = 0;
    int name_error = 0;  // Create, Recycle, Remove.
  };
  Faults faults;

  // What was done, in order.
  struct Act {
    enum class Kind : uint8_t { kCreate, kRecycle, kRemove, kWrite, kSync } kind;
    SegmentId segment;
    bool operator==(const Act&) const = default;
  };
  std::vector<Act> acts;
  std::vector<SegmentId> set_aside;

  // For damaging what is on the disk, and looking at it.
  bool Holds(SegmentId segment) const { return files_.contains(segment.value); }
  std::vector<std::byte>& BytesOf(SegmentId segment);
  uint64_t allocated_bytes() const;

 private:
  using Sector = std::array<std::byte, kSectorBytes>;
  struct Unsynced {
    std::vector<Sector> versions;  // After each write.
    bool abandoned = false;        // By a sync that failed.
  };
  struct File {
    std::vector<std::byte> written;
    std::vector<std::byte> synced;
    std::map<uint64_t, Unsynced> unsynced;  // By sector.
  };

  File& FileOf(int32_t descriptor);
  void KeepSector(File& file, uint64_t sector);

  std::map<uint64_t, File> files_;      // By segment.
  std::map<int32_t, uint64_t> opened_;  // Descriptors: which segment.
  int32_t next_descriptor_ = 3;
};

}  // namespace sluice::spool
