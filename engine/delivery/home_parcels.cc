// Parcels: placing them, lending their bodies, taking them back; and after a restart.

#include "engine/delivery/home.h"

#include <algorithm>

#include "engine/base/check.h"
#include "engine/delivery/tags.h"

namespace sluice::delivery {

using smtp::EnvelopeRecipient;
using spool::RecipientState;

const policy::BounceProfile& Home::ProfileOf(const Parcel& parcel) const {
  if (controls_ == nullptr) return options_.bounce_profiles.by_default;
  const policy::Controls& controls = controls_->Lookup(parcel.destination());
  return options_.bounce_profiles.Named(controls.bounce_profile.str());
}

Parcel& Home::MakeParcel(Message& message, uint32_t first, uint32_t count) {
  Parcel* parcel = parcels_.Take();
  CHECK(parcel != nullptr);
  CHECK(parcels_promised_ > 0);
  --parcels_promised_;
  parcel->message = &message;
  parcel->out = false;
  parcel->home = options_.shard;
  parcel->first_recipient = first;
  parcel->recipients = count;
  parcel->counters = &counted_.At(parcel->destination());
  for (uint32_t i = 0; i < count; ++i) {
    parcel->counters->active += parcel->outcome(i).state == RecipientState::kWaiting ? 1 : 0;
  }
  parcel->attempts = message.outcomes[first].attempts;
  parcel->kept_since = message.kept_since;
  parcel->expires = parcel->kept_since + ProfileOf(*parcel).max_queue;
  parcel->continues = false;
  parcel->host_failures = 0;
  parcel->reply = smtp::Reply{};
  parcel->command.clear();
  parcel->peer_name.clear();
  parcel->peer_address = SocketAddress{};
  parcel->source = 0;
  parcel->tls = TlsOutcome{};
  parcel->table_version = 0;
  parcel->timer.owner = parcel;
  parcel->timer.kind = static_cast<uint8_t>(TimerKind::kParcelDue);
  return *parcel;
}

void Home::PlaceNew(Message& message, Now now) {
  const std::vector<EnvelopeRecipient>& recipients = message.envelope.recipients;
  for (uint32_t first = 0; first < recipients.size();) {
    uint32_t end = first + 1;
    while (end < recipients.size() && recipients[end].destination == recipients[first].destination)
      ++end;
    HandOut(MakeParcel(message, first, end - first));
    first = end;
  }
}

void Home::HandOut(Parcel& parcel) {
  if (draining_) return;  // It stays in the log; the next start goes on.
  parcel.timer.kind = static_cast<uint8_t>(TimerKind::kParcelDue);
  parcel.body_state = BodyState::kNotAsked;
  parcel.result = ParcelResult::kNothing;
  parcel.in_doubt = false;
  parcel.stages = StageTimes{};
  parcel.tls = TlsOutcome{};
  parcel.binding_limit.clear();
  ++parcels_out_;
  parcel.out = true;
  outgoing_.PushBack(parcel);
}

void Home::Schedule(Parcel& parcel, Instant due, Now now) {
  if (due <= now.instant) return HandOut(parcel);
  timers_.Arm(parcel.timer, due);
}

void Home::OnTimer(Timer& timer, Now now) {
  CHECK(timer.kind == static_cast<uint8_t>(TimerKind::kParcelDue));
  Parcel& parcel = *static_cast<Parcel*>(timer.owner);
  if (now.instant >= parcel.expires) {
    GiveUp(parcel, now);
    return FinishIfFinal(parcel, now);
  }
  HandOut(parcel);
}

void Home::DeliverNow(absl::string_view destination) {
  if (deliver_next_ == Slab<Parcel>::kNoSlot) {
    deliver_destinations_.clear();
    deliver_all_ = false;
  }
  deliver_all_ |= destination.empty() || deliver_destinations_.size() == kDeliveredAtOnceMax;
  if (!deliver_all_) deliver_destinations_.emplace(destination);
  deliver_next_ = 0;
}

// Those that are here with their timer armed wait. What has been given up is not tried again.
void Home::DeliverSome(Now now) {
  if (deliver_next_ == Slab<Parcel>::kNoSlot) return;
  deliver_next_ = parcels_.VisitSome(deliver_next_, kDeliveredPerTurnMax, [&](Parcel& parcel) {
    if (parcel.out || !parcel.timer.armed() || now.instant >= parcel.expires) return;
    const bool meant = deliver_all_ || deliver_destinations_.contains(parcel.destination());
    if (!meant) return;
    timers_.Disarm(parcel.timer);
    HandOut(parcel);
  });
}

void Home::WantBody(Parcel& parcel) {
  CHECK(parcel.body_state == BodyState::kAsked);
  Message& message = *parcel.message;
  if (message.reading) {
    message.body_waiters.push_back(&parcel);
    return;
  }
  if (!message.body.empty()) {
    ++message.lends;
    parcel.body_state = BodyState::kLent;
    return bodies_.PushBack(parcel);
  }
  if (!reader_.Start(message) && !(Squeeze() && reader_.Start(message))) {
    parcel.body_state = BodyState::kNoRoom;
    return bodies_.PushBack(parcel);
  }
  message.body_waiters.push_back(&parcel);
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
      // Only tries to deliver count: they are a retry apart, and a fault of the disk may pass.
      message.failed_reads += message.body_waiters.empty() ? 0 : 1;
    }
    for (Parcel* parcel : message.body_waiters) {
      parcel->body_state = result.good                              ? BodyState::kLent
                           : message.failed_reads < kFailedReadsMax ? BodyState::kDamaged
                                                                    : BodyState::kLost;
      message.lends += result.good ? 1 : 0;
      bodies_.PushBack(*parcel);
    }
    message.body_waiters.clear();
    if (message.dead) {
      Forget(message);
      continue;
    }
    if (!message.moving && message.move_wanted) {
      message.move_wanted = false;
      if (result.good) MoveMessage(message, now);
    }
  }
}

