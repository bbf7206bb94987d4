// BoringSSL's (Chromium's) chains: a text of keys and values a case, beside a PEM file of the chain
// whose last certificate is or isn't trusted, in some meaning of the word.
//
// Ours: a trusted certificate is held to its own dates and constraints, but not to its policies
// (they are no part of the path, RFC 5280 6.1); it must be a CA where it issues, and may be the
// peer's own. Of the cases that differ only in the meaning (same chain, clock and purpose), the
// strictest is ours; of those about policies, the plainest.

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/civil_time.h"
#include "tests/tls/pem_words.h"
#include "tests/tls/vector_case.h"

namespace sluice::tls {
namespace {

namespace files = std::filesystem;

struct BoringCase {
  VectorCase vector;
  std::string trust;
  std::string question;  // What it has in common with those that differ in the meaning.
};

// How near to our meaning.
int NearnessOf(const BoringCase& boring) {
  const bool constrained = absl::StrContains(boring.trust, "WITH_CONSTRAINTS") ||
                           absl::StrContains(boring.trust, "AND_CONSTRAINTS");
  if (absl::StartsWith(boring.vector.id, "polic")) return constrained ? 0 : 1;
  return (constrained ? 1 : 0) + (absl::StrContains(boring.trust, "EXPIRATION") ? 1 : 0) +
         (absl::StrContains(boring.trust, "REQUIRE_BASIC_CONSTRAINTS") ? 1 : 0);
}

std::map<std::string, std::string> ValuesOf(absl::string_view text) {
  std::map<std::string, std::string> values;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::pair<absl::string_view, absl::string_view> pair =
        absl::StrSplit(line, absl::MaxSplits(": ", 1));
    values.emplace(absl::StripSuffix(pair.first, ":"), pair.second);
  }
  return values;
}

WallTime TimeOf(const std::string& text) {
  if (text == "DEFAULT") return WallTime(std::chrono::seconds(1633435200));  // 2021-10-05 12:00.
  CHECK(text.size() == 13);                                                  // YYMMDDHHMMSSZ
  const auto two = [&](size_t at) { return std::stoi(text.substr(at, 2)); };
  const absl::CivilSecond time(2000 + two(0), two(2), two(4), two(6), two(8), two(10));
  return WallTime(std::chrono::seconds(time - absl::CivilSecond(1970, 1, 1)));
}

bool TrustsLast(absl::string_view trust, size_t certificates) {
  if (absl::StartsWith(trust, "TRUSTED_LEAF")) return certificates == 1;
  return absl::StartsWith(trust, "TRUSTED_ANCHOR");
}

std::string WhyNot(const std::map<std::string, std::string>& values, size_t certificates) {
  const std::string& purpose = values.at("key_purpose");
  const std::string& trust = values.at("last_cert_trust");
  if (absl::StartsWith(purpose, "SERVER_AUTH_STRICT")) return "a stricter purpose than ours";
  if (purpose != "SERVER_AUTH") return "a purpose other than servers";
  if (trust == "TRUSTED_LEAF_REQUIRE_SELF_SIGNED") return "another meaning of trust";
  if (trust == "TRUSTED_ANCHOR" && certificates == 1) return "another meaning of trust";
  return "";
}

BoringCase CaseOf(const files::path& file, const files::path& folder,
                  const std::string& stranger_pem) {
  const std::string text = FileText(file);
  const auto values = ValuesOf(text);
  const std::string chain = FileText(file.parent_path() / values.at("chain"));
  BoringCase boring{.trust = values.at("last_cert_trust")};
  VectorCase& vector = boring.vector;
  vector.suite = "boringssl";
  vector.id = files::relative(file, folder).replace_extension().string();
  vector.chain = CertificatesOf(chain);
  vector.now = TimeOf(values.at("utc_time"));
  vector.expected = !absl::StrContains(text, "\nERROR: ");
  vector.not_applicable = WhyNot(values, vector.chain.size());
  vector.anchors_pem =
      TrustsLast(boring.trust, vector.chain.size()) ? PemOf(vector.chain.back()) : stranger_pem;
  if (vector.chain.size() > 1) vector.chain.pop_back();
  boring.question = absl::StrCat(file.parent_path().string(), " ", values.at("chain"), " ",
                                 values.at("utc_time"));
  return boring;
}

}  // namespace

std::vector<VectorCase> ReadBoringSsl(const std::string& folder) {
  std::vector<files::path> tests;
  if (files::exists(folder)) {
    for (const auto& entry : files::recursive_directory_iterator(folder)) {
      if (entry.path().extension() == ".test") tests.push_back(entry.path());
    }
  }
  std::sort(tests.begin(), tests.end());
  const std::string stranger_pem =
      tests.empty() ? ""
                    : PemOf(CertificatesOf(FileText(folder + "/key-rollover/oldchain.pem")).back());
  std::vector<BoringCase> cases;
  std::map<std::string, int> nearest;
  for (const files::path& test : tests) {
    cases.push_back(CaseOf(test, folder, stranger_pem));
    const BoringCase& boring = cases.back();
    if (!boring.vector.not_applicable.empty()) continue;
    int& most = nearest.emplace(boring.question, 0).first->second;
    most = std::max(most, NearnessOf(boring));
  }
  std::vector<VectorCase> vectors;
  for (BoringCase& boring : cases) {
    if (boring.vector.not_applicable.empty() && absl::StartsWith(boring.trust, "TRUSTED_ANCHOR") &&
        NearnessOf(boring) < nearest.at(boring.question)) {
      boring.vector.not_applicable = "another meaning of trust";
    }
    vectors.push_back(std::move(boring.vector));
  }
  return vectors;
}

}  // namespace sluice::tls
