#include "tools/sluice/engine_verbs.h"

#include <nlohmann/json.hpp>
#include <ostream>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/domain_name.h"
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
  if (!said.is_object()) {
    errors << "sluice: the engine's answer cannot be read (status " << answer->status << ")\n";
    return 1;
  }
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

// What holds its mail back comes first: it is what an operator wants to know.
int HostStatus(const EngineOptions& options, const std::string& name, std::ostream& out,
               std::ostream& errors) {
  const absl::StatusOr<std::string> domain = NormalizeDomain(name);
  if (!domain.ok()) {
    errors << "sluice: " << domain.status().message() << "\n";
    return 1;
  }
  return Ask(options, "GET", "/v1/destinations/" + *domain, out, errors, [&out](const Json& said) {
    const auto row = [&out](const char* label, const std::string& value) {
      if (!value.empty()) out << absl::StreamFormat("%-14s %s\n", label, value);
    };
    row("destination", said.value("domain", ""));
    row("shard", absl::StrCat(said.value("shard", 0)));
    if (!said.value("known", false)) return row("held by", "nothing waits for it here");
    const std::string binding = said.value("binding_limit", "");
    const double look_again_s = said.value("look_again_s", -1.0);
    row("held by", binding.empty() ? "nothing"
                   : look_again_s < 0
                       ? binding
                       : absl::StrCat(binding, ", until ", static_cast<int64_t>(look_again_s) + 1,
                                      " s from now at the latest"));
    row("waiting", absl::StrCat(said.value("waiting", 0), " messages"));
    row("connections",
        absl::StrCat(said.value("connections", 0), " of ", said.value("concurrency_limit", 0), ", ",
                     said.value("opening", 0), " opening, ", said.value("idle", 0), " idle"));
    row("route", said.value("route", ""));
    row("failures", absl::StrCat(said.value("failures", 0), " in a row"));
    row("last reply", said.value("last_reply", ""));
    row("last TLS error", said.value("last_tls_reason", ""));
  });
}

int Reload(const EngineOptions& options, std::ostream& out, std::ostream& errors) {
  return Ask(options, "POST", "/v1/reload", out, errors, [&out](const Json& said) {
    out << "tables version " << said["table_version"] << " in use\n";
  });
}

}  // namespace sluice::tools
