// The index of a segment: what its records say of messages, without bodies, addresses and replies.
// It is written behind the records when the segment is full, so that a start need not read them.
//
// Two parts. The *ends* have all that ends or changes a message; a start reads those of every
// segment before anything is delivered. The *begins* have the promises, with the destinations and
// times that a queue needs to know; a start reads them while mail flows. FORMAT.md has the bytes.
//
// An index may be missing (the segment that was written to at a crash, or no room for it) and then
// the records are read, and indexed, instead.

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/spool/codec.h"
#include "engine/spool/record.h"

namespace sluice::spool {

enum class EndKind : uint8_t {
  kOrigins = 1,   // Which shards' ids occur, and the greatest.
  kOutcome = 2,   // Recipients are final.
  kDeferred = 3,  // Recipients wait.
  kDone = 4,      // The message is dead.
  kAgain = 5,     // Its promise stands here anew: it has been moved.
  kWindow = 6,    // The record of a window that counts, of those in this segment.
};

struct EndEntry {
  EndKind kind = EndKind::kDone;
  MessageId id;  // kOrigins: the greatest.
  Extent place;  // Of the record; of an outcome and a done record: nowhere.
  RecipientState state = RecipientState::kWaiting;
  uint16_t attempts = 0;
  WallTime next_attempt{};
  std::vector<uint32_t> recipients;
  std::array<uint64_t, 4> origins{};  // A bit for each shard.
};

struct BeginEntry {
  // The recipients of one destination, if any of them waits.
  struct Group {
    absl::string_view destination;  // Lent by the index.
    uint32_t first = 0;
    uint32_t count = 0;
    uint16_t attempts = 0;  // Of the one that waits with the most, and the time of its next.
    WallTime next_attempt{};
  };
  MessageId id;
  Extent place;
  SegmentId first_segment;  // Where its body begins.
  uint64_t log_bytes = 0;   // What its bodies and its promise take.
  WallTime accepted_at{};
  uint32_t recipients = 0;
  std::vector<uint32_t> final;  // Recipients that were final when this was written.
  std::vector<Group> groups;
};

// Gathers the index of one segment while its records are appended.
class Index {
 public:
  void Clear();

  void AddAccepted(const AcceptedRecord& record, const Extent& place, bool again);
  void AddBody(MessageId id) { Saw(id); }
  void AddOutcome(const OutcomeRecord& record);
  void AddDeferred(const DeferredRecord& record, const Extent& place);
  void AddDone(MessageId id);
  void AddWindow(const WindowRecord& record, const Extent& place);

  // At least what EncodeEnds and EncodeBegins append.
  size_t bytes_max() const;

  void EncodeEnds(SegmentId segment, std::vector<std::byte>& out);
  void EncodeBegins(SegmentId segment, std::vector<std::byte>& out);

  // The same as one payload each, for a segment that has just been read.
  std::vector<std::byte> TakeEnds();
  std::vector<std::byte> TakeBegins();

 private:
  // Entries one after the other, cut into payloads where a record ends.
  struct Part {
    std::vector<std::byte> bytes;
    std::vector<size_t> cuts;
    size_t last = 0;  // The last entry begins here.

    void Added();
    void Clear();
  };
  struct WindowPlace {
    uint64_t key = 0;  // Its hash, of 64 bits: of two keys of one hash, one would be forgotten.
    uint64_t number = 0;
    Extent place;
  };
  void Saw(MessageId id);
  void AddHeld();
  void Encode(Part& part, uint8_t number, SegmentId segment, std::vector<std::byte>& out);

  Part ends_;
  Part begins_;
  std::vector<WindowPlace> windows_;
  std::array<uint64_t, 4> origins_{};
  MessageId greatest_;
};

// The part that an index record's payload belongs to; nothing: it is damaged.
inline constexpr uint8_t kEndsPart = 0;
inline constexpr uint8_t kBeginsPart = 1;
std::optional<uint8_t> IndexPart(Bytes payload);

// Walk the entries of such a payload behind its first byte, or of what TakeEnds and TakeBegins
// gave. False: there is no further one; damaged() says whether it ended well.
class EndsReader {
 public:
  explicit EndsReader(Bytes entries, SegmentId segment) : decoder_(entries), segment_(segment) {}
  bool Next(EndEntry& entry);
  bool damaged() const { return !decoder_.good(); }

 private:
  Decoder decoder_;
  SegmentId segment_;
};

class BeginsReader {
 public:
  explicit BeginsReader(Bytes entries, SegmentId segment) : decoder_(entries), segment_(segment) {}
  bool Next(BeginEntry& entry);
  bool damaged() const { return !decoder_.good(); }

 private:
  Decoder decoder_;
  SegmentId segment_;
};

}  // namespace sluice::spool
