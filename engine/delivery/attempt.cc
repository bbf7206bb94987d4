#include "engine/delivery/attempt.h"

#include "engine/base/check.h"
#include "engine/base/limits.h"

namespace sluice::delivery {

using spool::RecipientState;

uint32_t Attempt::Untried(const Parcel& parcel) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < parcel.recipients; ++i) {
    const RecipientOutcome& outcome = parcel.outcome(i);
    count += outcome.state == RecipientState::kWaiting && outcome.verdict == Verdict::kUntried;
  }
  return count;
}

void Attempt::Begin(Parcel& parcel, uint32_t recipients_max, Instant now) {
  CHECK(!active());
  parcel_ = &parcel;
  indexes_.clear();
  recipients_.clear();
  for (uint32_t i = 0; i < parcel.recipients && indexes_.size() < recipients_max; ++i) {
    RecipientOutcome& outcome = parcel.outcome(i);
    if (outcome.state != RecipientState::kWaiting || outcome.verdict != Verdict::kUntried) continue;
    outcome.own_reply = false;
    indexes_.push_back(i);
    recipients_.push_back(&parcel.recipient(i));
  }
  CHECK(!indexes_.empty());
  settled_.assign(indexes_.size(), false);
  BecomeCurrent(now);
}

void Attempt::BecomeCurrent(Instant now) {
  started_ = now;
  envelope_done_ = Instant{};
  parcel_->stages.queue = now - parcel_->queued_at;
}

smtp::Transaction Attempt::transaction() const {
  const Message& message = *parcel_->message;
  return {
      .sender = parcel_->tagged_sender.empty() ? message.envelope.sender : parcel_->tagged_sender,
      .recipients = recipients_,
      .body_bytes = message.message_bytes,
      .body_type = message.eight_bit ? smtp::BodyType::kEightBitMime : smtp::BodyType::kSevenBit,
      .ret = message.envelope.ret,
      .envelope_id = message.envelope.envelope_id};
}

void Attempt::OnRecipientRefused(size_t index, const smtp::Reply& reply) {
  CHECK(index < indexes_.size());
  CHECK(!settled_[index]);
  settled_[index] = true;
  RecipientOutcome& outcome = parcel_->outcome(indexes_[index]);
  outcome.verdict = reply.permanent() ? Verdict::kBounced : Verdict::kDeferred;
  outcome.own_reply = true;
  KeepReply(reply, outcome.reply);
}

void Attempt::OnRecipientMoved(size_t index) {
  CHECK(index < indexes_.size());
  CHECK(!settled_[index]);
  settled_[index] = true;
}

void Attempt::OnEnvelopeDone(Instant now) {
  if (envelope_done_ != Instant{}) return;
  envelope_done_ = now;
  parcel_->stages.envelope = now - started_;
}

void Attempt::SetRest(Verdict verdict) {
  for (size_t i = 0; i < indexes_.size(); ++i) {
    if (!settled_[i]) parcel_->outcome(indexes_[i]).verdict = verdict;
  }
}

void Attempt::Finish(smtp::MessageResult result, const smtp::Reply& reply,
                     absl::string_view command, Instant now) {
  CHECK(active());
  Parcel& parcel = *parcel_;
  KeepReply(reply, parcel.reply);
  parcel.command.assign(command.data(), command.size());
  if (envelope_done_ != Instant{}) {
    parcel.stages.data = now - envelope_done_;
  } else {
    parcel.stages.envelope = now - started_;
  }
  switch (result) {
    case smtp::MessageResult::kAccepted:
      SetRest(Verdict::kDelivered);
      break;
    case smtp::MessageResult::kRefused:
    case smtp::MessageResult::kUnsendable:
      SetRest(reply.permanent() ? Verdict::kBounced : Verdict::kDeferred);
      break;
    case smtp::MessageResult::kUntried:
    case smtp::MessageResult::kSessionLost:
      if (reply.code == 0) parcel.reply = OwnReply("451 4.4.2 the connection was lost");
      SetRest(Verdict::kDeferred);
      break;
    case smtp::MessageResult::kInDoubt:
      parcel.in_doubt = true;
      if (reply.code == 0) {
        parcel.reply = OwnReply(
            "451 4.4.2 the connection was lost after the message; it may have been delivered");
      }
      SetRest(Verdict::kDeferred);
      break;
  }
  parcel.result = ParcelResult::kAttempted;
  parcel_ = nullptr;
}

void Attempt::FinishDeferred(absl::string_view reply_line, Instant now) {
  Finish(smtp::MessageResult::kSessionLost, OwnReply(reply_line), "", now);
}

void Attempt::Undo() {
  CHECK(active());
  for (const uint32_t index : indexes_) parcel_->outcome(index).verdict = Verdict::kUntried;
  parcel_ = nullptr;
}

void KeepReply(const smtp::Reply& reply, smtp::Reply& kept) {
  kept.code = reply.code;
  kept.enhanced = reply.enhanced;
  kept.text.assign(reply.text, 0, limits::kReplyTextBytesMax);
}

smtp::Reply StoredReply(absl::string_view line) {
  smtp::ReplyParser parser;
  std::string text(line);
  text += "\r\n";
  absl::string_view input = text;
  if (parser.Take(input) != smtp::ReplyParser::Status::kReply) return {};
  return parser.reply();
}

smtp::Reply OwnReply(absl::string_view line) {
  const smtp::Reply reply = StoredReply(line);
  CHECK(reply.code != 0);
  return reply;
}

}  // namespace sluice::delivery
