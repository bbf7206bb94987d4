// NIST PKITS: a folder of certificates; the answer stands in the file name of the end entity. The
// path is found by name among all CA certificates, as a peer would have sent them.

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <set>

#include "absl/strings/match.h"
#include "tests/tls/pem_words.h"
#include "tests/tls/vector_case.h"
#include "tls/certificate.h"

namespace sluice::tls {
namespace {

namespace files = std::filesystem;

struct Named {
  std::string name;
  std::vector<std::byte> der;
  Certificate certificate;
};

constexpr absl::string_view kEndEntity = "EE";
constexpr absl::string_view kRoot = "TrustAnchorRootCertificate";

// Invalid only by what a revocation list says, or by the lack of one (sections 4.4, 4.14, 4.15, and
// what of 4.5 and 4.7 is about their signers).
bool IsByRevocation(const std::string& name) {
  static constexpr std::array kWords = {"CRL",
                                        "cRL",
                                        "Revoked",
                                        "deltaCRL",
                                        "distribution",
                                        "onlyContains",
                                        "onlySomeReasons",
                                        "LongSerialNumberTest18",
                                        "SerialNumberTest15",
                                        "NewWithOldTest5",
                                        "OldWithNewTest2"};
  return std::any_of(kWords.begin(), kWords.end(),
                     [&](const char* word) { return absl::StrContains(name, word); });
}

// All CA certificates from which a path upward could be made.
Chain ChainOf(const Named& leaf, const std::vector<Named>& certificates) {
  Chain chain = {leaf.der};
  std::vector<const Certificate*> open = {&leaf.certificate};
  std::set<std::string> taken = {std::string(kRoot)};
  while (!open.empty()) {
    const Certificate* below = open.back();
    open.pop_back();
    for (const Named& issuer : certificates) {
      if (absl::EndsWith(issuer.name, kEndEntity)) continue;
      if (X509_NAME_cmp(issuer.certificate.subject(), below->issuer()) != 0) continue;
      if (!taken.insert(issuer.name).second) continue;
      chain.push_back(issuer.der);
      open.push_back(&issuer.certificate);
    }
  }
  return chain;
}

}  // namespace

std::vector<VectorCase> ReadPkits(const std::string& folder) {
  std::vector<Named> certificates;
  if (!files::exists(folder)) return {};
  for (const auto& entry : files::directory_iterator(folder + "/certs")) {
    auto der = BytesOf(FileText(entry.path()));
    auto certificate = Certificate::Parse(der);
    if (!certificate) continue;
    certificates.push_back({entry.path().stem(), std::move(der), *std::move(certificate)});
  }
  std::sort(certificates.begin(), certificates.end(),
            [](const Named& a, const Named& b) { return a.name < b.name; });
  const auto root = std::find_if(certificates.begin(), certificates.end(),
                                 [](const Named& named) { return named.name == kRoot; });
  CHECK(root != certificates.end());

  std::vector<VectorCase> cases;
  for (const Named& named : certificates) {
    if (!absl::EndsWith(named.name, kEndEntity)) continue;
    const bool invalid = absl::StartsWith(named.name, "Invalid");
    VectorCase vector{.suite = "pkits",
                      .id = named.name,
                      .chain = ChainOf(named, certificates),
                      .anchors_pem = PemOf(root->der),
                      .now = WallTime(std::chrono::seconds(1600000000)),  // 2020-09-13.
                      .expected = absl::StartsWith(named.name, "Valid")};
    if (!invalid && !vector.expected) {
      vector.not_applicable = "the answer depends on the policies asked for, and we ask for none";
    }
    if (invalid && IsByRevocation(named.name)) {
      vector.not_applicable = "invalid by revocation only, which is not looked at";
    }
    cases.push_back(std::move(vector));
  }
  return cases;
}

}  // namespace sluice::tls
