// The records of the log, encoded and decoded. FORMAT.md shows the bytes.
//
// A record is a 24-byte header and a payload, padded with zeros to 8 bytes. The checksum (XXH3, 64
// bits) covers the header's other fields and the payload and is seeded with the id of the segment,
// so that what a reused file still holds of its former life never checks. Decoding trusts nothing:
// every length is checked against the bytes that are there.
//
// The checksum finds accidents. It does not tell our bytes from those of somebody who wants to be
// mistaken for us: so records are never looked for inside a body whose own record checks.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/ip_address.h"
#include "engine/base/message_id.h"
#include "engine/base/time.h"

namespace sluice::spool {

using Bytes = std::span<const std::byte>;

// Names a segment among all logs of a spool: the log's number (the shard that wrote it) above a
// sequence number that only grows within the log.
struct SegmentId {
  uint64_t value = 0;  // log << 48 | sequence

  static SegmentId Of(uint16_t log, uint64_t sequence) { return {uint64_t{log} << 48 | sequence}; }
  uint16_t log() const { return static_cast<uint16_t>(value >> 48); }
  uint64_t sequence() const { return value & ((uint64_t{1} << 48) - 1); }
  auto operator<=>(const SegmentId&) const = default;
};

enum class RecordType : uint8_t {
  kSegment = 1,   // The first record of a segment: version, log, sequence, when.
  kBody = 2,      // A piece of a message's body, in wire form.
  kAccepted = 3,  // The promise: envelope, state of each recipient, body size and checksum. Follows
                  // its bodies.
  kOutcome = 4,   // Final outcomes of some recipients.
  kDeferred = 5,  // Some recipients wait: attempts and when to try again.
  kDone = 6,      // All recipients are final: the message is dead.
  kBatch = 7,     // A batch begins: all before it in this segment is on the disk.
  kWindow = 8,    // What counts against a recipient limit, and what may come to.
  kIndex = 9,     // What the records of a full segment say (index.h).
};

inline constexpr uint32_t kFormatVersion = 2;
inline constexpr size_t kRecordHeaderBytes = 24;

// The bytes of a body's piece.
inline constexpr uint32_t kBodyPieceBytesMax = 1 << 20;

// The payload of a record. An accepted record of 1,000 recipients (limits.h) with the longest
// addresses, domains and ORCPTs that SMTP allows fits, and the places of 6,000 pieces of a body.
inline constexpr uint32_t kRecordPayloadBytesMax = (1 << 20) + (1 << 17);

// Where a record lies, or the bytes of a body within one.
struct Extent {
  SegmentId segment;  // 0: nowhere.
  uint32_t offset = 0;
  uint32_t bytes = 0;

  bool operator==(const Extent&) const = default;
};

// Of a reply that is kept for the DSN which may come: a longer one is cut when it is encoded, and
// cut further where 1,000 of them would not fit into one accepted record.
inline constexpr size_t kLastReplyBytesMax = 1024;

enum class RecipientState : uint8_t {
  kWaiting = 0,  // To be tried, or tried and deferred.
  kDelivered = 1,
  kBounced = 2,
};

struct RecipientRecord {
  std::string address;
  std::string destination;
  std::string original_recipient;
  uint8_t notify = 0;
  RecipientState state = RecipientState::kWaiting;
  uint16_t attempts = 0;
  WallTime next_attempt{};  // Epoch: at once.
  std::string last_reply;   // Of the last deferral, for the DSN that may come.
};

struct AcceptedRecord {
  MessageId id;
  WallTime accepted_at{};
  std::string sender;
  uint8_t body_type = 0;  // smtp::BodyType's number.
  uint8_t ret = 0;        // smtp::Return's number.
  std::string envelope_id;
  std::string source_pool;  // The name of the pool of sources that it leaves by; empty: none.
  bool eight_bit = false;
  bool bounce = false;         // A DSN of our own.
  uint64_t message_bytes = 0;  // Without stuffing and the final dot.
  uint64_t wire_bytes = 0;     // With both: what the kBody records add up to.
  uint64_t body_checksum = 0;  // XXH3 of the wire form.
  std::vector<Extent> body;    // Where the wire form lies, in order.
  std::vector<RecipientRecord> recipients;
};

struct OutcomeRecord {
  MessageId id;
  RecipientState state = RecipientState::kDelivered;  // Never kWaiting.
  std::vector<uint32_t> recipients;                   // Indexes into the accepted record.
};

struct DeferredRecord {
  MessageId id;
  uint16_t attempts = 0;
  WallTime next_attempt{};
  std::string last_reply;
  std::string peer_name;  // Who said that,
  std::string command;    // and to what. Both for the DSN that may come.
  std::vector<uint32_t> recipients;
};

// What of a destination a window counts (policy/destination_budget.h).
enum class WindowPart : uint8_t {
  kScope = 0,   // A scope that has limits of its own.
  kSystem = 1,  // All of it.
  kBefore = 2,  // Scopes that are none any more.
};

// Names a window: two records of one key are about the same one, and the greater number counts.
struct WindowKey {
  std::string destination;
  WindowPart part = WindowPart::kScope;
  // Which parts of a scope have limits of their own when this was written. Of another scope, a
  // window that is named alike is another.
  bool each_address = false;
  bool each_source = false;
  IpAddress address;   // Family kNone: of no address alone.
  std::string source;  // By name; empty: of no source alone, or of the one without a name.

