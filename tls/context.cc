#include "tls/context.h"

#include <wolfssl/options.h>
// After the options.
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/rsa.h>

#include <array>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "tls/crypto_device.h"
#include "tls/signature.h"
#include "tls/stream.h"

namespace sluice::tls {

// wolfSSL calls it for each certificate of the chain (stream.cc).
int CollectChain(int preverified, WOLFSSL_X509_STORE_CTX* store);

namespace {

// As wolfSSL and as IANA name a suite. Forward secrecy and authenticated encryption only: RFC 9325
// 4.2.
struct Suite {
  absl::string_view name;
  absl::string_view iana_name;
  bool aes;
};
constexpr std::array kSuites = {
    Suite{"TLS13-CHACHA20-POLY1305-SHA256", "TLS_CHACHA20_POLY1305_SHA256", false},
    Suite{"TLS13-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256", true},
    Suite{"TLS13-AES256-GCM-SHA384", "TLS_AES_256_GCM_SHA384", true},
    Suite{"ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", false},
    Suite{"ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", false},
    Suite{"ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", true},
    Suite{"ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", true},
    Suite{"ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", true},
    Suite{"ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", true},
    Suite{"DHE-RSA-CHACHA20-POLY1305", "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256", false},
    Suite{"DHE-RSA-AES128-GCM-SHA256", "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256", true},
    Suite{"DHE-RSA-AES256-GCM-SHA384", "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384", true},
};

// RFC 9325 4.1: what is smaller proves nothing.
constexpr int kDhBitsMin = 2048;

std::string SuiteList() {
  std::string list;
  const bool aes_first = HasFastAes();
  for (const bool aes : {aes_first, !aes_first}) {
    for (const Suite& suite : kSuites) {
      if (suite.aes == aes) absl::StrAppend(&list, list.empty() ? "" : ":", suite.name);
    }
  }
  return list;
}

const unsigned char* Bytes(const std::string& text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

// wolfSSL would take a longer one, and fail each handshake with it.
bool IsTooLong(const SigningKey& key) {
  return key.kind() == SigningKey::Kind::kRsa && key.bits() > RSA_MAX_SIZE;
}

absl::Status UseCertificate(const Context& made, const Context::Options& options) {
  WOLFSSL_CTX* context = made.get();
  if (wolfSSL_CTX_use_certificate_chain_buffer(context, Bytes(options.certificate),
                                               static_cast<long>(options.certificate.size())) !=
      WOLFSSL_SUCCESS) {
    return absl::InvalidArgumentError("wolfSSL cannot use the certificate");
  }
  if (wolfSSL_CTX_use_PrivateKey_buffer(context, Bytes(options.key),
                                        static_cast<long>(options.key.size()),
                                        WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS) {
    return absl::InvalidArgumentError("wolfSSL cannot use the certificate's key");
  }
  if (wolfSSL_CTX_check_private_key(context) != WOLFSSL_SUCCESS) {
    return absl::InvalidArgumentError("the key is not the certificate's");
  }
  if (made.signing_key() != nullptr && IsTooLong(*made.signing_key())) {
    return absl::InvalidArgumentError(
        absl::StrCat("a key of RSA may have at most ", RSA_MAX_SIZE, " bits"));
  }
  return absl::OkStatus();
}

// What both sides hold to. The order of suites is by what the library has fast here.
absl::Status Prepare(const Context& made, const Context::Options& options) {
  WOLFSSL_CTX* context = made.get();
  const int least = options.least == Version::kTls13 ? WOLFSSL_TLSV1_3 : WOLFSSL_TLSV1_2;
  int groups[] = {WOLFSSL_ECC_X25519, WOLFSSL_ECC_SECP256R1, WOLFSSL_ECC_SECP384R1,
                  WOLFSSL_FFDHE_2048};
  const bool good = wolfSSL_CTX_SetMinVersion(context, least) == WOLFSSL_SUCCESS &&
                    wolfSSL_CTX_set_cipher_list(context, SuiteList().c_str()) == WOLFSSL_SUCCESS &&
                    wolfSSL_CTX_set_groups(context, groups, std::size(groups)) == WOLFSSL_SUCCESS &&
                    wolfSSL_CTX_SetMinDhKey_Sz(context, kDhBitsMin) == WOLFSSL_SUCCESS;
  if (!good) return absl::InternalError("this wolfSSL lacks a version, suite or group that we use");
  wolfSSL_CTX_set_session_cache_mode(context, WOLFSSL_SESS_CACHE_OFF);
  UseCryptoDevice(context, made.signing_key());
  if (options.certificate.empty()) return absl::OkStatus();
  return UseCertificate(made, options);
}

// Once in a process.
bool Initialized() {
  static const bool initialized = wolfSSL_Init() == WOLFSSL_SUCCESS && RegisterCryptoDevice();
  return initialized;
}

absl::StatusOr<WOLFSSL_CTX*> NewContext(WOLFSSL_METHOD* (*method)()) {
  WOLFSSL_CTX* context = Initialized() ? wolfSSL_CTX_new(method()) : nullptr;
  if (context != nullptr) return context;
  return absl::ResourceExhaustedError("the TLS library does not start: no memory");
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Context>> Context::ForClients(const Options& options) {
  const absl::StatusOr<WOLFSSL_CTX*> context = NewContext(&wolfTLS_client_method);
  if (!context.ok()) return context.status();
  std::shared_ptr<const Context> made(new Context(*context, options));
  if (absl::Status prepared = Prepare(*made, options); !prepared.ok()) return prepared;
  wolfSSL_CTX_set_verify(*context, WOLFSSL_VERIFY_NONE, &CollectChain);
  CHECK(wolfSSL_CTX_UseSessionTicket(*context) == WOLFSSL_SUCCESS);
  return made;
}

absl::StatusOr<std::shared_ptr<const Context>> Context::ForServers(const Options& options) {
  if (options.certificate.empty())
    return absl::InvalidArgumentError("a server needs a certificate");
  const absl::StatusOr<WOLFSSL_CTX*> context = NewContext(&wolfTLS_server_method);
  if (!context.ok()) return context.status();
  std::shared_ptr<const Context> made(new Context(*context, options));
  if (absl::Status prepared = Prepare(*made, options); !prepared.ok()) return prepared;
  wolfSSL_CTX_set_verify(*context, WOLFSSL_VERIFY_NONE, nullptr);
  if (options.tickets) {
    // Sealed by wolfSSL itself, with a key of this context that it makes and changes.
    CHECK(wolfSSL_CTX_set_num_tickets(*context, 1) == WOLFSSL_SUCCESS);
  } else {
    CHECK(wolfSSL_CTX_no_ticket_TLSv13(*context) == 0);
    CHECK(wolfSSL_CTX_NoTicketTLSv12(*context) == WOLFSSL_SUCCESS);
  }
  return made;
}

Context::Context(WOLFSSL_CTX* context, const Options& options)
    : context_(context), signing_key_(SigningKey::Read(options.key)), least_(options.least) {}

Context::~Context() {
  wolfSSL_CTX_free(context_);
}

absl::string_view OfferedSuite(absl::string_view suite) {
  for (const Suite& offered : kSuites) {
    if (suite == offered.iana_name || suite == offered.name) return offered.iana_name;
  }
  return "";
}

bool HasFastAes() {
#ifdef __x86_64__
  return __builtin_cpu_supports("aes") != 0 && __builtin_cpu_supports("pclmul") != 0;
#else
  return false;
#endif
}

void EndThread() {
  wc_ecc_fp_free();
}

}  // namespace sluice::tls
