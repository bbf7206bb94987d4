// Connections under TLS: STARTTLS, the handshake, and what the policy makes of them.

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/delivery/connection.h"
#include "engine/delivery/tags.h"

namespace sluice::delivery {
namespace {

using policy::TlsAction;
using policy::TlsFinding;

constexpr Duration kHandshakeTimeout = std::chrono::seconds(30);

// What a host may send while a flight is being worked on.
constexpr size_t kHandshakeBytesMax = 256 << 10;

}  // namespace

bool Connections::AsksForTls(const Connection& connection) const {
  if (connection.tls == nullptr || connection.step_try == StepTry::kInClear) return false;
  bool broken = false;
  for (const SocketAddress& address : connection.tls_broken) {
    broken |= address == connection.current_step().address;
  }
  return policy::MayStartTls(connection.tls->controls.level, broken);
}

void Connections::Decide(Connection& connection, TlsFinding finding,
                         policy::CertificateFinding certificate, absl::string_view detail) {
  const policy::TlsLevel level = connection.tls->controls.level;
  connection.tls_outcome.decision = policy::DecideTls(level, finding, certificate);
  connection.tls_detail = std::string(detail);
  if (policy::IsBrokenTls(finding)) Push(ConnectionEventKind::kTlsBroken, connection);
}

// The session has the host's answer and waits for the decision.
void Connections::OnTlsAnswer(Connection& connection, Now now) {
  Decide(connection, FindingOf(connection.session.tls_answer()), {},
         connection.session.reply().code != 0 ? connection.session.reply().ToString() : "");
  if (connection.tls_outcome.decision.action == TlsAction::kClear) {
    connection.session.ContinueInClear(now);
  } else {
    CHECK(connection.tls_outcome.decision.action == TlsAction::kNextHost);
    connection.session.RefuseTls(now);
  }
}

void Connections::BeginHandshake(Connection& connection, Now now) {
  const dns::RouteStep& step = connection.current_step();
  connection.tls_plan = MakePlan(*connection.tls, step.host, step.address, connection.local->name,
                                 connection.step_try != StepTry::kWithoutSession);
  connection.tls_started = now.instant;
  const Instant deadline = now.instant + kHandshakeTimeout;
  timers_.Arm(connection.timer, deadline);
  SubmitFlight(connection, connection.channel.BeginHandshake(connection.tls_plan, deadline), now);
}

void Connections::SubmitFlight(Connection& connection, std::unique_ptr<tls::HandshakeJob> job,
                               Now now) {
  if (job == nullptr) return;
  job->shard = options_.shard;
  job->connection = slab_.HandleOf(connection);
  job->side = static_cast<uint8_t>(Tag::kConnect);
  CHECK(handshaker_ != nullptr);
  if (handshaker_->Submit(std::move(job))) return;
  // No fault of the host: soon again.
  connection.our_fault = true;
  BeginClose(connection, now);
}

void Connections::OnHandshake(std::unique_ptr<tls::HandshakeJob> job, Now now) {
  Connection* found = slab_.Find(job->connection);
  // Its connection may have ended meanwhile, or have gone on to another address.
  if (found == nullptr || found->channel.state() != Channel::State::kSecuring) return;
  if (found->state == ConnectionState::kClosing || found->tls_plan != job->plan) return;
  Connection& connection = *found;
  connection.offered_session = job->offered_session;
  SubmitFlight(connection, connection.channel.OnFlight(std::move(job)), now);
  if (connection.state == ConnectionState::kClosing) return;
  switch (connection.channel.state()) {
    case Channel::State::kSecuring:
      if (connection.closed_early) return OnClosedInHandshake(connection, now);
      return SendOutput(connection);
    case Channel::State::kSecure:
      OnSecure(connection, now);
      if (!connection.closed_early || connection.state == ConnectionState::kClosing) return;
      connection.session.OnClosed(now);
      return Drive(connection, now);
    case Channel::State::kBroken:
      if (connection.channel.handshake().no_room) {  // No fault of the host: soon again.
        connection.our_fault = true;
        return BeginClose(connection, now);
      }
      SendOutput(connection);  // The alert that says why.
      return OnTlsFailed(connection, connection.channel.finding(),
                         connection.channel.fault_detail(), now);
    case Channel::State::kClear:
      CHECK(connection.channel.state() != Channel::State::kClear);
  }
}

// Nothing is said over it before the verdict.
void Connections::OnSecure(Connection& connection, Now now) {
  const tls::HandshakeJob& handshake = connection.channel.handshake();
  TlsOutcome& outcome = connection.tls_outcome;
  outcome.protocol = handshake.stream->facts().protocol;
  outcome.cipher = handshake.stream->facts().cipher;
  outcome.subject = handshake.verdict.subject;
  connection.tls_time = now.instant - connection.tls_started;
  Decide(connection, TlsFinding::kEstablished, handshake.verdict.Finding(),
         handshake.verdict.detail);
  if (outcome.decision.action == TlsAction::kNextHost) {
    connection.tls_failed = true;
    // What the host was when those were given, it no longer is.
    handshaker_->sessions().Drop(connection.tls_plan->session_key);
    return BeginClose(connection, now);
  }
  connection.session.OnTlsEstablished(now);
  Drive(connection, now);
}

void Connections::OnTlsFailed(Connection& connection, TlsFinding finding, absl::string_view detail,
                              Now now) {
  if (connection.offered_session && connection.step_try != StepTry::kWithoutSession) {
    // A host that fails one fails its others, too: they would cost a connection each.
    handshaker_->sessions().Drop(connection.tls_plan->session_key);
    TryAnew(connection, StepTry::kWithoutSession);
  } else {
    Decide(connection, finding, {}, detail);
    connection.tls_failed = true;
  }
  BeginClose(connection, now);
}

// What it sent before may say why: that is being worked on.
void Connections::OnClosedInHandshake(Connection& connection, Now now) {
  connection.closed_early = true;
  if (connection.channel.with_pool()) return;
  OnTlsFailed(connection, TlsFinding::kHandshakeFailed, "the connection was closed", now);
}

void Connections::OnBytes(Connection& connection, absl::string_view bytes, Now now) {
  switch (connection.channel.state()) {
    case Channel::State::kClear:
      connection.session.OnBytes(bytes, now);
      return Drive(connection, now);
    case Channel::State::kSecuring:
      if (connection.channel.waiting_bytes() + bytes.size() > kHandshakeBytesMax) {
        return OnTlsFailed(connection, TlsFinding::kHandshakeFailed,
                           "the host sent too much before the handshake was over", now);
      }
      return SubmitFlight(connection, connection.channel.OnCiphertext(bytes), now);
    case Channel::State::kBroken:
      return;
    case Channel::State::kSecure:
      break;
  }
  absl::string_view plaintext;
  const tls::Stream::Opened opened = connection.channel.Open(bytes, plaintext);
  // Of a session that has failed no ticket is used (RFC 8446 6.2).
  if (opened != tls::Stream::Opened::kFailed) KeepSession(connection, now);
  // Under TLS 1.3 a host may refuse our certificate when the handshake is over for us.
  const bool unused = connection.session.transactions() == 0 && !connection.was_ready;
  if (opened == tls::Stream::Opened::kFailed && plaintext.empty() && unused) {
    return OnTlsFailed(connection, TlsFinding::kHandshakeFailed,
                       std::string(connection.channel.stream_detail()), now);
  }
  if (!plaintext.empty()) connection.session.OnBytes(plaintext, now);
  Drive(connection, now);
  if (opened == tls::Stream::Opened::kNeedsInput) return;
  if (connection.state == ConnectionState::kClosing) return;
  connection.session.OnClosed(now);
  Drive(connection, now);
}

// Once a connection: a server gives its tickets with its first answers, or has none.
void Connections::KeepSession(Connection& connection, Now now) {
  std::unique_ptr<tls::Session> session = connection.channel.TakeSession();
  if (session == nullptr) return;
  handshaker_->sessions().Put(connection.tls_plan->session_key, std::move(session),
                              connection.channel.handshake().verdict, now.wall);
}

// The same address once more, on another connection; nothing is held against it.
void Connections::TryAnew(Connection& connection, StepTry how) {
  connection.retry_step = true;
  connection.next_try = how;
}

// Of a session that ends at TLS: tells it. True: it did.
bool Connections::FailTlsStep(Connection& connection) {
  const smtp::TlsAnswer answer = connection.session.tls_answer();
  const bool at_start_tls =
      answer == smtp::TlsAnswer::kGarbage || answer == smtp::TlsAnswer::kSilence ||
      answer == smtp::TlsAnswer::kClosed || answer == smtp::TlsAnswer::kInjected;
  if (at_start_tls) Decide(connection, FindingOf(answer), {}, connection.session.close_reason());
  const TlsAction action = connection.tls_outcome.decision.action;
  if (at_start_tls && action == TlsAction::kReconnectClear) {
    TryAnew(connection, StepTry::kInClear);
  }
  if (connection.next_try != StepTry::kFirst) return true;
  if (!connection.tls_failed && action != TlsAction::kNextHost) return false;
  FailStep(connection, TlsFailure(connection));
  return true;
}

// What the step failed of, where it was TLS.
smtp::Reply Connections::TlsFailure(const Connection& connection) const {
  const dns::RouteStep& step = connection.current_step();
  const policy::TlsReason reason = connection.tls_outcome.decision.reason;
  const absl::string_view status =
      reason == policy::TlsReason::kNoStartTls || reason == policy::TlsReason::kStartTlsRefused
          ? "4.7.10"  // Encryption needed (RFC 7372's registry).
          : "4.7.5";  // Cryptographic failure.
  return OwnReply(absl::StrCat("451 ", status, " ", step.host, " [", step.address.ip.ToString(),
                               "]:", step.address.port, ": TLS ", policy::TlsReasonWord(reason),
                               connection.tls_detail.empty() ? "" : ": ", connection.tls_detail));
}

}  // namespace sluice::delivery
