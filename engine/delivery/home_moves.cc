// Moving large bodies: they are copied piece by piece (body_mover.h), and the message goes to its
// copy when that is whole.

#include "engine/base/check.h"
#include "engine/delivery/home.h"

namespace sluice::delivery {

void Home::MoveLarge(Message& message) {
  if (!mover_.busy()) mover_.Start(message);
}

void Home::TurnMover(Now now) {
  mover_.Turn(draining_, now.wall);
  if (!mover_.finished()) return;
  const Message& moved = *mover_.message();
  if (mover_.HasCopyOf(moved) && !MayGoToCopy(moved, now)) return;
  BodyMover::Copy copy = mover_.Take();
  Message& message = *copy.message;
  if (copy.good) return GoToCopy(message, copy, now);
  if (message.dead) return Forget(*message.kept);
  message.move_not_before = now.instant + kMoveAgainAfter;
  Settle(message);
}

// Not under a parcel that has been lent the old place; no new one is, so that this ends.
bool Home::MayGoToCopy(const Message& message, Now now) {
  if (message.lends > 0) return false;
  const uint64_t recipients = message.envelope.recipients.size();
  return log_.MayMove(kRecordOverheadBytes * (1 + recipients), now.wall);
}

void Home::GoToCopy(Message& message, BodyMover::Copy& copy, Now now) {
  CHECK(!message.dead);
  CHECK(message.lends == 0);
  KeptMessage& kept = *message.kept;
  log_.Died(kept.first_segment, kept.log_bytes);
  LeaveSegment(kept);
  message.extents = std::move(copy.extents);
  kept.first_segment = message.extents.front().segment;
  kept.log_bytes = static_cast<uint32_t>(copy.log_bytes);
  JoinSegment(kept);
  AppendAccepted(message, now, /*again=*/true);   // It lives there as a message,
  log_.Died(kept.first_segment, copy.log_bytes);  // and no more as a copy.
  message.moving = true;
  awaited_moves_.push_back({log_.open_batch(), messages_.HandleOf(message)});
}

}  // namespace sluice::delivery
