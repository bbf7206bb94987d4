// Signatures of handshakes by libcrypto: made by a key of ours, which is read once, and verified by
// a peer's. Any thread.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/strings/string_view.h"

struct evp_pkey_st;

namespace sluice::tls {

using Octets = std::span<const uint8_t>;

// A private key of ours; immutable.
class SigningKey {
 public:
  enum class Kind : uint8_t { kEcdsa, kRsa };

  // PEM. Null: not a key, or of another kind.
  static std::unique_ptr<const SigningKey> Read(absl::string_view pem);
  ~SigningKey();
  SigningKey(const SigningKey&) = delete;
  SigningKey& operator=(const SigningKey&) = delete;

  Kind kind() const { return kind_; }
  int bits() const;

  // Each writes to `signature` and returns its octets; 0: libcrypto could not, or it has no room.
  size_t SignEcdsa(Octets digest, std::span<uint8_t> signature) const;  // DER, RFC 3279 2.2.3.
  // The salt has as many octets as the digest, which is SHA-256's, -384's or -512's: RFC 8446
  // 4.2.3.
  size_t SignRsaPss(Octets digest, std::span<uint8_t> signature) const;
  // `encoded`: the digest with its algorithm, RFC 8017 9.2.
  size_t SignRsaPkcs1(Octets encoded, std::span<uint8_t> signature) const;

 private:
  SigningKey(evp_pkey_st* key, Kind kind) : key_(key), kind_(kind) {}

  evp_pkey_st* key_;
  Kind kind_;
};

enum class Curve : uint8_t { kP256, kP384, kP521 };

// `point`: the public key, uncompressed (SEC 1, 2.3.3); `signature`: DER. False for whatever is
// none, too.
bool VerifiesEcdsa(Curve curve, Octets point, Octets digest, Octets signature);

}  // namespace sluice::tls
