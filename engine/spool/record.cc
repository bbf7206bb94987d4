#include "engine/spool/record.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "absl/strings/string_view.h"
#include "engine/base/check.h"
#include "engine/base/xxh3.h"
#include "engine/spool/codec.h"

namespace sluice::spool {
namespace {

// The first bytes of a segment record's payload, in every version of the format.
constexpr absl::string_view kMagic = "SLUICELG";
static_assert(kRecordHeaderBytes + kMagic.size() == kShownBytes);

constexpr uint8_t kFlagEightBit = 1;
constexpr uint8_t kFlagBounce = 2;
constexpr uint8_t kFlagSourcePool = 4;

constexpr uint8_t kScopeEachAddress = 1;
constexpr uint8_t kScopeEachSource = 2;

// Of a window record, what does not depend on its texts and pairs; and a pair.
constexpr size_t kWindowFixedBytes = 8 + 8 + 8 + 4 + 4 + 16 + 2 + 2 + 4;
constexpr size_t kSeenPairBytes = 8 + 4;

// A recipient takes at least this much: what its four strings' lengths and its numbers take.
constexpr size_t kRecipientBytesMin = 1 + 1 + 2 + 8 + 4 * 2;

// A piece of a body: segment, offset, bytes.
constexpr size_t kExtentBytes = 8 + 4 + 4;

bool AllZero(Bytes bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

bool KnownType(uint32_t type) {
  return type >= static_cast<uint32_t>(RecordType::kSegment) &&
         type <= static_cast<uint32_t>(RecordType::kIndex);
}

// What each recipient's last reply may take so that the record fits.
size_t ReplyBytesMax(const AcceptedRecord& record) {
  size_t fixed =
      52 + 4 + record.body.size() * kExtentBytes + record.sender.size() + record.envelope_id.size();
  if (!record.source_pool.empty()) fixed += 2 + record.source_pool.size();
  for (const RecipientRecord& recipient : record.recipients) {
    fixed += kRecipientBytesMin + recipient.address.size() + recipient.destination.size() +
             recipient.original_recipient.size();
  }
  CHECK(fixed <= kRecordPayloadBytesMax);  // Who accepts bounds the envelope (limits.h).
  if (record.recipients.empty()) return 0;
  return std::min(kLastReplyBytesMax, (kRecordPayloadBytesMax - fixed) / record.recipients.size());
}

void EncodeRecipient(const RecipientRecord& recipient, size_t reply_bytes_max, Encoder& encoder) {
  encoder.Number(recipient.notify);
  encoder.Number(static_cast<uint8_t>(recipient.state));
  encoder.Number(recipient.attempts);
  encoder.Time(recipient.next_attempt);
  encoder.Text(recipient.address);
  encoder.Text(recipient.destination);
  encoder.Text(recipient.original_recipient);
  encoder.Text(absl::string_view(recipient.last_reply).substr(0, reply_bytes_max));
}

bool DecodeRecipient(Decoder& decoder, RecipientRecord& recipient) {
  recipient.notify = decoder.Number<uint8_t>();
  const uint8_t state = decoder.Number<uint8_t>();
  if (state > static_cast<uint8_t>(RecipientState::kBounced)) return false;
  recipient.state = static_cast<RecipientState>(state);
  recipient.attempts = decoder.Number<uint16_t>();
  recipient.next_attempt = decoder.Time();
  decoder.Text(recipient.address);
  decoder.Text(recipient.destination);
  decoder.Text(recipient.original_recipient);
  decoder.Text(recipient.last_reply);
  return decoder.good();
}

bool DecodeExtents(Decoder& decoder, std::vector<Extent>& extents) {
  const size_t count = decoder.Number<uint32_t>();
  if (!decoder.good() || count > decoder.left() / kExtentBytes) return false;
  extents.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    Extent extent;
    extent.segment.value = decoder.Number<uint64_t>();
    extent.offset = decoder.Number<uint32_t>();
    extent.bytes = decoder.Number<uint32_t>();
    extents.push_back(extent);
  }
  return decoder.good();
}

// As people call them.
uint8_t FamilyNumber(Family family) {
  switch (family) {
    case Family::kNone:
      return 0;
    case Family::kIpv4:
      return 4;
    case Family::kIpv6:
      return 6;
  }
  return 0;
}

void DecodeAddress(uint8_t family, Decoder& decoder, IpAddress& address) {
  for (const Family known : {Family::kNone, Family::kIpv4, Family::kIpv6}) {
    if (FamilyNumber(known) == family) address.family = known;
  }
  decoder.Must(FamilyNumber(address.family) == family);
  for (uint8_t& byte : address.bytes) byte = decoder.Number<uint8_t>();
  const size_t used = address.family == Family::kIpv6   ? 16
                      : address.family == Family::kIpv4 ? 4
                                                        : 0;
  for (size_t i = used; i < address.bytes.size(); ++i) decoder.Zero(address.bytes[i]);
}

void DecodeSeen(Decoder& decoder, std::vector<SeenBy>& seen) {
  const size_t pairs = decoder.Number<uint32_t>();
  decoder.Must(pairs <= kSeenPairsMax);
  for (size_t i = 0; i < pairs && decoder.good(); ++i) {
    const WallTime by = decoder.Time();
    seen.push_back({.by = by, .recipients = decoder.Number<uint32_t>()});
    decoder.Must(i == 0 || seen[i - 1].by < by);
  }
}

}  // namespace

size_t PaddingFor(size_t payload_bytes) {
  return (8 - payload_bytes % 8) % 8;
}

void EncodeSegment(const SegmentRecord& record, std::vector<std::byte>& out) {
  Encoder encoder(record.id, RecordType::kSegment, out);
  for (const char c : kMagic) encoder.Number(static_cast<uint8_t>(c));
  encoder.Number(record.version);
  encoder.Number(uint32_t{0});
  encoder.Number(record.id.value);
  encoder.Time(record.created);
  encoder.Number(record.previous.value);
  encoder.Number(record.previous_bytes);
  encoder.Number(record.previous_ends);
  encoder.Number(record.previous_begins);
  encoder.Finish();
}

void EncodeAccepted(SegmentId segment, const AcceptedRecord& record, std::vector<std::byte>& out) {
  const size_t reply_bytes_max = ReplyBytesMax(record);
  Encoder encoder(segment, RecordType::kAccepted, out);
  encoder.Number(record.id.value);
  encoder.Time(record.accepted_at);
  encoder.Number(record.message_bytes);
  encoder.Number(record.wire_bytes);
  encoder.Number(record.body_checksum);
  encoder.Number(record.body_type);
  encoder.Number(record.ret);
  encoder.Number(static_cast<uint8_t>((record.eight_bit ? kFlagEightBit : 0) |
                                      (record.bounce ? kFlagBounce : 0) |
                                      (record.source_pool.empty() ? 0 : kFlagSourcePool)));
  encoder.Number(uint8_t{0});
  encoder.Number(static_cast<uint32_t>(record.recipients.size()));
  encoder.Text(record.sender);
  encoder.Text(record.envelope_id);
  if (!record.source_pool.empty()) encoder.Text(record.source_pool);
  encoder.Number(static_cast<uint32_t>(record.body.size()));
  for (const Extent& piece : record.body) {
    encoder.Number(piece.segment.value);
    encoder.Number(piece.offset);
    encoder.Number(piece.bytes);
  }
  for (const RecipientRecord& recipient : record.recipients) {
    EncodeRecipient(recipient, reply_bytes_max, encoder);
  }
  encoder.Finish();
}

void EncodeOutcome(SegmentId segment, const OutcomeRecord& record, std::vector<std::byte>& out) {
  CHECK(record.state != RecipientState::kWaiting);
  Encoder encoder(segment, RecordType::kOutcome, out, 8 + 4 + 4 + 4 * record.recipients.size());
  encoder.Number(record.id.value);
  encoder.Number(static_cast<uint32_t>(record.state));
  encoder.Indexes(record.recipients);
  encoder.Finish();
}

void EncodeDeferred(SegmentId segment, const DeferredRecord& record, std::vector<std::byte>& out) {
  Encoder encoder(segment, RecordType::kDeferred, out);
  encoder.Number(record.id.value);
  encoder.Time(record.next_attempt);
  encoder.Number(static_cast<uint32_t>(record.attempts));
  encoder.Indexes(record.recipients);
  encoder.Text(absl::string_view(record.last_reply).substr(0, kLastReplyBytesMax));
  encoder.Text(record.peer_name);
  encoder.Text(record.command);
  encoder.Finish();
}

void EncodeDone(SegmentId segment, MessageId id, std::vector<std::byte>& out) {
  Encoder encoder(segment, RecordType::kDone, out, sizeof(id.value));
  encoder.Number(id.value);
  encoder.Finish();
}

void EncodeBatch(SegmentId segment, uint64_t number, std::vector<std::byte>& out) {
  Encoder encoder(segment, RecordType::kBatch, out, sizeof(number));
  encoder.Number(number);
  encoder.Finish();
}

size_t WindowRecordBytes(const WindowRecord& record) {
  const size_t payload = kWindowFixedBytes + record.key.destination.size() +
                         record.key.source.size() + record.seen.size() * kSeenPairBytes;
  return kRecordHeaderBytes + payload + PaddingFor(payload);
}

void EncodeWindow(SegmentId segment, const WindowRecord& record, std::vector<std::byte>& out) {
  CHECK(record.period > Duration::zero());
  CHECK(record.seen.size() <= kSeenPairsMax);
  const WindowKey& key = record.key;
  Encoder encoder(segment, RecordType::kWindow, out);
  encoder.Number(record.number);
  encoder.Time(record.at);
  encoder.Number(static_cast<uint64_t>(record.period.count()));
  encoder.Number(record.reserved);
  encoder.Number(static_cast<uint8_t>(key.part));
  encoder.Number(static_cast<uint8_t>((key.each_address ? kScopeEachAddress : 0) |
                                      (key.each_source ? kScopeEachSource : 0)));
  encoder.Number(FamilyNumber(key.address.family));
  encoder.Number(uint8_t{0});
  for (const uint8_t byte : key.address.bytes) encoder.Number(byte);
  encoder.Text(key.destination);
  encoder.Text(key.source);
  encoder.Number(static_cast<uint32_t>(record.seen.size()));
  for (const SeenBy& seen : record.seen) {
    encoder.Time(seen.by);
    encoder.Number(seen.recipients);
  }
  encoder.Finish();
}

void EncodeBodyPrefix(SegmentId segment, MessageId id, uint64_t body_offset,
                      std::span<const Bytes> parts, std::vector<std::byte>& out) {
  size_t bytes = 0;
  for (const Bytes part : parts) bytes += part.size();
  CHECK(bytes <= kBodyPieceBytesMax);
  const size_t begin = out.size();
  out.resize(begin + kBodyPrefixBytes);
  std::byte* record = out.data() + begin;
  PutHeader(segment, RecordType::kBody, kBodyFieldsBytes + bytes, record);
  Put(id.value, record + kRecordHeaderBytes);
  Put(body_offset, record + kRecordHeaderBytes + 8);

  XXH3_state_t state;
  XXH3_INITSTATE(&state);
  CHECK(XXH3_64bits_reset_withSeed(&state, segment.value) == XXH_OK);
  XXH3_64bits_update(&state, record + kCheckedFrom, kBodyPrefixBytes - kCheckedFrom);
  for (const Bytes part : parts) XXH3_64bits_update(&state, part.data(), part.size());
  Put<uint64_t>(XXH3_64bits_digest(&state), record + kChecksumAt);
}

std::optional<size_t> ClaimedBytes(SegmentId segment, Bytes input) {
  if (input.size() < kRecordHeaderBytes) return std::nullopt;
  const size_t length = Get<uint32_t>(input.data() + kLengthAt);
  if (length > kPayloadBytesMax) return std::nullopt;
  if (!KnownType(Get<uint32_t>(input.data() + kTypeAt))) return std::nullopt;
  if (Get<uint64_t>(input.data() + kSegmentAt) != segment.value) return std::nullopt;
  return kRecordHeaderBytes + length + PaddingFor(length);
}

std::optional<RecordView> DecodeRecord(SegmentId segment, Bytes input) {
  const std::optional<size_t> whole = ClaimedBytes(segment, input);
  if (!whole || *whole > input.size()) return std::nullopt;
  const size_t length = Get<uint32_t>(input.data() + kLengthAt);
  const uint64_t checksum = Get<uint64_t>(input.data() + kChecksumAt);
  if (Checksum(segment, input.data(), length) != checksum) return std::nullopt;
  const size_t end = kRecordHeaderBytes + length;
  if (!AllZero(input.subspan(end, *whole - end))) return std::nullopt;
  return RecordView{.type = static_cast<RecordType>(Get<uint32_t>(input.data() + kTypeAt)),
                    .payload = input.subspan(kRecordHeaderBytes, length),
                    .whole_bytes = *whole};
}

std::optional<uint32_t> ShownVersion(Bytes input) {
  if (input.size() < kRecordHeaderBytes + kMagic.size() + 4) return std::nullopt;
  const std::byte* at = input.data() + kRecordHeaderBytes;
  if (std::memcmp(at, kMagic.data(), kMagic.size()) != 0) return std::nullopt;
  return Get<uint32_t>(at + kMagic.size());
}

std::optional<SegmentRecord> DecodeSegment(Bytes payload) {
  Decoder decoder(payload);
  for (const char c : kMagic) {
    if (decoder.Number<uint8_t>() != static_cast<uint8_t>(c)) return std::nullopt;
  }
  SegmentRecord record;
  record.version = decoder.Number<uint32_t>();
  decoder.Zero(decoder.Number<uint32_t>());
  record.id.value = decoder.Number<uint64_t>();
  record.created = decoder.Time();
  record.previous.value = decoder.Number<uint64_t>();
  record.previous_bytes = decoder.Number<uint64_t>();
  record.previous_ends = decoder.Number<uint64_t>();
  record.previous_begins = decoder.Number<uint64_t>();
  if (!decoder.Finished()) return std::nullopt;
  return record;
}

std::optional<BodyRecord> DecodeBody(Bytes payload) {
  if (payload.size() < kBodyFieldsBytes) return std::nullopt;
  return BodyRecord{.id = MessageId{Get<uint64_t>(payload.data())},
                    .body_offset = Get<uint64_t>(payload.data() + 8),
                    .bytes = payload.subspan(kBodyFieldsBytes)};
}

std::optional<AcceptedRecord> DecodeAccepted(Bytes payload) {
  Decoder decoder(payload);
  AcceptedRecord record;
  record.id.value = decoder.Number<uint64_t>();
  record.accepted_at = decoder.Time();
  record.message_bytes = decoder.Number<uint64_t>();
  record.wire_bytes = decoder.Number<uint64_t>();
  record.body_checksum = decoder.Number<uint64_t>();
  record.body_type = decoder.Number<uint8_t>();
  record.ret = decoder.Number<uint8_t>();
  const uint8_t flags = decoder.Number<uint8_t>();
  record.eight_bit = (flags & kFlagEightBit) != 0;
  record.bounce = (flags & kFlagBounce) != 0;
  decoder.Zero(flags & ~(kFlagEightBit | kFlagBounce | kFlagSourcePool));
  decoder.Zero(decoder.Number<uint8_t>());
  const size_t recipients = decoder.Number<uint32_t>();
  decoder.Text(record.sender);
  decoder.Text(record.envelope_id);
  if ((flags & kFlagSourcePool) != 0) {
    decoder.Text(record.source_pool);
    decoder.Must(!record.source_pool.empty());
  }
  if (!DecodeExtents(decoder, record.body)) return std::nullopt;
  if (!decoder.good() || recipients > decoder.left() / kRecipientBytesMin) return std::nullopt;
  record.recipients.resize(recipients);
  for (RecipientRecord& recipient : record.recipients) {
    if (!DecodeRecipient(decoder, recipient)) return std::nullopt;
  }
  if (!decoder.Finished()) return std::nullopt;
  return record;
}

std::optional<OutcomeRecord> DecodeOutcome(Bytes payload) {
  Decoder decoder(payload);
  OutcomeRecord record;
  record.id.value = decoder.Number<uint64_t>();
  const uint32_t state = decoder.Number<uint32_t>();
  if (state != static_cast<uint32_t>(RecipientState::kDelivered) &&
      state != static_cast<uint32_t>(RecipientState::kBounced)) {
    return std::nullopt;
  }
  record.state = static_cast<RecipientState>(state);
  if (!decoder.Indexes(record.recipients) || !decoder.Finished()) return std::nullopt;
  return record;
}

std::optional<DeferredRecord> DecodeDeferred(Bytes payload) {
  Decoder decoder(payload);
  DeferredRecord record;
  record.id.value = decoder.Number<uint64_t>();
  record.next_attempt = decoder.Time();
  const uint32_t attempts = decoder.Number<uint32_t>();
  if (attempts > UINT16_MAX) return std::nullopt;
  record.attempts = static_cast<uint16_t>(attempts);
  if (!decoder.Indexes(record.recipients)) return std::nullopt;
  decoder.Text(record.last_reply);
  decoder.Text(record.peer_name);
  decoder.Text(record.command);
  if (!decoder.Finished()) return std::nullopt;
  return record;
}

std::optional<MessageId> DecodeDone(Bytes payload) {
  if (payload.size() != 8) return std::nullopt;
  return MessageId{Get<uint64_t>(payload.data())};
}

std::optional<uint64_t> DecodeBatch(Bytes payload) {
  if (payload.size() != 8) return std::nullopt;
  return Get<uint64_t>(payload.data());
}

std::optional<WindowRecord> DecodeWindow(Bytes payload) {
  Decoder decoder(payload);
  WindowRecord record;
  record.number = decoder.Number<uint64_t>();
  record.at = decoder.Time();
  const uint64_t period = decoder.Number<uint64_t>();
  decoder.Must(period > 0 && period <= INT64_MAX);
  record.period = Duration(static_cast<int64_t>(period));
  record.reserved = decoder.Number<uint32_t>();
  const uint8_t part = decoder.Number<uint8_t>();
  decoder.Must(part <= static_cast<uint8_t>(WindowPart::kBefore));
  record.key.part = static_cast<WindowPart>(part);
  const uint8_t scope = decoder.Number<uint8_t>();
  record.key.each_address = (scope & kScopeEachAddress) != 0;
  record.key.each_source = (scope & kScopeEachSource) != 0;
  decoder.Zero(scope & ~(kScopeEachAddress | kScopeEachSource));
  const uint8_t family = decoder.Number<uint8_t>();
  decoder.Zero(decoder.Number<uint8_t>());
  DecodeAddress(family, decoder, record.key.address);
  decoder.Text(record.key.destination);
  decoder.Text(record.key.source);
  DecodeSeen(decoder, record.seen);
  if (!decoder.Finished()) return std::nullopt;
  return record;
}

}  // namespace sluice::spool
