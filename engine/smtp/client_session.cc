#include "engine/smtp/client_session.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/limits.h"

namespace sluice::smtp {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using enum ClientState;

// --- The table of states.

constexpr uint16_t Bit(ClientState state) {
  return static_cast<uint16_t>(1u << static_cast<unsigned>(state));
}

template <typename... States>
constexpr uint16_t Any(States... states) {
  return static_cast<uint16_t>((Bit(states) | ...));
}

// kIdle's timeout is for the rest of a line that came unasked; kBody's for each piece that the
// kernel takes. RSET is not in RFC 5321's list: a server that is slow with it is not worth waiting
// for (P5). QUIT's answer changes nothing.
constexpr ClientStateSpec kStates[] = {
    {kGreeting, "the greeting", minutes(5), Any(kEhlo, kClosed)},
    {kEhlo, "EHLO", minutes(5), Any(kHelo, kIdle, kClosed)},
    {kHelo, "HELO", minutes(5), Any(kIdle, kClosed)},
    {kIdle, "idle", seconds(30), Any(kMail, kQuit, kClosed)},
    {kMail, "MAIL FROM", minutes(5), Any(kRcpt, kReset, kClosed)},
    {kRcpt, "RCPT TO", minutes(5), Any(kRcpt, kData, kReset, kClosed)},
    {kData, "DATA", minutes(2), Any(kBody, kDot, kReset, kClosed)},
    {kBody, "the message body", minutes(3), Any(kDot, kClosed)},
    {kDot, "the final dot", minutes(10), Any(kIdle, kReset, kClosed)},
    {kReset, "RSET", seconds(30), Any(kIdle, kClosed)},
    {kQuit, "QUIT", seconds(10), Any(kClosed)},
    {kClosed, "closed", seconds(0), 0},
};
static_assert(std::size(kStates) == static_cast<size_t>(kClosed) + 1);
static_assert([] {
  size_t index = 0;
  for (const ClientStateSpec& spec : kStates) {
    if (static_cast<size_t>(spec.state) != index++)
      return false;  // A row for each state, in order.
    if (spec.state == kClosed) continue;
    if (spec.timeout <= Duration::zero()) return false;  // Nothing is waited for without an end,
    if ((spec.next & Bit(kClosed)) == 0) return false;   // and a session may be lost anywhere.
  }
  return true;
}());

// What the output may keep from one dialogue to the next: MAIL, 100 recipients of usual length,
// DATA.
constexpr size_t kKeptBytesMax = 8 << 10;

// How much of a reply is quoted in a reason.
constexpr size_t kQuotedBytesMax = 200;

// An address that could end its line would let a message write commands of its own. Parsing has
// refused it long before (address.h).
void CheckAddress(absl::string_view address) {
  CHECK(address.find_first_of(absl::string_view("\r\n\0", 3)) == absl::string_view::npos);
}

// Too many recipients for one transaction, as against a recipient whose mailbox is full (4.2.2):
// RFC 5321 4.5.3.1.10, of servers that say 552 too.
bool SaysTooManyRecipients(const Reply& reply) {
  if (reply.code != 452 && reply.code != 552) return false;
  return !reply.enhanced || (reply.enhanced.subject == 5 && reply.enhanced.detail == 3);
}

}  // namespace

const ClientStateSpec& SpecOf(ClientState state) {
  const size_t index = static_cast<size_t>(state);
  CHECK(index < std::size(kStates));
  return kStates[index];
}

// --- Events.

void ClientSession::Begin(const Options& options, Now now) {
  CheckAddress(options.ehlo_name);
  CHECK(!options.ehlo_name.empty());
  options_ = options;
  now_ = now;
  sending_ = kEhlo;
  awaiting_ = kGreeting;
  deadline_ = now.instant + SpecOf(kGreeting).timeout;
  extensions_ = {};
  pipelining_ = false;
  input_ = {};
  parser_.Reset();
  unanswered_ = 1;  // The greeting is owed though nothing was asked.
  owed_ = 0;
  unasked_ = false;
  output_.clear();
  if (output_.capacity() > kKeptBytesMax) output_.shrink_to_fit();
  transaction_ = {};
  open_ = false;
  transactions_ = 0;
  recipient_pending_ = false;
  moved_next_ = moved_end_ = 0;
  message_pending_ = send_pending_ = body_pending_ = ready_pending_ = close_pending_ = false;
  action_reply_.Reset();
  close_reply_.Reset();
  close_reason_.clear();
}

void ClientSession::OnBytes(absl::string_view bytes, Now now) {
  CHECK(!actions_pending());
  if (closed()) return;
  now_ = now;
  input_ = bytes;
  owed_ = unanswered_;
}

