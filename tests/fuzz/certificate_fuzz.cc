// Certificate chains against a second opinion: what our verdict accepts, GnuTLS accepts too, for
// the same trusted certificate, clock and name. A change to a signed certificate only shows that
// signatures are checked, so each is signed anew, with the key of its place, after it was changed.
//
// Explained, and so no finding (IsExplained): GnuTLS doesn't know some critical extensions that we
// hold to, and compares names octet by octet. And how the trusted certificate is written is not
// compared: the operator put it there, no peer can change it, and nobody looks at its signature.
//
// The input is certificates, each with its length in two octets before it: the peer's own first,
// the trusted one last (a single one is both). tests/tls/certificate_seeds writes the kept ones.
// Changes are made to the tree of DER, not to its octets, so that lengths fit.

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/check.h"
#include "tests/fuzz/der_tree.h"
#include "tests/tls/pem_words.h"
#include "tests/tls/slot_key.h"
#include "tls/anchors.h"
#include "tls/certificate.h"
#include "tls/path_search.h"
#include "tls/verify.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace sluice::fuzz {
namespace {

constexpr time_t kNow = 1782907200;  // 2026-07-01 12:00:00 UTC, as the kept inputs have it.
constexpr char kHost[] = "mx.example.net";
constexpr size_t kCertificatesMax = 8;

std::vector<std::string> Split(absl::string_view input) {
  std::vector<std::string> certificates;
  while (input.size() > 2 && certificates.size() < kCertificatesMax) {
    const size_t length = static_cast<uint8_t>(input[0]) << 8 | static_cast<uint8_t>(input[1]);
    input.remove_prefix(2);
    certificates.emplace_back(input.substr(0, length));
    input.remove_prefix(std::min(length, input.size()));
  }
  return certificates;
}

std::string Joined(const std::vector<std::string>& certificates) {
  std::string input;
  for (const std::string& der : certificates) {
    if (der.size() > 0xffff) continue;
    input.push_back(static_cast<char>(der.size() >> 8));
    input.push_back(static_cast<char>(der.size()));
    input += der;
  }
  return input;
}

// --- Signing anew.

std::string Signature(absl::string_view signed_part, int slot) {
  const tls::UniqueKey key = tls::SlotKey(slot);
  const std::unique_ptr<EVP_MD_CTX, tls::Freed<EVP_MD_CTX_free>> context(EVP_MD_CTX_new());
  std::string signature(64, '\0');
  size_t length = signature.size();
  CHECK(EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1);
  CHECK(EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &length,
                       reinterpret_cast<const unsigned char*>(signed_part.data()),
                       signed_part.size()) == 1);
  return signature;
}

// By the one above it, the last one by itself.
void SignAll(std::vector<std::string>& certificates) {
  for (size_t i = 0; i < certificates.size(); ++i) {
    std::vector<DerNode> nodes = ReadDer(certificates[i]);
    if (nodes.size() != 1 || nodes[0].children.size() != 3) continue;
    std::string signed_part;
    WriteDer(nodes[0].children[0], signed_part);
    const size_t signer = std::min(i + 1, certificates.size() - 1);
    const std::string signature = Signature(signed_part, static_cast<int>(signer));
    nodes[0].children[2] = {.tag = 0x03, .content = std::string(1, '\0') + signature};
    certificates[i].clear();
    WriteDer(nodes[0], certificates[i]);
  }
}

// --- The two opinions.

using Path = std::vector<std::string>;

std::string DerOf(const tls::Certificate& certificate) {
  unsigned char* der = nullptr;
  const int length = i2d_X509(certificate.x509(), &der);
  CHECK(length > 0);
  std::string text(reinterpret_cast<const char*>(der), static_cast<size_t>(length));
  OPENSSL_free(der);
  return text;
}

// The path by which we accept the peer, the trusted certificate last; empty where we don't.
Path AcceptedPath(const std::vector<std::string>& sent, const std::string& trusted) {
  const std::string pem = tls::PemOf(tls::BytesOf(trusted));
  const auto trust = tls::TrustStore::Parse(pem, "trusted.pem", 1);
  if (!trust.ok()) return {};
  tls::Chain chain;
  std::vector<tls::Certificate> certificates;
  for (const std::string& der : sent) {
    chain.push_back(tls::BytesOf(der));
    auto certificate = tls::Certificate::Parse(chain.back());
    if (certificate) certificates.push_back(*std::move(certificate));
  }
  const WallTime now{std::chrono::seconds(kNow)};
  const tls::Verdict verdict = tls::Judge(chain, {.domain = kHost}, *trust, now);
  CHECK(verdict.fault == tls::CertificateFault::kNone || !verdict.detail.empty());
  for (const char c : verdict.subject + verdict.detail) CHECK(c >= ' ' && c <= '~');
  if (!verdict.MeetsVerify()) return {};
  CHECK(certificates.size() == sent.size());
  const auto found = tls::PathSearch(certificates, trust->anchors(), kNow).Find();
  CHECK(!found.finding.Any());
  Path path;
  for (const tls::Certificate* certificate : found.path) path.push_back(DerOf(*certificate));
  return path;
}

