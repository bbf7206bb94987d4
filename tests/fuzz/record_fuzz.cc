// The spool's records and their recovery, given bytes that nobody encoded.
//
// The first byte says how the rest is read: as it is, as the front of a segment; or as pairs of a
// length and a payload, each of which gets a header that checks, since chance does not find a
// checksum; or as those behind four bytes that say where the segment's index would be. In any case:
// a payload that decodes encodes to the same bytes again, a recovered message has its whole body,
// and what takes stock and takes over ends, with groups that are within their message.

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "engine/base/check.h"
#include "engine/spool/recovery.h"
#include "engine/spool/stock.h"
#include "engine/spool/takeover.h"

namespace sluice::spool {
namespace {

constexpr SegmentId kSegment = {1};
constexpr SegmentId kNextSegment = {2};
constexpr size_t kSegmentBytes = 1 << 14;

// A segment that holds the input, and the first record of the next, which tells of its index.
class InputDisk : public Disk {
 public:
  explicit InputDisk(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}
  void HasIndex(uint64_t ends, uint64_t begins, uint64_t end) {
    next_.clear();
    EncodeSegment({.id = kNextSegment,
                   .created = {},
                   .previous = kSegment,
                   .previous_bytes = end,
                   .previous_ends = ends,
                   .previous_begins = begins},
                  next_);
  }
  absl::StatusOr<std::vector<OpenSegment>> OpenAll() override {
    std::vector<OpenSegment> opened = {{.id = kSegment, .descriptor = 3, .bytes = bytes_.size()}};
    if (!next_.empty()) {
      opened.push_back({.id = kNextSegment, .descriptor = 4, .bytes = next_.size()});
    }
    return opened;
  }
  absl::StatusOr<OpenSegment> Create(SegmentId, uint64_t) override { return Never(); }
  absl::StatusOr<OpenSegment> Recycle(const OpenSegment&, SegmentId) override { return Never(); }
  absl::Status Remove(const OpenSegment&) override { return Never(); }
  absl::StatusOr<size_t> ReadAt(const OpenSegment& segment, std::span<std::byte> into,
                                uint64_t offset) override {
    const std::vector<std::byte>& held = segment.id == kSegment ? bytes_ : next_;
    if (offset >= held.size()) return 0;
    const size_t bytes = std::min<size_t>(into.size(), held.size() - offset);
    std::memcpy(into.data(), held.data() + offset, bytes);
    return bytes;
  }

