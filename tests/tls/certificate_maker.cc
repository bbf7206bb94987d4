#include "tests/tls/certificate_maker.h"

#include <openssl/ec.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "tests/tls/slot_key.h"

namespace sluice::tls {
namespace {

using UniqueExtension = std::unique_ptr<X509_EXTENSION, Freed<X509_EXTENSION_free>>;

EVP_PKEY* NewKey(absl::string_view kind) {
  if (kind == "p256") return EVP_EC_gen("P-256");
  if (kind == "p192") return EVP_EC_gen("prime192v1");
  if (kind == "p384") return EVP_EC_gen("P-384");
  if (kind == "p521") return EVP_EC_gen("P-521");
  if (kind == "rsa1024") return EVP_RSA_gen(1024);
  if (kind == "rsa2047") return EVP_RSA_gen(2047);
  if (kind == "rsa2048") return EVP_RSA_gen(2048);
  if (kind == "rsa2052") return EVP_RSA_gen(2052);
  if (kind == "rsa4096") return EVP_RSA_gen(4096);
  if (kind == "rsa4104") return EVP_RSA_gen(4104);
  if (kind == "ed25519") return EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
  CHECK(kind == "p256 with explicit parameters");
  EVP_PKEY* key = EVP_EC_gen("P-256");
  CHECK(EVP_PKEY_set_utf8_string_param(key, "encoding", "explicit") == 1);
  return key;
}

EVP_PKEY* KeyOf(const std::string& name) {
  static auto* keys = new std::map<std::string, UniqueKey>;
  UniqueKey& key = (*keys)[name];
  if (key == nullptr && absl::StartsWith(name, "slot:")) key = SlotKey(name.back() - '0');
  if (key == nullptr) key.reset(NewKey(name.substr(0, name.find(':'))));
  CHECK(key != nullptr);
  return key.get();
}

void SetSerial(X509* x509, const std::string& hexadecimal) {
  BIGNUM* number = nullptr;
  CHECK(BN_hex2bn(&number, hexadecimal.c_str()) > 0);
  CHECK(BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x509)) != nullptr);
  BN_free(number);
}

void SetName(X509_NAME* name, const std::string& text) {
  if (text.empty()) return;
  CHECK(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                   reinterpret_cast<const unsigned char*>(text.data()),
                                   static_cast<int>(text.size()), -1, 0) == 1);
}

void AddExtension(X509* x509, X509* issuer, const std::string& name, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, x509, nullptr, nullptr, 0);
  const UniqueExtension extension(
      X509V3_EXT_conf(nullptr, &context, name.c_str(), const_cast<char*>(value.c_str())));
  CHECK(extension != nullptr);
  CHECK(X509_add_ext(x509, extension.get(), -1) == 1);
}

std::vector<std::byte> DerOf(X509* x509) {
  unsigned char* der = nullptr;
  const int length = i2d_X509(x509, &der);
  CHECK(length > 0);
  const auto* begin = reinterpret_cast<const std::byte*>(der);
  std::vector<std::byte> bytes(begin, begin + length);
  OPENSSL_free(der);
  return bytes;
}

}  // namespace

Recipe Recipe::With(const std::string& extension, const std::string& value) const {
  Recipe recipe = Without(extension);
  recipe.extensions.emplace_back(extension, value);
  return recipe;
}

Recipe Recipe::Without(const std::string& extension) const {
  Recipe recipe = *this;
  std::erase_if(recipe.extensions, [&](const auto& one) { return one.first == extension; });
  return recipe;
}

Recipe Recipe::Key(const std::string& name) const {
  Recipe recipe = *this;
  recipe.key = name;
  return recipe;
}

Recipe Recipe::Dates(EpochSeconds begin, EpochSeconds end) const {
  Recipe recipe = *this;
  recipe.not_before = begin;
  recipe.not_after = end;
  return recipe;
}

Recipe CaRecipe(const std::string& name) {
  return {.name = name,
          .key = "p256:" + name,
          .extensions = {{"basicConstraints", "critical,CA:TRUE"},
                         {"keyUsage", "critical,keyCertSign,cRLSign"},
                         {"subjectKeyIdentifier", "hash"},
                         {"authorityKeyIdentifier", "keyid"}}};
}