void ClientSession::Offer(const Transaction& transaction, Now now) {
  CHECK(awaiting_ == kIdle);
  CHECK(!ready_pending_);  // kReady was given,
  CHECK(!actions_pending());
  CHECK(!open_);  // and one transaction is on at a time.
  CHECK(!transaction.recipients.empty());
  CHECK(transaction.recipients.size() <= limits::kRecipientsPerTransactionMax);
  now_ = now;
  transaction_ = transaction;
  open_ = true;
  const size_t recipients = transaction.recipients.size();
  const size_t recipients_max = extensions_.recipients_max;
  recipients_end_ = recipients_max == 0 ? recipients : std::min(recipients, recipients_max);
  recipients_sent_ = 0;
  recipients_answered_ = 0;
  recipients_accepted_ = 0;
  if (MakeUnsendable()) {
    ready_pending_ = true;
    return;
  }
  Enter(kMail);
}

void ClientSession::OnBodyProgress(Now now) {
  if (awaiting_ != kBody) return;
  now_ = now;
  deadline_ = BodyDeadline();
}

void ClientSession::OnBodyEnding(Now now) {
  if (closed()) return;
  CHECK(!actions_pending());
  CHECK(awaiting_ == kBody);
  now_ = now;
  ++unanswered_;
  Enter(kDot);
}

void ClientSession::OnDeadline(Now now) {
  CHECK(!actions_pending());
  if (closed() || now.instant < deadline_) return;
  now_ = now;
  if (awaiting_ == kQuit) return End("");
  LoseMessage();
  End(awaiting_ == kIdle ? "sent half a line unasked" : "no answer in time");
}

void ClientSession::OnClosed(Now now) {
  CHECK(!actions_pending());
  if (closed()) return;
  now_ = now;
  if (awaiting_ == kQuit) return End("");
  LoseMessage();
  End(awaiting_ == kIdle ? "the server closed the connection" : "the connection was lost");
}

void ClientSession::Quit(Now now) {
  CHECK(awaiting_ == kIdle);
  CHECK(!ready_pending_);
  CHECK(!actions_pending());
  now_ = now;
  Enter(kQuit);
}

void ClientSession::Abort() {
  CHECK(!actions_pending());
  if (closed()) return;
  LoseMessage();
  End("closed by us");
}

bool ClientSession::actions_pending() const {
  if (recipient_pending_ || moved_next_ < moved_end_ || message_pending_) return true;
  return !input_.empty() || send_pending_ || body_pending_ || close_pending_;
}

// Verdicts come before the next reply is taken, so that one reply is kept at a time; then all
// replies that are there, so that commands which the next of them makes pointless do not leave.
ClientAction ClientSession::Next() {
  for (;;) {
    if (recipient_pending_) {
      recipient_pending_ = false;
      return recipient_action_;
    }
    if (moved_next_ < moved_end_) {
      action_recipient_ = moved_next_++;
      return ClientAction::kRecipientMoved;
    }
    if (message_pending_) {
      message_pending_ = false;
      return ClientAction::kMessageDone;
    }
    if (!TakeReply()) break;
  }
  const auto take = [](bool& pending) { return std::exchange(pending, false); };
  if (take(send_pending_)) return ClientAction::kSend;
  if (take(body_pending_)) return ClientAction::kSendBody;
  if (take(close_pending_)) return ClientAction::kClose;
  // Half a line that nobody asked for: not ready, and soon closed.
  if (ready_pending_ && !parser_.partial()) {
    ready_pending_ = false;
    return ClientAction::kReady;
  }
  return ClientAction::kNone;
}

// --- The two cursors.

// Awaits the reply to `state`, and sends its command unless that was sent ahead.
void ClientSession::Enter(ClientState state) {
  CHECK((SpecOf(awaiting_).next & Bit(state)) != 0);
  awaiting_ = state;
  deadline_ = now_.instant + SpecOf(state).timeout;
  if (state == kIdle) {
    CHECK(unanswered_ == 0);
    CHECK(!open_);
    const bool used_up = extensions_.mail_max > 0 && transactions_ >= extensions_.mail_max;
    if (used_up) return Enter(kQuit);  // RFC 9422: no further MAIL (R16).
    deadline_ = kNever;
    ready_pending_ = true;
  } else if (state == kBody) {
    CHECK(open_);
    CHECK(unanswered_ == 0);
    body_begun_ = now_.instant;
    body_pending_ = true;
  } else if (unanswered_ == 0) {
    SendFrom(state);
  }
}