 private:
  static absl::Status Never() {
    CHECK(false);  // Recovery changes nothing.
    return absl::OkStatus();
  }
  std::vector<std::byte> bytes_;
  std::vector<std::byte> next_;
};

void PutNumber(uint64_t value, size_t bytes, std::byte* at) {
  for (size_t i = 0; i < bytes; ++i) at[i] = static_cast<std::byte>(value >> (8 * i));
}

// FORMAT.md's header, written without the encoder.
void Frame(uint8_t type, Bytes payload, std::vector<std::byte>& out) {
  const size_t begin = out.size();
  out.resize(begin + kRecordHeaderBytes);
  out.insert(out.end(), payload.begin(), payload.end());
  std::byte* record = out.data() + begin;
  PutNumber(payload.size(), 4, record + 8);
  PutNumber(type, 4, record + 12);
  PutNumber(kSegment.value, 8, record + 16);
  PutNumber(XXH3_64bits_withSeed(record + 8, 16 + payload.size(), kSegment.value), 8, record);
  out.resize(out.size() + PaddingFor(payload.size()));
}

// Type, length (2 bytes), payload; again and again.
std::vector<std::byte> FrameAll(Bytes input) {
  std::vector<std::byte> out;
  while (input.size() >= 3 && out.size() < kSegmentBytes / 2) {
    const uint8_t type = static_cast<uint8_t>(static_cast<uint8_t>(input[0]) % 9 + 1);
    const size_t claimed = static_cast<size_t>(input[1]) | static_cast<size_t>(input[2]) << 8;
    const size_t length = std::min({claimed, input.size() - 3, size_t{4096}});
    Frame(type, input.subspan(3, length), out);
    input = input.subspan(3 + length);
  }
  return out;
}

// The payload that `encode` makes of what was decoded from `payload` is `payload`.
template <class Encode>
void ExpectSame(Bytes payload, Encode encode) {
  std::vector<std::byte> bytes;
  encode(bytes);
  const std::optional<RecordView> view = DecodeRecord(kSegment, bytes);
  CHECK(view.has_value());
  CHECK(std::equal(view->payload.begin(), view->payload.end(), payload.begin(), payload.end()));
}

bool RepliesAreCut(const AcceptedRecord& record) {
  return std::any_of(record.recipients.begin(), record.recipients.end(),
                     [](const auto& r) { return r.last_reply.size() > kLastReplyBytesMax; });
}

void DecodeAndEncode(Bytes payload) {
  if (const auto record = DecodeSegment(payload); record && record->id == kSegment) {
    ExpectSame(payload, [&](auto& out) { EncodeSegment(*record, out); });
  }
  if (const auto record = DecodeAccepted(payload); record && !RepliesAreCut(*record)) {
    ExpectSame(payload, [&](auto& out) { EncodeAccepted(kSegment, *record, out); });
  }
  if (const auto record = DecodeOutcome(payload)) {
    ExpectSame(payload, [&](auto& out) { EncodeOutcome(kSegment, *record, out); });
  }
  if (const auto record = DecodeDeferred(payload);
      record && record->last_reply.size() <= kLastReplyBytesMax) {
    ExpectSame(payload, [&](auto& out) { EncodeDeferred(kSegment, *record, out); });
  }
  if (const auto number = DecodeBatch(payload)) {
    ExpectSame(payload, [&](auto& out) { EncodeBatch(kSegment, *number, out); });
  }
  if (const auto record = DecodeWindow(payload)) {
    CHECK(WindowRecordBytes(*record) ==
          kRecordHeaderBytes + payload.size() + PaddingFor(payload.size()));
    ExpectSame(payload, [&](auto& out) { EncodeWindow(kSegment, *record, out); });
  }
  if (const auto id = DecodeDone(payload)) {
    ExpectSame(payload, [&](auto& out) { EncodeDone(kSegment, *id, out); });
  }
  EndsReader ends(payload, kSegment);
  for (EndEntry entry; ends.Next(entry);) CHECK(!ends.damaged());
  BeginsReader begins(payload, kSegment);
  for (BeginEntry entry; begins.Next(entry);) CHECK(!begins.damaged());
}

void TakeAll(InputDisk& disk) {
  absl::StatusOr<Stock> stock = TakeStock(disk);
  if (!stock.ok()) return;
  Takeover takeover(disk, std::move(stock->segments), stock->changes);
  while (true) {
    const absl::StatusOr<const TakenMessage*> taken = takeover.Next();
    CHECK(taken.ok());
    if (*taken == nullptr) return;
    for (const TakenMessage::Group& group : (*taken)->groups) {
      CHECK(group.waiting > 0);
      CHECK(group.waiting <= group.count);
    }
  }
}

void RecoverAll(std::vector<std::byte> bytes, Bytes index_at = {}) {
  const uint64_t end = bytes.size();
  bytes.resize(kSegmentBytes);
  InputDisk disk(std::move(bytes));
  if (index_at.size() == 4) {
    const auto offset = [&](size_t i) {
      return 8 * (static_cast<uint64_t>(index_at[i]) | static_cast<uint64_t>(index_at[i + 1]) << 8);
    };
    disk.HasIndex(offset(0), offset(2), end);
  }
  TakeAll(disk);
  const absl::StatusOr<Recovered> recovered = Recover(disk);
  if (!recovered.ok()) return;
  for (const RecoveredMessage& message : recovered->messages) {
    uint64_t body_bytes = 0;
    for (const Extent& extent : message.body) {
      CHECK(uint64_t{extent.offset} + extent.bytes <= kSegmentBytes);
      body_bytes += extent.bytes;
    }
    CHECK(body_bytes == message.accepted.wire_bytes);
  }
}

}  // namespace
}  // namespace sluice::spool

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice::spool;
  if (size == 0 || size > kSegmentBytes / 2) return 0;
  const Bytes input = {reinterpret_cast<const std::byte*>(data) + 1, size - 1};
  if (data[0] % 2 == 0) {
    DecodeAndEncode(input);
    RecoverAll({input.begin(), input.end()});
  } else if (data[0] < 128 || input.size() < 4) {
    RecoverAll(FrameAll(input));
  } else {
    RecoverAll(FrameAll(input.subspan(4)), input.first(4));
  }
  return 0;
}
