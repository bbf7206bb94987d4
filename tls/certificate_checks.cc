#include "tls/certificate_checks.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/objects.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tls/certificate_limits.h"

namespace sluice::tls {
namespace {

// NIST SP 800-57: what RSA of 2048 bits and SHA-224 are worth.
constexpr int kSecurityBitsMin = 112;

// RFC 5280 4.1.2.2.
constexpr int kSerialOctetsMax = 20;

// For people; a long one is cut.
std::string OidOf(const ASN1_OBJECT* object) {
  char text[80] = "";
  OBJ_obj2txt(text, sizeof(text), object, 1);
  return text;
}

// --- Dates.

Finding CheckDates(const Certificate& certificate, EpochSeconds now) {
  const auto not_before = certificate.not_before();
  const auto not_after = certificate.not_after();
  if (!not_before || !not_after) {
    return FoundIn(certificate, CertificateFault::kMalformed, "its dates can't be read");
  }
  if (now < *not_before) {
    return FoundIn(certificate, CertificateFault::kNotYetValid,
                   absl::StrCat("not valid before ", TimeText(*not_before)));
  }
  if (now > *not_after) {
    return FoundIn(certificate, CertificateFault::kExpired,
                   absl::StrCat("expired on ", TimeText(*not_after)));
  }
  return {};
}

// --- Extensions.

// Those whose content is read, here or by libcrypto; read wrongly, they would be read as absent.
bool IsRead(int nid) {
  switch (nid) {
    case NID_authority_key_identifier:
    case NID_subject_key_identifier:
    case NID_key_usage:
    case NID_certificate_policies:
    case NID_policy_mappings:
    case NID_subject_alt_name:
    case NID_basic_constraints:
    case NID_name_constraints:
    case NID_policy_constraints:
    case NID_ext_key_usage:
    case NID_crl_distribution_points:
    case NID_inhibit_any_policy:
    case NID_info_access:
      return true;
    default:
      return false;
  }
}

using UniquePolicies = std::unique_ptr<CERTIFICATEPOLICIES, Freed<CERTIFICATEPOLICIES_free>>;

// Null where it has none; those that can't be read were refused before.
UniquePolicies PoliciesOf(const Certificate& certificate) {
  return UniquePolicies(static_cast<CERTIFICATEPOLICIES*>(
      X509_get_ext_d2i(certificate.x509(), NID_certificate_policies, nullptr, nullptr)));
}

// RFC 5280 4.2.1.4: where policies are critical, so are their qualifiers.
bool HasUnknownQualifier(const Certificate& certificate) {
  const auto policies = PoliciesOf(certificate);
  for (int i = 0; i < sk_POLICYINFO_num(policies.get()); ++i) {
    const auto* qualifiers = sk_POLICYINFO_value(policies.get(), i)->qualifiers;
    for (int j = 0; j < sk_POLICYQUALINFO_num(qualifiers); ++j) {
      const int nid = OBJ_obj2nid(sk_POLICYQUALINFO_value(qualifiers, j)->pqualid);
      if (nid != NID_id_qt_cps && nid != NID_id_qt_unotice) return true;
    }
  }
  return false;
}

// What a critical extension may be: its restriction is held to, or can't bear on a mail server.
// CRL distribution points say where revocations are, and none are fetched. Microsoft's application
// policies repeat the extended key usage, where that stands beside them.
bool IsHeldTo(int nid, const Certificate& certificate, const std::string& oid) {
  switch (nid) {
    case NID_certificate_policies:
      return !HasUnknownQualifier(certificate);
    case NID_key_usage:
    case NID_policy_mappings:
    case NID_subject_alt_name:
    case NID_basic_constraints:
    case NID_name_constraints:
    case NID_policy_constraints:
    case NID_ext_key_usage:
    case NID_crl_distribution_points:
    case NID_inhibit_any_policy:
      return true;
    default:
      return oid == "1.3.6.1.4.1.311.21.10" &&
             X509_get_ext_by_NID(certificate.x509(), NID_ext_key_usage, -1) >= 0;
  }
}

// libcrypto reads what stands in front and passes over the rest.
bool IsOneValue(X509_EXTENSION* extension) {
  const ASN1_OCTET_STRING* value = X509_EXTENSION_get_data(extension);
  const unsigned char* at = ASN1_STRING_get0_data(value);
  const unsigned char* const end = at + ASN1_STRING_length(value);
  long length = 0;
  int tag = 0;
  int kind = 0;
  const int read = ASN1_get_object(&at, &length, &tag, &kind, end - at);
  TakeLibcryptoError();
  return (read & 0x81) == 0 && at + length == end;  // Neither an error nor of indefinite length.
}

// RFC 5280 4.2.1.3 names nine bits; libcrypto looks at the first two octets.
constexpr int kKeyUsageOctetsMax = 2;

// Whether `content`, which was read from `extension`, is written the same again. What isn't was not
// DER (RFC 5280 4.1), and another reader might see something else in it: libcrypto also reads a
// sequence whose tag says that it is none, and a name in pieces. A FALSE that should have been left
// out is in wide use in basicConstraints.
bool IsCanonical(X509_EXTENSION* extension, const void* content, const ASN1_ITEM* item) {
  constexpr absl::string_view kNoCa("\x30\x03\x01\x01\x00", 5);
  const absl::string_view read = OctetsOf(X509_EXTENSION_get_data(extension));
  unsigned char* der = nullptr;
  const int length = ASN1_item_i2d(static_cast<const ASN1_VALUE*>(content), &der, item);
  const bool same = length > 0 && read == absl::string_view(reinterpret_cast<const char*>(der),
                                                            static_cast<size_t>(length));
  OPENSSL_free(der);
  return same || (item == ASN1_ITEM_rptr(BASIC_CONSTRAINTS) && read == kNoCa);
}

bool Parses(X509_EXTENSION* extension, int nid) {
  if (!IsOneValue(extension)) return false;
  const ASN1_ITEM* item = ASN1_ITEM_ptr(X509V3_EXT_get_nid(nid)->it);
  void* content = X509V3_EXT_d2i(extension);
  TakeLibcryptoError();
  if (content == nullptr) return false;
  const bool canonical = IsCanonical(extension, content, item);
  const bool too_long =
      nid == NID_key_usage &&
      ASN1_STRING_length(static_cast<ASN1_BIT_STRING*>(content)) > kKeyUsageOctetsMax;
  const bool empty = nid == NID_info_access &&
                     sk_ACCESS_DESCRIPTION_num(static_cast<AUTHORITY_INFO_ACCESS*>(content)) == 0;
  ASN1_item_free(static_cast<ASN1_VALUE*>(content), item);
  return canonical && !empty && !too_long;
}

Finding CheckExtensions(const Certificate& certificate) {
  X509* const x509 = certificate.x509();
  std::set<absl::string_view> seen;
  for (int i = 0; i < X509_get_ext_count(x509); ++i) {
    X509_EXTENSION* extension = X509_get_ext(x509, i);
    const int nid = OBJ_obj2nid(X509_EXTENSION_get_object(extension));
    const std::string oid = OidOf(X509_EXTENSION_get_object(extension));
    if (!seen.insert(OctetsOf(X509_EXTENSION_get_object(extension))).second) {
      return FoundIn(certificate, CertificateFault::kMalformed,
                     absl::StrCat("extension ", oid, " stands twice"));
    }
    if (IsRead(nid) && !Parses(extension, nid)) {
      return FoundIn(certificate, CertificateFault::kMalformed,
                     absl::StrCat("extension ", oid, " can't be read"));
    }
    if (X509_EXTENSION_get_critical(extension) != 0 && !IsHeldTo(nid, certificate, oid)) {
      return FoundIn(certificate, CertificateFault::kBadChain,
                     absl::StrCat("critical extension ", oid, " isn't known"));
    }
  }
  if ((X509_get_extension_flags(x509) & EXFLAG_INVALID) != 0) {
    return FoundIn(certificate, CertificateFault::kMalformed, "its extensions can't be read");
  }
  return {};
}

// --- Keys and signatures.

const char* RsaFault(EVP_PKEY* key) {
  const int bits = EVP_PKEY_get_bits(key);
  if (bits < limits::kRsaBitsMin) return "RSA key below 2048 bits";
  if (bits > limits::kRsaBitsMax) return "RSA key over 8192 bits";
  if (bits % 8 != 0) return "RSA key not of whole octets";
  BIGNUM* exponent = nullptr;
  if (EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &exponent) != 1)
    return "RSA key unreadable";
  // With an exponent of 1 anybody signs; an even one has no inverse.
  const bool sound = BN_is_odd(exponent) && !BN_is_one(exponent) && BN_num_bits(exponent) <= 64;
  BN_free(exponent);
  return sound ? nullptr : "RSA key with an unsound exponent";
}

const char* CurveFault(EVP_PKEY* key) {
  int is_explicit = 0;
  EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &is_explicit);
  char name[40] = "";
  size_t length = 0;
  if (is_explicit != 0 || EVP_PKEY_get_group_name(key, name, sizeof(name), &length) != 1) {
    return "curve without a name (RFC 5480 2.1.1)";
  }
  switch (OBJ_sn2nid(name)) {  // RFC 8422 and RFC 8734.
    case NID_X9_62_prime256v1:
    case NID_secp384r1:
    case NID_secp521r1:
    case NID_brainpoolP256r1:
    case NID_brainpoolP384r1:
    case NID_brainpoolP512r1:
      return nullptr;
    default:
      return "curve not used in TLS";
  }
}

