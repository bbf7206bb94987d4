// A disk in memory that records what is done to it. It does what its user asks, at once and for
// certain; what a real one may make of it when the power goes is disk_past.h's business.

#pragma once

#include <functional>
#include <map>
#include <vector>

#include "tests/crash/disk_past.h"
#include "tests/crash/recording.h"
#include "tests/engine/spool/memory_disk.h"

namespace sluice::crash {

class RecordingDisk : public spool::MemoryDisk {
 public:
  // Holds what an image shows; null: nothing. `before_event` is called before anything is recorded,
  // and says when that is.
  RecordingDisk(const Image* image, std::function<Instant()> before_event);

  const Recording& recording() const { return recording_; }

  absl::StatusOr<std::vector<spool::OpenSegment>> OpenAll() override;
  absl::StatusOr<spool::OpenSegment> Create(spool::SegmentId id, uint64_t bytes) override;
  absl::StatusOr<spool::OpenSegment> Recycle(const spool::OpenSegment& dead,
                                             spool::SegmentId id) override;
  absl::Status Remove(const spool::OpenSegment& dead) override;
  void OnAsked(int32_t descriptor, std::span<const spool::Bytes> parts, uint64_t offset) override;
  int32_t Write(int32_t descriptor, std::span<const spool::Bytes> parts, uint64_t offset) override;
  int32_t Sync(int32_t descriptor) override;
  void Kill() override;
  void Crash(Random& random) override;

 private:
  struct File {
    spool::SegmentId id;
    std::vector<size_t> asked;    // Writes that are under way,
    std::vector<size_t> written;  // and those that await a sync.
  };

  Event& Record(Event event);
  void RecordSync(uint32_t number);
  void RecordContent();
  void Drop(size_t write, uint32_t number);

  std::function<Instant()> before_event_;
  Recording recording_;
  std::map<uint32_t, File> living_;
  std::map<uint64_t, uint32_t> by_id_;
  std::map<int32_t, uint32_t> by_descriptor_;
  uint32_t next_file_ = 0;
};

}  // namespace sluice::crash
