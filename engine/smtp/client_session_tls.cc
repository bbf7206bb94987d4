// STARTTLS (RFC 3207): what its answers come to, and the owner's moves.

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/smtp/client_session.h"

namespace sluice::smtp {
namespace {

using enum ClientState;

}  // namespace

void ClientSession::ContinueInClear(Now now) {
  CHECK(awaiting_ == kTlsDecision);
  CHECK(turn_ == ClientAction::kNone);  // kTlsAnswer was given.
  CHECK(!actions_pending());
  now_ = now;
  Enter(kIdle);
}

void ClientSession::RefuseTls(Now now) {
  CHECK(awaiting_ == kTlsDecision);
  CHECK(turn_ == ClientAction::kNone);
  CHECK(!actions_pending());
  now_ = now;
  const ClientState answered = tls_answer_ == TlsAnswer::kRefused ? kStartTls : kEhlo;
  const std::string reply = action_reply_.ToString().substr(0, kQuotedBytesMax);
  close_reason_ = absl::StrCat(SpecOf(answered).name,
                               ": no TLS: ", reply.empty() ? "STARTTLS was not offered" : reply);
  close_reply_ = action_reply_;
  Enter(kQuit);
}

// As if the connection had just been opened (RFC 3207 4.2); no greeting comes.
void ClientSession::OnTlsEstablished(Now now) {
  if (closed()) return;
  CHECK(awaiting_ == kTlsHandshake);
  CHECK(turn_ == ClientAction::kNone);  // kStartTls was given.
  CHECK(!actions_pending());
  CHECK(!parser_.partial());
  CHECK(unanswered_ == 0);
  CHECK(output_.empty());  // What was meant for the clear does not leave within TLS.
  now_ = now;
  tls_ = true;
  extensions_ = {};
  pipelining_ = false;
  Enter(kEhlo);
}

void ClientSession::OnStartTlsReply(const Reply& reply) {
  if (!output_.empty()) return OutOfStep(reply);  // The command has not left.
  if (reply.transient() || reply.permanent()) {
    action_reply_ = reply;
    return LackTls(TlsAnswer::kRefused);
  }
  if (reply.code != 220) return OutOfStep(reply);
  if (!input_.empty()) return EndInjected();
  Enter(kTlsHandshake);
}

void ClientSession::LackTls(TlsAnswer answer) {
  tls_answer_ = answer;
  Enter(kTlsDecision);
}

// What is behind the 220 was put there by somebody who wants it read as if TLS had carried it.
void ClientSession::EndInjected() {
  End("bytes came in clear behind the 220");
  tls_answer_ = TlsAnswer::kInjected;
}

// A refusal that the owner has not been told is not the whole answer, since more came; what it has
// been told stands. Behind the 220 it is no answer of STARTTLS that is lost.
TlsAnswer ClientSession::TlsAnswerAtEnd(TlsAnswer starttls) const {
  if (awaiting_ == kStartTls) return starttls;
  const bool told = turn_ != ClientAction::kTlsAnswer;
  if (told) return tls_answer_;
  return tls_answer_ == TlsAnswer::kRefused ? starttls : TlsAnswer::kNone;
}

}  // namespace sluice::smtp
