// Outcomes: what became of the recipients of a parcel, in the log, in events, in bounces.

#include "engine/delivery/home.h"

#include <algorithm>

#include "engine/base/check.h"
#include "engine/delivery/bounce.h"
#include "engine/smtp/address.h"

namespace sluice::delivery {
namespace {

constexpr absl::string_view kFinalDot = ".\r\n";

}  // namespace

using smtp::EnvelopeRecipient;
using spool::RecipientState;

void Home::RecordAttempt(Parcel& parcel, Now now) {
  bool refused = false;
  bool left = false;
  for (uint32_t i = 0; i < parcel.recipients; ++i) {
    const RecipientOutcome& outcome = parcel.outcome(i);
    if (outcome.state != RecipientState::kWaiting) continue;
    refused |= outcome.verdict == Verdict::kBounced;
    left |= outcome.verdict == Verdict::kUntried;
  }
  // The bounce stands in the log before the outcome that it reports.
  if (refused && !MakeBounce(parcel, /*expired=*/false, now)) {
    // No room for it now: the recipients wait for another try, rather than vanish unreported.
    for (uint32_t i = 0; i < parcel.recipients; ++i) {
      if (parcel.outcome(i).verdict == Verdict::kBounced)
        parcel.outcome(i).verdict = Verdict::kDeferred;
    }
    refused = false;
  }
  RecordState(parcel, RecipientState::kDelivered, now);
  if (refused) RecordState(parcel, RecipientState::kBounced, now);
  for (uint32_t i = 0; i < parcel.recipients; ++i) {
    const RecipientOutcome& outcome = parcel.outcome(i);
    if (outcome.state == RecipientState::kWaiting && outcome.verdict == Verdict::kDeferred &&
        !outcome.told) {
      EmitOutcome(parcel, i, EventType::kTransientFailure, now);
      parcel.outcome(i).told = true;
    }
  }
  if (left) {
    parcel.continues = true;
    return HandOut(parcel);
  }
  EndRound(parcel, now);
}

// Appends the final state of every recipient whose verdict is new, and tells of it.
void Home::RecordState(Parcel& parcel, RecipientState state, Now now) {
  const bool delivered = state == RecipientState::kDelivered;
  const Verdict verdict = delivered ? Verdict::kDelivered : Verdict::kBounced;
  outcome_record_.id = parcel.message->id;
  outcome_record_.state = state;
  outcome_record_.recipients.clear();
  for (uint32_t i = 0; i < parcel.recipients; ++i) {
    RecipientOutcome& outcome = parcel.outcome(i);
    if (outcome.state != RecipientState::kWaiting || outcome.verdict != verdict) continue;
    outcome.state = state;
    outcome_record_.recipients.push_back(parcel.first_recipient + i);
  }
  if (outcome_record_.recipients.empty()) return;
  log_.AppendOutcome(outcome_record_, now.wall);
  for (const uint32_t index : outcome_record_.recipients) {
    EmitOutcome(parcel, index - parcel.first_recipient,
                delivered ? EventType::kDelivery : EventType::kBounce, now);
  }
}

// Every recipient has been tried once: what still waits is given up, or gets its next time.
void Home::EndRound(Parcel& parcel, Now now) {
  bool waits = false;
  for (uint32_t i = 0; i < parcel.recipients; ++i) {
    waits |= parcel.outcome(i).state == RecipientState::kWaiting;
  }
  if (!waits) return Finish(parcel, now);
  ++parcel.attempts;
  KeptParcel& kept = *parcel.kept;
  // By the monotonic clock: a wall clock that jumps must not bounce the queue.
  const policy::BounceProfile& profile = ProfileOf(kept);  // New tables may name another.
  parcel.expires = ExpiryOf(kept);
  if (profile.Expired(parcel.attempts, now.instant - kept.message->kept_since)) {
    return GiveUp(parcel, now);
  }
  const Duration delay = profile.RetryDelay(parcel.attempts, random_);
  RecordDeferral(parcel, delay, now);
  ReleaseBody(*parcel.message);  // It may be long: the log has it.
  const Instant expires = std::max(parcel.expires, now.instant);
  Retire(parcel);
  Schedule(kept, std::min(now.instant + delay, expires), now);
}

// One record for those that share the parcel's reply, and one for each reply of their own.
void Home::RecordDeferral(Parcel& parcel, Duration delay, Now now) {
  spool::DeferredRecord& record = deferred_record_;
  record.id = parcel.message->id;
  record.attempts = static_cast<uint16_t>(std::min<uint32_t>(parcel.attempts, UINT16_MAX));
  record.next_attempt = now.wall + delay;
  record.peer_name = parcel.peer_name;
  unrecorded_.clear();
  for (uint32_t i = 0; i < parcel.recipients; ++i) {
    RecipientOutcome& outcome = parcel.outcome(i);
    if (outcome.state != RecipientState::kWaiting) continue;
    outcome.verdict = Verdict::kUntried;
    outcome.told = false;
    outcome.attempts = record.attempts;
    outcome.next_attempt = record.next_attempt;
    if (!outcome.own_reply) outcome.reply = parcel.reply;
    unrecorded_.push_back(i);
  }
  spool::Extent& deferred = parcel.kept->deferred;
  deferred = {};
  parcel.kept->reply_known = 1;
  while (!unrecorded_.empty()) {
    const RecipientOutcome& first = parcel.outcome(unrecorded_.front());
    record.last_reply = first.reply.ToString();
    record.command = first.own_reply ? std::string(kRecipientCommand) : parcel.command;
    record.recipients.clear();
    std::erase_if(unrecorded_, [&](uint32_t i) {
      const RecipientOutcome& outcome = parcel.outcome(i);
      if (outcome.own_reply != first.own_reply || outcome.reply != first.reply) return false;
      record.recipients.push_back(parcel.first_recipient + i);
      return true;
    });
    const spool::Extent place = log_.AppendDeferred(record, now.wall);
    // They stand one behind the other, unless a segment ended between them.
    const bool follows = place.segment == deferred.segment && place.bytes > 0 &&
                         place.offset == deferred.offset + deferred.bytes;
    if (follows) {
      deferred.bytes += place.bytes;
    } else {
      deferred = place;
    }
  }
}

// The parcel's time is up: all of its recipients that wait are bounced.
void Home::GiveUp(Parcel& parcel, Now now) {
  KeptParcel& kept = *parcel.kept;
  for (uint32_t i = 0; i < parcel.recipients; ++i) {
    RecipientOutcome& outcome = parcel.outcome(i);
    if (outcome.state == RecipientState::kWaiting) outcome.verdict = Verdict::kBounced;
  }
  if (!MakeBounce(parcel, /*expired=*/true, now)) {
    for (uint32_t i = 0; i < parcel.recipients; ++i) {
      parcel.outcome(i).verdict = Verdict::kUntried;
      parcel.outcome(i).told = false;
    }
    // What was given up is not tried again: only its bounce is.
    kept.given_up = 1;
    Retire(parcel);
    return Schedule(kept, now.instant + kRecalledDelay, now);
  }
  outcome_record_.id = parcel.message->id;
  outcome_record_.state = RecipientState::kBounced;
  outcome_record_.recipients.clear();
  for (uint32_t i = 0; i < parcel.recipients; ++i) {
    RecipientOutcome& outcome = parcel.outcome(i);
    if (outcome.state != RecipientState::kWaiting) continue;
    outcome.state = RecipientState::kBounced;
    outcome_record_.recipients.push_back(parcel.first_recipient + i);
  }
  log_.AppendOutcome(outcome_record_, now.wall);
  for (const uint32_t index : outcome_record_.recipients) {
    EmitOutcome(parcel, index - parcel.first_recipient, EventType::kExpiration, now);
  }
  Finish(parcel, now);
}

// Appends the message that tells the sender of this parcel's bounced recipients. True if it is in
// the log, or none is owed: to a null sender (RFC 5321 6.1), or by NOTIFY (RFC 3461 4.1).
bool Home::MakeBounce(Parcel& parcel, bool expired, Now now) {
  const Message& message = *parcel.message;
  if (message.envelope.sender.empty()) return true;
  BounceFacts facts;
  for (uint32_t i = 0; i < parcel.recipients; ++i) {
    const RecipientOutcome& outcome = parcel.outcome(i);
    if (outcome.state != RecipientState::kWaiting || outcome.verdict != Verdict::kBounced) continue;
    const EnvelopeRecipient& recipient = parcel.recipient(i);
    if (recipient.notify != 0 && (recipient.notify & smtp::kNotifyFailure) == 0) continue;
    facts.failed.push_back(
        {.address = recipient.address,
         .reply = outcome.own_reply ? &outcome.reply : &parcel.reply,
         .command = outcome.own_reply ? kRecipientCommand : absl::string_view(parcel.command),
         .peer_name = parcel.peer_name,
         .expired = expired});
  }
  if (facts.failed.empty()) return true;

  const std::optional<smtp::Mailbox> sender = MailboxOf(message.envelope.sender);
  if (!sender) return true;  // Nobody to tell; the log has the outcome.
  Incoming* bounce = Begin(Origin::kBounce, now);
  if (bounce == nullptr) return false;
  const std::string bounce_id = bounce->id.ToString();
  const std::string message_id = message.id.ToString();
  facts.hostname = options_.hostname;
  facts.bounce_id = bounce_id;
  facts.message_id = message_id;
  facts.sender = message.envelope.sender;
  facts.now = now.wall;
  return SendOwn(*bounce, *sender, ComposeBounce(facts), now);
}

// Nobody is told whether it found room: the next one comes by its pace.
void Home::SendAlert(const TlsAlert& alert, Now now) {
  const std::optional<smtp::Mailbox> to = MailboxOf(options_.alert_address);
  if (!to) return;
  Incoming* incoming = Begin(Origin::kBounce, now);
  if (incoming == nullptr) return;
  const std::string id = incoming->id.ToString();
  SendOwn(*incoming, *to,
          ComposeAlert({.hostname = options_.hostname,
                        .alert_id = id,
                        .address = options_.alert_address,
                        .now = now.wall,
                        .alert = &alert}),
          now);
}

std::optional<smtp::Mailbox> Home::MailboxOf(const std::string& address) const {
  const std::string path = "<" + address + ">";
  absl::string_view path_view = path;
  absl::StatusOr<smtp::Mailbox> mailbox = smtp::ParseForwardPath(path_view, options_.hostname);
  if (!mailbox.ok()) return std::nullopt;
  return *std::move(mailbox);
}

// True if it is in the log.
bool Home::SendOwn(Incoming& own, const smtp::Mailbox& to, const std::string& text, Now now) {
  Append(own, text, now);
  smtp::Envelope envelope;
  envelope.recipients.push_back({.address = to.address, .destination = to.destination});
  const uint64_t promises = awaited_promises_.size();
  Commit(own, envelope,
         {.message_bytes = text.size() - kFinalDot.size(), .client_name = options_.hostname},
         Handle{}, now);
  return awaited_promises_.size() > promises;
}

void Home::EmitOutcome(const Parcel& parcel, uint32_t recipient, EventType type, Now now) {
  const Message& message = *parcel.message;
  const RecipientOutcome& outcome = parcel.outcome(recipient);
  Event event;
  event.type = type;
  event.timestamp = now.wall;
  event.id = message.id;
  event.sender = message.envelope.sender;
  event.recipient = parcel.recipient(recipient).address;
  event.destination = parcel.destination();
  event.message_bytes = message.message_bytes;
  event.reply = outcome.own_reply ? &outcome.reply : &parcel.reply;
  if (event.reply->code == 0) event.reply = nullptr;
  event.command = outcome.own_reply ? kRecipientCommand : absl::string_view(parcel.command);
  event.peer_name = parcel.peer_name;
  event.peer_address = parcel.peer_address;
  if (options_.sources != nullptr) event.source = options_.sources->source(parcel.source).name;
  // EndRound has counted an expired round already.
  const bool counted = type == EventType::kExpiration || parcel.result != ParcelResult::kAttempted;
  event.attempts = parcel.attempts + (counted ? 0 : 1);
  event.binding_limit = parcel.binding_limit;
  event.table_version = parcel.table_version;
  event.shard = options_.shard;
  event.in_doubt = parcel.in_doubt;
  event.tls = &parcel.tls;
  event.stages = parcel.stages;
  events_.Emit(event, log_.open_batch());
  Count(parcel.kept->destination->counters, type, now.wall);
}

void Home::Count(DestinationCounters& counters, EventType type, WallTime now) {
  counters.last_activity = now;
  switch (type) {
    case EventType::kReception:
      return;
    case EventType::kTransientFailure:
      ++counters.soft_bounced;
      return;
    case EventType::kDelivery:
      ++counters.delivered;
      break;
    case EventType::kBounce:
      ++counters.hard_bounced;
      break;
    case EventType::kExpiration:
      ++counters.expired;
      break;
  }
  CHECK(counters.active > 0);
  --counters.active;
}

// All of its recipients are final. Frees the parcel, and the message when all of its parcels are.
void Home::Finish(Parcel& parcel, Now now) {
  for (uint32_t i = 0; i < parcel.recipients; ++i) {
    CHECK(parcel.outcome(i).state != RecipientState::kWaiting);
  }
  KeptParcel& kept = *parcel.kept;
  KeptMessage& message = *kept.message;
  Retire(parcel);
  ReleaseKept(kept);
  if (message.parcels == 0) Bury(message, now);
}

void Home::ReleaseKept(KeptParcel& kept) {
  CHECK(!kept.timer.armed());
  CHECK(!kept.hook.linked());
  KeptMessage& message = *kept.message;
  KeptParcel** link = &message.first_parcel;
  while (*link != &kept) link = &(*link)->next;
  *link = kept.next;
  CHECK(message.parcels > 0);
  --message.parcels;
  kept_parcels_.Release(kept);
}

void Home::Bury(KeptMessage& kept, Now now) {
  log_.AppendDone(kept.id, now.wall);
  if (options_.active != nullptr) options_.active->OnDone(kept.id);
  Message* message = kept.resident;
  if (message != nullptr && (message->reading || message->loading || message->reading_reply)) {
    message->dead = true;  // The read has its memory: forgotten when that is over.
    return Settle(*message);
  }
  Forget(kept);
}

void Home::Forget(KeptMessage& kept) {
  log_.Died(kept.first_segment, kept.log_bytes);
  LeaveSegment(kept);
  final_.erase(&kept);
  if (Message* message = kept.resident; message != nullptr) {
    CHECK(message->lends == 0);
    CHECK(message->users == 0);
    CHECK(message->body_waiters.empty());
    if (message->idle_hook.linked()) idle_.Remove(*message);
    if (message->moving && !message->body.empty()) {
      AwaitBlocks(message->body, Handle{});
    }
    DropBody(*message);
    message->dead = false;
    message->move_wanted = false;
    messages_.Release(*message);
  }
  kept.resident = nullptr;
  kept_messages_.Release(kept);
}

}  // namespace sluice::delivery
