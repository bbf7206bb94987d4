// What the server says: each reply matched to its command, and what the session does next.

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/smtp/client_session.h"

namespace sluice::smtp {
namespace {

using enum ClientState;

}  // namespace

// Takes one reply from the input. False: there is no whole one.
bool ClientSession::TakeReply() {
  if (input_.empty()) return false;
  CHECK(!closed());
  if (!parser_.partial()) unasked_ = owed_ == 0;
  switch (parser_.Take(input_)) {
    case ReplyParser::Status::kNeedMore:
      if (deadline_ == kNever) deadline_ = now_.instant + SpecOf(awaiting_).timeout;
      return false;
    case ReplyParser::Status::kMalformed:
      LoseMessage();
      End("what the server sent is no reply", TlsAnswer::kGarbage);
      return true;
    case ReplyParser::Status::kReply:
      break;
  }
  const Reply& reply = parser_.reply();
  if (reply.closing()) {
    OnClosingReply(reply);
  } else if (unasked_) {
    OnUnaskedReply(reply);
  } else {
    --owed_;
    --unanswered_;
    OnReply(reply);
  }
  return true;
}

// A reply by its first digit only (RFC 5321 4.3.2, C5).
void ClientSession::OnReply(const Reply& reply) {
  if (reply.intermediate() && awaiting_ != kData) return OutOfStep(reply);
  switch (awaiting_) {
    case kGreeting:
      return OnGreetingReply(reply);
    case kEhlo:
    case kHelo:
      return OnEhloReply(reply);
    case kStartTls:
      return OnStartTlsReply(reply);
    case kMail:
      return OnMailReply(reply);
    case kRcpt:
      return OnRecipientReply(reply);
    case kData:
      return OnDataReply(reply);
    case kDot:
      return OnDotReply(reply);
    case kBdat:
      return OnBdatReply(reply);
    case kReset:
      return OnResetReply(reply);
    case kQuit:
      return End("");
    case kTlsDecision:
    case kTlsHandshake:
    case kIdle:
    case kBody:
    case kClosed:
      break;
  }
  CHECK(false);  // No reply is owed in these.
}

// No command waits for it. While the body is on its way, a refusal is a server that has seen enough
// and will close (P6): its word is the result. Anything else is out of step, and a positive one
// most of all: it cannot be for a body that has not ended.
void ClientSession::OnUnaskedReply(const Reply& reply) {
  const bool in_body = open_ && (awaiting_ == kBody || awaiting_ == kDot);
  if (in_body && (reply.transient() || reply.permanent())) {
    FinishMessage(MessageResult::kRefused, Reach::kMessage, reply);
    return End("refused the message before its end");
  }
  OutOfStep(reply);
}

// 421: the server closes (RFC 5321 3.8), and may say so without being asked.
void ClientSession::OnClosingReply(const Reply& reply) {
  const bool before_body = awaiting_ != kBody && awaiting_ != kDot && awaiting_ != kBdat;
  if (open_ && was_ahead_ && awaiting_ == kMail) {
    FinishMessage(MessageResult::kUntried, Reach::kHost, reply);
  } else if (open_ && before_body && transactions_ > 1) {
    FinishMessage(MessageResult::kSessionLost, Reach::kHost, reply);
  } else if (open_) {
    FinishMessage(MessageResult::kRefused, Reach::kHost, reply);
  }
  RefuseSession(reply);
}

void ClientSession::OnGreetingReply(const Reply& reply) {
  if (!reply.positive()) return RefuseSession(reply);
  Enter(kEhlo);
}

void ClientSession::OnEhloReply(const Reply& reply) {
  if (awaiting_ == kEhlo && reply.permanent()) {
    action_reply_ = reply;
    return Enter(kHelo);
  }
  if (!reply.positive()) return RefuseSession(reply);
  const bool esmtp = awaiting_ == kEhlo;
  if (esmtp) extensions_ = ParseExtensions(reply);
  pipelining_ = extensions_.pipelining && options_.may_pipeline;
  if (!options_.start_tls || tls_) return Enter(kIdle);  // Never twice (RFC 3207 4.2).
  if (extensions_.starttls) return Enter(kStartTls);
  LackTls(esmtp ? TlsAnswer::kNotOffered : TlsAnswer::kEhloRefused);
}

void ClientSession::OnMailReply(const Reply& reply) {
  if (!reply.positive()) {
    mail_refused_ = true;
    refuses_ahead_ |= was_ahead_ && reply.code == 503 && !behind_refusal_;
    takes_ahead_ = takes_ahead_ && !was_ahead_;
    FinishMessage(was_ahead_ ? MessageResult::kUntried : MessageResult::kRefused, Reach::kMessage,
                  reply);
  }
  Enter(open_ || unanswered_ > 0 ? kRcpt : kReset);
}

void ClientSession::OnRecipientReply(const Reply& reply) {
  if (open_) JudgeRecipient(reply);
  ++recipients_answered_;
  if (recipients_answered_ < recipients_end_) return Enter(kRcpt);
  if (open_) EndRecipients(reply);
  Enter(open_ || unanswered_ > 0 ? DataState() : kReset);
}

void ClientSession::OnDataReply(const Reply& reply) {
  if (reply.positive()) return OutOfStep(reply);  // R11
  if (reply.intermediate() && !open_ && (behind_refusal_ || (was_ahead_ && mail_refused_))) {
    // For whom? Perhaps the message before is still on, and a lone dot would send it.
    return End("the data of a refused transaction is wanted");
  }
  if (reply.intermediate()) return Enter(open_ ? kBody : kDot);
  if (open_) FinishMessage(MessageResult::kRefused, Reach::kMessage, reply);
  Enter(kReset);
}

void ClientSession::OnDotReply(const Reply& reply) {
  if (!open_) return Enter(kReset);  // To the lone dot: whatever it is, it is about no message.
  const bool accepted = reply.positive();
  FinishMessage(accepted ? MessageResult::kAccepted : MessageResult::kRefused, Reach::kMessage,
                reply);
  if (!ahead_) return Enter(accepted ? kIdle : kReset);
  ahead_ = false;
  open_ = was_ahead_ = true;
  behind_refusal_ = !accepted;
  Enter(kMail);
}

// A reply too many, of before, would be taken for the one before it, up to here, where no 354 tells
// (R11): then the true one is behind it, or this one speaks of a recipient (RFC 3463 3.2). A server
// that offers CHUNKING and does not know BDAT says nothing of the message, which is for later, and
// by DATA then; what it makes of the octets is not waited for.
void ClientSession::OnBdatReply(const Reply& reply) {
  if (!open_) return Enter(kReset);  // For nobody: whatever it is, it is about no message.
  if (reply.positive()) {
    const bool more = !input_.empty() && !absl::StartsWith(input_, "421");
    if (more || (reply.enhanced && reply.enhanced.subject == 1)) return OutOfStep(reply);
    ++chunks_taken_;
    FinishMessage(MessageResult::kAccepted, Reach::kMessage, reply);
    return Enter(kIdle);
  }
  refuses_chunks_ = reply.code >= 500 && reply.code <= 504;
  action_reply_ = reply;
  if (refuses_chunks_) MakeTransient(action_reply_, 451);
  FinishMessage(MessageResult::kRefused, Reach::kMessage, action_reply_);
  if (refuses_chunks_) return RefuseSession(reply);
  Enter(kReset);
}

void ClientSession::OnResetReply(const Reply& reply) {
  if (!reply.positive()) return RefuseSession(reply);  // H3
  Enter(kIdle);
}

void ClientSession::RefuseSession(const Reply& reply) {
  if (awaiting_ == kQuit) return End("");
  close_reply_ = reply;
  End(reply.ToString().substr(0, kQuotedBytesMax), TlsAnswer::kClosed);
}

void ClientSession::OutOfStep(const Reply& reply) {
  if (awaiting_ == kQuit) return End("");
  LoseMessage();
  close_reply_ = reply;
  End(absl::StrCat("out of step: ", reply.ToString().substr(0, kQuotedBytesMax)),
      TlsAnswer::kGarbage);
}

}  // namespace sluice::smtp
