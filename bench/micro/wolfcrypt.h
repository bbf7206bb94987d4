// wolfCrypt's primitives by themselves: what TLS would cost at least, if wolfSSL did it all. What
// it leaves to libcrypto (tls/crypto_device.h) takes less. One thread each.
//
// The library's headers stay in the .cc file: they take the same names as libcrypto's.

#pragma once

#include <cstdint>
#include <memory>

#include "absl/strings/string_view.h"

namespace sluice::tls {

// X25519.
class KeyAgreement {
 public:
  KeyAgreement();
  ~KeyAgreement();

  void MakeKey();
  void Agree();  // With the public key of a peer, which stays the same.

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

enum class KeyKind : uint8_t { kEcdsaP256, kRsa2048 };

// A key of its own, and a SHA-256 digest that it signs: by ECDSA, or by RSA-PSS as TLS 1.3 has it.
class BareSigningKey {
 public:
  explicit BareSigningKey(KeyKind kind);
  ~BareSigningKey();

  void Sign();
  void Verify();  // The last signature.

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

enum class CipherKind : uint8_t { kChaCha20Poly1305, kAes128Gcm, kAes256Gcm };

// Seals and opens whole records of at most 16 KiB, under one key and with the nonces and the
// additional data of TLS 1.3, from one buffer to another.
class RecordCipher {
 public:
  explicit RecordCipher(CipherKind kind);
  ~RecordCipher();

  void Seal(absl::string_view plaintext);
  void Open();  // The last record.

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

}  // namespace sluice::tls
