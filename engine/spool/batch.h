// The bytes of one group commit: what is written where, in order, and what is synced after it.
//
// Gathered, not copied: short records are encoded into an arena, bodies are lent. The arena may
// grow while the batch is open, which moves its bytes; so until Seal a part of it is known by its
// offset. What lies side by side in the arena is one part.
//
// A batch may reach over several segments. Each segment's writes are followed by its sync before
// the next segment is touched: so a record in a segment says that all before it is on the disk.
//
// Reused: Clear keeps the memory, and a log that runs stops allocating.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/spool/record.h"

namespace sluice::spool {

enum class StepKind : uint8_t { kNone, kWrite, kSync };

struct Step {
  StepKind kind = StepKind::kNone;
  int32_t descriptor = -1;
  uint64_t offset = 0;
  std::span<const Bytes> parts;  // kWrite; at most kStepPartsMax; lent until it is done.
};

// The kernel's IOV_MAX.
inline constexpr size_t kStepPartsMax = 1024;

class Batch {
 public:
  // --- While it is open.

  // What follows is written to this segment from `offset` on. Again for the same segment: nothing
  // new.
  bool WritesTo(SegmentId segment) const {
    return !runs_.empty() && runs_.back().segment == segment;
  }
  void WriteTo(SegmentId segment, int32_t descriptor, uint64_t offset);

  // Encode behind what is there, then Take or Drop what has been encoded since the last of either.
  std::vector<std::byte>& arena() { return arena_; }
  size_t untaken_bytes() const { return arena_.size() - taken_bytes_; }
  void Take();
  void Drop() { arena_.resize(taken_bytes_); }

  // Lent until the batch is done.
  void Lend(Bytes bytes);

  bool empty() const { return parts_.empty(); }

  // --- Once it is complete.

  void Seal();
  bool done() const { return run_ == runs_.size(); }
  Step Next() const;           // Not when done.
  void Written(size_t bytes);  // At least one byte, at most what Next asked for.
  void Synced();
  SegmentId segment() const { return runs_[run_].segment; }  // That Next is about.

  void Clear();

 private:
  struct Part {
    const std::byte* lent = nullptr;  // Null: in the arena.
    size_t offset = 0;                // There.
    size_t bytes = 0;
  };
  struct Run {
    SegmentId segment;
    int32_t descriptor = -1;
    uint64_t offset = 0;  // Of what is still to be written.
    size_t parts_end = 0;
  };

  void Append(const Part& part);

  std::vector<std::byte> arena_;
  size_t taken_bytes_ = 0;
  std::vector<Part> parts_;
  std::vector<Run> runs_;

  std::vector<Bytes> sealed_;  // parts_, where they lie now.
  size_t run_ = 0;
  size_t part_ = 0;
};

}  // namespace sluice::spool
