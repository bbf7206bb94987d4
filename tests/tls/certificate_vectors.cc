// Public suites of certificate chains, each case put to Judge with its own chain, clock, trusted
// certificates and name, and held against the suite's own answer.
//
//   certificate_vectors        reads the suites from $SLUICE_VECTORS, else from ../shared/data
//   beside
//                              the project; skipped where they aren't
//
// Prints every wrong answer that vector_exceptions.txt doesn't list, how many cases can't be asked
// and why, and one line of counts. Fails on a wrong accept or refusal that isn't listed, on a
// listed one that isn't wrong, and on a list that is too long.

#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/tls/pem_words.h"
#include "tests/tls/vector_case.h"

namespace sluice::tls {
namespace {

constexpr int kExceptionsMax = 40;
constexpr int kWrongRefusalsMax = 5;

struct Tally {
  int asked = 0;
  int wrong_accepts = 0;  // Not listed.
  int exceptions = 0;     // Wrong accepts, listed.
  int wrong_refusals = 0;
  int unlisted_refusals = 0;
  std::set<std::string> listed;  // Those that were not wrong, in the end.
  std::map<std::string, int> not_applicable;
};

std::set<std::string> ReadExceptions() {
  std::set<std::string> listed;
  for (const absl::string_view line : absl::StrSplit(FileText(EXCEPTIONS_FILE), '\n')) {
    if (line.empty() || line.front() == '#') continue;
    listed.emplace(line.substr(0, line.find(": ")));
  }
  return listed;
}

bool Accepts(const VectorCase& vector, std::string& detail) {
  const auto trust = TrustStore::Parse(vector.anchors_pem, vector.id, 1);
  if (!trust.ok()) {
    detail = trust.status().ToString();
    return false;
  }
  const Verdict verdict = Judge(vector.chain, vector.references, *trust, vector.now);
  detail = absl::StrCat(CertificateFaultWord(verdict.fault), " ", verdict.detail);
  return vector.asks_name ? verdict.MeetsVerify() : verdict.fault == CertificateFault::kNone;
}

void Ask(const VectorCase& vector, Tally& tally) {
  if (!vector.not_applicable.empty()) {
    ++tally.not_applicable[absl::StrCat(vector.suite, ": ", vector.not_applicable)];
    return;
  }
  ++tally.asked;
  std::string detail;
  const bool accepted = Accepts(vector, detail);
  if (accepted == vector.expected) return;
  const std::string name = absl::StrCat(vector.suite, " ", vector.id);
  const bool listed = tally.listed.erase(name) > 0;
  if (accepted) {
    ++(listed ? tally.exceptions : tally.wrong_accepts);
  } else {
    ++tally.wrong_refusals;
    if (!listed) ++tally.unlisted_refusals;
  }
  if (listed) return;
  std::printf("wrong %s: %s (%s)\n", accepted ? "accept" : "refusal", name.c_str(), detail.c_str());
}

std::vector<VectorCase> ReadSuites() {
  const char* chosen = std::getenv("SLUICE_VECTORS");
  const std::string folder = chosen != nullptr ? chosen : VECTORS_FOLDER;
  std::vector<VectorCase> cases;
  const std::pair<const char*, std::vector<VectorCase> (*)(const std::string&)> kSuites[] = {
      {"/x509-limbo", ReadLimbo},
      {"/bettertls-pathbuilding", ReadBetterTls},
      {"/boringssl-chains", ReadBoringSsl},
      {"/nist-pkits", ReadPkits}};
  for (const auto& [name, read] : kSuites) {
    const std::vector<VectorCase> suite = read(folder + name);
    if (suite.empty()) {
      std::printf("skipped certificate_vectors: there is no %s%s\n", folder.c_str(), name);
      return {};
    }
    cases.insert(cases.end(), suite.begin(), suite.end());
  }
  return cases;
}

int Run() {
  const std::vector<VectorCase> cases = ReadSuites();
  if (cases.empty()) return 0;
  Tally tally{.listed = ReadExceptions()};
  for (const VectorCase& vector : cases) Ask(vector, tally);

  for (const std::string& name : tally.listed) std::printf("not wrong: %s\n", name.c_str());
  for (const auto& [reason, count] : tally.not_applicable) {
    std::printf("not applicable: %d of %s\n", count, reason.c_str());
  }
  std::printf("certificate vectors %d: wrong accepts %d, exceptions %d, wrong refusals %d\n",
              tally.asked, tally.wrong_accepts, tally.exceptions, tally.wrong_refusals);
  const bool good = tally.wrong_accepts == 0 && tally.unlisted_refusals == 0 &&
                    tally.exceptions <= kExceptionsMax &&
                    tally.wrong_refusals <= kWrongRefusalsMax && tally.listed.empty();
  std::printf(good ? "ok certificate_vectors\n" : "FAILED certificate_vectors\n");
  return good ? 0 : 1;
}

}  // namespace
}  // namespace sluice::tls

int main() {
  return sluice::tls::Run();
}