// Writes the command of `state`; with PIPELINING also what follows, up to the group's end (C39).
void ClientSession::SendFrom(ClientState state) {
  sending_ = state;
  do {
    WriteCommand();
    ++unanswered_;
  } while (pipelining_ && (sending_ == kRcpt || sending_ == kData));
  send_pending_ = true;
}

// Writes one command and moves `sending_` past it.
void ClientSession::WriteCommand() {
  switch (sending_) {
    case kEhlo:
      absl::StrAppend(&output_, "EHLO ", options_.ehlo_name, "\r\n");
      sending_ = kMail;
      return;
    case kHelo:
      absl::StrAppend(&output_, "HELO ", options_.ehlo_name, "\r\n");
      sending_ = kMail;
      return;
    case kMail:
      WriteMail();
      sending_ = kRcpt;
      return;
    case kRcpt:
      WriteRecipient();
      sending_ = recipients_sent_ < recipients_end_ ? kRcpt : kData;
      return;
    case kData:
      absl::StrAppend(&output_, "DATA\r\n");
      sending_ = kBody;
      return;
    case kDot:  // Alone: no body, since there is nobody to receive it (C41).
      CHECK(!open_);
      absl::StrAppend(&output_, ".\r\n");
      sending_ = kReset;
      return;
    case kReset:
      absl::StrAppend(&output_, "RSET\r\n");
      sending_ = kMail;
      return;
    case kQuit:
      absl::StrAppend(&output_, "QUIT\r\n");
      sending_ = kClosed;
      return;
    case kGreeting:
    case kIdle:
    case kBody:
    case kClosed:
      break;
  }
  CHECK(false);  // No commands of ours.
}

void ClientSession::WriteMail() {
  CheckAddress(transaction_.sender);
  ++transactions_;
  absl::StrAppend(&output_, "MAIL FROM:<", transaction_.sender, ">");
  if (extensions_.size) absl::StrAppend(&output_, " SIZE=", transaction_.body_bytes);
  switch (transaction_.body_type) {
    case BodyType::kSevenBit:
      break;
    case BodyType::kEightBitMime:
      CHECK(extensions_.eight_bit_mime);
      absl::StrAppend(&output_, " BODY=8BITMIME");
      break;
  }
  if (extensions_.dsn) WriteMailDsn();
  absl::StrAppend(&output_, "\r\n");
}

void ClientSession::WriteMailDsn() {
  switch (transaction_.ret) {
    case Return::kUnset:
      break;
    case Return::kFull:
      absl::StrAppend(&output_, " RET=FULL");
      break;
    case Return::kHeaders:
      absl::StrAppend(&output_, " RET=HDRS");
      break;
  }
  if (!transaction_.envelope_id.empty())
    absl::StrAppend(&output_, " ENVID=", transaction_.envelope_id);
}

void ClientSession::WriteRecipient() {
  CHECK(open_);
  CHECK(recipients_sent_ < recipients_end_);
  const EnvelopeRecipient& recipient = *transaction_.recipients[recipients_sent_++];
  CheckAddress(recipient.address);
  absl::StrAppend(&output_, "RCPT TO:<", recipient.address, ">");
  if (extensions_.dsn) WriteRecipientDsn(recipient);
  absl::StrAppend(&output_, "\r\n");
}

void ClientSession::WriteRecipientDsn(const EnvelopeRecipient& recipient) {
  static constexpr struct {
    uint8_t bit;
    absl::string_view word;
  } kWords[] = {{kNotifyNever, "NEVER"},
                {kNotifySuccess, "SUCCESS"},
                {kNotifyFailure, "FAILURE"},
                {kNotifyDelay, "DELAY"}};
  absl::string_view separator = " NOTIFY=";
  for (const auto& [bit, word] : kWords) {
    if ((recipient.notify & bit) == 0) continue;
    absl::StrAppend(&output_, separator, word);
    separator = ",";
  }
  if (!recipient.original_recipient.empty()) {
    absl::StrAppend(&output_, " ORCPT=", recipient.original_recipient);
  }
}

// The earlier of the piece's end and the slowest body's.
Instant ClientSession::BodyDeadline() const {
  constexpr uint64_t kSecondsMax = 366 * 86400;  // Beyond that the sum could overflow.
  const uint64_t slowest_s = transaction_.body_bytes / kBodyBytesPerSecondMin;
  const Duration slowest = seconds(std::min(slowest_s, kSecondsMax));
  const Duration piece = SpecOf(kBody).timeout;
  return std::min(now_.instant + piece, body_begun_ + piece + slowest);
}

