#include "tls/crypto_device.h"

#include <sys/random.h>
#include <wolfssl/options.h>
// After the options.
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/cryptocb.h>
#include <wolfssl/wolfcrypt/rsa.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>

#include "engine/base/check.h"
#include "tls/aes_gcm.h"
#include "tls/signature.h"

#if !defined(WOLF_CRYPTO_CB) || !defined(HAVE_PK_CALLBACKS)
#error "wolfSSL must be built with --enable-cryptocb and --enable-pkcallbacks, as Debian's is"
#endif

namespace sluice::tls {
namespace {

constexpr int kDevice = 1;  // wolfSSL's own begin at 7.

constexpr size_t kPointBytesMax = 1 + 2 * 66;  // Of P-521, uncompressed.

// Of a signature: wolfSSL's bound on RSA. For a client's under TLS 1.2 it has little more room, and
// says that it has 2,050 octets.
constexpr size_t kSignatureBytesMax = RSA_MAX_SIZE / 8;

// --- What wolfSSL asks of a device. CRYPTOCB_UNAVAILABLE: it does it by itself.

std::span<const uint8_t> KeyOf(const Aes& aes) {
  return {reinterpret_cast<const uint8_t*>(aes.devKey), static_cast<size_t>(aes.keylen)};
}

// `Call`: wolfSSL's arguments, to seal or to open.
template <typename Call>
std::optional<GcmInput> InputOf(const Call& call) {
  const std::span<const uint8_t> key = KeyOf(*call.aes);
  const bool usual = (key.size() == 16 || key.size() == 32) && call.ivSz == kGcmNonceBytes &&
                     call.authTagSz == kGcmTagBytes;
  if (!usual) return std::nullopt;
  return GcmInput{.key = key,
                  .nonce = std::span<const uint8_t, kGcmNonceBytes>(call.iv, kGcmNonceBytes),
                  .additional = {call.authIn, call.authInSz},
                  .text = {call.in, call.sz}};
}

int Seal(const wc_CryptoInfo& info) {
  const auto& call = info.cipher.aesgcm_enc;
  const std::optional<GcmInput> input = InputOf(call);
  if (!input) return CRYPTOCB_UNAVAILABLE;
  const std::span<uint8_t, kGcmTagBytes> tag(call.authTag, kGcmTagBytes);
  return SealAesGcm(*input, call.out, tag) ? 0 : BAD_STATE_E;
}

int Open(const wc_CryptoInfo& info) {
  const auto& call = info.cipher.aesgcm_dec;
  const std::optional<GcmInput> input = InputOf(call);
  if (!input) return CRYPTOCB_UNAVAILABLE;
  const std::span<const uint8_t, kGcmTagBytes> tag(call.authTag, kGcmTagBytes);
  return OpenAesGcm(*input, call.out, tag) ? 0 : AES_GCM_AUTH_E;
}

std::optional<Curve> CurveOf(const ecc_key& key) {
  switch (key.dp != nullptr ? key.dp->id : ECC_CURVE_INVALID) {
    case ECC_SECP256R1:
      return Curve::kP256;
    case ECC_SECP384R1:
      return Curve::kP384;
    case ECC_SECP521R1:
      return Curve::kP521;
    default:
      return std::nullopt;
  }
}

int VerifyEcdsa(const wc_CryptoInfo& info) {
  const auto& call = info.pk.eccverify;
  const std::optional<Curve> curve = CurveOf(*call.key);
  std::array<uint8_t, kPointBytesMax> point;
  word32 bytes = point.size();
  if (!curve || wc_ecc_export_x963(call.key, point.data(), &bytes) != 0) {
    return CRYPTOCB_UNAVAILABLE;
  }
  *call.res = VerifiesEcdsa(*curve, {point.data(), bytes}, {call.hash, call.hashlen},
                            {call.sig, call.siglen});
  return 0;
}

// What a session's generator of chance starts from: without it, wolfSSL opens a file for that.
int Seed(const wc_CryptoInfo& info) {
  for (word32 filled = 0; filled < info.seed.sz;) {
    const ssize_t got = getrandom(info.seed.seed + filled, info.seed.sz - filled, 0);
    if (got > 0) {
      filled += static_cast<word32>(got);
    } else if (errno != EINTR) {
      return CRYPTOCB_UNAVAILABLE;
    }
  }
  return 0;
}

int OnAsked(int, wc_CryptoInfo* info, void*) {
  switch (info->algo_type) {
    case WC_ALGO_TYPE_CIPHER:
      if (info->cipher.type != WC_CIPHER_AES_GCM) return CRYPTOCB_UNAVAILABLE;
      return info->cipher.enc != 0 ? Seal(*info) : Open(*info);
    case WC_ALGO_TYPE_PK:
      if (info->pk.type != WC_PK_TYPE_ECDSA_VERIFY) return CRYPTOCB_UNAVAILABLE;
      return VerifyEcdsa(*info);
    case WC_ALGO_TYPE_SEED:
      return Seed(*info);
    default:
      return CRYPTOCB_UNAVAILABLE;
  }
}

// --- What it asks of who signs for it, with the key that the session was given. The key in DER,
// which it offers, would have to be read each time.

template <size_t (SigningKey::*Sign)(Octets, std::span<uint8_t>) const>
int SignInto(const byte* input, word32 input_bytes, byte* output, word32* output_bytes, void* key) {
  CHECK(key != nullptr);
  const size_t room = std::min<size_t>(*output_bytes, kSignatureBytesMax);
  const size_t bytes =
      (static_cast<const SigningKey*>(key)->*Sign)({input, input_bytes}, {output, room});
  *output_bytes = static_cast<word32>(bytes);
  return bytes > 0 ? 0 : BAD_STATE_E;
}

int OnSignEcdsa(WOLFSSL*, const byte* input, word32 input_bytes, byte* output, word32* output_bytes,
                const byte*, word32, void* key) {
  return SignInto<&SigningKey::SignEcdsa>(input, input_bytes, output, output_bytes, key);
}

int OnSignRsaPkcs1(WOLFSSL*, const byte* input, word32 input_bytes, byte* output,
                   word32* output_bytes, const byte*, word32, void* key) {
  return SignInto<&SigningKey::SignRsaPkcs1>(input, input_bytes, output, output_bytes, key);
}

int OnSignRsaPss(WOLFSSL*, const byte* input, word32 input_bytes, byte* output,
                 word32* output_bytes, int, int, const byte*, word32, void* key) {
  return SignInto<&SigningKey::SignRsaPss>(input, input_bytes, output, output_bytes, key);
}

}  // namespace

bool RegisterCryptoDevice() {
  return wc_CryptoCb_RegisterDevice(kDevice, &OnAsked, nullptr) == 0;
}

void UseCryptoDevice(WOLFSSL_CTX* context, const SigningKey* key) {
  CHECK(wolfSSL_CTX_SetDevId(context, kDevice) == WOLFSSL_SUCCESS);
  if (key == nullptr) return;
  switch (key->kind()) {
    case SigningKey::Kind::kEcdsa:
      return wolfSSL_CTX_SetEccSignCb(context, &OnSignEcdsa);
    case SigningKey::Kind::kRsa:
      wolfSSL_CTX_SetRsaSignCb(context, &OnSignRsaPkcs1);
      return wolfSSL_CTX_SetRsaPssSignCb(context, &OnSignRsaPss);
  }
}

void SignBy(const SigningKey& key, WOLFSSL* session) {
  void* const mutable_key = const_cast<SigningKey*>(&key);  // As wolfSSL keeps it.
  wolfSSL_SetEccSignCtx(session, mutable_key);
  wolfSSL_SetRsaSignCtx(session, mutable_key);
  wolfSSL_SetRsaPssSignCtx(session, mutable_key);
}

}  // namespace sluice::tls
