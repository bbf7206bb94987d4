#include "engine/delivery/home.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "engine/base/check.h"
#include "engine/delivery/bounce.h"
#include "engine/delivery/tags.h"
#include "engine/smtp/address.h"

namespace sluice::delivery {
namespace {

using smtp::EnvelopeRecipient;
using spool::RecipientState;

constexpr absl::string_view kFinalDot = ".\r\n";

// A piece of a body in one log record: well under the record's bound, and a whole number of blocks.
constexpr uint64_t kBodyPieceBytes = 32 * limits::kBodyBlockBytes;
static_assert(kBodyPieceBytes + 64 < spool::kRecordPayloadBytesMax);

// What a message's other records take in the log, roughly, beside its body and addresses.
constexpr uint64_t kRecordOverheadBytes = 256;

// Messages of the oldest segment that are moved in one turn: keeps a turn short.
constexpr int kMovesPerTurnMax = 16;

// How soon a parcel that was given back untouched is placed again.
constexpr Duration kRecalledDelay = std::chrono::seconds(10);

io::Bytes AsBytes(absl::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

}  // namespace

Home::Home(const Options& options, io::Io& io, spool::Log& log, TimerWheel& timers, Random& random,
           EventSink& events)
    : options_(options),
      io_(io),
      log_(log),
      timers_(timers),
      random_(random),
      events_(events),
      ids_(static_cast<uint8_t>(options.shard)),
      pool_(options.body_blocks),
      incoming_(options.incoming_max),
      messages_(options.messages_max),
      parcels_(options.parcels_max),
      reader_(io, log, pool_) {}

// Timers and lists hold members of the slabs: they go first.
Home::~Home() {
  parcels_.ForEach([this](Parcel& parcel) { timers_.Disarm(parcel.timer); });
}

// ---------------------------------------------------------------------------------------------------
// Arriving.

Incoming* Home::Begin(Now now) {
  if (messages_.taken() + incoming_.taken() >= messages_.capacity()) return nullptr;
  if (pool_.taken() == pool_.capacity()) return nullptr;
  if (!log_.MayAccept(limits::kBodyBlockBytes, now.wall)) return nullptr;
  Incoming* incoming = incoming_.Take();
  if (incoming == nullptr) return nullptr;
  incoming->id = ids_.Next(now.wall);
  CHECK(incoming->body.empty());
  incoming->logged_bytes = 0;
  incoming->log_bytes = 0;
  incoming->extents.clear();
  incoming->failed = false;
  XXH3_64bits_reset(&incoming->checksum);
  return incoming;
}

void Home::Append(Incoming& incoming, absl::string_view bytes, Now now) {
  if (incoming.failed) return;
  XXH3_64bits_update(&incoming.checksum, bytes.data(), bytes.size());
  if (!incoming.body.Append(AsBytes(bytes), pool_)) {
    incoming.failed = true;
    return;
  }
  if (incoming.body.bytes() < limits::kBodyBlocksBeforeLog * limits::kBodyBlockBytes) return;
  if (!log_.MayAccept(incoming.body.bytes(), now.wall)) {
    incoming.failed = true;
    return;
  }
  // A large body goes to the log as it comes; its blocks are free again once the log has them.
  LogBody(incoming.id, incoming.body, incoming.logged_bytes, incoming.log_bytes, incoming.extents,
          now);
  incoming.logged_bytes += incoming.body.bytes();
  awaited_blocks_.push_back({log_.open_batch(), std::move(incoming.body)});
  incoming.body = Body();
}

void Home::Abandon(Incoming& incoming) {
  incoming.body.Release(pool_);
  incoming_.Release(incoming);
}

void Home::Refuse(Incoming& incoming, Handle session) {
  decided_.push_back({.session = session, .id = incoming.id, .kept = false});
  Abandon(incoming);
}

uint32_t Home::CountDestinations(const smtp::Envelope& envelope) const {
  uint32_t count = 0;
  absl::string_view last;
  for (const EnvelopeRecipient& recipient : envelope.recipients) {
    if (count == 0 || recipient.destination != last) ++count;
    last = recipient.destination;
  }
  return count;
}

void Home::Commit(Incoming& incoming, smtp::Envelope& envelope, const IncomingSummary& summary,
                  Handle session, Now now) {
  CHECK(!envelope.recipients.empty());
  std::stable_sort(envelope.recipients.begin(), envelope.recipients.end(),
                   [](const EnvelopeRecipient& a, const EnvelopeRecipient& b) {
                     return a.destination < b.destination;
                   });
  const uint32_t destinations = CountDestinations(envelope);
  const uint64_t bytes =
      incoming.body.bytes() + kRecordOverheadBytes * (1 + envelope.recipients.size());
  if (incoming.failed ||
      parcels_.taken() + parcels_promised_ + destinations > parcels_.capacity() ||
      messages_.full() || !log_.MayAccept(bytes, now.wall)) {
    return Refuse(incoming, session);
  }
  Message& message = MakeMessage(incoming, envelope, summary, now);
  message.parcels = destinations;
  parcels_promised_ += destinations;
  AppendAccepted(message, now);
  awaited_promises_.push_back({log_.open_batch(), messages_.HandleOf(message), session});
  EmitReception(message, summary, log_.open_batch());
  incoming_.Release(incoming);
}

Message& Home::MakeMessage(Incoming& incoming, smtp::Envelope& envelope,
                           const IncomingSummary& summary, Now now) {
  Message& message = *messages_.Take();
  CHECK(message.body.empty());
  CHECK(message.body_waiters.empty());
  message.id = incoming.id;
  message.accepted_at = now.wall;
  std::swap(message.envelope, envelope);
  message.outcomes.clear();
  message.outcomes.resize(message.envelope.recipients.size());
  message.bounce = summary.bounce;
  message.eight_bit = summary.eight_bit;
  message.promised = false;
  message.message_bytes = summary.message_bytes;
  message.wire_bytes = incoming.logged_bytes + incoming.body.bytes();
  message.body_checksum = XXH3_64bits_digest(&incoming.checksum);
  message.lends = 0;
  message.reading = false;
  message.moving = false;

  LogBody(message.id, incoming.body, incoming.logged_bytes, incoming.log_bytes, incoming.extents,
          now);
  std::swap(message.extents, incoming.extents);
  message.log_bytes = incoming.log_bytes;
  const bool whole = incoming.logged_bytes == 0;
  if (whole) {
    std::swap(message.body, incoming.body);
  } else {
    awaited_blocks_.push_back({log_.open_batch(), std::move(incoming.body)});
    incoming.body = Body();
  }
  message.first_segment = message.extents.front().segment;
  JoinSegment(message);
  return message;
}

void Home::LogBody(MessageId id, const Body& body, uint64_t body_offset, uint64_t& log_bytes,
                   std::vector<spool::Extent>& extents, Now now) {
  std::array<io::Bytes, kBodyPieceBytes / limits::kBodyBlockBytes> parts;
  for (uint64_t offset = 0; offset < body.bytes();) {
    const uint64_t piece = std::min(kBodyPieceBytes, body.bytes() - offset);
    const size_t count = body.Gather(offset, piece, parts);
    extents.push_back(
        log_.AppendBody(id, body_offset + offset, std::span(parts).first(count), now.wall));
    log_bytes += piece + spool::kBodyPrefixBytes + 8;
    offset += piece;
  }
}

void Home::AppendAccepted(Message& message, Now now) {
  spool::AcceptedRecord& record = accepted_record_;
  record.id = message.id;
  record.accepted_at = message.accepted_at;
  record.sender = message.envelope.sender;
  record.body_type = static_cast<uint8_t>(message.envelope.body_type);
  record.ret = static_cast<uint8_t>(message.envelope.ret);
  record.envelope_id = message.envelope.envelope_id;
  record.eight_bit = message.eight_bit;
  record.bounce = message.bounce;
  record.message_bytes = message.message_bytes;
  record.wire_bytes = message.wire_bytes;
  record.body_checksum = message.body_checksum;
  record.recipients.resize(message.envelope.recipients.size());
  for (size_t i = 0; i < record.recipients.size(); ++i) {
    const EnvelopeRecipient& from = message.envelope.recipients[i];
    spool::RecipientRecord& to = record.recipients[i];
    to.address = from.address;
    to.destination = from.destination;
    to.original_recipient = from.original_recipient;
    to.notify = from.notify;
    to.state = message.outcomes[i].state;
    to.attempts = message.outcomes[i].attempts;
    to.next_attempt = message.outcomes[i].next_attempt;
    to.last_reply.clear();
  }
  log_.AppendAccepted(record, now.wall);
  for (const EnvelopeRecipient& recipient : message.envelope.recipients) {
    message.log_bytes += recipient.address.size() + recipient.destination.size() + 32;
  }
  message.log_bytes += kRecordOverheadBytes;
  log_.Lives(message.first_segment, message.log_bytes);
}

void Home::EmitReception(const Message& message, const IncomingSummary& summary, uint64_t batch) {
  Event event;
  event.type = EventType::kReception;
  event.timestamp = message.accepted_at;
  event.id = message.id;
  event.sender = message.envelope.sender;
  event.message_bytes = message.message_bytes;
  event.peer_name = summary.client_name;
  event.peer_address = summary.client_address;
  event.shard = options_.shard;
  for (const EnvelopeRecipient& recipient : message.envelope.recipients) {
    event.recipient = recipient.address;
    event.destination = recipient.destination;
    events_.Emit(event, batch);
  }
}

void Home::TakePromises(std::vector<Promise>& promises) {
  promises.insert(promises.end(), decided_.begin(), decided_.end());
  decided_.clear();
}

// ---------------------------------------------------------------------------------------------------
// Parcels.

Parcel& Home::MakeParcel(Message& message, uint32_t first, uint32_t count, Now now) {
  Parcel* parcel = parcels_.Take();
  CHECK(parcel != nullptr);
  CHECK(parcels_promised_ > 0);
  --parcels_promised_;
  parcel->message = &message;
  parcel->home = options_.shard;
  parcel->first_recipient = first;
  parcel->recipients = count;
  parcel->attempts = message.outcomes[first].attempts;
  parcel->expires =
      now.instant + (message.accepted_at + options_.bounce_profile.max_queue - now.wall);
  parcel->continues = false;
  parcel->host_failures = 0;
  parcel->reply = smtp::Reply{};
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
    HandOut(MakeParcel(message, first, end - first, now));
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
  parcel.binding_limit.clear();
  ++parcels_out_;
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
  if (!reader_.Start(message)) {
    parcel.body_state = BodyState::kNoRoom;
    return bodies_.PushBack(parcel);
  }
  message.body_waiters.push_back(&parcel);
}

void Home::OnBodiesRead(Now now) {
  BodyReader::Result result;
  while (reader_.Take(result)) {
    Message& message = *result.message;
    for (Parcel* parcel : message.body_waiters) {
      parcel->body_state = result.good ? BodyState::kLent : BodyState::kDamaged;
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
    case ParcelResult::kExpired:
      GiveUp(parcel, now);
      return FinishIfFinal(parcel, now);
    case ParcelResult::kAttempted:
      return RecordAttempt(parcel, now);
  }
}

// ---------------------------------------------------------------------------------------------------
// Outcomes.

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
  FinishIfFinal(parcel, now);
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
  if (!waits) return;
  ++parcel.attempts;
  if (options_.bounce_profile.Expired(parcel.attempts, now.wall - parcel.message->accepted_at)) {
    return GiveUp(parcel, now);
  }
  const Duration delay = options_.bounce_profile.RetryDelay(parcel.attempts, random_);
  deferred_record_.id = parcel.message->id;
  deferred_record_.attempts =
      static_cast<uint16_t>(std::min<uint32_t>(parcel.attempts, UINT16_MAX));
  deferred_record_.next_attempt = now.wall + delay;
  deferred_record_.last_reply = parcel.reply.ToString();
  deferred_record_.recipients.clear();
  for (uint32_t i = 0; i < parcel.recipients; ++i) {
    RecipientOutcome& outcome = parcel.outcome(i);
    if (outcome.state != RecipientState::kWaiting) continue;
    outcome.verdict = Verdict::kUntried;
    outcome.told = false;
    outcome.attempts = deferred_record_.attempts;
    outcome.next_attempt = deferred_record_.next_attempt;
    deferred_record_.recipients.push_back(parcel.first_recipient + i);
  }
  log_.AppendDeferred(deferred_record_, now.wall);
  parcel.continues = false;
  parcel.host_failures = 0;
  ReleaseBody(*parcel.message);  // It may be long: the log has it.
  Schedule(parcel, std::min(now.instant + delay, std::max(parcel.expires, now.instant)), now);
}

// The parcel's time is up: all of its recipients that wait are bounced.
void Home::GiveUp(Parcel& parcel, Now now) {
  for (uint32_t i = 0; i < parcel.recipients; ++i) {
    RecipientOutcome& outcome = parcel.outcome(i);
    if (outcome.state == RecipientState::kWaiting) outcome.verdict = Verdict::kBounced;
  }
  if (!MakeBounce(parcel, /*expired=*/true, now)) {
    for (uint32_t i = 0; i < parcel.recipients; ++i) parcel.outcome(i).verdict = Verdict::kUntried;
    if (!draining_) timers_.Arm(parcel.timer, now.instant + kRecalledDelay);
    return;
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
    facts.failed.push_back({.address = recipient.address,
                            .reply = outcome.own_reply ? &outcome.reply : &parcel.reply,
                            .command = outcome.own_reply ? "RCPT TO" : parcel.command,
                            .peer_name = parcel.peer_name,
                            .expired = expired});
  }
  if (facts.failed.empty()) return true;

  const std::string path = "<" + message.envelope.sender + ">";
  absl::string_view path_view = path;
  absl::StatusOr<smtp::Mailbox> sender = smtp::ParseForwardPath(path_view, options_.hostname);
  if (!sender.ok()) return true;  // Nobody to tell; the log has the outcome.

  Incoming* bounce = Begin(now);
  if (bounce == nullptr) return false;
  const std::string bounce_id = bounce->id.ToString();
  const std::string message_id = message.id.ToString();
  facts.hostname = options_.hostname;
  facts.bounce_id = bounce_id;
  facts.message_id = message_id;
  facts.sender = message.envelope.sender;
  facts.now = now.wall;
  const std::string text = ComposeBounce(facts);
  Append(*bounce, text, now);

  smtp::Envelope envelope;
  envelope.recipients.push_back({.address = sender->address, .destination = sender->destination});
  const uint64_t promises = awaited_promises_.size();
  Commit(*bounce, envelope,
         {.message_bytes = text.size() - kFinalDot.size(),
          .bounce = true,
          .client_name = options_.hostname},
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
  event.command =
      outcome.own_reply ? absl::string_view("RCPT TO") : absl::string_view(parcel.command);
  event.peer_name = parcel.peer_name;
  event.peer_address = parcel.peer_address;
  event.attempts = parcel.attempts + (parcel.result == ParcelResult::kAttempted ? 1 : 0);
  event.binding_limit = parcel.binding_limit;
  event.table_version = parcel.table_version;
  event.shard = options_.shard;
  event.in_doubt = parcel.in_doubt;
  event.stages = parcel.stages;
  events_.Emit(event, log_.open_batch());
}

// Frees the parcel when all of its recipients are final, and the message when all of its parcels
// are.
void Home::FinishIfFinal(Parcel& parcel, Now now) {
  for (uint32_t i = 0; i < parcel.recipients; ++i) {
    if (parcel.outcome(i).state == RecipientState::kWaiting) return;
  }
  CHECK(!parcel.timer.armed());
  CHECK(!parcel.hook.linked());
  Message& message = *parcel.message;
  parcels_.Release(parcel);
  CHECK(message.parcels > 0);
  if (--message.parcels == 0) Bury(message, now);
}

void Home::Bury(Message& message, Now now) {
  log_.AppendDone(message.id, now.wall);
  if (message.reading) {
    message.dead = true;  // The read has its memory: forgotten when that is over.
    return;
  }
  Forget(message);
}

void Home::Forget(Message& message) {
  CHECK(message.lends == 0);
  CHECK(message.body_waiters.empty());
  log_.Died(message.first_segment, message.log_bytes);
  LeaveSegment(message);
  if (message.moving && !message.body.empty()) {
    awaited_blocks_.push_back({log_.open_batch(), std::move(message.body)});
    message.body = Body();
  }
  message.body.Release(pool_);
  message.dead = false;
  message.move_wanted = false;
  messages_.Release(message);
}

// Gives the body's memory back if nobody needs it there.
void Home::ReleaseBody(Message& message) {
  if (message.lends > 0 || message.reading || message.moving || !message.promised) return;
  message.body.Release(pool_);
}

// ---------------------------------------------------------------------------------------------------
// The log.

void Home::JoinSegment(Message& message) {
  std::unique_ptr<SegmentMessages>& list = by_segment_[message.first_segment.value];
  if (list == nullptr) list = std::make_unique<SegmentMessages>();
  list->PushBack(message);
}

void Home::LeaveSegment(Message& message) {
  const auto found = by_segment_.find(message.first_segment.value);
  CHECK(found != by_segment_.end());
  found->second->Remove(message);
  if (found->second->empty()) by_segment_.erase(found);
}

void Home::StartLogStep() {
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
      if (log_.failed()) return OnLogFailed();
      return StartLogStep();  // A sync follows its write at once; a new batch too.
    case Tag::kBodyRead:
      reader_.OnCompletion(completion);
      return;
    case Tag::kConnect:
    case Tag::kReceive:
    case Tag::kSend:
    case Tag::kIntakeAccept:
    case Tag::kIntakeReceive:
    case Tag::kIntakeSend:
      CHECK(false);
  }
}

void Home::OnDurable(Now now) {
  const uint64_t durable = log_.durable();
  while (!awaited_promises_.empty() && awaited_promises_.front().batch <= durable) {
    const AwaitedPromise promise = awaited_promises_.front();
    awaited_promises_.pop_front();
    Message* message = messages_.Find(promise.message);
    CHECK(message != nullptr);
    message->promised = true;
    if (promise.session) {
      decided_.push_back({.session = promise.session, .id = message->id, .kept = true});
    }
    PlaceNew(*message, now);
    // Past three quarters of the memory, new bodies are read back when their turn comes.
    if (pool_.taken() > pool_.capacity() / 4 * 3) ReleaseBody(*message);
  }
  while (!awaited_blocks_.empty() && awaited_blocks_.front().batch <= durable) {
    awaited_blocks_.front().body.Release(pool_);
    awaited_blocks_.pop_front();
  }
  while (!awaited_moves_.empty() && awaited_moves_.front().batch <= durable) {
    Message* message = messages_.Find(awaited_moves_.front().message);
    awaited_moves_.pop_front();
    if (message == nullptr) continue;
    message->moving = false;
    ReleaseBody(*message);
  }
  events_.Release(durable);
}

// What was not durable never will be: those messages are refused. They may stand in the log all the
// same, so a restart may deliver what its injector was told to keep: a duplicate, never a loss.
void Home::OnLogFailed() {
  std::fprintf(stderr, "sluice: the spool's log of shard %u has failed: %s\n", options_.shard,
               std::string(log_.failure().message()).c_str());
  for (const AwaitedPromise& promise : awaited_promises_) {
    Message* message = messages_.Find(promise.message);
    CHECK(message != nullptr);
    if (promise.session) {
      decided_.push_back({.session = promise.session, .id = message->id, .kept = false});
    }
    parcels_promised_ -= message->parcels;
    LeaveSegment(*message);
    message->body.Release(pool_);
    messages_.Release(*message);
  }
  awaited_promises_.clear();
  draining_ = true;
}

void Home::Turn(Now now) {
  OnBodiesRead(now);
  if (log_.failed()) return;
  StartLogStep();
  OnDurable(now);
  log_.Reclaim();
  MoveSome(now);
}

bool Home::AtRest() const {
  if (log_.failed()) return parcels_out_ == 0 && !step_in_flight_;
  return parcels_out_ == 0 && !step_in_flight_ && awaited_promises_.empty() &&
         reader_.reading() == 0 && log_.open_batch() == log_.durable() + 1;
}

// Messages that live in the oldest segment go to the end of the log, so that it can be given back.
void Home::MoveSome(Now now) {
  const std::optional<spool::SegmentId> oldest = log_.MoveWanted();
  if (!oldest) return;
  const auto found = by_segment_.find(oldest->value);
  if (found == by_segment_.end()) return;
  SegmentMessages& list = *found->second;
  int moved = 0;
  for (Message* message = list.Front(); message != nullptr && moved < kMovesPerTurnMax;) {
    Message* next = list.Next(*message);
    const bool last = next == nullptr;  // Then moving it frees the list.
    if (message->promised && !message->moving && !message->move_wanted && !message->dead) {
      if (!message->body.empty() && !message->reading) {
        MoveMessage(*message, now);
      } else if (message->reading || reader_.Start(*message)) {
        message->move_wanted = true;
      } else {
        return;
      }
      ++moved;
    }
    if (last) return;
    message = next;
  }
}

void Home::MoveMessage(Message& message, Now now) {
  if (message.dead) return;
  if (!log_.MayAccept(message.wire_bytes + kRecordOverheadBytes, now.wall)) return;
  log_.Died(message.first_segment, message.log_bytes);
  LeaveSegment(message);
  message.extents.clear();
  message.log_bytes = 0;
  LogBody(message.id, message.body, 0, message.log_bytes, message.extents, now);
  message.first_segment = message.extents.front().segment;
  JoinSegment(message);
  AppendAccepted(message, now);
  message.moving = true;
  awaited_moves_.push_back({log_.open_batch(), messages_.HandleOf(message)});
}

absl::Status Home::Restore(std::vector<spool::RecoveredMessage> messages, MessageId greatest,
                           Now now) {
  ids_.Seen(greatest);
  for (spool::RecoveredMessage& recovered : messages) {
    if (messages_.full() ||
        parcels_.capacity() - parcels_.taken() < recovered.accepted.recipients.size()) {
      return absl::ResourceExhaustedError(
          "the spool holds more messages than a shard keeps: start with more shards");
    }
    RestoreMessage(recovered, now);
  }
  return absl::OkStatus();
}

void Home::RestoreMessage(spool::RecoveredMessage& recovered, Now now) {
  spool::AcceptedRecord& accepted = recovered.accepted;
  Message& message = *messages_.Take();
  message.id = accepted.id;
  message.parcels = 0;
  message.accepted_at = accepted.accepted_at;
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
      Parcel& parcel = MakeParcel(message, first, end - first, now);
      parcel.attempts = message.outcomes[waiting].attempts;
      Instant due = now.instant;
      if (parcel.attempts > 0) {
        due = now.instant + (message.outcomes[waiting].next_attempt - now.wall);
        const uint64_t spread =
            static_cast<uint64_t>(options_.bounce_profile.initial_retry.count());
        if (due < now.instant) due = now.instant + Duration(random_.Below(spread + 1));
      }
      Schedule(parcel, due, now);
    }
    first = end;
  }
  if (message.parcels == 0) Bury(message, now);
}

}  // namespace sluice::delivery
