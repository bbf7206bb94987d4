// The words in which the spool's tests speak: messages, and a log on a disk in memory.

#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
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
  std::string body;
  while (body.size() < bytes) {
    body += std::to_string(id) + ":" + std::to_string(body.size()) + "\r\n";
  }
  body.resize(bytes);
  return body;
}

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
    bodies_.push_back(BodyOf(id, bytes));
    const SegmentId first = AppendBodyOf(id);
    log_->AppendAccepted(Accepted(id, bytes, recipients), At(1));
    if (first.value != 0) log_->Lives(first, bytes);
    return first;
  }

  // The last body, in pieces.
  SegmentId AppendBodyOf(uint64_t id) {
    const Bytes body = AsBytes(bodies_.back());
    SegmentId first;
    for (uint64_t offset = 0; offset < body.size();) {
      const uint64_t piece = std::min<uint64_t>(log_->piece_bytes_max(), body.size() - offset);
      const Bytes parts[] = {body.subspan(offset, piece)};
      const Extent extent = log_->AppendBody({id}, offset, parts, At(1));
      if (offset == 0) first = extent.segment;
      offset += piece;
    }
    return first;
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
