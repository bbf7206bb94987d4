#include "engine/smtp/client_session.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/limits.h"

namespace sluice::smtp {
namespace {

using std::chrono::seconds;
using enum ClientState;

// What the output may keep from one dialogue to the next: MAIL, 100 recipients of usual length,
// DATA.
constexpr size_t kKeptBytesMax = 8 << 10;

}  // namespace

// --- Events.

void ClientSession::Begin(const Options& options, Now now) {
  CheckOneLine(options.ehlo_name);
  CHECK(!options.ehlo_name.empty());
  options_ = options;
  now_ = now;
  sending_ = kEhlo;
  awaiting_ = kGreeting;
  deadline_ = now.instant + SpecOf(kGreeting).timeout;
  extensions_ = {};
  pipelining_ = false;
  tls_ = false;
  tls_answer_ = TlsAnswer::kNone;
  input_ = {};
  parser_.Reset();
  unanswered_ = 1;  // The greeting is owed though nothing was asked.
  owed_ = 0;
  unasked_ = false;
  output_.clear();
  if (output_.capacity() > kKeptBytesMax) output_.shrink_to_fit();
  transaction_ = {};
  open_ = ahead_ = was_ahead_ = behind_refusal_ = mail_refused_ = false;
  takes_ahead_ = true;
  refuses_ahead_ = false;
  proven_ = refuses_chunks_ = lost_chunk_ = false;
  chunk_ = Chunk::kNone;
  chunks_taken_ = 0;
  transactions_ = 0;
  recipient_pending_ = false;
  moved_next_ = moved_end_ = 0;
  message_pending_ = send_pending_ = body_pending_ = close_pending_ = false;
  turn_ = ClientAction::kNone;
  action_reply_.Reset();
  close_reply_.Reset();
  close_reason_.clear();
}

void ClientSession::OnBytes(absl::string_view bytes, Now now) {
  CHECK(!actions_pending());
  if (closed()) return;
  now_ = now;
  if (awaiting_ == kTlsHandshake && !bytes.empty()) return EndInjected();
  input_ = bytes;
  owed_ = chunk_waits() ? 0 : unanswered_;
}

void ClientSession::Offer(const Transaction& transaction, Now now) {
  CHECK(awaiting_ == kIdle);
  CHECK(turn_ == ClientAction::kNone);  // kReady was given,
  CHECK(!actions_pending());
  CHECK(!open_);  // and one transaction is on at a time.
  CHECK(!transaction.recipients.empty());
  CHECK(transaction.recipients.size() <= limits::kRecipientsPerTransactionMax);
  now_ = now;
  TakeUp(transaction);
  open_ = true;
  was_ahead_ = behind_refusal_ = false;
  chunk_ = Chunk::kNone;
  if (MakeUnsendable()) {
    turn_ = ClientAction::kReady;
    return;
  }
  if (MayChunk(transaction)) chunk_ = Chunk::kWaits;
  Enter(kMail);
  if (!chunk_waits()) return;
  send_pending_ = false;
  body_pending_ = true;
}

bool ClientSession::MayChunk(const Transaction& transaction) const {
  return transaction.at_once && pipelining_ && extensions_.chunking && proven_ && !refuses_chunks_;
}

bool ClientSession::MayOfferAhead(const Transaction& transaction) const {
  if (awaiting_ != kDot || !open_ || ahead_ || !TakesAhead()) return false;
  return WhyUnsendable(transaction).code == 0;
}

bool ClientSession::TakesAhead() const {
  if (!pipelining_ || !takes_ahead_) return false;
  return extensions_.mail_max == 0 || transactions_ < extensions_.mail_max;
}

void ClientSession::OfferAhead(const Transaction& transaction, Now now) {
  CHECK(MayOfferAhead(transaction));
  CHECK(!actions_pending());
  CHECK(!transaction.recipients.empty());
  CHECK(transaction.recipients.size() <= limits::kRecipientsPerTransactionMax);
  now_ = now;
  TakeUp(transaction);
  ahead_ = true;
  SendFrom(kMail);
}

void ClientSession::TakeUp(const Transaction& transaction) {
  transaction_ = transaction;
  mail_refused_ = false;
  const size_t recipients = transaction.recipients.size();
  const size_t recipients_max = extensions_.recipients_max;
  recipients_end_ = recipients_max == 0 ? recipients : std::min(recipients, recipients_max);
  recipients_sent_ = 0;
  recipients_answered_ = 0;
  recipients_accepted_ = 0;
}

void ClientSession::OnBodyProgress(Now now) {
  if (awaiting_ != kBody) return;
  now_ = now;
  deadline_ = BodyDeadline();
}

void ClientSession::OnBodyEnding(Now now) {
  if (closed()) return;
  CHECK(!actions_pending());
  now_ = now;
  if (chunk_waits()) {
    chunk_ = Chunk::kLeft;
    deadline_ = now.instant + SpecOf(awaiting_).timeout;
    return;
  }
  CHECK(awaiting_ == kBody);
  ++unanswered_;
  Enter(kDot);
}

void ClientSession::OnDeadline(Now now) {
  CHECK(!actions_pending());
  if (closed() || now.instant < deadline_) return;
  now_ = now;
  refuses_ahead_ |= awaiting_ == kMail && open_ && was_ahead_ && !behind_refusal_;
  refuses_chunks_ |= open_ && chunk_ == Chunk::kLeft;
  LoseMessage();
  if (owner_moves()) return End("sent half a line unasked", TlsAnswer::kGarbage);
  End("no answer in time", TlsAnswer::kSilence);
}

void ClientSession::OnClosed(Now now) {
  CHECK(!actions_pending());
  if (closed()) return;
  now_ = now;
  LoseMessage();
  End(owner_moves() ? "the server closed the connection" : "the connection was lost",
      TlsAnswer::kClosed);
}

void ClientSession::Quit(Now now) {
  CHECK(awaiting_ == kIdle);
  CHECK(turn_ == ClientAction::kNone);
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
  if (closed() && ahead_) return true;
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
    if (closed() && ahead_) {  // What was offered ahead is lost with the session.
      LoseAhead();
      continue;
    }
    if (!TakeReply()) break;
  }
  const auto take = [](bool& pending) { return std::exchange(pending, false); };
  if (take(send_pending_)) return ClientAction::kSend;
  if (take(body_pending_)) return ClientAction::kSendBody;
  if (take(close_pending_)) return ClientAction::kClose;
  // Half a line that nobody asked for: not ready, and soon closed.
  if (parser_.partial()) return ClientAction::kNone;
  return std::exchange(turn_, ClientAction::kNone);
}

