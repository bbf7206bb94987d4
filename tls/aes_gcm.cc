#include "tls/aes_gcm.h"

#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <memory>

#include "engine/base/check.h"
#include "tls/libcrypto.h"

namespace sluice::tls {
namespace {

constexpr int kSeal = 1;
constexpr int kOpen = 0;

// One for each size of key and each thread, so that a record costs neither memory nor a look-up of
// the cipher, whose lock all threads share.
EVP_CIPHER_CTX* ContextFor(size_t key_bytes) {
  CHECK(key_bytes == 16 || key_bytes == 32);
  thread_local std::array<UniqueCipherContext, 2> contexts;
  UniqueCipherContext& context = contexts[key_bytes / 32];
  if (context == nullptr) {
    context.reset(EVP_CIPHER_CTX_new());
    CHECK(context != nullptr);
    const EVP_CIPHER* cipher = key_bytes == 16 ? EVP_aes_128_gcm() : EVP_aes_256_gcm();
    CHECK(EVP_CipherInit_ex2(context.get(), cipher, nullptr, nullptr, kSeal, nullptr) == 1);
  }
  return context.get();
}

// All but the tag.
bool Run(EVP_CIPHER_CTX* context, int direction, const GcmInput& input, uint8_t* output) {
  int bytes = 0;
  return EVP_CipherInit_ex2(context, nullptr, input.key.data(), input.nonce.data(), direction,
                            nullptr) == 1 &&
         EVP_CipherUpdate(context, nullptr, &bytes, input.additional.data(),
                          static_cast<int>(input.additional.size())) == 1 &&
         EVP_CipherUpdate(context, output, &bytes, input.text.data(),
                          static_cast<int>(input.text.size())) == 1;
}

}  // namespace

bool SealAesGcm(const GcmInput& input, uint8_t* output, std::span<uint8_t, kGcmTagBytes> tag) {
  EVP_CIPHER_CTX* context = ContextFor(input.key.size());
  int bytes = 0;
  const bool sealed =
      Run(context, kSeal, input, output) &&
      EVP_CipherFinal_ex(context, output + input.text.size(), &bytes) == 1 &&
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kGcmTagBytes, tag.data()) == 1;
  if (!sealed) ERR_clear_error();
  return sealed;
}

bool OpenAesGcm(const GcmInput& input, uint8_t* output,
                std::span<const uint8_t, kGcmTagBytes> tag) {
  EVP_CIPHER_CTX* context = ContextFor(input.key.size());
  int bytes = 0;
  std::array<uint8_t, kGcmTagBytes> expected;  // libcrypto asks for octets that it may change.
  std::copy(tag.begin(), tag.end(), expected.begin());
  const bool opened =
      Run(context, kOpen, input, output) &&
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kGcmTagBytes, expected.data()) == 1 &&
      EVP_CipherFinal_ex(context, output + input.text.size(), &bytes) == 1;
  if (!opened) ERR_clear_error();
  return opened;
}

}  // namespace sluice::tls
