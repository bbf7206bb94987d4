#include "bench/micro/wolfcrypt.h"

#include <wolfssl/options.h>
// After the options.
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/chacha20_poly1305.h>
#include <wolfssl/wolfcrypt/curve25519.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/random.h>
#include <wolfssl/wolfcrypt/rsa.h>

#include <array>
#include <cstring>
#include <vector>

#include "engine/base/check.h"

namespace sluice::tls {
namespace {

constexpr size_t kRecordBytesMax = 16 << 10;

struct Chance {
  Chance() {
    static const bool started = wolfSSL_Init() == WOLFSSL_SUCCESS;
    CHECK(started);
    CHECK(wc_InitRng(&rng) == 0);
  }
  ~Chance() { wc_FreeRng(&rng); }
  Chance(const Chance&) = delete;
  Chance& operator=(const Chance&) = delete;

  WC_RNG rng;
};

word32 Size(size_t bytes) {
  return static_cast<word32>(bytes);
}

}  // namespace

// --- X25519.

struct KeyAgreement::State {
  Chance chance;
  curve25519_key own;
  curve25519_key peer;
  std::array<byte, CURVE25519_KEYSIZE> secret;
};

KeyAgreement::KeyAgreement() : state_(std::make_unique<State>()) {
  CHECK(wc_curve25519_init(&state_->own) == 0);
  CHECK(wc_curve25519_init(&state_->peer) == 0);
  CHECK(wc_curve25519_make_key(&state_->chance.rng, CURVE25519_KEYSIZE, &state_->peer) == 0);
  MakeKey();
}

KeyAgreement::~KeyAgreement() {
  wc_curve25519_free(&state_->own);
  wc_curve25519_free(&state_->peer);
}

void KeyAgreement::MakeKey() {
  CHECK(wc_curve25519_make_key(&state_->chance.rng, CURVE25519_KEYSIZE, &state_->own) == 0);
}

void KeyAgreement::Agree() {
  word32 bytes = Size(state_->secret.size());
  CHECK(wc_curve25519_shared_secret_ex(&state_->own, &state_->peer, state_->secret.data(), &bytes,
                                       EC25519_LITTLE_ENDIAN) == 0);
}

// --- Signatures.

struct BareSigningKey::State {
  KeyKind kind;
  Chance chance;
  ecc_key ecc;
  RsaKey rsa;
  std::array<byte, WC_SHA256_DIGEST_SIZE> digest;
  std::array<byte, 256> signature;
  word32 signature_bytes = 0;
};

BareSigningKey::BareSigningKey(KeyKind kind) : state_(std::make_unique<State>()) {
  State& state = *state_;
  state.kind = kind;
  WC_RNG* const rng = &state.chance.rng;
  CHECK(wc_ecc_init(&state.ecc) == 0);
  CHECK(wc_InitRsaKey(&state.rsa, nullptr) == 0);
  if (kind == KeyKind::kEcdsaP256) {
    CHECK(wc_ecc_make_key_ex(rng, 32, &state.ecc, ECC_SECP256R1) == 0);
    CHECK(wc_ecc_set_rng(&state.ecc, rng) == 0);
  } else {
    CHECK(wc_MakeRsaKey(&state.rsa, 2048, WC_RSA_EXPONENT, rng) == 0);
    CHECK(wc_RsaSetRNG(&state.rsa, rng) == 0);
  }
  state.digest.fill(0x5a);
  Sign();
}

BareSigningKey::~BareSigningKey() {
  wc_ecc_free(&state_->ecc);
  wc_FreeRsaKey(&state_->rsa);
}

void BareSigningKey::Sign() {
  State& state = *state_;
  if (state.kind == KeyKind::kEcdsaP256) {
    state.signature_bytes = Size(state.signature.size());
    CHECK(wc_ecc_sign_hash(state.digest.data(), Size(state.digest.size()), state.signature.data(),
                           &state.signature_bytes, &state.chance.rng, &state.ecc) == 0);
    return;
  }
  const int signed_bytes =
      wc_RsaPSS_Sign(state.digest.data(), Size(state.digest.size()), state.signature.data(),
                     Size(state.signature.size()), WC_HASH_TYPE_SHA256, WC_MGF1SHA256, &state.rsa,
                     &state.chance.rng);
  CHECK(signed_bytes > 0);
  state.signature_bytes = static_cast<word32>(signed_bytes);
}

void BareSigningKey::Verify() {
  State& state = *state_;
  if (state.kind == KeyKind::kEcdsaP256) {
    int good = 0;
    CHECK(wc_ecc_verify_hash(state.signature.data(), state.signature_bytes, state.digest.data(),
                             Size(state.digest.size()), &good, &state.ecc) == 0);
    CHECK(good == 1);
    return;
  }
  std::array<byte, 256> opened;
  CHECK(wc_RsaPSS_VerifyCheck(state.signature.data(), state.signature_bytes, opened.data(),
                              Size(opened.size()), state.digest.data(), Size(state.digest.size()),
                              WC_HASH_TYPE_SHA256, WC_MGF1SHA256, &state.rsa) > 0);
}

// --- Records.

struct RecordCipher::State {
  CipherKind kind;
  std::array<byte, CHACHA20_POLY1305_AEAD_KEYSIZE> key;
  Aes aes;
  uint64_t records = 0;
  std::array<byte, 12> nonce{};
  std::array<byte, 5> header{23, 3, 3, 0, 0};  // Of a record: RFC 8446 5.2.
  std::array<byte, 16> tag;
  std::vector<byte> sealed = std::vector<byte>(kRecordBytesMax);
  std::vector<byte> opened = std::vector<byte>(kRecordBytesMax);
  word32 bytes = 0;
};

RecordCipher::RecordCipher(CipherKind kind) : state_(std::make_unique<State>()) {
  state_->kind = kind;
  state_->key.fill(0x5a);
  CHECK(wc_AesInit(&state_->aes, nullptr, INVALID_DEVID) == 0);
  if (kind == CipherKind::kChaCha20Poly1305) return;
  const word32 key_bytes = kind == CipherKind::kAes128Gcm ? 16 : 32;
  CHECK(wc_AesGcmSetKey(&state_->aes, state_->key.data(), key_bytes) == 0);
}

RecordCipher::~RecordCipher() {
  wc_AesFree(&state_->aes);
}

void RecordCipher::Seal(absl::string_view plaintext) {
  State& state = *state_;
  CHECK(plaintext.size() <= kRecordBytesMax);
  state.bytes = Size(plaintext.size());
  ++state.records;
  std::memcpy(state.nonce.data(), &state.records, sizeof(state.records));
  const auto* in = reinterpret_cast<const byte*>(plaintext.data());
  if (state.kind == CipherKind::kChaCha20Poly1305) {
    CHECK(wc_ChaCha20Poly1305_Encrypt(state.key.data(), state.nonce.data(), state.header.data(),
                                      Size(state.header.size()), in, state.bytes,
                                      state.sealed.data(), state.tag.data()) == 0);
    return;
  }
  CHECK(wc_AesGcmEncrypt(&state.aes, state.sealed.data(), in, state.bytes, state.nonce.data(),
                         Size(state.nonce.size()), state.tag.data(), Size(state.tag.size()),
                         state.header.data(), Size(state.header.size())) == 0);
}

void RecordCipher::Open() {
  State& state = *state_;
  if (state.kind == CipherKind::kChaCha20Poly1305) {
    CHECK(wc_ChaCha20Poly1305_Decrypt(state.key.data(), state.nonce.data(), state.header.data(),
                                      Size(state.header.size()), state.sealed.data(), state.bytes,
                                      state.tag.data(), state.opened.data()) == 0);
    return;
  }
  CHECK(wc_AesGcmDecrypt(&state.aes, state.opened.data(), state.sealed.data(), state.bytes,
                         state.nonce.data(), Size(state.nonce.size()), state.tag.data(),
                         Size(state.tag.size()), state.header.data(),
                         Size(state.header.size())) == 0);
}

}  // namespace sluice::tls
