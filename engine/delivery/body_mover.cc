#include "engine/delivery/body_mover.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/xxh3.h"
#include "engine/delivery/tags.h"

namespace sluice::delivery {

BodyMover::BodyMover(io::Io& io, spool::Log& log)
    : io_(io), log_(log), piece_(std::make_unique_for_overwrite<std::byte[]>(kPieceBytesMax)) {}

void BodyMover::Start(Message& message) {
  CHECK(!busy());
  CHECK(!message.reading);
  CHECK(message.body.empty());
  message_ = &message;
  message.reading = true;
  extent_ = 0;
  extent_offset_ = 0;
  copied_bytes_ = 0;
  piece_bytes_ = 0;
  XXH3_64bits_reset(&checksum_);
  extents_.clear();
  log_bytes_ = 0;
  ReadOn();
}

// The piece's length when it is full.
uint64_t BodyMover::PieceBytes() const {
  const uint64_t most = std::min<uint64_t>(kPieceBytesMax, log_.piece_bytes_max());
  return std::min(most, message_->wire_bytes - copied_bytes_);
}

// Into what is missing of the piece; it may lie in several extents.
void BodyMover::ReadOn() {
  if (piece_bytes_ == PieceBytes()) {
    state_ = State::kRead;
    return;
  }
  if (extent_ == message_->extents.size()) return GiveUp();
  const spool::Extent& extent = message_->extents[extent_];
  const int32_t descriptor = log_.DescriptorOf(extent.segment);
  if (descriptor < 0) return GiveUp();
  asked_ = static_cast<uint32_t>(
      std::min<uint64_t>(extent.bytes - extent_offset_, PieceBytes() - piece_bytes_));
  state_ = State::kReading;
  io_.Read(io::MakeOpId(static_cast<uint8_t>(Tag::kMoveRead), Handle{0, 1}), io::File{descriptor},
           std::span(piece_.get() + piece_bytes_, asked_), extent.offset + extent_offset_);
}

void BodyMover::OnCompletion(const io::Completion& completion) {
  CHECK(state_ == State::kReading);
  if (completion.result != static_cast<int32_t>(asked_)) return GiveUp();
  XXH3_64bits_update(&checksum_, piece_.get() + piece_bytes_, asked_);
  piece_bytes_ += asked_;
  extent_offset_ += asked_;
  if (extent_offset_ == message_->extents[extent_].bytes) {
    ++extent_;
    extent_offset_ = 0;
  }
  if (message_->dead) return GiveUp();
  ReadOn();
}

void BodyMover::Turn(bool stops, WallTime now) {
  if (!busy() || state_ == State::kGivenUp || state_ == State::kReading) return;
  if (state_ == State::kSyncing && !log_.failed()) {
    if (log_.durable() < batch_) return;  // Until then the piece is lent.
    copied_bytes_ += std::exchange(piece_bytes_, 0);
    state_ = State::kRead;
    if (copied_bytes_ == message_->wire_bytes) state_ = State::kCopied;
  }
  if (stops || message_->dead || log_.failed()) return GiveUp();
  if (state_ == State::kCopied) return;
  if (piece_bytes_ == 0) return ReadOn();
  AppendPiece(now);
}

// From its first piece on the copy lives: what is not given back does not rise.
void BodyMover::AppendPiece(WallTime now) {
  const bool last = copied_bytes_ + piece_bytes_ == message_->wire_bytes;
  if (last && XXH3_64bits_digest(&checksum_) != message_->body_checksum) return GiveUp();
  if (!log_.MayMove(piece_bytes_, now)) return GiveUp();
  const io::Bytes part(piece_.get(), piece_bytes_);
  extents_.push_back(log_.AppendBody(message_->id, copied_bytes_, std::span(&part, 1), now));
  const uint64_t lived_bytes = log_bytes_;
  log_bytes_ += piece_bytes_ + spool::kBodyPrefixBytes + 8;
  log_.Lives(extents_.front().segment, log_bytes_);
  if (lived_bytes > 0) log_.Died(extents_.front().segment, lived_bytes);
  batch_ = log_.open_batch();
  state_ = State::kSyncing;
}

void BodyMover::GiveUp() {
  CHECK(busy());
  if (!extents_.empty()) log_.Died(extents_.front().segment, log_bytes_);
  extents_.clear();
  log_bytes_ = 0;
  state_ = State::kGivenUp;
}

BodyMover::Copy BodyMover::Take() {
  CHECK(finished());
  Copy copy = {.message = std::exchange(message_, nullptr),
               .good = state_ == State::kCopied,
               .extents = std::exchange(extents_, {}),
               .log_bytes = log_bytes_};
  copy.message->reading = false;
  state_ = State::kIdle;
  return copy;
}

}  // namespace sluice::delivery
