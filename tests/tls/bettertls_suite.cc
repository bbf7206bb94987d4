// BetterTLS, path building: one JSON object a case, one root for all, the clock that the suite's
// page gives.

#include <chrono>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "tests/tls/pem_words.h"
#include "tests/tls/vector_case.h"

namespace sluice::tls {

std::vector<VectorCase> ReadBetterTls(const std::string& folder) {
  const std::string text = FileText(folder + "/pathbuilding.tests.json");
  std::vector<VectorCase> cases;
  if (text.empty()) return cases;
  const auto suite = nlohmann::json::parse(text);
  const std::string root = PemOf(FromBase64(suite.at("trustRoot").get<std::string>()));
  for (const auto& testcase : suite.at("suites").at("pathbuilding").at("testCases")) {
    VectorCase vector{.suite = "bettertls",
                      .id = absl::StrCat(testcase.at("id").get<int>()),
                      .anchors_pem = root,
                      .now = WallTime(std::chrono::seconds(1691788832)),
                      .references = {.domain = testcase.at("hostname")},
                      .asks_name = true,
                      .expected = testcase.at("expected") == "ACCEPT"};
    for (const auto& der : testcase.at("certificates")) {
      vector.chain.push_back(FromBase64(der.get<std::string>()));
    }
    cases.push_back(std::move(vector));
  }
  return cases;
}

}  // namespace sluice::tls