  bool operator==(const WindowKey&) const = default;

  template <typename H>
  friend H AbslHashValue(H h, const WindowKey& key) {
    return H::combine(std::move(h), key.destination, key.part, key.each_address, key.each_source,
                      key.address.family, key.address.bytes, key.source);
  }
};

// Recipients that the receiver had seen by then, and not earlier than the pair before says.
struct SeenBy {
  WallTime by{};
  uint32_t recipients = 0;

  bool operator==(const SeenBy&) const = default;
};

// A window is cut into 64 buckets, and one is being filled.
inline constexpr size_t kSeenPairsMax = 65;

struct WindowRecord {
  WindowKey key;
  uint64_t number = 0;  // Grows over all records of this type that are in the spool.
  WallTime at{};
  Duration period{};
  // So many recipients more may be seen from `at` on: those in flight then, and those that may be
  // granted until the next record of the key is durable.
  uint32_t reserved = 0;
  std::vector<SeenBy> seen;  // Oldest first; at most kSeenPairsMax.
};

struct SegmentRecord {
  uint32_t version = kFormatVersion;
  SegmentId id;
  WallTime created{};
  // The segment of the same log before this one and where its records ended. All of them were on
  // the disk before this record was written: what does not check there is damage, not the end.
  SegmentId previous;  // 0: none.
  uint64_t previous_bytes = 0;
  // Where its index begins, with what ends and changes messages, and where the part that begins
  // them does. 0: it has none.
  uint64_t previous_ends = 0;
  uint64_t previous_begins = 0;
};

// Each appends one whole record, header and padding included, to `out`. No string may be longer
// than 65,535 bytes.
void EncodeSegment(const SegmentRecord& record, std::vector<std::byte>& out);
void EncodeAccepted(SegmentId segment, const AcceptedRecord& record, std::vector<std::byte>& out);
void EncodeOutcome(SegmentId segment, const OutcomeRecord& record, std::vector<std::byte>& out);
void EncodeDeferred(SegmentId segment, const DeferredRecord& record, std::vector<std::byte>& out);
void EncodeDone(SegmentId segment, MessageId id, std::vector<std::byte>& out);
void EncodeBatch(SegmentId segment, uint64_t number, std::vector<std::byte>& out);
inline constexpr size_t kBatchRecordBytes = kRecordHeaderBytes + 8;
inline constexpr size_t kSegmentRecordBytes = kRecordHeaderBytes + 64;
void EncodeWindow(SegmentId segment, const WindowRecord& record, std::vector<std::byte>& out);
// What EncodeWindow appends for it.
size_t WindowRecordBytes(const WindowRecord& record);

// A body record is written from where the body lies: this appends only what stands before the bytes
// (header, id, offset in the body); the caller writes the bytes and then PaddingFor(bytes) zeros.
void EncodeBodyPrefix(SegmentId segment, MessageId id, uint64_t body_offset,
                      std::span<const Bytes> parts, std::vector<std::byte>& out);
inline constexpr size_t kBodyPrefixBytes = kRecordHeaderBytes + 16;
size_t PaddingFor(size_t payload_bytes);

struct RecordView {
  RecordType type{};
  Bytes payload;
  size_t whole_bytes = 0;  // Header, payload, padding: where the next one begins.
};

// The record at the front of `input`; nothing if it does not check or is cut.
std::optional<RecordView> DecodeRecord(SegmentId segment, Bytes input);

// How long the record at the front of `input` says it is, if its header can be one of this segment.
// Nothing has been checked.
std::optional<size_t> ClaimedBytes(SegmentId segment, Bytes input);

// The longest record there can be.
inline constexpr size_t kRecordBytesMax = kRecordHeaderBytes + kRecordPayloadBytesMax;

// The format version of the segment whose first bytes are `input`, whether or not that record
// checks: a later format may check otherwise, and must be left alone. Nothing: no segment begins
// here. kVersionCutOff: one was begun, and its first record was cut off before the version.
inline constexpr uint32_t kVersionCutOff = 0;
inline constexpr size_t kShownBytes = kRecordHeaderBytes + 8;  // Up to the version.
std::optional<uint32_t> ShownVersion(Bytes input);

struct BodyRecord {
  MessageId id;
  uint64_t body_offset = 0;
  Bytes bytes;
};
std::optional<SegmentRecord> DecodeSegment(Bytes payload);
std::optional<BodyRecord> DecodeBody(Bytes payload);
std::optional<AcceptedRecord> DecodeAccepted(Bytes payload);
std::optional<OutcomeRecord> DecodeOutcome(Bytes payload);
std::optional<DeferredRecord> DecodeDeferred(Bytes payload);
std::optional<MessageId> DecodeDone(Bytes payload);
std::optional<uint64_t> DecodeBatch(Bytes payload);
std::optional<WindowRecord> DecodeWindow(Bytes payload);

}  // namespace sluice::spool