const char* KeyFault(EVP_PKEY* key) {
  if (key == nullptr) return "key unreadable";
  switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
    case EVP_PKEY_RSA_PSS:
      return RsaFault(key);
    case EVP_PKEY_EC:
      return CurveFault(key);
    case EVP_PKEY_ED25519:
    case EVP_PKEY_ED448:
      return nullptr;
    default:
      return "key of a kind not used in TLS";
  }
}

Finding CheckStrength(const Certificate& certificate, Place place) {
  X509* const x509 = certificate.x509();
  const char* key_fault = KeyFault(X509_get0_pubkey(x509));
  TakeLibcryptoError();
  if (key_fault != nullptr) return FoundIn(certificate, CertificateFault::kWeakKey, key_fault);
  int digest = NID_undef;
  int security_bits = 0;
  const int known = X509_get_signature_info(x509, &digest, nullptr, &security_bits, nullptr);
  if (!place.trusted && (known != 1 || security_bits < kSecurityBitsMin)) {
    return FoundIn(certificate, CertificateFault::kWeakKey,
                   absl::StrCat("signed with ", OBJ_nid2sn(X509_get_signature_nid(x509))));
  }
  return {};
}

// --- What it may do.

// RFC 5280 4.2.1.12 and 4.2.1.3.
bool MayServe(const Certificate& certificate) {
  EXTENDED_KEY_USAGE* usages = static_cast<EXTENDED_KEY_USAGE*>(
      X509_get_ext_d2i(certificate.x509(), NID_ext_key_usage, nullptr, nullptr));
  if (usages == nullptr) return true;  // Absent: one that can't be read was refused before.
  bool may = false;
  for (int i = 0; i < sk_ASN1_OBJECT_num(usages); ++i) {
    const int nid = OBJ_obj2nid(sk_ASN1_OBJECT_value(usages, i));
    may |= nid == NID_server_auth || nid == NID_anyExtendedKeyUsage;
  }
  EXTENDED_KEY_USAGE_free(usages);
  return may;
}

