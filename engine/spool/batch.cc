#include "engine/spool/batch.h"

#include <algorithm>

#include "engine/base/check.h"

namespace sluice::spool {

void Batch::WriteTo(SegmentId segment, int32_t descriptor, uint64_t offset) {
  if (WritesTo(segment)) return;
  CHECK(untaken_bytes() == 0);
  runs_.push_back(
      {.segment = segment, .descriptor = descriptor, .offset = offset, .parts_end = parts_.size()});
}

void Batch::Take() {
  const size_t bytes = untaken_bytes();
  if (bytes == 0) return;
  Append({.lent = nullptr, .offset = taken_bytes_, .bytes = bytes});
  taken_bytes_ += bytes;
}

void Batch::Lend(Bytes bytes) {
  CHECK(untaken_bytes() == 0);
  if (bytes.empty()) return;
  Append({.lent = bytes.data(), .offset = 0, .bytes = bytes.size()});
}

void Batch::Append(const Part& part) {
  CHECK(!runs_.empty());
  Run& run = runs_.back();
  const size_t run_begin = runs_.size() == 1 ? 0 : runs_[runs_.size() - 2].parts_end;
  if (part.lent == nullptr && run.parts_end > run_begin && parts_.back().lent == nullptr) {
    parts_.back().bytes += part.bytes;  // Only arena bytes follow each other in the arena.
    return;
  }
  parts_.push_back(part);
  run.parts_end = parts_.size();
}

void Batch::Seal() {
  CHECK(untaken_bytes() == 0);
  CHECK(!empty());
  CHECK(run_ == 0 && part_ == 0);
  sealed_.clear();
  for (const Part& part : parts_) {
    const std::byte* begin = part.lent == nullptr ? arena_.data() + part.offset : part.lent;
    sealed_.push_back({begin, part.bytes});
  }
}

Step Batch::Next() const {
  CHECK(!done());
  const Run& run = runs_[run_];
  if (part_ == run.parts_end) {
    return {.kind = StepKind::kSync, .descriptor = run.descriptor, .offset = 0, .parts = {}};
  }
  const size_t count = std::min(run.parts_end - part_, kStepPartsMax);
  return {.kind = StepKind::kWrite,
          .descriptor = run.descriptor,
          .offset = run.offset,
          .parts = std::span(sealed_).subspan(part_, count)};
}

void Batch::Written(size_t bytes) {
  CHECK(bytes > 0);
  Run& run = runs_[run_];
  run.offset += bytes;
  while (bytes > 0) {
    CHECK(part_ < run.parts_end);
    Bytes& part = sealed_[part_];
    const size_t taken = std::min(bytes, part.size());
    part = part.subspan(taken);
    bytes -= taken;
    if (part.empty()) ++part_;
  }
}

void Batch::Synced() {
  CHECK(part_ == runs_[run_].parts_end);
  ++run_;
}

void Batch::Clear() {
  arena_.clear();
  taken_bytes_ = 0;
  parts_.clear();
  runs_.clear();
  sealed_.clear();
  run_ = 0;
  part_ = 0;
}

}  // namespace sluice::spool
