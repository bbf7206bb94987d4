#include "tools/sluice/engine_verbs.h"

#include <nlohmann/json.hpp>
#include <ostream>

#include "absl/strings/str_format.h"
#include "tools/sluice/host_text.h"

namespace sluice::tools {

using Json = nlohmann::json;

int ShowStatus(const EngineOptions& options, std::ostream& out, std::ostream& errors) {
  return AskAndShow(options, {"GET", "/v1/status", ""}, out, errors, [&out](const Json& said) {
    out << said["hostname"].get<std::string>() << ", tables version " << said["table_version"]
        << ", listening on";
    for (const Json& address : said["listening"]) out << " " << address.get<std::string>();
    out << "\n\nshard  messages  destinations  connections\n";
    for (const Json& shard : said["shards"]) {
      out << absl::StreamFormat("%5d  %8d  %12d  %11d\n", shard["shard"].get<int>(),
                                shard.value("messages", 0), shard.value("destinations", 0),
                                shard.value("connections", 0));
    }
    const Json suspensions = said.value("suspensions", Json::array());
    if (suspensions.empty()) return;
    out << "\n";
    WriteSuspensions(suspensions, out);
  });
}

int Reload(const EngineOptions& options, std::ostream& out, std::ostream& errors) {
  return AskAndShow(options, {"POST", "/v1/reload", ""}, out, errors, [&out](const Json& said) {
    out << "tables version " << said["table_version"] << " in use\n";
  });
}

}  // namespace sluice::tools
