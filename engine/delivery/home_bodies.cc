// Bodies in memory: lent to parcels that are out, read back for them, and given up for want of
// room. The log has each of them, but for those that are not durable yet.

#include "engine/delivery/home.h"

#include "engine/base/check.h"

namespace sluice::delivery {
namespace {

bool InMemory(const Message& message) {
  return !message.body.empty() && !message.reading;
}

}  // namespace

// -------------------------------------------------------------------------------------------------
// Lending.

void Home::WantBody(Parcel& parcel) {
  CHECK(parcel.body_state == BodyState::kAsked);
  Message& message = *parcel.message;
  if (InMemory(message) || TooLargeForMemory(message)) {
    parcel.body_state = InMemory(message) ? BodyState::kLent : LendPlaces(parcel);
    if (parcel.body_state == BodyState::kLent) ++message.lends;
    return bodies_.PushBack(parcel);
  }
  if (message.reading) {
    message.body_waiters.push_back(&parcel);
    return;
  }
  if (!reader_.Start(message) && !(Squeeze() && reader_.Start(message))) {
    parcel.body_state = BodyState::kNoRoom;
    return bodies_.PushBack(parcel);
  }
  message.body_waiters.push_back(&parcel);
}

void Home::LendAhead(Parcel& parcel) {
  Message& message = *parcel.message;
  if (parcel.body_state != BodyState::kNotAsked || !InMemory(message)) return;
  if (pool_.taken() > pool_.capacity() / kShareLentAhead) return;
  parcel.body_state = BodyState::kLent;
  ++message.lends;
}

bool Home::TooLargeForMemory(const Message& message) const {
  return message.wire_bytes > options_.body_bytes_in_memory_max;
}

// Where the body is in the log. That does not change until it is given back: a message lives, and
// is not moved, while it is lent.
BodyState Home::LendPlaces(Parcel& parcel) {
  const Message& message = *parcel.message;
  if (parcel.kept->failed_bodies >= kFailedReadsMax) return BodyState::kLost;
  if (mover_.HasCopyOf(message)) return BodyState::kNoRoom;  // It is about to go there.
  CHECK(parcel.body_places.empty());
  parcel.body_check = BodyCheck::kNone;
  uint64_t bytes = 0;
  for (const spool::Extent& extent : message.extents) {
    parcel.body_places.push_back({.descriptor = log_.DescriptorOf(extent.segment),
                                  .offset = extent.offset,
                                  .bytes = extent.bytes});
    bytes += extent.bytes;
    if (parcel.body_places.back().descriptor < 0) break;
  }
  const bool found = bytes == message.wire_bytes && parcel.body_places.back().descriptor >= 0;
  if (found) return BodyState::kLent;
  parcel.body_check = BodyCheck::kDamaged;
  return BodyState::kDamaged;
}

void Home::TakeBodyBack(Parcel& parcel) {
  if (parcel.body_state == BodyState::kLent) {
    CHECK(parcel.message->lends > 0);
    --parcel.message->lends;
    parcel.body_state = BodyState::kNotAsked;
  }
  if (parcel.body_places.empty()) return;
  std::vector<BodyPlace>().swap(parcel.body_places);
  switch (parcel.body_check) {
    case BodyCheck::kNone:
      return;
    case BodyCheck::kWhole:
      parcel.kept->failed_bodies = 0;
      return;
    case BodyCheck::kDamaged:
      if (parcel.kept->failed_bodies++ == 0) BodyReader::TellUnreadable(*parcel.message);
      return;
  }
}

void Home::OnBodiesRead(Now now) {
  BodyReader::Result result;
  while (reader_.Take(result)) {
    Message& message = *result.message;
    if (result.good) {
      message.failed_reads = 0;
      in_memory_.PushBack(message);
    } else {
      message.move_not_before = now.instant + kMoveAgainAfter;
      ++message.failed_reads;
    }
    for (Parcel* parcel : message.body_waiters) {
      // Only tries to deliver count: they are a retry apart, and a fault of the disk may pass.
      KeptParcel& kept = *parcel->kept;
      kept.failed_bodies = static_cast<uint8_t>(result.good ? 0 : kept.failed_bodies + 1);
      parcel->body_state = result.good                            ? BodyState::kLent
                           : kept.failed_bodies < kFailedReadsMax ? BodyState::kDamaged
                                                                  : BodyState::kLost;
      message.lends += result.good ? 1 : 0;
      bodies_.PushBack(*parcel);
    }
    message.body_waiters.clear();
    if (message.dead) {
      Forget(*message.kept);
      continue;
    }
    if (!message.moving && message.move_wanted) {
      message.move_wanted = false;
      if (result.good) MoveMessage(message, now);
    }
    Settle(message);
  }
}

// -------------------------------------------------------------------------------------------------
// Room.

// Looked at in turn, the oldest first; there is one.
Message& Home::NextInMemory() {
  Message& message = *in_memory_.PopFront();
  in_memory_.PushBack(message);
  return message;
}

// Past three quarters of the memory, a new body stays if its mail is on its way and one that nobody
// is at work on can be given up for it. So a destination that does not move, and fills the memory
// with what waits for it, does not send the others' mail through the disk.
bool Home::RoomToKeep(const Message& message) {
  const uint32_t enough = pool_.capacity() / 4 * 3;
  if (pool_.taken() <= enough) return true;
  if (message.users == 0) return false;
  for (int i = 0; i < kSpareLooksMax && !in_memory_.empty(); ++i) {
    Message& oldest = NextInMemory();
    if (!MayLeave(oldest)) continue;
    DropBody(oldest);
    if (pool_.taken() <= enough) return true;
  }
  return false;
}

// Memory has run out: bodies that are kept for later make room for those that are wanted now.
// Without this, messages that wait for a connection could keep the memory from those that have one,
// for ever. True: try again.
bool Home::Squeeze() {
  if (turned_at_ < next_squeeze_) return false;
  next_squeeze_ = turned_at_ + kSqueezeInterval;
  const uint32_t before = pool_.taken();
  int left = kSqueezedMax;
  for (int i = 0; i < kSqueezeLooksMax && left > 0 && !in_memory_.empty(); ++i) {
    Message& message = NextInMemory();
    if (message.lends == 0) --left;
    ReleaseBody(message);
  }
  return pool_.taken() < before;
}

// Gives the body's memory back if nobody needs it there.
void Home::ReleaseBody(Message& message) {
  if (message.lends > 0 || message.reading || message.moving || !message.promised) return;
  DropBody(message);
}

void Home::DropBody(Message& message) {
  if (message.memory_hook.linked()) in_memory_.Remove(message);
  message.body.Release(pool_);
}

}  // namespace sluice::delivery
