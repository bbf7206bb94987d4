// The bytes of a dialogue: in clear, or under TLS. Of a connection to a host, and of an injector's.
//
// Under TLS it is a stream (tls/stream.h) and what happens to it: it goes to the handshake pool for
// one flight and comes back, while what the host sends meanwhile waits here; once established it
// seals what the session writes and opens what comes. In clear it passes bytes on.
//
// No I/O and no decision of its own: its owner sends its output and feeds it, and the policy
// decides.

#pragma once

#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "engine/io/io.h"
#include "policy/tls_decision.h"
#include "tls/handshaker.h"

namespace sluice::delivery {

class Channel {
 public:
  enum class State : uint8_t { kClear, kSecuring, kSecure, kBroken };

  // In clear, for a new socket.
  void Begin();

  // --- The handshake. The job is to be submitted.
  std::unique_ptr<tls::HandshakeJob> BeginHandshake(std::shared_ptr<const tls::ClientPlan> plan,
                                                    Instant deadline);
  // As a server: the client's first bytes make the first job.
  void AwaitHandshake(std::shared_ptr<const tls::Context> context, Instant deadline);
  // The job is back. The next flight's job where bytes have come meanwhile and more are needed.
  std::unique_ptr<tls::HandshakeJob> OnFlight(std::unique_ptr<tls::HandshakeJob> job);

  // Ciphertext that came while kSecuring. The next flight's job, if the stream is here.
  std::unique_ptr<tls::HandshakeJob> OnCiphertext(absl::string_view bytes);

  State state() const { return state_; }
  bool with_pool() const { return state_ == State::kSecuring && job_ == nullptr; }
  size_t waiting_bytes() const { return waiting_.size(); }
  // --- Once it is over.
  const tls::HandshakeJob& handshake() const { return *job_; }
  // Why it is broken.
  policy::TlsFinding finding() const;
  absl::string_view fault_detail() const;
  absl::string_view stream_detail() const { return job_->stream->fault_detail(); }

  // --- Secure. False: the stream has failed.
  bool Seal(absl::string_view plaintext);
  bool Seal(io::Bytes plaintext);
  // Opens what has come. The plaintext is good until the next call.
  tls::Stream::Opened Open(absl::string_view ciphertext, absl::string_view& plaintext);
  // A session that may be resumed, once there is one.
  std::unique_ptr<tls::Session> TakeSession() { return job_->stream->TakeSession(); }
  void SealEnd() { job_->stream->Close(); }

  // Ciphertext to be sent; swapped into `buffer`, whose memory is used again. False: nothing.
  bool TakeOutput(std::string& buffer);

 private:
  std::unique_ptr<tls::HandshakeJob> Continue();

  State state_ = State::kClear;
  std::unique_ptr<tls::HandshakeJob> job_;  // Null while the pool has it, and in clear.
  std::string waiting_;                     // What came meanwhile.
  std::string opened_;
};

}  // namespace sluice::delivery
