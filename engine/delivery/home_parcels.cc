// Parcels: placed, scheduled, handed out; taken back.

#include "engine/delivery/home.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "engine/delivery/tags.h"

namespace sluice::delivery {

using smtp::EnvelopeRecipient;
using spool::RecipientState;

const policy::BounceProfile& Home::ProfileOf(const KeptParcel& kept) const {
  if (controls_ == nullptr) return options_.bounce_profiles.by_default;
  const policy::Controls& controls = controls_->Lookup(kept.destination->counters.domain);
  return options_.bounce_profiles.Named(controls.bounce_profile.str());
}

Instant Home::ExpiryOf(const KeptParcel& kept) const {
  return kept.message->kept_since + ProfileOf(kept).max_queue;
}

// -------------------------------------------------------------------------------------------------
// At home.

KeptParcel& Home::MakeKeptParcel(KeptMessage& message, absl::string_view destination,
                                 uint32_t first, uint32_t count) {
  KeptParcel* kept = kept_parcels_.Take();
  CHECK(kept != nullptr);
  *kept = KeptParcel{};
  kept->timer.owner = kept;
  kept->timer.kind = static_cast<uint8_t>(TimerKind::kParcelDue);
  kept->message = &message;
  kept->next = std::exchange(message.first_parcel, kept);
  kept->destination = &destinations_.At(destination);
  kept->first_recipient = static_cast<uint16_t>(first);
  kept->recipients = static_cast<uint16_t>(count);
  return *kept;
}

void Home::PlaceNew(Message& message, Now now) {
  const std::vector<EnvelopeRecipient>& recipients = message.envelope.recipients;
  for (uint32_t first = 0; first < recipients.size();) {
    uint32_t end = first + 1;
    while (end < recipients.size() && recipients[end].destination == recipients[first].destination)
      ++end;
    CHECK(parcels_promised_ > 0);
    --parcels_promised_;
    KeptParcel& kept =
        MakeKeptParcel(*message.kept, recipients[first].destination, first, end - first);
    kept.destination->counters.active += end - first;
    Place(kept, now);
    first = end;
  }
  Settle(message);
}

// It is due: at once if it is its destination's turn, else in its queue.
void Home::Place(KeptParcel& kept, Now now) {
  if (draining_) return;  // It stays in the log; the next start goes on.
  HomeDestination& destination = *kept.destination;
  if (!destination.waiting.empty() || !MayHandOut(destination) || !Wake(kept, now)) {
    Wait(kept, now);
  }
}

void Home::Wait(KeptParcel& kept, Now now) {
  kept.state = ParcelState::kWaiting;
  HomeDestination& destination = *kept.destination;
  destination.waiting.PushBack(kept);
  timers_.Arm(kept.timer, ExpiryOf(kept));
  if (!destination.hook.linked()) ready_.PushBack(destination);
  wakes_more_ = true;
}

void Home::LeaveQueue(KeptParcel& kept) {
  HomeDestination& destination = *kept.destination;
  destination.waiting.Remove(kept);
  if (destination.waiting.empty() && destination.hook.linked()) ready_.Remove(destination);
}

void Home::Schedule(KeptParcel& kept, Instant due, Now now) {
  kept.state = ParcelState::kScheduled;
  if (!draining_) timers_.Arm(kept.timer, due);
}

// Its time is up: it is to be bounced, which takes its message.
void Home::Doom(KeptParcel& kept) {
  kept.state = ParcelState::kDoomed;
  doomed_.PushBack(kept);
  wakes_more_ = true;
}

void Home::OnTimer(Timer& timer, Now now) {
  CHECK(timer.kind == static_cast<uint8_t>(TimerKind::kParcelDue));
  KeptParcel& kept = *static_cast<KeptParcel*>(timer.owner);
  if (kept.state == ParcelState::kWaiting) {
    // New tables may have given it more time.
    const Instant expiry = ExpiryOf(kept);
    if (now.instant < expiry) return timers_.Arm(kept.timer, expiry);
    LeaveQueue(kept);
    return Doom(kept);
  }
  CHECK(kept.state == ParcelState::kScheduled);
  if (kept.given_up || now.instant >= ExpiryOf(kept)) return Doom(kept);
  Place(kept, now);
}

void Home::DeliverNow(absl::string_view destination) {
  if (deliver_next_ == Slab<KeptParcel>::kNoSlot) {
    deliver_destinations_.clear();
    deliver_all_ = false;
  }
  deliver_all_ |= destination.empty() || deliver_destinations_.size() == kDeliveredAtOnceMax;
  if (!deliver_all_) deliver_destinations_.emplace(destination);
  deliver_next_ = 0;
}

// Those that are scheduled. What has been given up is not tried again.
void Home::DeliverSome(Now now) {
  if (deliver_next_ == Slab<KeptParcel>::kNoSlot) return;
  deliver_next_ =
      kept_parcels_.VisitSome(deliver_next_, kDeliveredPerTurnMax, [&](KeptParcel& kept) {
        if (kept.state != ParcelState::kScheduled || kept.given_up) return;
        if (!kept.timer.armed() || now.instant >= ExpiryOf(kept)) return;
        const bool meant =
            deliver_all_ || deliver_destinations_.contains(kept.destination->counters.domain);
        if (!meant) return;
        timers_.Disarm(kept.timer);
        Place(kept, now);
      });
}

// -------------------------------------------------------------------------------------------------
// Out.

bool Home::RoomForMore() const {
  return active_ < active_max_ && !parcels_.full();
}

bool Home::MayHandOut(const HomeDestination& destination) const {
  if (!RoomForMore()) return false;
  const uint32_t share = std::max<uint32_t>(1, (active_max_ - active_) / kShareOfDestination);
  return destination.out < std::min(share, kOutOfDestinationMax);
}

// Of a kept parcel that is awake.
Parcel& Home::MakeParcel(KeptParcel& kept) {
  CHECK(kept.state == ParcelState::kWaking);
  Parcel* parcel = parcels_.Take();
  CHECK(parcel != nullptr);
  kept.state = ParcelState::kOut;
  parcel->kept = &kept;
  parcel->message = kept.message->resident;
  parcel->home = options_.shard;
  parcel->first_recipient = kept.first_recipient;
  parcel->recipients = kept.recipients;
  parcel->attempts = kept.attempts;
  parcel->expires = ExpiryOf(kept);
  CHECK(parcel->body_places.empty());
  parcel->continues = false;
  parcel->host_failures = 0;
  parcel->reply = smtp::Reply{};
  parcel->command.clear();
  parcel->peer_name.clear();
  parcel->peer_address = SocketAddress{};
  parcel->source = 0;
  parcel->tls = TlsOutcome{};
  parcel->table_version = 0;
  parcel->result = ParcelResult::kNothing;
  parcel->in_doubt = false;
  parcel->binding_limit.clear();
  parcel->stages = StageTimes{};
  parcel->timer.owner = parcel;
  for (uint32_t i = 0; i < parcel->recipients; ++i) {
    parcel->outcome(i).verdict = Verdict::kUntried;
    parcel->outcome(i).told = false;
  }
  return *parcel;
}

void Home::HandOut(Parcel& parcel) {
  if (draining_) return Retire(parcel);
  parcel.body_state = BodyState::kNotAsked;
  parcel.result = ParcelResult::kNothing;
  parcel.in_doubt = false;
  parcel.stages = StageTimes{};
  parcel.tls = TlsOutcome{};
  parcel.binding_limit.clear();
  outgoing_.PushBack(parcel);
}

// Its round is over. What becomes of the kept parcel is the caller's to say.
void Home::Retire(Parcel& parcel) {
  CHECK(!parcel.timer.armed());
  CHECK(!parcel.hook.linked());
  KeptParcel& kept = *parcel.kept;
  CHECK(kept.state == ParcelState::kOut);
  kept.state = ParcelState::kScheduled;
  kept.attempts = static_cast<uint16_t>(std::min<uint32_t>(parcel.attempts, UINT16_MAX));
  parcels_.Release(parcel);
  LeaveOut(kept);
}

// It is not out, nor on its way, any more: another one of its destination may be.
void Home::LeaveOut(KeptParcel& kept) {
  HomeDestination& destination = *kept.destination;
  CHECK(destination.out > 0);
  CHECK(active_ > 0);
  --destination.out;
  --active_;
  if (!destination.waiting.empty() && !destination.hook.linked()) ready_.PushBack(destination);
  if (!ready_.empty()) wakes_more_ = true;
  Message& message = *kept.message->resident;
  CHECK(message.users > 0);
  --message.users;
  Settle(message);
}

void Home::OnReturned(Parcel& parcel, Now now) {
  const ActiveWhile active(options_.active, parcel.message->id);
  CHECK(!parcel.hook.linked());
  CHECK(!parcel.timer.armed());
  CHECK(parcel.body_state != BodyState::kAsked);
  TakeBodyBack(parcel);
  switch (parcel.result) {
    case ParcelResult::kNothing:
      CHECK(parcel.result != ParcelResult::kNothing);
      break;
    case ParcelResult::kRecalled: {
      KeptParcel& kept = *parcel.kept;
      Retire(parcel);
      return Schedule(kept, now.instant + kRecalledDelay, now);
    }
    case ParcelResult::kAgain:
      parcel.continues = true;
      return HandOut(parcel);
    case ParcelResult::kExpired:
      // If nothing was answered this time, what was answered before is looked for.
      if (parcel.reply.code == 0 && ReadLastAnswers(parcel)) return;
      return GiveUp(parcel, now);
    case ParcelResult::kAttempted:
      return RecordAttempt(parcel, now);
  }
}

}  // namespace sluice::delivery
