// Messages in memory: read back when they are needed, dropped when they are not and there is no
// room.

#include "engine/delivery/home.h"

#include <algorithm>
#include <cstdio>

#include "engine/base/check.h"
#include "engine/delivery/attempt.h"

namespace sluice::delivery {

using spool::RecipientState;

// -------------------------------------------------------------------------------------------------
// Waking parcels.

// Those whose time is up, and the next ones of destinations that may have another, in turn.
void Home::WakeSome(Now now) {
  wakes_more_ = false;
  if (draining_ || log_.failed()) return;
  int left = kWokenPerTurnMax;
  for (; left > 0 && !doomed_.empty(); --left) {
    if (!RoomForMore()) return;
    KeptParcel& kept = *doomed_.PopFront();
    if (Wake(kept, now)) continue;
    kept.state = ParcelState::kDoomed;
    doomed_.PushFront(kept);
    return;
  }
  for (; left > 0 && !ready_.empty(); --left) {
    if (!RoomForMore()) return;
    HomeDestination& destination = *ready_.PopFront();
    if (!MayHandOut(destination)) continue;  // It comes again when one of its parcels is back.
    KeptParcel& kept = *destination.waiting.PopFront();
    timers_.Disarm(kept.timer);
    const bool woken = Wake(kept, now);
    if (!woken) {
      kept.state = ParcelState::kWaiting;
      destination.waiting.PushFront(kept);
      timers_.Arm(kept.timer, ExpiryOf(kept));
    }
    if (!destination.waiting.empty() && !destination.hook.linked()) ready_.PushBack(destination);
    if (!woken) return;
  }
  wakes_more_ = !doomed_.empty() || !ready_.empty();
}

// False: there is no room for its message now, or too much is being read. Something comes back
// then, and it is tried again.
bool Home::Wake(KeptParcel& kept, Now now) {
  KeptMessage& of = *kept.message;
  if (of.resident == nullptr && !Load(of)) return false;
  Message& message = *of.resident;
  kept.state = ParcelState::kWaking;
  ++active_;
  ++kept.destination->out;
  ++message.users;
  if (message.loading) {
    message.wakers.push_back(&kept);
  } else {
    OnAwake(kept, now);
  }
  Settle(message);
  return true;
}

void Home::OnAwake(KeptParcel& kept, Now now) {
  if (draining_ || parcels_.full()) {
    LeaveOut(kept);
    return Schedule(kept, now.instant + kRecalledDelay, now);
  }
  const bool expired = kept.given_up || now.instant >= ExpiryOf(kept);
  Parcel& parcel = MakeParcel(kept);
  if (!expired) return HandOut(parcel);
  if (!ReadLastAnswers(parcel)) given_up_.push_back(&parcel);
}

// For the bounce to say what was answered last. False: nothing was, or too much is being read.
bool Home::ReadLastAnswers(Parcel& parcel) {
  const spool::Extent& deferred = parcel.kept->deferred;
  return deferred.bytes > 0 &&
         records_.Start({.what = RecordReader::What::kLastDeferral, .parcel = &parcel}, deferred);
}

// -------------------------------------------------------------------------------------------------
// Room.

bool Home::MayLeave(const Message& message) {
  return message.users == 0 && message.lends == 0 && message.promised && !message.loading &&
         !message.reading && !message.reading_reply && !message.moving && !message.move_wanted &&
         !message.dead;
}

// Said after each change of what MayLeave asks.
void Home::Settle(Message& message) {
  const bool idle = message.idle_hook.linked();
  if (MayLeave(message) == idle) return;
  if (idle) {
    idle_.Remove(message);
  } else {
    idle_.PushBack(message);
  }
}

// Out of memory; what the log does not tell by its promise alone is remembered.
void Home::Leave(Message& message) {
  KeptMessage& kept = *message.kept;
  FinalRecipients final;
  for (uint32_t i = 0; i < message.outcomes.size(); ++i) {
    const RecipientState state = message.outcomes[i].state;
    if (state == RecipientState::kDelivered) final.delivered.push_back(i);
    if (state == RecipientState::kBounced) final.bounced.push_back(i);
  }
  if (!final.delivered.empty() || !final.bounced.empty()) final_[&kept] = std::move(final);
  DropBody(message);
  kept.resident = nullptr;
  messages_.Release(message);
}

bool Home::MakeResidentRoom() {
  if (!messages_.full()) return true;
  Message* message = idle_.PopFront();
  if (message == nullptr) return false;
  Leave(*message);
  return true;
}

// An empty one, or null: all are in use.
Message* Home::TakeResident() {
  if (!MakeResidentRoom()) return nullptr;
  Message* message = messages_.Take();
  CHECK(message->body.empty());
  CHECK(message->body_waiters.empty());
  CHECK(message->wakers.empty());
  CHECK(!message->idle_hook.linked());
  message->promised = false;
  message->loading = false;
  message->reading_reply = false;
  message->users = 0;
  message->lends = 0;
  message->reading = false;
  message->moving = false;
  message->move_wanted = false;
  message->dead = false;
  message->failed_reads = 0;
  message->move_not_before = Instant::min();
  return message;
}

// -------------------------------------------------------------------------------------------------
// Reading back.

bool Home::Load(KeptMessage& kept) {
  CHECK(kept.resident == nullptr);
  if (records_.full()) return false;
  Message* message = TakeResident();
  if (message == nullptr) return false;
  message->id = kept.id;
  message->kept = &kept;
  message->loading = true;
  message->promised = true;
  kept.resident = message;
  CHECK(records_.Start({.message = &kept}, kept.accepted));
  return true;
}

void Home::OnRecordsRead(Now now) {
  RecordReader::Result result;
  while (records_.Take(result)) {
    switch (result.purpose.what) {
      case RecordReader::What::kPromise:
        OnPromiseRead(*result.purpose.message, result.bytes, now);
        break;
      case RecordReader::What::kDeferral:
        OnReplyRead(*result.purpose.message, result.place, result.bytes);
        break;
      case RecordReader::What::kLastDeferral:
        OnDeferralRead(*result.purpose.parcel, result.bytes, now);
        break;
    }
  }
  while (!given_up_.empty()) {
    Parcel& parcel = *given_up_.back();
    given_up_.pop_back();
    OnDeferralRead(parcel, {}, now);
  }
}

void Home::OnPromiseRead(KeptMessage& kept, spool::Bytes bytes, Now now) {
  const ActiveWhile active(options_.active, kept.id);
  Message& message = *kept.resident;
  if (message.dead) {
    message.loading = false;
    return Forget(kept);
  }
  if (!Fill(message, bytes)) return OnPromiseUnreadable(kept, !bytes.empty(), now);
  message.loading = false;
  for (KeptParcel* parcel = kept.first_parcel; parcel != nullptr; parcel = parcel->next) {
    parcel->failed_reads = 0;
    parcel->reply_known = 0;
    const bool scheduled = parcel->state == ParcelState::kScheduled && parcel->timer.armed();
    const WallTime next = scheduled ? now.wall + (parcel->timer.due - now.instant) : WallTime{};
    for (uint32_t i = 0; i < parcel->recipients; ++i) {
      RecipientOutcome& outcome = message.outcomes[parcel->first_recipient + i];
      outcome.attempts = parcel->attempts;
      outcome.next_attempt = next;
    }
  }
  for (KeptParcel* parcel : message.wakers) OnAwake(*parcel, now);
  message.wakers.clear();
  message.move_wanted = false;  // The mover finds it in memory when it next looks.
  Settle(message);
}

// From its promise as it stands on the disk. False: it does not check.
bool Home::Fill(Message& message, spool::Bytes bytes) const {
  const KeptMessage& kept = *message.kept;
  const std::optional<spool::RecordView> view = spool::DecodeRecord(kept.accepted.segment, bytes);
  if (!view || view->type != spool::RecordType::kAccepted) return false;
  std::optional<spool::AcceptedRecord> accepted = spool::DecodeAccepted(view->payload);
  if (!accepted || accepted->id != kept.id) return false;
  message.accepted_at = accepted->accepted_at;
  message.envelope.sender = std::move(accepted->sender);
  message.envelope.body_type = static_cast<smtp::BodyType>(accepted->body_type);
  message.envelope.ret = static_cast<smtp::Return>(accepted->ret);
  message.envelope.envelope_id = std::move(accepted->envelope_id);
  message.envelope.recipients.clear();
  message.outcomes.clear();
  for (spool::RecipientRecord& recipient : accepted->recipients) {
    RecipientOutcome& outcome = message.outcomes.emplace_back();
    outcome.state = recipient.state;
    outcome.attempts = recipient.attempts;
    outcome.next_attempt = recipient.next_attempt;
    if (!recipient.last_reply.empty()) outcome.reply = StoredReply(recipient.last_reply);
    message.envelope.recipients.push_back(
        {.address = std::move(recipient.address),
         .destination = std::move(recipient.destination),
         .original_recipient = std::move(recipient.original_recipient),
         .notify = recipient.notify});
  }
  message.pool = PoolNamed(accepted->source_pool);
  message.bounce = accepted->bounce;
  message.eight_bit = accepted->eight_bit;
  message.message_bytes = accepted->message_bytes;
  message.wire_bytes = accepted->wire_bytes;
  message.body_checksum = accepted->body_checksum;
  message.extents = std::move(accepted->body);
  const auto final = final_.find(&kept);
  if (final == final_.end()) return true;
  const auto set = [&](const std::vector<uint32_t>& recipients, RecipientState state) {
    for (const uint32_t index : recipients) {
      if (index < message.outcomes.size()) message.outcomes[index].state = state;
    }
  };
  set(final->second.delivered, RecipientState::kDelivered);
  set(final->second.bounced, RecipientState::kBounced);
  return true;
}

// A pool that the configuration does not name any more gives its mail to the default.
uint32_t Home::PoolNamed(const std::string& name) const {
  if (options_.sources == nullptr || name.empty()) return 0;
  return options_.sources->FindPool(name).value_or(options_.sources->default_pool());
}

// A fault of the disk may pass: it is tried again, less and less often. What can be read and does
// not check three times is damaged; so is what cannot be read until its time is up.
void Home::OnPromiseUnreadable(KeptMessage& kept, bool read, Now now) {
  Message& message = *kept.resident;
  moves_not_before_ = now.instant + options_.read_again_after;
  bool lost = false;
  for (KeptParcel* parcel : message.wakers) {
    LeaveOut(*parcel);
    if (parcel->failed_reads < kFailedReadsMax) ++parcel->failed_reads;
    const bool often = parcel->failed_reads == kFailedReadsMax;
    lost |= often && (read || now.instant >= ExpiryOf(*parcel) + kUnreadableMax);
    Schedule(*parcel, now.instant + (often ? kReadSeldom : options_.read_again_after), now);
  }
  message.wakers.clear();
  CHECK(message.users == 0);
  CHECK(!message.idle_hook.linked());
  kept.resident = nullptr;
  messages_.Release(message);
  // Others of its segment are moved first.
  LeaveSegment(kept);
  JoinSegment(kept);
  if (lost) SetAside(kept, now);
}

// The promise is damaged, and nobody knows to whom the message goes. Its segment is kept for people
// to look at; the engine goes on without the message, or it would hold the log for ever.
void Home::SetAside(KeptMessage& kept, Now now) {
  const absl::StatusOr<std::string> where = log_.SetAside(kept.accepted.segment);
  std::fprintf(stderr,
               "sluice: ALARM: the promise of message %s is damaged, at byte %u of %s; the message "
               "is not delivered\n",
               kept.id.ToString().c_str(), kept.accepted.offset,
               where.ok() ? where->c_str() : std::string(where.status().message()).c_str());
  if (!where.ok()) return;  // Then it stays, and is tried again at the next start.
  while (KeptParcel* parcel = kept.first_parcel) {
    CHECK(parcel->state == ParcelState::kScheduled || parcel->state == ParcelState::kWaiting ||
          parcel->state == ParcelState::kDoomed);
    timers_.Disarm(parcel->timer);
    if (parcel->state == ParcelState::kWaiting) LeaveQueue(*parcel);
    if (parcel->state == ParcelState::kDoomed) doomed_.Remove(*parcel);
    DestinationCounters& counters = parcel->destination->counters;
    counters.active -= std::min<uint64_t>(counters.active, parcel->recipients);
    ReleaseKept(*parcel);
  }
  Bury(kept, now);
}

// Calls visit for each record of a deferral, which stand one behind the other.
template <class Visit>
void Home::ForEachDeferral(const KeptMessage& kept, spool::SegmentId segment, spool::Bytes bytes,
                           Visit visit) {
  while (const std::optional<spool::RecordView> view = spool::DecodeRecord(segment, bytes)) {
    bytes = bytes.subspan(view->whole_bytes);
    if (view->type != spool::RecordType::kDeferred) return;
    const std::optional<spool::DeferredRecord> record = spool::DecodeDeferred(view->payload);
    if (!record || record->id != kept.id) return;
    const smtp::Reply reply = StoredReply(record->last_reply);
    for (const uint32_t index : record->recipients) {
      if (index >= kept.resident->outcomes.size()) continue;
      RecipientOutcome& outcome = kept.resident->outcomes[index];
      outcome.reply = reply;
      outcome.own_reply = record->command == kRecipientCommand;
    }
    visit(*record, reply);
  }
}

// A message that was moved has its last answers in its promise.
void Home::QuoteFromPromise(Parcel& parcel) {
  for (uint32_t i = 0; i < parcel.recipients; ++i) {
    RecipientOutcome& outcome = parcel.outcome(i);
    if (outcome.state != RecipientState::kWaiting || outcome.own_reply) continue;
    if (parcel.reply.code == 0) parcel.reply = outcome.reply;
    outcome.own_reply = outcome.reply != parcel.reply;
  }
}

// The answers that the last attempt got; the parcel is given up.
void Home::OnDeferralRead(Parcel& parcel, spool::Bytes bytes, Now now) {
  const ActiveWhile active(options_.active, parcel.message->id);
  const KeptParcel& kept = *parcel.kept;
  bool read = false;
  ForEachDeferral(*kept.message, kept.deferred.segment, bytes,
                  [&](const spool::DeferredRecord& record, const smtp::Reply& reply) {
                    parcel.peer_name = record.peer_name;
                    if (record.command == kRecipientCommand) return;
                    parcel.reply = reply;
                    parcel.command = record.command;
                    read = true;
                  });
  if (!read) QuoteFromPromise(parcel);
  GiveUp(parcel, now);
}

// The next deferral of a message in memory that tells what is not known there; null: all is known.
KeptParcel* Home::UnknownReply(KeptMessage& kept) {
  for (KeptParcel* parcel = kept.first_parcel; parcel != nullptr; parcel = parcel->next) {
    if (parcel->deferred.bytes > 0 && !parcel->reply_known) return parcel;
  }
  return nullptr;
}

void Home::OnReplyRead(KeptMessage& kept, const spool::Extent& place, spool::Bytes bytes) {
  Message& message = *kept.resident;
  message.reading_reply = false;
  if (message.dead) return Forget(kept);
  ForEachDeferral(kept, place.segment, bytes, [](const auto&, const auto&) {});
  for (KeptParcel* parcel = kept.first_parcel; parcel != nullptr; parcel = parcel->next) {
    if (parcel->deferred == place) parcel->reply_known = 1;  // Or it never will be.
  }
  Settle(message);
}

}  // namespace sluice::delivery