// --- The two cursors.

// Awaits the reply to `state`, and sends its command unless that was sent ahead.
void ClientSession::Enter(ClientState state) {
  CHECK(MayFollow(awaiting_, state));
  awaiting_ = state;
  deadline_ = now_.instant + SpecOf(state).timeout;
  if (state == kIdle) {
    CHECK(unanswered_ == 0);
    CHECK(!open_);
    chunk_ = Chunk::kNone;
    const bool used_up = extensions_.mail_max > 0 && transactions_ >= extensions_.mail_max;
    if (used_up) return Enter(kQuit);  // RFC 9422: no further MAIL (R16).
    deadline_ = kNever;
    turn_ = ClientAction::kReady;
  } else if (state == kTlsDecision || state == kTlsHandshake) {
    CHECK(unanswered_ == 0);
    deadline_ = kNever;
    turn_ = state == kTlsDecision ? ClientAction::kTlsAnswer : ClientAction::kStartTls;
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

// The earlier of the piece's end and the slowest body's.
Instant ClientSession::BodyDeadline() const {
  constexpr uint64_t kSecondsMax = 366 * 86400;  // Beyond that the sum could overflow.
  const uint64_t slowest_s = transaction_.body_bytes / kBodyBytesPerSecondMin;
  const Duration slowest = seconds(std::min(slowest_s, kSecondsMax));
  const Duration piece = SpecOf(kBody).timeout;
  return std::min(now_.instant + piece, body_begun_ + piece + slowest);
}

// `why`: what happened; the state is put before it. After a QUIT it does not matter any more.
// `starttls`: what it is if STARTTLS is what waits.
void ClientSession::End(absl::string_view why, TlsAnswer starttls) {
  CHECK(!open_);
  CHECK(MayFollow(awaiting_, kClosed));
  if (awaiting_ != kQuit) {
    close_reason_.clear();
    absl::StrAppend(&close_reason_, SpecOf(awaiting_).name, ": ", why);
  }
  tls_answer_ = TlsAnswerAtEnd(starttls);
  awaiting_ = kClosed;
  sending_ = kClosed;
  deadline_ = kNever;
  input_ = {};
  output_.clear();
  send_pending_ = false;
  body_pending_ = false;
  turn_ = ClientAction::kNone;
  close_pending_ = true;
}

}  // namespace sluice::smtp
