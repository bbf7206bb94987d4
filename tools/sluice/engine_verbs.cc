#include "tools/sluice/engine_verbs.h"

#include <nlohmann/json.hpp>
#include <ostream>

#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "tools/sluice/control_client.h"

namespace sluice::tools {
namespace {

using Json = nlohmann::json;

// Prints what was refused, and why; else calls `show` with what the engine said.
template <class Show>
int Ask(const EngineOptions& options, const std::string& method, const std::string& path,
        std::ostream& out, std::ostream& errors, Show show) {
  const absl::StatusOr<ControlAnswer> answer = AskEngine(options.socket, method, path);
  if (!answer.ok()) {
    errors << "sluice: " << answer.status().message() << "\n";
    return 2;
  }
  const Json said = Json::parse(answer->body, nullptr, /*allow_exceptions=*/false);
  if (options.json) {
    out << answer->body << "\n";
  } else if (answer->ok()) {
    show(said);
  } else {
    errors << "sluice: " << said.value("error", answer->body) << "\n";
    for (const Json& line : said.value("errors", Json::array())) {
      errors << line.get<std::string>() << "\n";
    }
  }
  return answer->ok() ? 0 : 1;
}

}  // namespace

int ShowStatus(const EngineOptions& options, std::ostream& out, std::ostream& errors) {
  return Ask(options, "GET", "/v1/status", out, errors, [&out](const Json& said) {
    out << said["hostname"].get<std::string>() << ", tables version " << said["table_version"]
        << ", listening on";
    for (const Json& address : said["listening"]) out << " " << address.get<std::string>();
    out << "\n\nshard  messages  destinations  connections\n";
    for (const Json& shard : said["shards"]) {
      out << absl::StreamFormat("%5d  %8d  %12d  %11d\n", shard["shard"].get<int>(),
                                shard.value("messages", 0), shard.value("destinations", 0),
                                shard.value("connections", 0));
    }
  });
}

int Reload(const EngineOptions& options, std::ostream& out, std::ostream& errors) {
  return Ask(options, "POST", "/v1/reload", out, errors, [&out](const Json& said) {
    out << "tables version " << said["table_version"] << " in use\n";
  });
}

}  // namespace sluice::tools
