// The spool's records and their recovery, given bytes that nobody encoded.
//
// The first byte says how the rest is read: as it is, as the front of a segment; or as pairs of a
// length and a payload, each of which gets a header that checks, since chance does not find a
// checksum. Either way: a payload that decodes encodes to the same bytes again, and a recovered
// message has its whole body.

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "engine/base/check.h"
#include "engine/spool/recovery.h"

namespace sluice::spool {
namespace {

constexpr SegmentId kSegment = {1};
constexpr size_t kSegmentBytes = 1 << 14;

// One segment that holds the input.
class OneSegment : public Disk {
 public:
  explicit OneSegment(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}
  absl::StatusOr<std::vector<OpenSegment>> OpenAll() override {
    return std::vector<OpenSegment>{{.id = kSegment, .descriptor = 3, .bytes = bytes_.size()}};
  }
  absl::StatusOr<OpenSegment> Create(SegmentId, uint64_t) override { return Never(); }
  absl::StatusOr<OpenSegment> Recycle(const OpenSegment&, SegmentId) override { return Never(); }
  absl::Status Remove(const OpenSegment&) override { return Never(); }
  absl::StatusOr<size_t> ReadAt(const OpenSegment&, std::span<std::byte> into,
                                uint64_t offset) override {
    const size_t bytes = std::min<size_t>(into.size(), bytes_.size() - offset);
    std::memcpy(into.data(), bytes_.data() + offset, bytes);
    return bytes;
  }

 private:
  static absl::Status Never() {
    CHECK(false);  // Recovery changes nothing.
    return absl::OkStatus();
  }
  std::vector<std::byte> bytes_;
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
    const uint8_t type = static_cast<uint8_t>(static_cast<uint8_t>(input[0]) % 8 + 1);
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
}

void RecoverAll(std::vector<std::byte> bytes) {
  bytes.resize(kSegmentBytes);
  OneSegment disk(std::move(bytes));
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
  } else {
    RecoverAll(FrameAll(input));
  }
  return 0;
}
