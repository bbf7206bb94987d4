#include "tests/crash/recording_disk.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"

namespace sluice::crash {
namespace {

using spool::Bytes;
using spool::OpenSegment;
using spool::SegmentId;
using Kind = Event::Kind;

std::vector<std::byte> Gather(std::span<const Bytes> parts) {
  std::vector<std::byte> bytes;
  for (const Bytes part : parts) bytes.insert(bytes.end(), part.begin(), part.end());
  return bytes;
}

}  // namespace

RecordingDisk::RecordingDisk(const Image* image, std::function<Instant()> before_event)
    : before_event_(std::move(before_event)) {
  for (const Image::File& file : image == nullptr ? std::vector<Image::File>() : image->files) {
    CHECK(MemoryDisk::Create(file.id, file.bytes.size()).ok());
    std::copy(file.bytes.begin(), file.bytes.end(), BytesOf(file.id).begin());
    by_id_[file.id.value] = next_file_;
    living_[next_file_++].id = file.id;
  }
  MemoryDisk::Kill();
  RecordContent();
}

Event& RecordingDisk::Record(Event event) {
  event.when = before_event_();
  recording_.push_back(std::move(event));
  return recording_.back();
}

void RecordingDisk::RecordContent() {
  bool first = true;
  for (const auto& [number, file] : living_) {
    Record({.kind = Kind::kContent,
            .file = number,
            .id = file.id,
            .bytes = BytesOf(file.id),
            .first = std::exchange(first, false)});
  }
}

void RecordingDisk::RecordSync(uint32_t number) {
  std::vector<size_t> covered = std::exchange(living_.at(number).written, {});
  Record({.kind = Kind::kSync, .file = number, .writes = std::move(covered)});
}

// Recovery syncs what it opens (disk.h).
absl::StatusOr<std::vector<OpenSegment>> RecordingDisk::OpenAll() {
  absl::StatusOr<std::vector<OpenSegment>> opened = MemoryDisk::OpenAll();
  CHECK(opened.ok());
  for (const OpenSegment& segment : *opened) {
    const uint32_t number = by_id_.at(segment.id.value);
    by_descriptor_[segment.descriptor] = number;
    if (!living_.at(number).written.empty()) RecordSync(number);
  }
  return opened;
}

absl::StatusOr<OpenSegment> RecordingDisk::Create(SegmentId id, uint64_t bytes) {
  Record({.kind = Kind::kCreate, .file = next_file_, .id = id, .file_bytes = bytes});
  absl::StatusOr<OpenSegment> created = MemoryDisk::Create(id, bytes);
  CHECK(created.ok());
  Record({.kind = Kind::kCreated, .file = next_file_, .id = id, .file_bytes = bytes});
  by_id_[id.value] = by_descriptor_[created->descriptor] = next_file_;
  living_[next_file_++].id = id;
  return created;
}

absl::StatusOr<OpenSegment> RecordingDisk::Recycle(const OpenSegment& dead, SegmentId id) {
  const uint32_t number = by_id_.at(dead.id.value);
  Record({.kind = Kind::kRecycle, .file = number, .id = id});
  absl::StatusOr<OpenSegment> recycled = MemoryDisk::Recycle(dead, id);
  CHECK(recycled.ok());
  Record({.kind = Kind::kRecycled, .file = number, .id = id});
  by_id_.erase(dead.id.value);
  by_id_[id.value] = number;
  living_.at(number).id = id;
  return recycled;
}

absl::Status RecordingDisk::Remove(const OpenSegment& dead) {
  const uint32_t number = by_id_.at(dead.id.value);
  Record({.kind = Kind::kRemove, .file = number, .id = dead.id});
  CHECK(MemoryDisk::Remove(dead).ok());
  Record({.kind = Kind::kRemoved, .file = number, .id = dead.id});
  by_id_.erase(dead.id.value);
  living_.erase(number);
  return absl::OkStatus();
}

void RecordingDisk::OnAsked(int32_t descriptor, std::span<const Bytes> parts, uint64_t offset) {
  const uint32_t number = by_descriptor_.at(descriptor);
  Record({.kind = Kind::kWrite, .file = number, .offset = offset, .bytes = Gather(parts)});
  living_.at(number).asked.push_back(recording_.size() - 1);
}

// The bytes are those that were there when it was asked for: they are lent until it is done.
int32_t RecordingDisk::Write(int32_t descriptor, std::span<const Bytes> parts, uint64_t offset) {
  const int32_t done = MemoryDisk::Write(descriptor, parts, offset);
  CHECK(done > 0);
  const uint32_t number = by_descriptor_.at(descriptor);
  File& file = living_.at(number);
  const auto found = std::find_if(file.asked.begin(), file.asked.end(),
                                  [&](size_t write) { return recording_[write].offset == offset; });
  CHECK(found != file.asked.end());
  const size_t write = *found;
  file.asked.erase(found);
  std::vector<std::byte> bytes = Gather(parts);
  bytes.resize(static_cast<size_t>(done));
  const std::vector<std::byte>& asked = recording_[write].bytes;
  CHECK(bytes.size() <= asked.size());
  CHECK(std::equal(bytes.begin(), bytes.end(), asked.begin()));
  if (bytes.size() == asked.size()) {
    file.written.push_back(write);
    return done;
  }
  Drop(write, number);
  Record({.kind = Kind::kWrite, .file = number, .offset = offset, .bytes = std::move(bytes)});
  file.written.push_back(recording_.size() - 1);
  return done;
}

void RecordingDisk::Drop(size_t write, uint32_t number) {
  Record({.kind = Kind::kDropped, .file = number, .writes = {write}});
}

int32_t RecordingDisk::Sync(int32_t descriptor) {
  CHECK(MemoryDisk::Sync(descriptor) == 0);
  RecordSync(by_descriptor_.at(descriptor));
  return 0;
}

void RecordingDisk::Kill() {
  MemoryDisk::Kill();
  by_descriptor_.clear();
  for (auto& [number, file] : living_) {
    for (const size_t write : std::exchange(file.asked, {})) Drop(write, number);
  }
}

void RecordingDisk::Crash(Random& random) {
  MemoryDisk::Crash(random);
  for (auto& [number, file] : living_) file.written.clear();
  RecordContent();
}

}  // namespace sluice::crash