Finding CheckIssuer(const Certificate& certificate) {
  X509* const x509 = certificate.x509();
  if ((X509_get_extension_flags(x509) & EXFLAG_CA) == 0) {
    return FoundIn(certificate, CertificateFault::kBadChain, "not a CA (basicConstraints)");
  }
  // Without the extension the answer has every bit.
  if ((X509_get_key_usage(x509) & KU_KEY_CERT_SIGN) == 0) {
    return FoundIn(certificate, CertificateFault::kBadChain,
                   "may not sign certificates (keyUsage)");
  }
  return {};
}

// RFC 4632: ones, and then zeros.
bool IsMask(const unsigned char* mask, int octets) {
  bool ended = false;
  for (int bit = 0; bit < 8 * octets; ++bit) {
    const bool one = (mask[bit / 8] >> (7 - bit % 8) & 1) != 0;
    if (one && ended) return false;
    ended |= !one;
  }
  return true;
}

// A base that is spelled otherwise than names are would constrain nothing. A first dot is in wide
// use (names below only), and the empty base is all names.
bool IsBase(const GENERAL_NAME* base) {
  if (base->type == GEN_IPADD) {
    const int octets = ASN1_STRING_length(base->d.iPAddress) / 2;
    return IsMask(ASN1_STRING_get0_data(base->d.iPAddress) + octets, octets);
  }
  if (base->type != GEN_DNS) return true;
  absl::string_view name = OctetsOf(base->d.dNSName);
  if (name.empty()) return true;
  absl::ConsumePrefix(&name, ".");
  return IsPlainDnsId(name) && name.front() != '*';
}

