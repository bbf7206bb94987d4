// What a tool's connection does once STARTTLS was agreed on: a TLS stream, worked where it stands.
//
// Handshakes are made on the tool's one thread, a millisecond or so each, in which nothing else
// goes on: simple, and seen in latencies when many connections begin at once. The peer is not
// verified.
//
// No I/O: the owner feeds what came, looks at state() and plaintext(), and sends what TakeOutput
// gives.

#pragma once

#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "tls/context.h"
#include "tls/stream.h"

namespace sluice::tools {

class SecureBytes {
 public:
  enum class State : uint8_t {
    kClear,     // No TLS yet: the bytes are no business of this.
    kSecuring,  // Whatever comes and goes is the handshake's.
    kSecure,
    kFailed,  // The handshake has failed; an alert may be in the output.
    kBroken,  // After it, something came that cannot be opened.
  };

  // In clear, for a new socket.
  void Begin();

  // Only in clear. Both may fail for want of memory or descriptors.
  void StartServer(const std::shared_ptr<const tls::Context>& context, bool ticket);
  void StartClient(const std::shared_ptr<const tls::Context>& context);

  // What came from the peer; not in clear. A handshake may be over with it, and plaintext behind
  // it.
  void Take(absl::string_view ciphertext);
  absl::string_view plaintext() const { return plaintext_; }  // Of the last Take.
  bool peer_ended() const { return peer_ended_; }             // Nothing more comes.

  // Only when secure. False: broken.
  bool Seal(absl::string_view plaintext);
  void SealEnd();  // Nothing more goes; once is enough.

  // Appends what is to be sent.
  void TakeOutput(std::string& to);

  State state() const { return state_; }
  // Failed or broken: why.
  absl::string_view fault() const;
  // Secure.
  const tls::StreamFacts& facts() const { return stream_->facts(); }

 private:
  void Start(std::unique_ptr<tls::Stream> stream);
  void Advance();
  void Open();

  State state_ = State::kClear;
  std::unique_ptr<tls::Stream> stream_;
  std::string plaintext_;
  bool peer_ended_ = false;
  bool end_sealed_ = false;
};

}  // namespace sluice::tools
