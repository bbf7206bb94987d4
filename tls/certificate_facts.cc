#include "tls/certificate_facts.h"

#include <openssl/objects.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/base/ip_address.h"
#include "engine/base/printable.h"
#include "tls/certificate.h"

namespace sluice::tls {
namespace {

std::string AddressText(const std::string& octets) {
  IpAddress address;
  if (octets.size() != 4 && octets.size() != 16) return "unreadable";
  address.family = octets.size() == 4 ? Family::kIpv4 : Family::kIpv6;
  std::memcpy(address.bytes.data(), octets.data(), octets.size());
  return address.ToString();
}

std::string DateText(std::optional<EpochSeconds> time) {
  return time ? TimeText(*time) : "unreadable";
}

std::string KeyText(X509* x509) {
  const EVP_PKEY* key = X509_get0_pubkey(x509);
  if (key == nullptr) return "unreadable";
  const char* kind = EVP_PKEY_get0_type_name(key);
  return absl::StrCat(kind == nullptr ? "key" : kind, " ", EVP_PKEY_get_bits(key));
}

}  // namespace

std::optional<CertificateFacts> FactsOf(std::span<const std::byte> der) {
  const std::optional<Certificate> certificate = Certificate::Parse(der);
  if (!certificate) return std::nullopt;
  CertificateFacts facts = {.subject = certificate->Subject(),
                            .issuer = Certificate::NameText(certificate->issuer()),
                            .not_before = DateText(certificate->not_before()),
                            .not_after = DateText(certificate->not_after())};
  const PresentedNames names = certificate->Names();
  for (const std::string& name : names.dns) facts.names.push_back(Printable(name));
  for (const std::string& octets : names.addresses) facts.names.push_back(AddressText(octets));
  facts.key = KeyText(certificate->x509());
  const char* signature = OBJ_nid2ln(X509_get_signature_nid(certificate->x509()));
  facts.signature = signature == nullptr ? "unknown" : signature;
  TakeLibcryptoError();
  return facts;
}

}  // namespace sluice::tls
