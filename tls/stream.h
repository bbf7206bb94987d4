// One TLS session without I/O: ciphertext in and out through two buffers, plaintext through calls.
//
// wolfSSL behind it (stream.cc), or a toy (the simulator's). It pauses for input and for nothing
// else.
//
// Life: Handshake after each piece of input until it is no longer kNeedsInput; then Seal and Open;
// then Close. Handshake may take milliseconds: run it off the shard (handshake_pool.h). Whoever has
// the stream may use it; no two threads at once.
//
// A client's certificate chain is collected, not judged, by the handshake: see verify.h. Nothing
// must be sealed before the verdict.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "tls/context.h"
#include "tls/session.h"

namespace sluice::tls {

enum class Step : uint8_t { kNeedsInput, kEstablished, kFailed };

// Why a handshake failed, as far as a policy cares.
enum class StreamFault : uint8_t {
  kNone,
  kHandshake,  // Anything not named here.
  kProtocol,   // No version in common, or one below the least allowed.
  kCipher,     // No suite or group in common, or one that was not offered.
  kTooLarge,   // More bytes than a handshake may have (F28).
};

// What was negotiated.
struct StreamFacts {
  std::string protocol;  // "TLSv1.3"
  std::string cipher;    // "TLS_CHACHA20_POLY1305_SHA256", as IANA has it.
  bool resumed = false;
  std::vector<std::vector<std::byte>> chain;  // DER, as sent; empty when resumed.
};

class Stream {
 public:
  // wolfSSL's. The context is shared. `server_name`: SNI, empty: none. `session`: to be resumed if
  // the server will; used up by this. Null where memory has run out.
  static std::unique_ptr<Stream> Client(std::shared_ptr<const Context> context,
                                        absl::string_view server_name,
                                        std::unique_ptr<Session> session);
  // `ticket`: gives one, if the context has tickets. One that does not still resumes the sessions
  // of TLS 1.3, and none of TLS 1.2.
  static std::unique_ptr<Stream> Server(std::shared_ptr<const Context> context, bool ticket = true);
  virtual ~Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Ciphertext that came from the peer.
  virtual void Feed(absl::string_view ciphertext) = 0;

  virtual Step Handshake() = 0;
  StreamFault fault() const { return fault_; }
  absl::string_view fault_detail() const { return detail_; }
  const StreamFacts& facts() const { return facts_; }  // Once established.

  // --- Once established. False, or kFailed: the session is over, for good.

  // Seals all of `plaintext` into output().
  virtual bool Seal(absl::string_view plaintext) = 0;

  // Appends what can be opened of the input. kClosed: the peer has said that no more comes.
  enum class Opened : uint8_t { kNeedsInput, kClosed, kFailed };
  virtual Opened Open(std::string& plaintext) = 0;

  // Says that no more comes (close_notify). The peer's own is not waited for (RFC 8446 6.1).
  virtual void Close() = 0;

  // What the server gave for resuming, or null: it has none, or has given it away. TLS 1.3 servers
  // send theirs after the handshake: ask when something has been opened.
  virtual std::unique_ptr<Session> TakeSession() = 0;

  // Ciphertext for the peer: swapped into `buffer`, which must be empty.
  const std::string& output() const { return output_; }
  void TakeOutput(std::string& buffer) { std::swap(buffer, output_); }

 protected:
  Stream() = default;
  Step Fail(StreamFault fault, absl::string_view detail) {
    fault_ = fault;
    detail_ = std::string(detail);
    return Step::kFailed;
  }

  std::string output_;
  StreamFacts facts_;

 private:
  StreamFault fault_ = StreamFault::kNone;
  std::string detail_;
};

}  // namespace sluice::tls
