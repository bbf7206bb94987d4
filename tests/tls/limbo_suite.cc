// x509-limbo: one JSON object a case. The cases for clients' certificates can't be asked: nobody's
// client is judged here.

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "tests/tls/pem_words.h"
#include "tests/tls/vector_case.h"

namespace sluice::tls {
namespace {

using Json = nlohmann::json;

// The suite's own date, where a case has none: its certificates run for centuries.
constexpr char kDefaultTime[] = "2026-06-29T00:00:00+00:00";

WallTime TimeOf(const Json& testcase) {
  const Json& text = testcase.at("validation_time");
  absl::Time time;
  std::string error;
  CHECK(absl::ParseTime(absl::RFC3339_full, text.is_null() ? kDefaultTime : text.get<std::string>(),
                        &time, &error));
  return WallTime(std::chrono::nanoseconds(absl::ToUnixNanos(time)));
}

std::string WhyNot(const Json& testcase) {
  if (testcase.at("validation_kind") != "SERVER") return "a client's certificate";
  if (!testcase.at("crls").empty() && testcase.at("expected_result") == "FAILURE") {
    return "invalid by revocation only, which is not looked at";
  }
  if (!testcase.at("max_chain_depth").is_null() && testcase.at("expected_result") == "FAILURE" &&
      testcase.at("id").get<std::string>().find("exhausted") != std::string::npos) {
    return "a bound on the path that the caller chooses";
  }
  return "";
}

VectorCase CaseOf(const Json& testcase) {
  VectorCase vector{.suite = "limbo",
                    .id = testcase.at("id"),
                    .now = TimeOf(testcase),
                    .expected = testcase.at("expected_result") == "SUCCESS",
                    .not_applicable = WhyNot(testcase)};
  const Json& peer = testcase.at("expected_peer_name");
  vector.asks_name = !peer.is_null();
  if (vector.asks_name) vector.references.domain = peer.at("value");
  for (const auto& der : CertificatesOf(testcase.at("peer_certificate").get<std::string>())) {
    vector.chain.push_back(der);
  }
  for (const Json& pem : testcase.at("untrusted_intermediates")) {
    for (const auto& der : CertificatesOf(pem.get<std::string>())) vector.chain.push_back(der);
  }
  for (const Json& pem : testcase.at("trusted_certs")) {
    absl::StrAppend(&vector.anchors_pem, pem.get<std::string>(), "\n");
  }
  return vector;
}

}  // namespace

std::vector<VectorCase> ReadLimbo(const std::string& folder) {
  const std::string text = FileText(folder + "/limbo.json");
  std::vector<VectorCase> cases;
  if (text.empty()) return cases;
  const Json suite = Json::parse(text);
  for (const Json& testcase : suite.at("testcases")) cases.push_back(CaseOf(testcase));
  return cases;
}

}  // namespace sluice::tls
