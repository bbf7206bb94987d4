#include "tests/tls/wolf_words.h"

#include <wolfssl/options.h>
// After the options.
#include <wolfssl/ssl.h>

#include "engine/base/check.h"

namespace sluice::tls {
namespace {

const SigningKey* other_key = nullptr;

int Sign(WOLFSSL*, const unsigned char* digest, unsigned int digest_bytes, unsigned char* signature,
         unsigned int* signature_bytes, const unsigned char*, unsigned int, void*) {
  *signature_bytes = static_cast<unsigned int>(
      other_key->SignEcdsa({digest, digest_bytes}, {signature, *signature_bytes}));
  return *signature_bytes > 0 ? 0 : -1;
}

}  // namespace

void UseOnly(const Context& context, const std::string& suite) {
  CHECK(wolfSSL_CTX_set_cipher_list(context.get(), suite.c_str()) == WOLFSSL_SUCCESS);
  // Those of TLS 1.3 stay beside a suite of TLS 1.2.
  const bool tls13 = suite.starts_with("TLS13-");
  const int newest = tls13 ? TLS1_3_VERSION : TLS1_2_VERSION;
  CHECK(wolfSSL_CTX_set_max_proto_version(context.get(), newest) == WOLFSSL_SUCCESS);
}

void AskForCertificate(const Context& context) {
  wolfSSL_CTX_set_verify(context.get(), WOLFSSL_VERIFY_PEER | WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                         [](int, WOLFSSL_X509_STORE_CTX*) { return 1; });
}

void SignInsteadBy(const SigningKey& key, const Context& context) {
  other_key = &key;
  wolfSSL_CTX_SetEccSignCb(context.get(), &Sign);
}

}  // namespace sluice::tls
