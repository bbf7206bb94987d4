#include "tools/sluice/engine_verbs.h"

#include <nlohmann/json.hpp>
#include <ostream>

#include "absl/strings/str_format.h"
#include "tools/sluice/host_text.h"

namespace sluice::tools {

using Json = nlohmann::json;

namespace {

// What an operator should see to; nothing mostly.
void WriteWarnings(const Json& shards, std::ostream& out) {
  uint64_t quarantined = 0;
  bool low_space = false;
  for (const Json& shard : shards) {
    quarantined += shard.value("quarantined", uint64_t{0});
    low_space |= shard.value("low_space", false);
  }
  if (quarantined > 0) {
    out << "\n"
        << quarantined << (quarantined == 1 ? " message is" : " messages are")
        << " in quarantine: see sluice spool check\n";
  }
  if (low_space) {
    out << "\nno mail is taken: the spool's file system has less than [spool] min_free_bytes\n";
  }
}

}  // namespace

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
    WriteWarnings(said["shards"], out);
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