void Home::OnReturned(Parcel& parcel, Now now) {
  CHECK(parcels_out_ > 0);
  CHECK(!parcel.hook.linked());
  CHECK(!parcel.timer.armed());
  CHECK(parcel.body_state != BodyState::kAsked);
  --parcels_out_;
  parcel.out = false;
  parcel.timer.kind = static_cast<uint8_t>(TimerKind::kParcelDue);
  if (parcel.body_state == BodyState::kLent) {
    CHECK(parcel.message->lends > 0);
    --parcel.message->lends;
    parcel.body_state = BodyState::kNotAsked;
  }
  switch (parcel.result) {
    case ParcelResult::kNothing:
      CHECK(parcel.result != ParcelResult::kNothing);
      break;
    case ParcelResult::kRecalled:
      if (!draining_) Schedule(parcel, now.instant + kRecalledDelay, now);
      return;
    case ParcelResult::kAgain:
      parcel.continues = true;
      return HandOut(parcel);
    case ParcelResult::kExpired:
      GiveUp(parcel, now);
      return FinishIfFinal(parcel, now);
    case ParcelResult::kAttempted:
      return RecordAttempt(parcel, now);
  }
}

// -------------------------------------------------------------------------------------------------
// After a restart.

absl::Status Home::Restore(std::vector<spool::RecoveredMessage> messages, MessageId greatest,
                           Now now) {
  ids_.Seen(greatest);
  for (spool::RecoveredMessage& recovered : messages) {
    if (messages_.full() ||
        parcels_.capacity() - parcels_.taken() < CountWaiting(recovered.accepted)) {
      return absl::ResourceExhaustedError(
          "the spool holds more messages than a shard keeps: start with more shards");
    }
    RestoreMessage(recovered, now);
  }
  return absl::OkStatus();
}

// Destinations with a recipient that waits: as many parcels. The recipients are sorted by
// destination.
uint32_t Home::CountWaiting(const spool::AcceptedRecord& accepted) const {
  uint32_t count = 0;
  const std::string* last = nullptr;
  for (const spool::RecipientRecord& recipient : accepted.recipients) {
    if (recipient.state != RecipientState::kWaiting) continue;
    if (last == nullptr || recipient.destination != *last) ++count;
    last = &recipient.destination;
  }
  return count;
}

