// Copies a large body to the end of the log, so that its old place can be given back.
//
// Piece by piece: read, append, wait until the piece is durable, next. So it costs one piece of
// memory, and leaves the disk to others between two. One body at a time. The message keeps its old
// place until its owner takes the finished copy and has the promise written behind it: a copy that
// is given up, by a crash or here, is pieces without a promise (spool/FORMAT.md).
//
// From Start until Take has given its result, `reading` is set: the message must not be forgotten
// then. One shard owns it.

#pragma once

#include <xxhash.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/base/time.h"
#include "engine/delivery/message.h"
#include "engine/io/io.h"
#include "engine/spool/log.h"

namespace sluice::delivery {

class BodyMover {
 public:
  // Each piece is a sync, and as large as a record of the log that LogBody makes.
  static constexpr size_t kPieceBytesMax = 512 << 10;

  // All lent for the mover's life.
  BodyMover(io::Io& io, spool::Log& log);

  bool busy() const { return state_ != State::kIdle; }
  bool reading() const { return state_ == State::kReading; }  // A read is in flight.
  // It has a whole copy of this message, and waits for its owner to take it.
  bool HasCopyOf(const Message& message) const {
    return state_ == State::kCopied && message_ == &message;
  }

  const Message* message() const { return message_; }  // Null: it is idle.

  // Not when it is busy.
  void Start(Message& message);
  void OnCompletion(const io::Completion& completion);
  // Once a turn. `stops`: the engine stops, so that the copy is given up.
  void Turn(bool stops, WallTime now);

  // A copy that is whole and durable, or one that was given up (`good` false).
  struct Copy {
    Message* message = nullptr;
    bool good = false;
    std::vector<spool::Extent> extents;
    uint64_t log_bytes = 0;  // Lives in the log with these, which is now the taker's to end.
  };
  bool finished() const { return state_ == State::kCopied || state_ == State::kGivenUp; }
  Copy Take();  // Only then.

 private:
  enum class State : uint8_t {
    kIdle,
    kReading,  // Into the piece.
    kRead,     // The piece is to be appended.
    kSyncing,  // It has been.
    kCopied,
    kGivenUp,
  };
  void ReadOn();
  void AppendPiece(WallTime now);
  void GiveUp();
  uint64_t PieceBytes() const;

  io::Io& io_;
  spool::Log& log_;
  std::unique_ptr<std::byte[]> piece_;  // Lent to the log while kSyncing.

  State state_ = State::kIdle;
  Message* message_ = nullptr;
  size_t extent_ = 0;           // Which one is being read,
  uint32_t extent_offset_ = 0;  // and how far.
  uint64_t copied_bytes_ = 0;   // Appended.
  uint64_t piece_bytes_ = 0;    // Read since.
  uint32_t asked_ = 0;          // By the read in flight.
  uint64_t batch_ = 0;          // Whose durability the piece waits for.
  XXH3_state_t checksum_;
  std::vector<spool::Extent> extents_;  // Of the copy.
  uint64_t log_bytes_ = 0;
};

}  // namespace sluice::delivery
