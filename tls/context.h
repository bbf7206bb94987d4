// What many TLS sessions have in common: versions, suites, our certificate. Made once, on the
// control thread, and shared; immutable.
//
// No certificate authority is ever loaded into it, and wolfSSL is told to verify nothing: a shared
// context would learn intermediates from its peers, and its verdict is not ours (verify.h).

#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct WOLFSSL_CTX;

namespace sluice::tls {

class SigningKey;

enum class Version : uint8_t { kTls12, kTls13 };

class Context {
 public:
  struct Options {
    Version least = Version::kTls12;
    // Our certificate chain and its key, PEM. A client may have none; it is presented only when
    // asked for.
    std::string certificate;
    std::string key;
    // Of servers: each handshake gives its client a ticket (under TLS 1.2, a full one only), and
    // who comes with one has its session resumed. For instruments, that clients are measured
    // against. The engine's intake never sets it: the library's server side has had faults there,
    // which a stranger could reach (CVE-2025-11936 and its kin).
    bool tickets = false;
  };

  static absl::StatusOr<std::shared_ptr<const Context>> ForClients(const Options& options);
  // A certificate must be there.
  static absl::StatusOr<std::shared_ptr<const Context>> ForServers(const Options& options);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  WOLFSSL_CTX* get() const { return context_; }
  // Null: there is none, or one that wolfSSL signs by.
  const SigningKey* signing_key() const { return signing_key_.get(); }
  Version least() const { return least_; }

 private:
  Context(WOLFSSL_CTX* context, const Options& options);

  WOLFSSL_CTX* context_;
  std::unique_ptr<const SigningKey> signing_key_;
  Version least_;
};

// IANA's name of a suite that we offer, by one of wolfSSL's names; empty: we do not offer it.
absl::string_view OfferedSuite(absl::string_view suite);

// AES is done by instructions of this processor (aes_gcm.h). Without them ChaCha20-Poly1305 is more
// than twice as fast, and is offered first.
bool HasFastAes();

// Frees what wolfSSL keeps for this thread. Last in every thread that has used a stream.
void EndThread();

}  // namespace sluice::tls