// A pool that the configuration does not name any more gives its mail to the default.
uint32_t Home::PoolNamed(const std::string& name) const {
  if (options_.sources == nullptr || name.empty()) return 0;
  return options_.sources->FindPool(name).value_or(options_.sources->default_pool());
}

void Home::RestoreMessage(spool::RecoveredMessage& recovered, Now now) {
  spool::AcceptedRecord& accepted = recovered.accepted;
  Message& message = *messages_.Take();
  message.id = accepted.id;
  message.parcels = 0;
  message.lends = 0;
  message.failed_reads = 0;
  message.move_not_before = Instant::min();
  message.accepted_at = accepted.accepted_at;
  message.kept_since = now.instant + (accepted.accepted_at - now.wall);
  message.envelope.sender = accepted.sender;
  message.envelope.body_type = static_cast<smtp::BodyType>(accepted.body_type);
  message.envelope.ret = static_cast<smtp::Return>(accepted.ret);
  message.envelope.envelope_id = accepted.envelope_id;
  message.envelope.recipients.clear();
  message.outcomes.clear();
  for (const spool::RecipientRecord& recipient : accepted.recipients) {
    message.envelope.recipients.push_back({.address = recipient.address,
                                           .destination = recipient.destination,
                                           .original_recipient = recipient.original_recipient,
                                           .notify = recipient.notify});
    message.outcomes.push_back({.state = recipient.state,
                                .attempts = recipient.attempts,
                                .next_attempt = recipient.next_attempt});
  }
  message.pool = PoolNamed(accepted.source_pool);
  message.bounce = accepted.bounce;
  message.eight_bit = accepted.eight_bit;
  message.promised = true;
  message.message_bytes = accepted.message_bytes;
  message.wire_bytes = accepted.wire_bytes;
  message.body_checksum = accepted.body_checksum;
  message.extents = std::move(recovered.body);
  message.first_segment = recovered.first_segment;
  message.log_bytes = recovered.log_bytes;
  JoinSegment(message);
  log_.Lives(message.first_segment, message.log_bytes);
  PlaceRestored(message, now);
}

// Each destination's recipients get their next attempt when the log says; what is overdue, perhaps
// for hours, is spread over the first retry's delay so that it does not all come at once (case
// R21).
void Home::PlaceRestored(Message& message, Now now) {
  const std::vector<EnvelopeRecipient>& recipients = message.envelope.recipients;
  for (uint32_t first = 0; first < recipients.size();) {
    uint32_t end = first + 1;
    while (end < recipients.size() && recipients[end].destination == recipients[first].destination)
      ++end;
    uint32_t waiting = first;
    while (waiting < end && message.outcomes[waiting].state != RecipientState::kWaiting) ++waiting;
    if (waiting < end) {
      ++message.parcels;
      ++parcels_promised_;
      Parcel& parcel = MakeParcel(message, first, end - first);
      const policy::BounceProfile& profile = ProfileOf(parcel);
      parcel.attempts = message.outcomes[waiting].attempts;
      Instant due = now.instant;
      if (parcel.attempts > 0) {
        due = now.instant + (message.outcomes[waiting].next_attempt - now.wall);
        const auto spread = static_cast<uint64_t>(profile.initial_retry.count());
        if (due < now.instant) due = now.instant + Duration(random_.Below(spread + 1));
        // A clock that was set back does not make mail sleep for as long.
        due = std::min(due, now.instant + profile.max_retry / 4 * 5);
      }
      // Nor does one that is ahead bounce it: it gets a try, and a while for that.
      parcel.expires = std::max(parcel.expires, due + profile.initial_retry);
      parcel.kept_since = parcel.expires - profile.max_queue;
      Schedule(parcel, due, now);
    }
    first = end;
  }
  // A crash came between the last outcome and the end: the log takes that once it has begun.
  if (message.parcels == 0) finished_before_.push_back(messages_.HandleOf(message));
}

}  // namespace sluice::delivery
