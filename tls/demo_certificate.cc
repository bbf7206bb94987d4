#include "tls/demo_certificate.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#include <array>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/domain_name.h"
#include "tls/certificate.h"
#include "tls/libcrypto.h"

namespace sluice::tls {
namespace {

constexpr int kDays = 3652;

// RFC 5280's upper bound for a common name (ub-common-name); a longer name is in the SAN alone.
constexpr size_t kCommonNameOctetsMax = 64;

using UniqueExtension = std::unique_ptr<X509_EXTENSION, Freed<X509_EXTENSION_free>>;

// Only memory or the system's source of chance could fail here, and there is nothing to go on with.
void Expect(bool done) {
  CHECK(done);
}

void SetSerial(X509* x509) {
  std::array<unsigned char, 16> octets;
  Expect(RAND_bytes(octets.data(), octets.size()) == 1);
  octets[0] = (octets[0] & 0x7f) | 0x40;  // Positive, and always of 16 octets.
  BIGNUM* number = BN_bin2bn(octets.data(), octets.size(), nullptr);
  Expect(BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x509)) != nullptr);
  BN_free(number);
}

void SetNames(X509* x509, const std::string& host) {
  X509_NAME* name = X509_get_subject_name(x509);
  const auto add = [&](const char* field, absl::string_view value) {
    Expect(X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
                                      reinterpret_cast<const unsigned char*>(value.data()),
                                      static_cast<int>(value.size()), -1, 0) == 1);
  };
  add("O", "Sluice Demo");
  if (host.size() <= kCommonNameOctetsMax) add("CN", host);
  Expect(X509_set_issuer_name(x509, name) == 1);
}

void AddExtension(X509* x509, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, x509, x509, nullptr, nullptr, 0);
  const UniqueExtension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  Expect(extension != nullptr);
  Expect(X509_add_ext(x509, extension.get(), -1) == 1);
}

UniqueX509 SelfSigned(EVP_PKEY* key, const std::string& host, WallTime now) {
  UniqueX509 x509(X509_new());
  Expect(x509 != nullptr);
  Expect(X509_set_version(x509.get(), X509_VERSION_3) == 1);
  SetSerial(x509.get());
  SetNames(x509.get(), host);
  const time_t begin = SecondsAt(now);
  Expect(X509_time_adj_ex(X509_getm_notBefore(x509.get()), -1, 0, const_cast<time_t*>(&begin)));
  Expect(X509_time_adj_ex(X509_getm_notAfter(x509.get()), kDays, 0, const_cast<time_t*>(&begin)));
  Expect(X509_set_pubkey(x509.get(), key) == 1);
  AddExtension(x509.get(), NID_basic_constraints, "critical,CA:FALSE");
  AddExtension(x509.get(), NID_key_usage, "critical,digitalSignature");
  AddExtension(x509.get(), NID_ext_key_usage, "serverAuth,clientAuth");
  AddExtension(x509.get(), NID_subject_alt_name, absl::StrCat("DNS:", host));
  AddExtension(x509.get(), NID_subject_key_identifier, "hash");
  Expect(X509_sign(x509.get(), key, EVP_sha256()) > 0);
  return x509;
}

}  // namespace

absl::StatusOr<DemoCertificate> MakeDemoCertificate(absl::string_view host_name, WallTime now) {
  const auto host = NormalizeDomain(host_name);
  if (!host.ok()) return host.status();
  if (IsAddressLiteral(*host)) {
    return absl::InvalidArgumentError("a demo certificate is for a domain name, not an address");
  }
  const UniqueKey key(EVP_EC_gen("P-256"));
  Expect(key != nullptr);
  const UniqueX509 x509 = SelfSigned(key.get(), *host, now);
  const UniqueBio certificate(BIO_new(BIO_s_mem()));
  const UniqueBio private_key(BIO_new(BIO_s_mem()));
  Expect(PEM_write_bio_X509(certificate.get(), x509.get()) == 1);
  Expect(PEM_write_bio_PKCS8PrivateKey(private_key.get(), key.get(), nullptr, nullptr, 0, nullptr,
                                       nullptr) == 1);
  return DemoCertificate{WrittenTo(certificate.get()), WrittenTo(private_key.get())};
}

}  // namespace sluice::tls
