// One TLS session without I/O: ciphertext in and out through two buffers, plaintext through calls.
//
// wolfSSL behind it. Its callbacks read from a buffer and say when that is empty, and write to one
// that never refuses; so it pauses for input and for nothing else, and its known troubles with a
// full socket cannot arise (reliability: PR 7001, 7237, 981).
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

struct WOLFSSL;
struct WOLFSSL_X509_STORE_CTX;

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
  // The context is shared. `server_name`: SNI, empty: none. `session`: to be resumed if the server
  // will; used up by this. Null where descriptors or memory have run out: wolfSSL opens a source of
  // chance for each.
  static std::unique_ptr<Stream> Client(std::shared_ptr<const Context> context,
                                        absl::string_view server_name,
                                        std::unique_ptr<Session> session);
  static std::unique_ptr<Stream> Server(std::shared_ptr<const Context> context);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Ciphertext that came from the peer.
  void Feed(absl::string_view ciphertext) {
    if (!closed_) input_.append(ciphertext.data(), ciphertext.size());
  }

  Step Handshake();
  StreamFault fault() const { return fault_; }
  absl::string_view fault_detail() const { return detail_; }
  const StreamFacts& facts() const { return facts_; }  // Once established.

  // --- Once established. False, or kFailed: the session is over, for good.

  // Seals all of `plaintext` into output().
  bool Seal(absl::string_view plaintext);

  // Appends what can be opened of the input. kClosed: the peer has said that no more comes.
  enum class Opened : uint8_t { kNeedsInput, kClosed, kFailed };
  Opened Open(std::string& plaintext);

  // Says that no more comes (close_notify). The peer's own is not waited for (RFC 8446 6.1).
  void Close();

  // What the server gave for resuming, or null: it has none, or has given it away. TLS 1.3 servers
  // send theirs after the handshake: ask when something has been opened.
  std::unique_ptr<Session> TakeSession();

  // Ciphertext for the peer: swapped into `buffer`, which must be empty.
  const std::string& output() const { return output_; }
  void TakeOutput(std::string& buffer) { std::swap(buffer, output_); }

 private:
  explicit Stream(std::shared_ptr<const Context> context);

  Step Fail(StreamFault fault, absl::string_view detail);
  Step FailByError(int error);
  Step Establish();
  void TakeInput(size_t bytes);
  void CountRecords(absl::string_view bytes);

  // wolfSSL's callbacks.
  static int OnRead(WOLFSSL* ssl, char* into, int bytes, void* stream);
  static int OnWrite(WOLFSSL* ssl, char* from, int bytes, void* stream);
  static int OnTicket(WOLFSSL* ssl, const unsigned char* ticket, int bytes, void* stream);
  friend int CollectChain(int preverified, WOLFSSL_X509_STORE_CTX* store);

  std::shared_ptr<const Context> context_;
  WOLFSSL* ssl_ = nullptr;
  bool client_ = false;
  bool established_ = false;
  bool closed_ = false;  // The peer has said that no more comes: what does is dropped.
  bool ticket_came_ = false;
  bool session_taken_ = false;
  uint64_t fed_bytes_ = 0;  // That the handshake has read.

  // Of the records read since then.
  std::string header_;           // The front of a header whose end has not come.
  size_t record_left_ = 0;       // Of the record behind it.
  uint32_t barren_records_ = 0;  // That have brought no plaintext.

  std::string input_;
  size_t input_read_ = 0;  // Of input_, from the front.
  std::string output_;

  StreamFault fault_ = StreamFault::kNone;
  std::string detail_;
  StreamFacts facts_;
};

}  // namespace sluice::tls