bool HaveBases(const STACK_OF(GENERAL_SUBTREE) * subtrees) {
  for (int i = 0; i < sk_GENERAL_SUBTREE_num(subtrees); ++i) {
    if (!IsBase(sk_GENERAL_SUBTREE_value(subtrees, i)->base)) return false;
  }
  return true;
}

// RFC 5280 4.2.1.10: only in a CA, never empty, and of names and networks.
Finding CheckNameConstraints(const Certificate& certificate) {
  const UniqueConstraints constraints(static_cast<NAME_CONSTRAINTS*>(
      X509_get_ext_d2i(certificate.x509(), NID_name_constraints, nullptr, nullptr)));
  if (constraints == nullptr) return {};
  if ((X509_get_extension_flags(certificate.x509()) & EXFLAG_CA) == 0) {
    return FoundIn(certificate, CertificateFault::kBadChain, "name constraints, but not a CA");
  }
  if (sk_GENERAL_SUBTREE_num(constraints->permittedSubtrees) <= 0 &&
      sk_GENERAL_SUBTREE_num(constraints->excludedSubtrees) <= 0) {
    return FoundIn(certificate, CertificateFault::kBadChain, "empty name constraints");
  }
  if (!HaveBases(constraints->permittedSubtrees) || !HaveBases(constraints->excludedSubtrees)) {
    return FoundIn(certificate, CertificateFault::kBadChain,
                   "name constraints of what is no name or network");
  }
  return {};
}

// RFC 5280 4.2.1.4: one at least, and each once. Constraints without policies could only end in no
// valid policy. libcrypto 3.0 loses memory over all of these, at each look, where constraints stand
// beside them.
Finding CheckPolicies(const Certificate& certificate) {
  const auto policies = PoliciesOf(certificate);
  if (policies == nullptr) {
    if (X509_get_ext_by_NID(certificate.x509(), NID_policy_constraints, -1) < 0) return {};
    return FoundIn(certificate, CertificateFault::kBadChain, "policy constraints without policies");
  }
  std::set<absl::string_view> seen;
  for (int i = 0; i < sk_POLICYINFO_num(policies.get()); ++i) {
    seen.insert(OctetsOf(sk_POLICYINFO_value(policies.get(), i)->policyid));
  }
  if (!seen.empty() && static_cast<int>(seen.size()) == sk_POLICYINFO_num(policies.get())) {
    return {};
  }
  return FoundIn(certificate, CertificateFault::kMalformed,
                 seen.empty() ? "policies, and none among them" : "a policy stands twice");
}

Finding CheckForm(const Certificate& certificate) {
  X509* const x509 = certificate.x509();
  if (X509_get_version(x509) != X509_VERSION_3) {
    return FoundIn(certificate, CertificateFault::kBadChain, "not of version 3");
  }
  if (X509_NAME_entry_count(certificate.issuer()) == 0) {
    return FoundIn(certificate, CertificateFault::kBadChain, "an issuer without a name");
  }
  if (ASN1_STRING_length(X509_get0_serialNumber(x509)) > kSerialOctetsMax) {
    return FoundIn(certificate, CertificateFault::kMalformed, "serial number over 20 octets");
  }
  return {};
}

}  // namespace

Finding CheckCertificate(const Certificate& certificate, Place place, EpochSeconds now) {
  Finding finding = CheckForm(certificate);
  if (!finding.Any()) finding = CheckExtensions(certificate);
  if (!finding.Any()) finding = CheckDates(certificate, now);
  if (!finding.Any()) finding = CheckStrength(certificate, place);
  if (!finding.Any() && place.issues) finding = CheckIssuer(certificate);
  if (!finding.Any() && !MayServe(certificate)) {
    finding =
        FoundIn(certificate, CertificateFault::kBadChain, "not for TLS servers (extendedKeyUsage)");
  }
  if (!finding.Any()) finding = CheckNameConstraints(certificate);
  if (!finding.Any() && !place.trusted) finding = CheckPolicies(certificate);
  return finding;
}

}  // namespace sluice::tls