// Frees what it holds.
class Gnutls {
 public:
  explicit Gnutls(const Path& path) {
    CHECK(gnutls_x509_trust_list_init(&trust_, 0) == 0);
    for (const std::string& der : path) {
      if (!import_error_.empty()) return;
      Import(der);
    }
  }
  ~Gnutls() {
    gnutls_x509_trust_list_deinit(trust_, 0);
    for (gnutls_x509_crt_t certificate : certificates_) gnutls_x509_crt_deinit(certificate);
  }

  const std::string& import_error() const { return import_error_; }
  size_t imported() const { return certificates_.size() - (import_error_.empty() ? 0 : 1); }

  // GNUTLS_CERT_… of the path; 0 is good.
  unsigned Status() {
    gnutls_x509_trust_list_add_cas(trust_, &certificates_.back(), 1, 0);
    gnutls_typed_vdata_st data[2] = {
        {GNUTLS_DT_DNS_HOSTNAME, Bytes(kHost), 0},
        {GNUTLS_DT_KEY_PURPOSE_OID, Bytes(GNUTLS_KP_TLS_WWW_SERVER), 0}};
    const size_t sent = std::max<size_t>(certificates_.size() - 1, 1);
    unsigned status = 0;
    const int code = gnutls_x509_trust_list_verify_crt2(
        trust_, certificates_.data(), static_cast<unsigned>(sent), data, 2,
        GNUTLS_PROFILE_TO_VFLAGS(GNUTLS_PROFILE_MEDIUM), &status, nullptr);
    CHECK(code == 0);
    return status;
  }

 private:
  static unsigned char* Bytes(const char* text) {
    return reinterpret_cast<unsigned char*>(const_cast<char*>(text));
  }

  void Import(const std::string& der) {
    gnutls_x509_crt_t certificate;
    CHECK(gnutls_x509_crt_init(&certificate) == 0);
    certificates_.push_back(certificate);
    const gnutls_datum_t datum{Bytes(der.data()), static_cast<unsigned>(der.size())};
    const int code = gnutls_x509_crt_import(certificate, &datum, GNUTLS_X509_FMT_DER);
    if (code != 0) import_error_ = gnutls_strerror(code);
  }

  gnutls_x509_trust_list_t trust_;
  std::vector<gnutls_x509_crt_t> certificates_;
  std::string import_error_;
};

std::string WordsOf(unsigned status) {
  gnutls_datum_t words{};
  gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &words, 0);
  std::string text(reinterpret_cast<char*>(words.data), words.size);
  gnutls_free(words.data);
  return text;
}

// --- Differences that are explained.

// Critical extensions that we hold to and GnuTLS doesn't know.
bool HoldsToMore(const std::string& der) {
  const auto certificate = tls::Certificate::Parse(tls::BytesOf(der));
  if (!certificate) return false;
  for (int i = 0; i < X509_get_ext_count(certificate->x509()); ++i) {
    X509_EXTENSION* extension = X509_get_ext(certificate->x509(), i);
    if (X509_EXTENSION_get_critical(extension) == 0) continue;
    char oid[80] = "";
    OBJ_obj2txt(oid, sizeof(oid), X509_EXTENSION_get_object(extension), 1);
    for (const char* known :
         {"2.5.29.31", "2.5.29.33", "2.5.29.36", "2.5.29.54", "1.3.6.1.4.1.311.21.10"}) {
      if (std::string(oid) == known) return true;
    }
  }
  return false;
}

std::string DerOf(const X509_NAME* name) {
  const unsigned char* der = nullptr;
  size_t length = 0;
  CHECK(X509_NAME_get0_der(name, &der, &length) == 1);
  return std::string(reinterpret_cast<const char*>(der), length);
}

// RFC 5280's appendix B asks readers for 20 arcs, each below 2^28: four octets of seven bits.
bool HasGiantOid(DerNode& root) {
  for (const DerNode* node : AllNodes(root)) {
    if (node->tag != 0x06) continue;
    int arcs = 1;  // The first octet holds two.
    int octets = 0;
    for (const char c : node->content) {
      if (++octets > 4) return true;
      if ((c & 0x80) != 0) continue;
      if (++arcs > 20) return true;
      octets = 0;
    }
  }
  return false;
}

bool HasGiantOids(const Path& path) {
  for (const std::string& der : path) {
    std::vector<DerNode> nodes = ReadDer(der);
    if (!nodes.empty() && HasGiantOid(nodes[0])) return true;
  }
  return false;
}

// RFC 5280 7.1 compares names without regard to case and blanks, GnuTLS octet by octet.
bool HasNamesInTwoSpellings(const Path& path) {
  for (size_t i = 0; i + 1 < path.size(); ++i) {
    const auto below = tls::Certificate::Parse(tls::BytesOf(path[i]));
    const auto above = tls::Certificate::Parse(tls::BytesOf(path[i + 1]));
    if (below && above && DerOf(below->issuer()) != DerOf(above->subject())) return true;
  }
  return false;
}

