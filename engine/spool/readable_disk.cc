#include "engine/spool/readable_disk.h"

#include <algorithm>
#include <array>

#include "engine/spool/record.h"

namespace sluice::spool {
namespace {

absl::Status OnlyToRead() {
  return absl::FailedPreconditionError("this spool is only looked at");
}

}  // namespace

absl::StatusOr<ReadableDisk> ReadableDisk::Of(Disk& disk) {
  ReadableDisk readable(disk);
  absl::StatusOr<std::vector<OpenSegment>> opened = disk.OpenAll();
  if (!opened.ok()) return opened.status();
  for (const OpenSegment& segment : *opened) {
    std::array<std::byte, kShownBytes + 4> front{};
    const size_t wanted = std::min<uint64_t>(segment.bytes, front.size());
    const absl::StatusOr<size_t> read = disk.ReadAt(segment, std::span(front).first(wanted), 0);
    if (!read.ok()) {
      readable.others_.push_back(
          {.segment = segment, .error = std::string(read.status().message())});
      continue;
    }
    const std::optional<uint32_t> version = ShownVersion(Bytes(front).first(*read));
    if (version && *version != kFormatVersion && *version != kVersionCutOff) {
      readable.others_.push_back({.segment = segment, .version = version});
    } else {
      readable.segments_.push_back(segment);
    }
  }
  return readable;
}

absl::StatusOr<OpenSegment> ReadableDisk::Create(SegmentId, uint64_t) {
  return OnlyToRead();
}

absl::StatusOr<OpenSegment> ReadableDisk::Recycle(const OpenSegment&, SegmentId) {
  return OnlyToRead();
}

absl::Status ReadableDisk::Remove(const OpenSegment&) {
  return OnlyToRead();
}

}  // namespace sluice::spool
