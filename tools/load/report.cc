#include "tools/load/report.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace sluice::tools {
namespace {

using Json = nlohmann::ordered_json;

double Ratio(double of, double to) {
  return to > 0 ? of / to : 0;
}

double Milliseconds(Duration duration) {
  return Seconds(duration) * 1e3;
}

}  // namespace

std::string LoadReport(const LoadOptions& options, const LoadResults& results) {
  const auto accepted = static_cast<double>(results.accepted);
  Json refused = Json::object();
  for (const auto& [code, recipients] : results.refused) refused[absl::StrCat(code)] = recipients;
  const Json report = {{"program", "sluice-load"},
                       {"messages", options.messages},
                       {"accepted", results.accepted},
                       {"recipients_accepted", results.recipients_accepted},
                       {"refused", refused},
                       {"retried", results.retried},
                       {"given_up", results.given_up},
                       {"in_doubt", results.in_doubt},
                       {"connections", results.connections},
                       {"connections_failed", results.connections_failed},
                       {"tls_connections", results.tls_connections},
                       {"handshakes_failed", results.handshakes_failed},
                       {"sessions_lost", results.sessions_lost},
                       {"seconds", Seconds(results.elapsed)},
                       {"messages_per_s", Ratio(accepted, Seconds(results.elapsed))},
                       {"dot_ms",
                        {{"p50", Milliseconds(results.dot.Percentile(0.5))},
                         {"p99", Milliseconds(results.dot.Percentile(0.99))},
                         {"max", Milliseconds(results.dot.max())}}},
                       {"cpu_us_per_message", Ratio(Seconds(results.cpu) * 1e6, accepted)}};
  return report.dump(2) + "\n";
}

}  // namespace sluice::tools
