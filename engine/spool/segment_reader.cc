#include "engine/spool/segment_reader.h"

#include <algorithm>

#include "engine/base/check.h"
#include "engine/spool/codec.h"

namespace sluice::spool {
namespace {

// One read; several of the longest records.
constexpr uint64_t kChunkBytes = 4 << 20;
static_assert(kChunkBytes >= 2 * kRecordBytesMax);

// What may be hashed in a search, in lengths of the segment.
constexpr uint64_t kSearchFactor = 8;

// How far it is from the front of `input` to a header that names the segment, or to where none fits
// any more. A start searches the rest of the newest segment so, which is mostly zeros.
size_t UntilNamed(SegmentId segment, Bytes input) {
  size_t at = 0;
  while (at + kRecordHeaderBytes <= input.size() &&
         Get<uint64_t>(input.data() + at + kSegmentAt) != segment.value) {
    at += 8;
  }
  return at;
}

}  // namespace

SegmentReader::SegmentReader(Disk& disk, const OpenSegment& segment,
                             std::optional<uint64_t> sealed_bytes, std::vector<std::byte>& buffer)
    : disk_(disk),
      segment_(segment),
      sealed_(sealed_bytes.has_value()),
      end_(std::min(segment.bytes, sealed_bytes.value_or(segment.bytes))),
      buffer_(buffer),
      search_budget_bytes_(kSearchFactor * segment.bytes) {
  buffer_.resize(std::min(kChunkBytes, std::max<uint64_t>(buffer_.size(), segment.bytes)));
}

absl::StatusOr<std::optional<PlacedRecord>> SegmentReader::Next() {
  while (position_ < end_) {
    if (absl::Status loaded = Load(position_); !loaded.ok()) return loaded;
    if (const std::optional<RecordView> view = DecodeRecord(segment_.id, At(position_))) {
      const PlacedRecord record = {.offset = position_, .view = *view};
      position_ += view->whole_bytes;
      used_bytes_ = position_;
      return record;
    }
    const absl::StatusOr<bool> was_on_disk = WasOnDisk(position_);
    if (!was_on_disk.ok()) return was_on_disk.status();
    if (!*was_on_disk) break;
    const absl::StatusOr<std::optional<uint64_t>> next = FindNext(position_);
    if (!next.ok()) return next.status();
    ++damaged_;
    position_ = next->value_or(end_);
  }
  return std::nullopt;
}

// Whether what does not check at `bad` had been written whole: looks for a later batch.
absl::StatusOr<bool> SegmentReader::WasOnDisk(uint64_t bad) {
  if (sealed_ || bad < on_disk_until_) return true;
  for (uint64_t offset = bad; offset < end_;) {
    if (absl::Status loaded = Load(offset); !loaded.ok()) return loaded;
    if (const std::optional<RecordView> view = DecodeRecord(segment_.id, At(offset))) {
      if (view->type == RecordType::kBatch) {
        on_disk_until_ = offset;
        return true;
      }
      offset += view->whole_bytes;
      continue;
    }
    const absl::StatusOr<std::optional<uint64_t>> next = FindNext(offset);
    if (!next.ok()) return next.status();
    offset = next->value_or(end_);
  }
  return false;
}

// Makes At(offset) hold the longest record, or all there is.
absl::Status SegmentReader::Load(uint64_t offset) {
  const uint64_t wanted = std::min(offset + kRecordBytesMax, end_);
  if (offset >= loaded_at_ && wanted <= loaded_at_ + loaded_bytes_) return absl::OkStatus();
  const uint64_t bytes = std::min<uint64_t>(buffer_.size(), end_ - offset);
  const absl::StatusOr<size_t> read =
      disk_.ReadAt(segment_, std::span(buffer_).first(bytes), offset);
  if (!read.ok()) return read.status();
  loaded_at_ = offset;
  loaded_bytes_ = *read;
  if (*read < bytes) end_ = offset + *read;  // The file is shorter than it was said to be.
  return absl::OkStatus();
}

Bytes SegmentReader::At(uint64_t offset) const {
  CHECK(offset >= loaded_at_);
  const uint64_t skipped = std::min(offset - loaded_at_, loaded_bytes_);
  return Bytes(buffer_).subspan(skipped, std::min(loaded_bytes_, end_ - loaded_at_) - skipped);
}

absl::StatusOr<std::optional<uint64_t>> SegmentReader::FindNext(uint64_t bad) {
  // The search for a later batch may have led far away from it.
  if (absl::Status loaded = Load(bad); !loaded.ok()) return loaded;
  if (const std::optional<size_t> claimed = ClaimedBytes(segment_.id, At(bad))) {
    const uint64_t behind = bad + *claimed;
    if (behind == end_ && sealed_) return std::optional(behind);
    if (behind < end_) {
      if (absl::Status loaded = Load(behind); !loaded.ok()) return loaded;
      if (DecodeRecord(segment_.id, At(behind))) return std::optional(behind);
    }
  }
  for (uint64_t offset = bad + 8; offset + kRecordHeaderBytes <= end_; offset += 8) {
    if (absl::Status loaded = Load(offset); !loaded.ok()) return loaded;
    offset += UntilNamed(segment_.id, At(offset));
    if (absl::Status loaded = Load(offset); !loaded.ok()) return loaded;
    const std::optional<size_t> claimed = ClaimedBytes(segment_.id, At(offset));
    if (!claimed) continue;
    if (DecodeRecord(segment_.id, At(offset))) return std::optional(offset);
    if (*claimed > search_budget_bytes_) return std::optional<uint64_t>();
    search_budget_bytes_ -= *claimed;
  }
  return std::optional<uint64_t>();
}

}  // namespace sluice::spool
