// Injectors under TLS: STARTTLS, the handshake, and the bytes within.

#include <utility>

#include "engine/base/check.h"
#include "engine/delivery/tags.h"
#include "engine/intake/intake.h"

namespace sluice::intake {

using delivery::Channel;
using delivery::Tag;

void Intake::UseTls(std::shared_ptr<const tls::Environment> environment) {
  tls_ = std::move(environment);
}

std::shared_ptr<const tls::Context> Intake::ContextOf(const Listener& listener) const {
  if (listener.certificate.empty() || tls_ == nullptr) return nullptr;
  return tls_->ServerContext(listener.certificate);
}

// The 220 is in the output, and leaves in clear; what the client sends from now on is the
// handshake's.
void Intake::AwaitHandshake(Session& session, Now now) {
  CHECK(session.tls != nullptr);
  const Instant deadline = now.instant + kHandshakeTimeout;
  session.channel.AwaitHandshake(session.tls, deadline);
  timers_.Arm(session.timer, deadline);
}

void Intake::SubmitFlight(Session& session, std::unique_ptr<tls::HandshakeJob> job, Now now) {
  if (job == nullptr) return Settle(session, now);
  job->shard = options_.shard;
  job->connection = sessions_.HandleOf(session);
  job->side = static_cast<uint8_t>(Tag::kIntakeReceive);
  CHECK(handshaker_ != nullptr);
  if (!handshaker_->Submit(std::move(job))) return End(session);
  Settle(session, now);
}

void Intake::OnHandshake(std::unique_ptr<tls::HandshakeJob> job, Now now) {
  Session* session = sessions_.Find(job->connection);
  // The client may be gone.
  if (session == nullptr || session->phase != Phase::kOpen) return;
  std::unique_ptr<tls::HandshakeJob> next = session->channel.OnFlight(std::move(job));
  switch (session->channel.state()) {
    case Channel::State::kSecuring:
      return SubmitFlight(*session, std::move(next), now);
    case Channel::State::kSecure:
      return OnSecure(*session, now);
    case Channel::State::kBroken:
      SayFarewell(*session, now);  // With the alert that says why.
      return Settle(*session, now);
    case Channel::State::kClear:
      CHECK(session->channel.state() != Channel::State::kClear);
  }
}

void Intake::OnSecure(Session& session, Now now) {
  session.dialogue.OnTlsEstablished();
  timers_.Arm(session.timer, now.instant + options_.idle_timeout);
  OnBytes(session, {}, now);  // What has come behind the handshake.
}

void Intake::OnBytes(Session& session, absl::string_view bytes, Now now) {
  switch (session.channel.state()) {
    case Channel::State::kClear:
      return Continue(session, bytes, now);
    case Channel::State::kBroken:
      return Settle(session, now);
    case Channel::State::kSecuring:
      if (bytes.empty()) return Settle(session, now);
      if (bytes.size() + session.channel.waiting_bytes() > kHandshakeBytesMax) return End(session);
      return SubmitFlight(session, session.channel.OnCiphertext(bytes), now);
    case Channel::State::kSecure:
      break;
  }
  absl::string_view plaintext;
  switch (session.channel.Open(bytes, plaintext)) {
    case tls::Stream::Opened::kFailed:
      return End(session);
    case tls::Stream::Opened::kClosed:
      session.peer_finished = true;
      break;
    case tls::Stream::Opened::kNeedsInput:
      break;
  }
  Continue(session, plaintext, now);
}

}  // namespace sluice::intake
