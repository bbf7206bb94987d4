// What became of the message and its recipients.

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/smtp/client_session.h"

namespace sluice::smtp {
namespace {

using enum ClientState;

// Too many recipients for one transaction, as against a recipient whose mailbox is full (4.2.2):
// RFC 5321 4.5.3.1.10, of servers that say 552 too.
bool SaysTooManyRecipients(const Reply& reply) {
  if (reply.code != 452 && reply.code != 552) return false;
  return !reply.enhanced || (reply.enhanced.subject == 5 && reply.enhanced.detail == 3);
}

}  // namespace

// Why this server does not take such a message; no code: it may.
Reply ClientSession::WhyUnsendable(const Transaction& transaction) const {
  if (extensions_.size_max > 0 && transaction.body_bytes > extensions_.size_max) {  // C50
    return {552,
            {5, 3, 4},
            absl::StrCat("Message of ", transaction.body_bytes,
                         " bytes is over the server's limit of ", extensions_.size_max)};
  }
  if (transaction.body_type == BodyType::kEightBitMime && !extensions_.eight_bit_mime) {
    return {554, {5, 6, 3}, "8-bit message, and the server does not offer 8BITMIME"};  // C53
  }
  return {};
}

// Then it is done, and nothing was sent.
bool ClientSession::MakeUnsendable() {
  const Reply reply = WhyUnsendable(transaction_);
  if (reply.code == 0) return false;
  FinishMessage(MessageResult::kUnsendable, Reach::kMessage, reply);
  failed_state_ = kMail;  // Where the server would have refused it.
  return true;
}

void ClientSession::JudgeRecipient(const Reply& reply) {
  if (reply.positive()) {
    ++recipients_accepted_;
    return;
  }
  recipient_pending_ = true;
  recipient_action_ = ClientAction::kRecipientDone;
  action_recipient_ = recipients_answered_;
  action_reply_ = reply;
  if (recipients_accepted_ > 0 && SaysTooManyRecipients(reply)) {
    recipient_action_ = ClientAction::kRecipientMoved;
    // Those not yet sent would hear the same.
    recipients_end_ = recipients_sent_;
  } else if (reply.code == 552) {
    MakeTransient(action_reply_, 452);
  }
}

// The words say what it was.
void ClientSession::MakeTransient(Reply& reply, int code) {
  reply.text.insert(0, absl::StrCat("(was ", reply.code, ") "));
  reply.code = code;
  if (reply.enhanced) reply.enhanced.status_class = 4;
}

// The last RCPT was answered.
void ClientSession::EndRecipients(const Reply& reply) {
  if (!recipient_pending_) action_reply_ = reply;
  moved_next_ = recipients_end_;
  moved_end_ = transaction_.recipients.size();
  if (recipients_accepted_ > 0) return;
  CHECK(recipient_pending_);
  FinishMessage(MessageResult::kRefused, Reach::kRecipient, action_reply_);
}

void ClientSession::FinishMessage(MessageResult result, Reach reach, const Reply& reply) {
  CHECK(open_);
  CHECK(!message_pending_);
  open_ = false;
  message_pending_ = true;
  proven_ = result == MessageResult::kAccepted;
  result_ = result;
  reach_ = reach;
  failed_state_ = awaiting_;
  if (&reply != &action_reply_) action_reply_ = reply;
}

// The session ends with the message on: in doubt if the server may have had all of it.
void ClientSession::LoseMessage() {
  if (!open_) return;
  action_reply_.Reset();
  MessageResult result = MessageResult::kSessionLost;
  if (awaiting_ == kDot || chunk_ == Chunk::kLeft) result = MessageResult::kInDoubt;
  lost_chunk_ = chunk_ == Chunk::kLeft;
  if (awaiting_ == kMail && was_ahead_) result = MessageResult::kUntried;
  FinishMessage(result, Reach::kHost, action_reply_);
}

// Of which the server had no data.
void ClientSession::LoseAhead() {
  CHECK(!open_);
  ahead_ = false;
  message_pending_ = true;
  result_ = MessageResult::kUntried;
  reach_ = Reach::kHost;
  failed_state_ = kMail;
  action_reply_.Reset();
}

}  // namespace sluice::smtp