// A server's own certificate that is trusted as it is: GnuTLS wants it to be self-signed.
bool IsTrustedByItselfAlone(const Path& path) {
  const auto certificate = tls::Certificate::Parse(tls::BytesOf(path[0]));
  return path.size() == 1 && certificate &&
         X509_NAME_cmp(certificate->subject(), certificate->issuer()) != 0;
}

bool IsExplained(const Path& path, unsigned status) {
  if (IsTrustedByItselfAlone(path)) return true;
  if ((status & ~GNUTLS_CERT_INVALID) == GNUTLS_CERT_UNKNOWN_CRIT_EXTENSIONS) {
    return std::any_of(path.begin(), path.end(), HoldsToMore);
  }
  return (status & GNUTLS_CERT_SIGNER_NOT_FOUND) != 0 && HasNamesInTwoSpellings(path);
}

// --- Changes.

using Chance = std::minstd_rand;

size_t Below(Chance& chance, size_t bound) {
  return std::uniform_int_distribution<size_t>(0, bound - 1)(chance);
}

void ChangeContent(DerNode& node) {
  std::string content = node.content;
  for (const DerNode& child : node.children) WriteDer(child, content);
  const size_t size = content.size();
  content.resize(size + 32);
  content.resize(
      LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(content.data()), size, content.size()));
  node.children.clear();
  node.content = content;
}

void ChangeNode(DerNode& root, const std::string& donor, Chance& chance) {
  const std::vector<DerNode*> nodes = AllNodes(root);
  DerNode& node = *nodes[Below(chance, nodes.size())];
  switch (Below(chance, 6)) {
    case 0:
      if (node.children.empty()) return ChangeContent(node);
      node.children.erase(node.children.begin() +
                          static_cast<std::ptrdiff_t>(Below(chance, node.children.size())));
      return;
    case 1:
      if (node.children.empty()) return ChangeContent(node);
      node.children.push_back(node.children[Below(chance, node.children.size())]);
      return;
    case 2: {  // A part of another certificate.
      std::vector<DerNode> others = ReadDer(donor);
      if (others.empty()) return ChangeContent(node);
      const std::vector<DerNode*> parts = AllNodes(others[0]);
      const DerNode part = *parts[Below(chance, parts.size())];
      node = part;
      return;
    }
    case 3:
      node.tag = static_cast<uint8_t>(node.tag ^ (1U << Below(chance, 8)));
      return;
    default:
      return ChangeContent(node);
  }
}

void ChangeOne(std::vector<std::string>& certificates, Chance& chance) {
  const size_t at = Below(chance, certificates.size());
  const size_t other = Below(chance, certificates.size());
  switch (Below(chance, 16)) {
    case 0:
      std::swap(certificates[at], certificates[other]);
      return;
    case 1:
      if (certificates.size() < kCertificatesMax) certificates.push_back(certificates[at]);
      return;
    case 2:
      if (certificates.size() > 1)
        certificates.erase(certificates.begin() + static_cast<std::ptrdiff_t>(at));
      return;
    default:
      std::vector<DerNode> nodes = ReadDer(certificates[at]);
      if (nodes.size() != 1) return;
      ChangeNode(nodes[0], certificates[other], chance);
      certificates[at].clear();
      WriteDer(nodes[0], certificates[at]);
  }
}

time_t FixedTime(time_t* time) {
  if (time != nullptr) *time = kNow;
  return kNow;
}

}  // namespace
}  // namespace sluice::fuzz

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  using namespace sluice::fuzz;
  Chance chance(seed);
  std::vector<std::string> certificates =
      Split(absl::string_view(reinterpret_cast<const char*>(data), size));
  if (certificates.empty() || Below(chance, 32) == 0) return LLVMFuzzerMutate(data, size, max_size);
  const size_t changes = 1 + Below(chance, 3);
  for (size_t i = 0; i < changes; ++i) ChangeOne(certificates, chance);
  const std::string changed = Joined(certificates);
  if (changed.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::copy(changed.begin(), changed.end(), data);
  return changed.size();
}

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  gnutls_global_set_time_function(sluice::fuzz::FixedTime);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice::fuzz;
  std::vector<std::string> certificates =
      Split(absl::string_view(reinterpret_cast<const char*>(data), size));
  if (certificates.empty()) return 0;
  SignAll(certificates);
  const std::string trusted = certificates.back();
  if (certificates.size() > 1) certificates.pop_back();
  const Path path = AcceptedPath(certificates, trusted);
  if (path.empty()) return 0;

  Gnutls gnutls(path);
  if (!gnutls.import_error().empty()) {
    if (HasGiantOids(path) || gnutls.imported() + 1 == path.size()) return 0;
    std::fprintf(stderr, "accepted, but GnuTLS can't read it: %s\n", gnutls.import_error().c_str());
    std::abort();
  }
  const unsigned status = gnutls.Status();
  if (status != 0 && !IsExplained(path, status)) {
    std::fprintf(stderr, "accepted, but GnuTLS: %s\n", WordsOf(status).c_str());
    std::abort();
  }
  return 0;
}
