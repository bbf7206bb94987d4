// The words in which the spool's tests speak: messages, and a log on a disk in memory.

#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/spool/log.h"
#include "engine/spool/recovery.h"
#include "tests/engine/spool/memory_disk.h"

namespace sluice::spool {

inline Bytes AsBytes(absl::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

inline std::string AsText(Bytes bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

inline WallTime At(int64_t seconds) {
  return WallTime(std::chrono::seconds(1767225600 + seconds));
}

inline RecipientRecord Recipient(absl::string_view address) {
  RecipientRecord recipient;
  recipient.address = std::string(address);
  recipient.destination = recipient.address.substr(recipient.address.find('@') + 1);
  return recipient;
}

inline AcceptedRecord Accepted(uint64_t id, uint64_t wire_bytes, int recipients = 1) {
  AcceptedRecord record;
  record.id = {id};
  record.accepted_at = At(1);
  record.sender = "s@example.org";
  record.message_bytes = wire_bytes;
  record.wire_bytes = wire_bytes;
  for (int i = 0; i < recipients; ++i) {
    record.recipients.push_back(Recipient("r" + std::to_string(i) + "@example.com"));
  }
  return record;
}

// The body of message `id`: different for each, and telling where in it one is.
inline std::string BodyOf(uint64_t id, size_t bytes) {
  const std::string name = std::to_string(id) + ":";
  std::string body;
  body.reserve(bytes + 64);
  while (body.size() < bytes) {
    const std::string at = std::to_string(body.size());
    body.append(name).append(at).append("\r\n");
  }
  body.resize(bytes);
  return body;
}

// A segment written by hand, record by record.
class Segment {
 public:
  Segment(MemoryDisk& disk, uint16_t log, uint64_t sequence, uint64_t bytes = 8192)
      : disk_(disk), id_(SegmentId::Of(log, sequence)) {
    EXPECT_TRUE(disk.Create(id_, bytes).ok());
  }
  Segment& Begins(SegmentId previous = {}, uint64_t previous_bytes = 0,
                  uint32_t version = kFormatVersion) {
    EncodeSegment({.version = version,
                   .id = id_,
                   .created = At(0),
                   .previous = previous,
                   .previous_bytes = previous_bytes},
                  bytes_);
    return Keep();
  }
  Segment& Body(uint64_t id, uint64_t offset, absl::string_view body) {
    const Bytes parts[] = {AsBytes(body)};
    if (offset == 0) pieces_[id].clear();
    pieces_[id].push_back({.segment = id_,
                           .offset = static_cast<uint32_t>(used() + kBodyPrefixBytes),
                           .bytes = static_cast<uint32_t>(body.size())});
    EncodeBodyPrefix(id_, {id}, offset, parts, bytes_);
    bytes_.insert(bytes_.end(), parts[0].begin(), parts[0].end());
    bytes_.resize(bytes_.size() + PaddingFor(body.size()));
    return Keep();
  }
  Segment& Promise(uint64_t id, uint64_t wire_bytes, int recipients = 1) {
    return Promise(Accepted(id, wire_bytes, recipients));
  }
  Segment& Promise(AcceptedRecord record) {
    record.body = pieces_[record.id.value];
    EncodeAccepted(id_, record, bytes_);
    return Keep();
  }
  Segment& Outcome(uint64_t id, std::vector<uint32_t> recipients,
                   RecipientState state = RecipientState::kDelivered) {
    EncodeOutcome(id_, {.id = {id}, .state = state, .recipients = std::move(recipients)}, bytes_);
    return Keep();
  }
  Segment& Deferred(uint64_t id, uint16_t attempts, std::vector<uint32_t> recipients) {
    EncodeDeferred(id_,
                   {.id = {id},
                    .attempts = attempts,
                    .next_attempt = At(attempts),
                    .last_reply = "450 " + std::to_string(attempts),
                    .recipients = std::move(recipients)},
                   bytes_);
    return Keep();
  }
  Segment& Done(uint64_t id) {
    EncodeDone(id_, {id}, bytes_);
    return Keep();
  }
  Segment& Window(uint64_t number, absl::string_view destination, uint32_t reserved = 0,
                  WindowPart part = WindowPart::kScope) {
    EncodeWindow(id_,
                 {.key = {.destination = std::string(destination), .part = part},
                  .number = number,
                  .at = At(0),
                  .period = std::chrono::minutes(1),
                  .reserved = reserved},
                 bytes_);
    return Keep();
  }
  Segment& Batch(uint64_t number = 2) {
    EncodeBatch(id_, number, bytes_);
    return Keep();
  }
  Segment& Damage() { return DamageAt(last_); }  // The last record's checksum.
  Segment& DamageAt(uint64_t offset) {
    disk_.BytesOf(id_)[offset] ^= std::byte{0x55};
    return *this;
  }
  SegmentId id() const { return id_; }
  uint64_t used() const { return bytes_.size(); }

 private:
  Segment& Keep() {
    std::memcpy(disk_.BytesOf(id_).data() + written_, bytes_.data() + written_,
                bytes_.size() - written_);
    last_ = written_;
    written_ = bytes_.size();
    return *this;
  }
  MemoryDisk& disk_;
  SegmentId id_;
  std::vector<std::byte> bytes_;
  std::map<uint64_t, std::vector<Extent>> pieces_;  // Of each message's last body.
  size_t written_ = 0;
  size_t last_ = 0;
};

// A log on `disk`, whose steps are done as asked for.
class LogOnDisk {
 public:
  LogOnDisk(MemoryDisk& disk, Log::Options options) : disk_(disk), options_(options) { Start(); }

  // As after a start of the engine, with one shard.
  void Start() {
    const absl::StatusOr<Recovered> recovered = Recover(disk_);
    ASSERT_TRUE(recovered.ok()) << recovered.status();
    log_ = std::make_unique<Log>(options_, disk_, recovered->segments, recovered->next_sequence);
    for (const RecoveredMessage& message : recovered->messages) {
      log_->Lives(message.first_segment, message.log_bytes);
    }
    const absl::Status begun = log_->Begin(At(0));
    ASSERT_TRUE(begun.ok()) << begun;
  }

  Log* operator->() { return log_.get(); }
  Log& log() { return *log_; }

  // Performs all steps there are, until all is durable or the log has failed.
  void Commit() {
    while (true) {
      const Step step = log_->NextStep();
      if (step.kind == StepKind::kNone) return;
      log_->OnDone(disk_.Perform(step));
    }
  }

  // Appends a message with a body of `bytes`, and says that it lives. Returns where it begins.
  SegmentId Accept(uint64_t id, size_t bytes, int recipients = 1) {
    return Accept(Accepted(id, bytes, recipients));
  }
  SegmentId Accept(AcceptedRecord promise, bool again = false) {
    const uint64_t bytes = promise.wire_bytes;
    bodies_.push_back(BodyOf(promise.id.value, bytes));
    const SegmentId first = AppendBodyOf(promise.id.value);
    promise.body = pieces_;
    log_->AppendAccepted(promise, At(1), again);
    if (first.value != 0) log_->Lives(first, bytes);
    return first;
  }

  // The last body, in pieces.
  SegmentId AppendBodyOf(uint64_t id) {
    const Bytes body = AsBytes(bodies_.back());
    pieces_.clear();
    for (uint64_t offset = 0; offset < body.size();) {
      const uint64_t piece = std::min<uint64_t>(log_->piece_bytes_max(), body.size() - offset);
      const Bytes parts[] = {body.subspan(offset, piece)};
      pieces_.push_back(log_->AppendBody({id}, offset, parts, At(1)));
      offset += piece;
    }
    return pieces_.front().segment;
  }

  // The message is delivered, and dead.
  void Finish(uint64_t id, SegmentId first, size_t bytes) {
    log_->AppendOutcome({.id = {id}, .state = RecipientState::kDelivered, .recipients = {0}},
                        At(2));
    log_->AppendDone({id}, At(2));
    log_->Died(first, bytes);
  }

 private:
  MemoryDisk& disk_;
  Log::Options options_;
  std::unique_ptr<Log> log_;
  std::deque<std::string> bodies_;  // Lent to the log.
  std::vector<Extent> pieces_;      // Of the last body.
};

// The body of a recovered message, read back from where it lies.
inline std::string BodyOnDisk(MemoryDisk& disk, const RecoveredMessage& message) {
  std::string body;
  for (const Extent& extent : message.body) {
    const std::vector<std::byte>& bytes = disk.BytesOf(extent.segment);
    body += AsText(Bytes(bytes).subspan(extent.offset, extent.bytes));
  }
  return body;
}

}  // namespace sluice::spool
