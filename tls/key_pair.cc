#include "tls/key_pair.h"

#include <openssl/pem.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "tls/certificate.h"
#include "tls/certificate_limits.h"
#include "tls/pem_file.h"

namespace sluice::tls {
namespace {

constexpr size_t kOwnChainMax = 10;  // No peer looks further; a longer file is something else.

std::string PemOf(const std::vector<UniqueX509>& chain) {
  const UniqueBio bio(BIO_new(BIO_s_mem()));
  for (const UniqueX509& x509 : chain) CHECK(PEM_write_bio_X509(bio.get(), x509.get()) == 1);
  return WrittenTo(bio.get());
}

// Empty where the key is of a kind that PKCS #8 has no form for.
std::string PemOf(EVP_PKEY* key) {
  const UniqueBio bio(BIO_new(BIO_s_mem()));
  const int written =
      PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  TakeLibcryptoError();
  return written == 1 ? WrittenTo(bio.get()) : "";
}

std::string DateFault(const Certificate& own, EpochSeconds now) {
  if (!own.not_before() || !own.not_after()) return "the certificate's dates can't be read";
  if (now < *own.not_before()) {
    return absl::StrCat("the certificate isn't valid before ", TimeText(*own.not_before()));
  }
  if (now > *own.not_after()) {
    return absl::StrCat("the certificate expired on ", TimeText(*own.not_after()));
  }
  return "";
}

}  // namespace

absl::StatusOr<KeyPair> LoadKeyPair(const std::string& certificate_file,
                                    const std::string& key_file, WallTime now) {
  const auto certificates = ReadPemFile(certificate_file, limits::kKeyFileBytesMax);
  if (!certificates.ok()) return certificates.status();
  const auto key = ReadPemFile(key_file, limits::kKeyFileBytesMax);
  if (!key.ok()) return key.status();
  return ReadKeyPair({certificate_file, *certificates}, {key_file, *key}, now);
}

absl::StatusOr<KeyPair> ReadKeyPair(PemText certificates, PemText key, WallTime now) {
  auto chain = ReadPemCertificates(certificates.text, certificates.name, kOwnChainMax);
  if (!chain.ok()) return chain.status();
  const auto private_key = ReadPemKey(key.text, key.name);
  if (!private_key.ok()) return private_key.status();
  if (X509_check_private_key(chain->front().get(), private_key->get()) != 1) {
    TakeLibcryptoError();
    return FileRefused(key.name, absl::StrCat("the key isn't that of the first certificate of ",
                                              certificates.name));
  }

  KeyPair pair{.chain_pem = PemOf(*chain), .key_pem = PemOf(private_key->get())};
  if (pair.key_pem.empty()) return FileRefused(key.name, "the key is of a kind that isn't used");
  const Certificate own(std::move(chain->front()));
  const std::string date_fault = DateFault(own, SecondsAt(now));
  if (!date_fault.empty()) return FileRefused(certificates.name, date_fault);
  pair.subject = own.Subject();
  pair.not_after = EndOf(*own.not_after());
  return pair;
}

}  // namespace sluice::tls