// --- Replies.

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
      End(awaiting_ == kQuit ? "" : "what the server sent is no reply");
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
    case kMail:
      return OnMailReply(reply);
    case kRcpt:
      return OnRecipientReply(reply);
    case kData:
      return OnDataReply(reply);
    case kDot:
      return OnDotReply(reply);
    case kReset:
      return OnResetReply(reply);
    case kQuit:
      return End("");
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
  const bool before_body = awaiting_ != kBody && awaiting_ != kDot;
  if (open_ && before_body && transactions_ > 1) {
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
  if (awaiting_ == kEhlo && reply.permanent()) return Enter(kHelo);
  if (!reply.positive()) return RefuseSession(reply);
  if (awaiting_ == kEhlo) extensions_ = ParseExtensions(reply);
  pipelining_ = extensions_.pipelining && options_.may_pipeline;
  Enter(kIdle);
}

void ClientSession::OnMailReply(const Reply& reply) {
  if (!reply.positive()) FinishMessage(MessageResult::kRefused, Reach::kMessage, reply);
  Enter(open_ || unanswered_ > 0 ? kRcpt : kReset);
}

void ClientSession::OnRecipientReply(const Reply& reply) {
  if (open_) JudgeRecipient(reply);
  ++recipients_answered_;
  if (recipients_answered_ < recipients_end_) return Enter(kRcpt);
  if (open_) EndRecipients(reply);
  Enter(open_ || unanswered_ > 0 ? kData : kReset);
}

void ClientSession::OnDataReply(const Reply& reply) {
  if (reply.positive()) return OutOfStep(reply);  // R11
  if (reply.intermediate()) return Enter(open_ ? kBody : kDot);
  if (open_) FinishMessage(MessageResult::kRefused, Reach::kMessage, reply);
  Enter(kReset);
}

void ClientSession::OnDotReply(const Reply& reply) {
  if (!open_) return Enter(kReset);  // To the lone dot: whatever it is, it is about no message.
  if (reply.positive()) {
    FinishMessage(MessageResult::kAccepted, Reach::kMessage, reply);
    return Enter(kIdle);
  }
  FinishMessage(MessageResult::kRefused, Reach::kMessage, reply);
  Enter(kReset);
}

void ClientSession::OnResetReply(const Reply& reply) {
  if (!reply.positive()) return RefuseSession(reply);  // H3
  Enter(kIdle);
}

// --- What it comes to.

// Whether the server does not take such a message: then it is done, and nothing was sent.
bool ClientSession::MakeUnsendable() {
  Reply reply;
  if (extensions_.size_max > 0 && transaction_.body_bytes > extensions_.size_max) {  // C50
    reply = {552,
             {5, 3, 4},
             absl::StrCat("Message of ", transaction_.body_bytes,
                          " bytes is over the server's limit of ", extensions_.size_max)};
  } else if (transaction_.body_type == BodyType::kEightBitMime && !extensions_.eight_bit_mime) {
    reply = {554, {5, 6, 3}, "8-bit message, and the server does not offer 8BITMIME"};  // C53
  } else {
    return false;
  }
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
    action_reply_.code = 452;
    if (reply.enhanced) action_reply_.enhanced.status_class = 4;
    action_reply_.text.insert(0, "(was 552) ");
  }
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
  result_ = result;
  reach_ = reach;
  failed_state_ = awaiting_;
  if (&reply != &action_reply_) action_reply_ = reply;
}

// The session ends with the message on: in doubt if the server may have had all of it.
void ClientSession::LoseMessage() {
  if (!open_) return;
  action_reply_.Reset();
  const bool had_all = awaiting_ == kDot;
  FinishMessage(had_all ? MessageResult::kInDoubt : MessageResult::kSessionLost, Reach::kHost,
                action_reply_);
}

void ClientSession::RefuseSession(const Reply& reply) {
  if (awaiting_ == kQuit) return End("");
  close_reply_ = reply;
  End(reply.ToString().substr(0, kQuotedBytesMax));
}

void ClientSession::OutOfStep(const Reply& reply) {
  if (awaiting_ == kQuit) return End("");
  LoseMessage();
  close_reply_ = reply;
  End(absl::StrCat("out of step: ", reply.ToString().substr(0, kQuotedBytesMax)));
}

// `why` is "" after a QUIT, else what happened; the state is put before it.
void ClientSession::End(absl::string_view why) {
  CHECK(!open_);
  CHECK((SpecOf(awaiting_).next & Bit(kClosed)) != 0);
  close_reason_.clear();
  if (!why.empty()) absl::StrAppend(&close_reason_, SpecOf(awaiting_).name, ": ", why);
  awaiting_ = kClosed;
  sending_ = kClosed;
  deadline_ = kNever;
  input_ = {};
  output_.clear();
  send_pending_ = false;
  body_pending_ = false;
  ready_pending_ = false;
  close_pending_ = true;
}

}  // namespace sluice::smtp
