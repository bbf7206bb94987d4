#include "tests/engine/spool/memory_disk.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/base/check.h"

namespace sluice::spool {

// As if synced: what recovery reads is on the disk (disk.h).
absl::StatusOr<std::vector<OpenSegment>> MemoryDisk::OpenAll() {
  CHECK(opened_.empty());
  std::vector<OpenSegment> found;
  for (auto& [segment, file] : files_) {
    file.synced = file.written;
    file.unsynced.clear();
    opened_[next_descriptor_] = segment;
    found.push_back(
        {.id = {segment}, .descriptor = next_descriptor_++, .bytes = file.written.size()});
  }
  return found;
}

absl::StatusOr<OpenSegment> MemoryDisk::Create(SegmentId id, uint64_t bytes) {
  CHECK(!Holds(id));
  if (faults.name_error != 0) return absl::ErrnoToStatus(faults.name_error, "create");
  if (allocated_bytes() + bytes > faults.capacity_bytes) {
    return absl::ResourceExhaustedError("the disk is full");
  }
  acts.push_back({Act::Kind::kCreate, id});
  File& file = files_[id.value];
  file.written.resize(bytes);
  file.synced.resize(bytes);
  opened_[next_descriptor_] = id.value;
  return OpenSegment{.id = id, .descriptor = next_descriptor_++, .bytes = bytes};
}

absl::StatusOr<OpenSegment> MemoryDisk::Recycle(const OpenSegment& dead, SegmentId id) {
  CHECK(Holds(dead.id));
  CHECK(!Holds(id));
  if (faults.name_error != 0) return absl::ErrnoToStatus(faults.name_error, "rename");
  acts.push_back({Act::Kind::kRecycle, dead.id});
  auto node = files_.extract(dead.id.value);
  node.key() = id.value;
  files_.insert(std::move(node));
  opened_.at(dead.descriptor) = id.value;
  return OpenSegment{.id = id, .descriptor = dead.descriptor, .bytes = dead.bytes};
}

absl::Status MemoryDisk::Remove(const OpenSegment& dead) {
  CHECK(Holds(dead.id));
  if (faults.name_error != 0) return absl::ErrnoToStatus(faults.name_error, "unlink");
  acts.push_back({Act::Kind::kRemove, dead.id});
  files_.erase(dead.id.value);
  opened_.erase(dead.descriptor);
  return absl::OkStatus();
}

absl::StatusOr<std::string> MemoryDisk::SetAside(const OpenSegment& segment) {
  if (faults.name_error != 0) return absl::ErrnoToStatus(faults.name_error, "link");
  set_aside.push_back(segment.id);
  return std::string("memory");
}

absl::StatusOr<size_t> MemoryDisk::ReadAt(const OpenSegment& segment, std::span<std::byte> into,
                                          uint64_t offset) {
  const int32_t read = Read(segment.descriptor, into, offset);
  if (read < 0) return absl::ErrnoToStatus(-read, "read");
  return static_cast<size_t>(read);
}

int32_t MemoryDisk::Write(int32_t descriptor, std::span<const Bytes> parts, uint64_t offset) {
  if (faults.write_error != 0) return -faults.write_error;
  acts.push_back({Act::Kind::kWrite, {opened_.at(descriptor)}});
  File& file = FileOf(descriptor);
  uint64_t done = 0;
  for (const Bytes part : parts) {
    const uint64_t taken = std::min<uint64_t>(part.size(), faults.write_bytes_max - done);
    CHECK(offset + done + taken <= file.written.size());  // Nothing grows a segment.
    std::memcpy(file.written.data() + offset + done, part.data(), taken);
    done += taken;
  }
  const uint64_t end = offset + done;
  for (uint64_t sector = offset / kSectorBytes; sector * kSectorBytes < end; ++sector) {
    KeepSector(file, sector);
  }
  return static_cast<int32_t>(done);
}

void MemoryDisk::KeepSector(File& file, uint64_t sector) {
  Unsynced& unsynced = file.unsynced[sector];
  unsynced.abandoned = false;
  const uint64_t begin = sector * kSectorBytes;
  const uint64_t bytes = std::min<uint64_t>(kSectorBytes, file.written.size() - begin);
  std::memcpy(unsynced.versions.emplace_back().data(), file.written.data() + begin, bytes);
}

int32_t MemoryDisk::Read(int32_t descriptor, std::span<std::byte> into, uint64_t offset) {
  if (faults.read_error != 0) return -faults.read_error;
  const File& file = FileOf(descriptor);
  if (offset >= file.written.size()) return 0;
  const uint64_t bytes = std::min<uint64_t>(into.size(), file.written.size() - offset);
  std::memcpy(into.data(), file.written.data() + offset, bytes);
  return static_cast<int32_t>(bytes);
}

int32_t MemoryDisk::Sync(int32_t descriptor) {
  File& file = FileOf(descriptor);
  if (faults.sync_error != 0) {
    for (auto& [sector, unsynced] : file.unsynced) unsynced.abandoned = true;
    return -faults.sync_error;
  }
  acts.push_back({Act::Kind::kSync, {opened_.at(descriptor)}});
  for (auto at = file.unsynced.begin(); at != file.unsynced.end();) {
    if (at->second.abandoned) {
      ++at;
      continue;
    }
    const uint64_t begin = at->first * kSectorBytes;
    const uint64_t bytes = std::min<uint64_t>(kSectorBytes, file.written.size() - begin);
    std::memcpy(file.synced.data() + begin, file.written.data() + begin, bytes);
    at = file.unsynced.erase(at);
  }
  return 0;
}

int32_t MemoryDisk::Perform(const Step& step) {
  switch (step.kind) {
    case StepKind::kNone:
      break;
    case StepKind::kWrite:
      return Write(step.descriptor, step.parts, step.offset);
    case StepKind::kSync:
      return Sync(step.descriptor);
  }
  CHECK(false);
  return 0;
}

void MemoryDisk::Kill() {
  opened_.clear();
}

void MemoryDisk::Crash(Random& random) {
  Kill();
  for (auto& [segment, file] : files_) {
    for (const auto& [sector, unsynced] : file.unsynced) {
      const uint64_t kept = random.Below(unsynced.versions.size() + 1);
      if (kept == unsynced.versions.size()) continue;
      const uint64_t begin = sector * kSectorBytes;
      const uint64_t bytes = std::min<uint64_t>(kSectorBytes, file.synced.size() - begin);
      std::memcpy(file.synced.data() + begin, unsynced.versions[kept].data(), bytes);
    }
    file.unsynced.clear();
    file.written = file.synced;
  }
}

std::vector<std::byte>& MemoryDisk::BytesOf(SegmentId segment) {
  return files_.at(segment.value).written;
}

uint64_t MemoryDisk::allocated_bytes() const {
  uint64_t bytes = 0;
  for (const auto& [segment, file] : files_) bytes += file.written.size();
  return bytes;
}

MemoryDisk::File& MemoryDisk::FileOf(int32_t descriptor) {
  const auto opened = opened_.find(descriptor);
  CHECK(opened != opened_.end());  // Closed, or of a former life.
  return files_.at(opened->second);
}

}  // namespace sluice::spool