Recipe LeafRecipe(const std::string& host) {
  return {.name = host,
          .key = "p256:leaf",
          .extensions = {{"basicConstraints", "critical,CA:FALSE"},
                         {"keyUsage", "critical,digitalSignature"},
                         {"extendedKeyUsage", "serverAuth"},
                         {"subjectAltName", "DNS:" + host},
                         {"subjectKeyIdentifier", "hash"},
                         {"authorityKeyIdentifier", "keyid"}}};
}

std::string Made::Pem() const {
  const UniqueBio bio(BIO_new(BIO_s_mem()));
  CHECK(PEM_write_bio_X509(bio.get(), x509.get()) == 1);
  return WrittenTo(bio.get());
}

Made Make(const Recipe& recipe, const Made* issuer) {
  static uint32_t serial = 0;
  Made made{.x509 = UniqueX509(X509_new()), .key = recipe.key, .der = {}};
  X509* const x509 = made.x509.get();
  X509* const signer = issuer != nullptr ? issuer->x509.get() : x509;
  CHECK(X509_set_version(x509, recipe.version - 1) == 1);
  SetSerial(x509, recipe.serial.empty() ? absl::StrCat(absl::Hex(++serial)) : recipe.serial);
  SetName(X509_get_subject_name(x509), recipe.name);
  CHECK(X509_set_issuer_name(x509, X509_get_subject_name(signer)) == 1);
  CHECK(ASN1_TIME_set(X509_getm_notBefore(x509), recipe.not_before) != nullptr);
  CHECK(ASN1_TIME_set(X509_getm_notAfter(x509), recipe.not_after) != nullptr);
  if (!recipe.not_after_octets.empty()) {
    CHECK(ASN1_STRING_set(X509_getm_notAfter(x509), recipe.not_after_octets.data(),
                          static_cast<int>(recipe.not_after_octets.size())) == 1);
  }
  CHECK(X509_set_pubkey(x509, KeyOf(recipe.key)) == 1);
  for (const auto& [name, value] : recipe.extensions) {
    // There is none to name in a self-signed one, or where the issuer has none.
    if (name == "authorityKeyIdentifier" &&
        (issuer == nullptr || X509_get0_subject_key_id(signer) == nullptr)) {
      continue;
    }
    AddExtension(x509, signer, name, value);
  }
  EVP_PKEY* const key = KeyOf(issuer != nullptr ? issuer->key : recipe.key);
  const bool hashes_itself = EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519;
  const EVP_MD* digest = hashes_itself ? nullptr : EVP_get_digestbyname(recipe.digest.c_str());
  CHECK(X509_sign(x509, key, digest) > 0);
  made.der = DerOf(x509);
  return made;
}

std::string KeyPem(const std::string& key) {
  const UniqueBio bio(BIO_new(BIO_s_mem()));
  CHECK(PEM_write_bio_PKCS8PrivateKey(bio.get(), KeyOf(key), nullptr, nullptr, 0, nullptr,
                                      nullptr) == 1);
  return WrittenTo(bio.get());
}

Made WithBadSignature(const Made& made) {
  Made bad{.x509 = nullptr, .key = made.key, .der = made.der};
  bad.der.back() ^= std::byte{1};  // The last octet of ECDSA's s.
  const auto* at = reinterpret_cast<const unsigned char*>(bad.der.data());
  bad.x509.reset(d2i_X509(nullptr, &at, static_cast<long>(bad.der.size())));
  CHECK(bad.x509 != nullptr);
  return bad;
}

Chain ChainOf(const std::vector<const Made*>& made) {
  Chain chain;
  for (const Made* one : made) chain.push_back(one->der);
  return chain;
}

TrustStore Trusting(const std::vector<const Made*>& made) {
  std::string pem;
  for (const Made* one : made) pem += one->Pem();
  auto store = TrustStore::Parse(pem, "test.pem", 1);
  CHECK(store.ok());
  return *std::move(store);
}

}  // namespace sluice::tls
