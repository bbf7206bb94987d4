// STARTTLS as the server takes it (RFC 3207): the offer is in server_session.cc, the handshake the
// owner's.

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/smtp/server_session.h"

namespace sluice::smtp {
namespace {

constexpr absl::string_view kReadyForTls = "220 2.0.0 Ready to start TLS";

}  // namespace

// RFC 3207 4. A transaction that is on is given up: it would not outlive the handshake (4.2).
ServerEvent ServerSession::ObeyStartTls(absl::string_view argument) {
  if (!argument.empty()) {
    SayBad(kBadArgument);  // C37
  } else if (tls_) {
    SayBad("503 5.5.1 TLS is already active");
  } else if (!options_.offer_starttls) {
    SayBad(kNotImplemented);
  } else if (phase_ == Phase::kBetweenChunks) {
    SayBad(kOutOfOrder);
  } else if (!tls_available_) {
    Say("454 4.7.0 TLS not available");
  } else if (options_.ask_starttls) {
    return Ask(Verdict::kStartTls, ServerEvent::kStartTls);
  } else {
    BeginHandshake();
    return ServerEvent::kStartTls;
  }
  return ServerEvent::kNeedInput;
}

void ServerSession::BeginHandshake() {
  EndTransaction();
  phase_ = Phase::kHandshake;
  Say(kReadyForTls);
}

// A client waits for the 220 before it sends more. What is here already was put behind STARTTLS by
// somebody who wants it read as if TLS had carried it (F03).
ServerEvent ServerSession::NextOfHandshake(absl::string_view input) {
  if (input.empty()) return ServerEvent::kWaiting;
  Close("554 5.5.0 Input behind STARTTLS");
  return ServerEvent::kClose;
}

// False: it has left.
bool ServerSession::TakeBackReady() {
  if (output_.empty()) return false;
  const std::string line = absl::StrCat(kReadyForTls, "\r\n");
  CHECK(absl::EndsWith(output_, line));
  output_.resize(output_.size() - line.size());
  return true;
}

// The state is that after the greeting (RFC 3207 4.2), and what was done in clear, by whomever, is
// not held against the client.
void ServerSession::OnTlsEstablished() {
  if (phase_ == Phase::kClosed) return;
  CHECK(phase_ == Phase::kHandshake);
  CHECK(output_.empty());  // What was meant for the clear does not leave within TLS.
  CHECK(line_.empty() || line_used_);
  CHECK(!line_too_long_);
  tls_ = true;
  phase_ = Phase::kUnknownClient;
  helo_.clear();
  esmtp_ = false;
  bad_commands_ = 0;
}

}  // namespace sluice::smtp
