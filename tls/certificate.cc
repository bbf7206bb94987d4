#include "tls/certificate.h"

#include <algorithm>
#include <chrono>
#include <ctime>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "engine/base/check.h"
#include "tls/certificate_limits.h"

namespace sluice::tls {
namespace {

using UniqueNames = std::unique_ptr<GENERAL_NAMES, Freed<GENERAL_NAMES_free>>;

// RFC 5280 4.1.2.5: YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ, and nothing else. libcrypto's own reading
// also takes BER's leftovers, such as offsets and missing seconds.
std::optional<EpochSeconds> SecondsOf(const ASN1_TIME* time) {
  const size_t length = ASN1_STRING_type(time) == V_ASN1_UTCTIME ? 13 : 15;
  const absl::string_view text = OctetsOf(time);
  if (text.size() != length || text.back() != 'Z') return std::nullopt;
  for (const char c : text.substr(0, length - 1)) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(c))) return std::nullopt;
  }
  std::tm parts = {};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return std::nullopt;
  return timegm(&parts);
}

std::string DerOf(X509* x509) {
  unsigned char* der = nullptr;
  const int length = i2d_X509(x509, &der);
  std::string octets(reinterpret_cast<const char*>(der),
                     length > 0 ? static_cast<size_t>(length) : 0);
  OPENSSL_free(der);
  return octets;
}

// A name is a SEQUENCE of SETs of SEQUENCEs. libcrypto also reads one in which a tag lacks the bit
// for that, and keeps its octets, so that writing it again shows nothing.
bool IsName(absl::string_view der, absl::string_view tags = "\x30\x31\x30") {
  if (tags.empty()) return true;
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const unsigned char* const end = at + der.size();
  while (at != end) {
    if (*at != static_cast<unsigned char>(tags[0])) return false;
    long length = 0;
    int tag = 0;
    int kind = 0;
    if ((ASN1_get_object(&at, &length, &tag, &kind, end - at) & 0x80) != 0) return false;
    if (!IsName({reinterpret_cast<const char*>(at), static_cast<size_t>(length)}, tags.substr(1))) {
      return false;
    }
    at += length;
  }
  return true;
}

bool IsName(const X509_NAME* name) {
  const unsigned char* der = nullptr;
  size_t length = 0;
  return X509_NAME_get0_der(name, &der, &length) == 1 &&
         IsName(absl::string_view(reinterpret_cast<const char*>(der), length));
}

// Whether `x509`, which was read from `der`, is written the same again. What isn't was not DER (RFC
// 5280 4.1), and another reader, such as the TLS library that takes the key from it, might see
// another certificate in it.
bool IsCanonical(X509* x509, absl::string_view der) {
  if (!IsName(X509_get_subject_name(x509)) || !IsName(X509_get_issuer_name(x509))) return false;
  // It forgets the octets that it was read from, for good: they are the same, or it isn't used.
  return i2d_re_X509_tbs(x509, nullptr) > 0 && DerOf(x509) == der;
}

// The last common name: the most specific, as names are written from the root down.
std::string CommonName(const X509_NAME* subject) {
  int last = -1;
  for (int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1); at >= 0;
       at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) {
    last = at;
  }
  if (last < 0) return "";
  unsigned char* utf8 = nullptr;
  const int length =
      ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, last)));
  if (length < 0) return "";
  std::string name(reinterpret_cast<const char*>(utf8), static_cast<size_t>(length));
  OPENSSL_free(utf8);
  return name;
}

}  // namespace

std::optional<Certificate> Certificate::Parse(std::span<const std::byte> der) {
  const absl::string_view octets(reinterpret_cast<const char*>(der.data()), der.size());
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  UniqueX509 x509(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  const bool good = x509 != nullptr && IsCanonical(x509.get(), octets);
  TakeLibcryptoError();
  if (!good) return std::nullopt;
  return Certificate(std::move(x509));
}

Certificate::Certificate(UniqueX509 x509) : x509_(std::move(x509)) {
  CHECK(x509_ != nullptr);
  X509_check_purpose(x509_.get(), -1, 0);  // Reads the extensions now, while no other thread looks.
  TakeLibcryptoError();
  not_before_ = SecondsOf(X509_get0_notBefore(x509_.get()));
  not_after_ = SecondsOf(X509_get0_notAfter(x509_.get()));
}

std::string Certificate::NameText(const X509_NAME* name) {
  const UniqueBio bio(BIO_new(BIO_s_mem()));
  CHECK(bio != nullptr);
  X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253);
  std::string text = WrittenTo(bio.get());
  if (text.size() > limits::kSubjectBytesMax) text.resize(limits::kSubjectBytesMax);
  for (char& c : text) {
    if (!absl::ascii_isprint(static_cast<unsigned char>(c))) c = '?';
  }
  return text;
}

PresentedNames Certificate::Names() const {
  PresentedNames names;
  names.has_alternative_names = X509_get_ext_by_NID(x509(), NID_subject_alt_name, -1) >= 0;
  names.common_name = CommonName(subject());
  const UniqueNames alternative(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(x509(), NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; i < sk_GENERAL_NAME_num(alternative.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(alternative.get(), i);
    if (name->type == GEN_DNS) names.dns.emplace_back(OctetsOf(name->d.dNSName));
    if (name->type == GEN_IPADD) names.addresses.emplace_back(OctetsOf(name->d.iPAddress));
  }
  return names;
}

bool Certificate::operator==(const Certificate& other) const {
  return DerOf(x509()) == DerOf(other.x509());
}

EpochSeconds SecondsAt(WallTime time) {
  return std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count();
}

WallTime EndOf(EpochSeconds time) {
  constexpr EpochSeconds kLast = std::chrono::floor<std::chrono::seconds>(Duration::max()).count();
  constexpr EpochSeconds kFirst = std::chrono::ceil<std::chrono::seconds>(Duration::min()).count();
  if (time >= kLast) return WallTime::max();
  return WallTime(std::chrono::seconds(std::max(time, kFirst) + 1));
}

std::string TimeText(EpochSeconds time) {
  std::tm parts = {};
  gmtime_r(&time, &parts);
  return absl::StrFormat("%04d-%02d-%02d %02d:%02d:%02d UTC", parts.tm_year + 1900,
                         parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min,
                         parts.tm_sec);
}

}  // namespace sluice::tls
