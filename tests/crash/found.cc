#include "tests/crash/found.h"

#include <cstring>

#include "absl/strings/ascii.h"
#include "engine/base/check.h"
#include "engine/spool/recovery.h"

namespace sluice::crash {
namespace {

using spool::OpenSegment;
using spool::SegmentId;

class ImageDisk : public spool::Disk {
 public:
  explicit ImageDisk(const Image& image) : image_(image) {}

  absl::StatusOr<std::vector<OpenSegment>> OpenAll() override {
    std::vector<OpenSegment> opened;
    for (const Image::File& file : image_.files) {
      opened.push_back({.id = file.id,
                        .descriptor = static_cast<int32_t>(opened.size()),
                        .bytes = file.bytes.size()});
    }
    return opened;
  }
  absl::StatusOr<size_t> ReadAt(const OpenSegment& segment, std::span<std::byte> into,
                                uint64_t offset) override {
    const std::span<const std::byte> bytes =
        image_.files[static_cast<size_t>(segment.descriptor)].bytes;
    if (offset >= bytes.size()) return size_t{0};
    const size_t count = std::min<size_t>(into.size(), bytes.size() - offset);
    std::memcpy(into.data(), bytes.data() + offset, count);
    return count;
  }
  absl::StatusOr<OpenSegment> Create(SegmentId, uint64_t) override { return Never(); }
  absl::StatusOr<OpenSegment> Recycle(const OpenSegment&, SegmentId) override { return Never(); }
  absl::Status Remove(const OpenSegment&) override { return Never(); }

 private:
  static absl::Status Never() {
    CHECK(!"recovery changes the disk");
    return absl::InternalError("");
  }
  const Image& image_;
};

// Empty: it cannot be read whole.
std::string ReadBody(spool::Disk& disk, const spool::Recovered& recovered,
                     const spool::RecoveredMessage& message) {
  std::string body(message.accepted.wire_bytes, '\0');
  size_t done = 0;
  for (const spool::Extent& extent : message.body) {
    const auto segment = std::find_if(
        recovered.segments.begin(), recovered.segments.end(),
        [&](const spool::Log::LiveSegment& live) { return live.segment.id == extent.segment; });
    if (segment == recovered.segments.end() || done + extent.bytes > body.size()) return "";
    const std::span into(reinterpret_cast<std::byte*>(body.data()) + done, extent.bytes);
    const absl::StatusOr<size_t> read = disk.ReadAt(segment->segment, into, extent.offset);
    if (!read.ok() || *read != extent.bytes) return "";
    done += extent.bytes;
  }
  return done == body.size() ? body : "";
}

}  // namespace

Found FindOn(spool::Disk& disk) {
  Found found;
  const absl::StatusOr<spool::Recovered> recovered = spool::Recover(disk);
  if (!recovered.ok()) {
    found.error = std::string(recovered.status().message());
    return found;
  }
  found.damaged_records = recovered->damaged_records;
  for (const spool::RecoveredMessage& message : recovered->messages) {
    FoundMessage& it = found.messages.emplace_back();
    it.id = message.accepted.id.value;
    it.sender = message.accepted.sender;
    it.body = ReadBody(disk, *recovered, message);
    for (const spool::RecipientRecord& recipient : message.accepted.recipients) {
      it.recipients.push_back({.address = absl::AsciiStrToLower(recipient.address),
                               .waits = recipient.state == spool::RecipientState::kWaiting});
    }
  }
  for (const spool::RecoveredWindow& window : recovered->windows) {
    const spool::WindowRecord& record = window.record;
    FoundWindow& it = found.windows.emplace_back();
    it.destination = record.key.destination;
    it.of_system = record.key.part == spool::WindowPart::kSystem;
    it.reserved = record.reserved;
    for (const spool::SeenBy& seen : record.seen) it.seen.emplace_back(seen.by, seen.recipients);
  }
  return found;
}

Found FindOn(const Image& image) {
  ImageDisk disk(image);
  return FindOn(disk);
}

}  // namespace sluice::crash
