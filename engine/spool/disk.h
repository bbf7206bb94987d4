// The seam for the blocking file calls of the spool: naming, making, reusing and removing segments.
//
// Called at the start and about once for each segment that fills, ahead of need. The writing,
// reading and syncing of a running log go through engine/io. Every change of a name is durable (the
// folder is synced) when the call returns: a reused segment must not reappear under its old name
// after a crash.
//
// Implementations: PosixDisk (posix_disk.h), and the simulator's, which loses what was not synced.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/spool/record.h"

namespace sluice::spool {

struct OpenSegment {
  SegmentId id;
  int32_t descriptor = -1;  // For engine/io.
  uint64_t bytes = 0;
  bool set_aside = false;  // Somebody is to look at it: it is never written again.
};

class Disk {
 public:
  virtual ~Disk() = default;

  // All segments of all logs, opened for reading and writing, by id. What they hold has been
  // synced: a record that recovery reads and relies upon must not be lost by a power cut that comes
  // after it.
  virtual absl::StatusOr<std::vector<OpenSegment>> OpenAll() = 0;

  // A new segment with `bytes` allocated and zero, so that writing it cannot meet a full disk.
  // Leaves nothing behind when it fails. kResourceExhausted: the disk is full.
  virtual absl::StatusOr<OpenSegment> Create(SegmentId id, uint64_t bytes) = 0;

  // Gives a dead segment a new life under a new id (of any log); the descriptor and the bytes stay.
  virtual absl::StatusOr<OpenSegment> Recycle(const OpenSegment& dead, SegmentId id) = 0;

  // Closes the descriptor too.
  virtual absl::Status Remove(const OpenSegment& dead) = 0;

  // Gives what a segment holds a second name, where it stays when the segment is removed; says
  // where. For people to look at.
  virtual absl::StatusOr<std::string> SetAside(const OpenSegment& segment) {
    return absl::UnimplementedError("nothing can be set aside here");
  }

  // What others may still write on the disk.
  virtual uint64_t FreeBytes() { return UINT64_MAX; }

  // Whether the segment still has this id: where another process writes to the disk, it may have
  // been given back since it was opened.
  virtual bool StillHolds(const OpenSegment& segment) const { return true; }

  // Blocking read for recovery; returns what was read, less only at the end.
  virtual absl::StatusOr<size_t> ReadAt(const OpenSegment& segment, std::span<std::byte> into,
                                        uint64_t offset) = 0;
};

}  // namespace sluice::spool
