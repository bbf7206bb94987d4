// The log: its batches, what waits for them, and moving what lives long.

#include "engine/delivery/home.h"

#include <cstdio>

#include "engine/base/check.h"
#include "engine/delivery/tags.h"

namespace sluice::delivery {
namespace {

// Messages of the oldest segment that are moved in one turn: keeps a turn short.
constexpr int kMovesPerTurnMax = 16;

}  // namespace

void Home::JoinSegment(KeptMessage& kept) {
  std::unique_ptr<SegmentMessages>& list = by_segment_[kept.first_segment.value];
  if (list == nullptr) list = std::make_unique<SegmentMessages>();
  list->PushBack(kept);
}

void Home::LeaveSegment(KeptMessage& kept) {
  const auto found = by_segment_.find(kept.first_segment.value);
  CHECK(found != by_segment_.end());
  found->second->Remove(kept);
  if (found->second->empty()) by_segment_.erase(found);
}

void Home::WriteBatch() {
  if (log_.failed()) return;
  while (!step_in_flight_) {
    const spool::Log::Step step = log_.NextStep();
    const io::OpId op = io::MakeOpId(static_cast<uint8_t>(Tag::kLogStep), Handle{0, 1});
    switch (step.kind) {
      case spool::Log::StepKind::kNone:
        return;
      case spool::Log::StepKind::kWrite:
        io_.Write(op, io::File{step.descriptor}, step.parts, step.offset);
        step_in_flight_ = true;
        break;
      case spool::Log::StepKind::kSync:
        if (!options_.sync) {
          log_.OnDone(0);
          break;
        }
        io_.Sync(op, io::File{step.descriptor});
        step_in_flight_ = true;
        break;
    }
  }
}

void Home::OnCompletion(const io::Completion& completion, Now now) {
  switch (static_cast<Tag>(completion.op.tag)) {
    case Tag::kLogStep:
      CHECK(step_in_flight_);
      step_in_flight_ = false;
      log_.OnDone(completion.result);
      return;
    case Tag::kBodyRead:
      reader_.OnCompletion(completion);
      return;
    case Tag::kRecordRead:
      records_.OnCompletion(completion);
      return;
    case Tag::kMoveRead:
      mover_.OnCompletion(completion);
      return;
    case Tag::kConnect:
    case Tag::kReceive:
    case Tag::kSend:
    case Tag::kStreamRead:
    case Tag::kIntakeAccept:
    case Tag::kIntakeReceive:
    case Tag::kIntakeSend:
      CHECK(false);
  }
}

void Home::OnDurable(Now now) {
  const uint64_t durable = log_.durable();
  seen_durable_ = durable;
  FreeBlocks(durable);
  while (!awaited_promises_.empty() && awaited_promises_.front().batch <= durable) {
    const AwaitedPromise promise = awaited_promises_.front();
    awaited_promises_.pop_front();
    Message& message = *promise.message;
    message.promised = true;
    if (promise.session) {
      decided_.push_back({.session = promise.session, .id = message.id, .kept = true});
    }
    PlaceNew(message, now);
    if (TooLargeForMemory(message) || !RoomToKeep(message)) ReleaseBody(message);
  }
  while (!awaited_moves_.empty() && awaited_moves_.front().batch <= durable) {
    Message* message = messages_.Find(awaited_moves_.front().message);
    awaited_moves_.pop_front();
    if (message == nullptr) continue;
    message->moving = false;
    ReleaseBody(*message);
    Settle(*message);
  }
  events_.Release(durable);
}

// What was not durable never will be: those messages are refused. They may stand in the log all the
// same, so a restart may deliver what its injector was told to keep: a duplicate, never a loss.
void Home::OnLogFailed() {
  told_failed_ = true;
  deliver_next_ = Slab<KeptParcel>::kNoSlot;
  std::fprintf(stderr, "sluice: the spool's log of shard %u has failed: %s\n", options_.shard,
               std::string(log_.failure().message()).c_str());
  for (const AwaitedPromise& promise : awaited_promises_) {
    Message& message = *promise.message;
    if (promise.session) {
      decided_.push_back({.session = promise.session, .id = message.id, .kept = false});
    }
    parcels_promised_ -= message.kept->parcels;
    LeaveSegment(*message.kept);
    kept_messages_.Release(*message.kept);
    DropBody(message);
    messages_.Release(message);
  }
  awaited_promises_.clear();
  FreeBlocks(UINT64_MAX);
  draining_ = true;
}

void Home::Turn(Now now) {
  turned_at_ = now.instant;
  OnBodiesRead(now);
  OnRecordsRead(now);
  OnDurable(now);
  TurnMover(now);
  if (log_.failed()) {
    // The kernel may still be reading what the log had lent it.
    if (!step_in_flight_ && !told_failed_) OnLogFailed();
    return;
  }
  TellSpace(now);
  TakeUpSome(now);
  DeliverSome(now);
  WakeSome(now);
  log_.Reclaim();
  MoveSome(now);
  // A name that could not be changed: whoever waits is told at once.
  if (log_.failed() && !step_in_flight_ && !told_failed_) OnLogFailed();
}

// When mail is refused for want of space, and when it is not any more.
void Home::TellSpace(Now now) {
  if (log_.low_space() && low_space_told_) log_.LookForSpace(now.wall);
  if (log_.low_space() == low_space_told_) return;
  low_space_told_ = log_.low_space();
  std::fprintf(
      stderr,
      low_space_told_
          ? "sluice: ALARM: shard %u takes no mail: the spool's file system has no space to "
            "spare (see [spool] min_free_bytes); delivery goes on\n"
          : "sluice: shard %u takes mail again: there is space for it\n",
      options_.shard);
}

bool Home::AtRest() const {
  if (active_ > 0 || step_in_flight_ || reader_.reading() > 0 || records_.reading() > 0) {
    return false;
  }
  if (mover_.reading()) return false;
  return log_.failed() || (awaited_promises_.empty() && log_.open_batch() == log_.durable() + 1);
}

// Messages that live in the oldest segment go to the end of the log, so that it can be given back.
// Not while the engine drains: it ends when nothing is read any more, and the next start goes on.
void Home::MoveSome(Now now) {
  if (draining_) return;
  const std::optional<spool::SegmentId> oldest = log_.MoveWanted();
  if (!oldest) return;
  FailIncomingOf(*oldest);
  const auto found = by_segment_.find(oldest->value);
  if (found == by_segment_.end()) return;
  SegmentMessages& list = *found->second;
  int moved = 0;
  for (KeptMessage* kept = list.Front(); kept != nullptr && moved < kMovesPerTurnMax;) {
    KeptMessage* next = list.Next(*kept);
    const bool last = next == nullptr;  // Then moving it frees the list.
    const Message* message = kept->resident;
    const bool under_way =
        message != nullptr && (!message->promised || message->moving || message->move_wanted ||
                               message->dead || now.instant < message->move_not_before);
    if (!under_way) {
      if (!BeginMove(*kept, now)) return;
      ++moved;
    }
    if (last) return;
    kept = next;
  }
}

// Moves it, or has read what that takes: its promise, its body. False: no room for that now. A
// large one waits for the mover where it is: read back, it would take the place of one that can be
// moved.
bool Home::BeginMove(KeptMessage& kept, Now now) {
  if (mover_.busy() && kept.log_bytes > options_.body_bytes_in_memory_max) return true;
  if (kept.resident == nullptr && (now.instant < moves_not_before_ || !Load(kept))) return false;
  Message& message = *kept.resident;
  if (message.loading || message.reading_reply) return true;
  if (KeptParcel* unknown = UnknownReply(kept)) {
    const RecordReader::Purpose purpose = {.what = RecordReader::What::kDeferral, .message = &kept};
    message.reading_reply = records_.Start(purpose, unknown->deferred);
    Settle(message);
    return message.reading_reply;
  }
  if (message.body.empty() && TooLargeForMemory(message)) {
    if (!message.reading) MoveLarge(message);
  } else if (message.reading) {
    message.move_wanted = true;
  } else if (!message.body.empty()) {
    MoveMessage(message, now);
  } else if (reader_.Start(message)) {
    message.move_wanted = true;
  } else {
    return false;
  }
  Settle(message);
  return true;
}

// A message that has been arriving since the oldest segment was new would keep the log from being
// given back for as long as its client likes.
void Home::FailIncomingOf(spool::SegmentId segment) {
  incoming_.ForEach([&](Incoming& incoming) {
    if (incoming.extents.empty() || incoming.extents.front().segment != segment) return;
    Fail(incoming);
  });
}

void Home::MoveMessage(Message& message, Now now) {
  if (message.dead) return;
  KeptMessage& kept = *message.kept;
  const uint64_t recipients = message.envelope.recipients.size();
  if (!log_.MayMove(message.wire_bytes + kRecordOverheadBytes * (1 + recipients), now.wall)) return;
  CHECK(!message.body.empty());
  log_.Died(kept.first_segment, kept.log_bytes);
  LeaveSegment(kept);
  message.extents.clear();
  uint64_t log_bytes = 0;
  LogBody(message.id, message.body, 0, log_bytes, message.extents, now);
  kept.log_bytes = static_cast<uint32_t>(log_bytes);
  kept.first_segment = message.extents.front().segment;
  JoinSegment(kept);
  AppendAccepted(message, now, /*again=*/true);
  message.moving = true;
  awaited_moves_.push_back({log_.open_batch(), messages_.HandleOf(message)});
}

}  // namespace sluice::delivery
