#include "tls/signature.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <array>

#include "engine/base/check.h"
#include "tls/libcrypto.h"
#include "tls/pem_file.h"

namespace sluice::tls {
namespace {

// Null: could not.
UniqueKeyContext SigningBy(EVP_PKEY* key) {
  UniqueKeyContext context(EVP_PKEY_CTX_new(key, nullptr));
  if (context != nullptr && EVP_PKEY_sign_init(context.get()) != 1) context = nullptr;
  return context;
}

size_t Sign(EVP_PKEY_CTX* context, Octets input, std::span<uint8_t> signature) {
  size_t bytes = signature.size();  // libcrypto wants room for the longest that there could be.
  const bool good =
      EVP_PKEY_sign(context, signature.data(), &bytes, input.data(), input.size()) == 1;
  if (!good) ERR_clear_error();
  return good ? bytes : 0;
}

const EVP_MD* HashOf(Octets digest) {
  switch (digest.size()) {
    case 32:
      return EVP_sha256();
    case 48:
      return EVP_sha384();
    case 64:
      return EVP_sha512();
    default:
      return nullptr;
  }
}

// A key of the curve, for what others of it have in common.
EVP_PKEY* AnyKeyOf(Curve curve) {
  static const std::array<UniqueKey, 3> keys = {UniqueKey(EVP_EC_gen("P-256")),
                                                UniqueKey(EVP_EC_gen("P-384")),
                                                UniqueKey(EVP_EC_gen("P-521"))};
  EVP_PKEY* key = keys[static_cast<size_t>(curve)].get();
  CHECK(key != nullptr);
  return key;
}

}  // namespace

std::unique_ptr<const SigningKey> SigningKey::Read(absl::string_view pem) {
  absl::StatusOr<UniqueKey> key = ReadPemKey(pem, "");
  if (!key.ok()) return nullptr;
  const int kind = EVP_PKEY_get_base_id(key->get());
  if (kind != EVP_PKEY_EC && kind != EVP_PKEY_RSA) return nullptr;
  return std::unique_ptr<const SigningKey>(
      new SigningKey(key->release(), kind == EVP_PKEY_EC ? Kind::kEcdsa : Kind::kRsa));
}

int SigningKey::bits() const {
  return EVP_PKEY_get_bits(key_);
}

SigningKey::~SigningKey() {
  EVP_PKEY_free(key_);
}

size_t SigningKey::SignEcdsa(Octets digest, std::span<uint8_t> signature) const {
  const UniqueKeyContext context = SigningBy(key_);
  return context == nullptr ? 0 : Sign(context.get(), digest, signature);
}

size_t SigningKey::SignRsaPss(Octets digest, std::span<uint8_t> signature) const {
  const UniqueKeyContext context = SigningBy(key_);
  const EVP_MD* hash = HashOf(digest);
  const bool ready = context != nullptr && hash != nullptr &&
                     EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_PSS_PADDING) == 1 &&
                     EVP_PKEY_CTX_set_signature_md(context.get(), hash) == 1 &&
                     EVP_PKEY_CTX_set_rsa_pss_saltlen(context.get(), RSA_PSS_SALTLEN_DIGEST) == 1;
  return ready ? Sign(context.get(), digest, signature) : 0;
}

size_t SigningKey::SignRsaPkcs1(Octets encoded, std::span<uint8_t> signature) const {
  const UniqueKeyContext context = SigningBy(key_);
  const bool ready =
      context != nullptr && EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_PADDING) == 1;
  return ready ? Sign(context.get(), encoded, signature) : 0;
}

bool VerifiesEcdsa(Curve curve, Octets point, Octets digest, Octets signature) {
  const UniqueKey key(EVP_PKEY_new());
  const bool read = key != nullptr && EVP_PKEY_copy_parameters(key.get(), AnyKeyOf(curve)) == 1 &&
                    EVP_PKEY_set1_encoded_public_key(key.get(), point.data(), point.size()) == 1;
  const UniqueKeyContext context(read ? EVP_PKEY_CTX_new(key.get(), nullptr) : nullptr);
  const bool good = context != nullptr && EVP_PKEY_verify_init(context.get()) == 1 &&
                    EVP_PKEY_verify(context.get(), signature.data(), signature.size(),
                                    digest.data(), digest.size()) == 1;
  if (!good) ERR_clear_error();
  return good;
}

}  // namespace sluice::tls
