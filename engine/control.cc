#include "engine/control.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "engine/control_reply.h"
#include "engine/destconfig.h"
#include "engine/destconfig_json.h"
#include "engine/host_report.h"
#include "engine/io/clock.h"
#include "engine/tables.h"
#include "policy/controls_diff.h"

namespace sluice {
namespace {

using admin::ControlReply;
using admin::ControlRequest;
using Json = nlohmann::ordered_json;

// More are a new table rather than a change of the old one.
constexpr size_t kChangedEntriesMax = 1000;

ControlReply NoSuch(const ControlRequest& request) {
  return ErrorReply(404, request.method + " " + request.path + ": there is no such request");
}

}  // namespace

ControlReply Control::Handle(const ControlRequest& request) {
  CatchShardsUp();
  if (request.method == "GET") return Get(request);
  if (request.method == "POST") return Post(request);
  return NoSuch(request);
}

ControlReply Control::Get(const ControlRequest& request) {
  constexpr absl::string_view kDestinations = "/v1/destinations/";
  if (request.path == "/v1/status") return Status();
  if (request.path == "/v1/tophosts") return ShowTopHosts(request.parameters);
  if (request.path == "/v1/suspensions") return ShowSuspensions();
  if (absl::StartsWith(request.path, kDestinations)) {
    return HostStatus(request.path.substr(kDestinations.size()));
  }
  return NoSuch(request);
}

ControlReply Control::Post(const ControlRequest& request) {
  if (request.path == "/v1/reload") return ReloadReply();
  if (request.path == "/v1/destconfig") return RunDestconfig(request.body);
  if (request.path == "/v1/delivernow") return DeliverNow(request.body);
  if (request.path == "/v1/suspend") return Suspend(request.body);
  if (request.path == "/v1/resume") return Resume(request.body);
  return NoSuch(request);
}

std::vector<ConfigError> Control::Reload() {
  LoadedTables loaded = LoadTables(config_, io::ReadClock().wall);
  if (loaded.errors.empty()) {
    table_version_ = engine_.UseTables(std::move(loaded.tables));
    used_ = nullptr;
  }
  return std::move(loaded.errors);
}

ControlReply Control::ReloadReply() {
  const std::vector<ConfigError> errors = Reload();
  if (errors.empty()) return JsonReply(200, {{"table_version", table_version_}});
  return JsonReply(
      409, {{"error", "the tables have errors; the old ones stay"}, {"errors", LinesOf(errors)}});
}

ControlReply Control::RunDestconfig(const std::string& body) {
  const Json asked = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  std::vector<std::string> words;
  if (!asked.is_object() || !asked.contains("words") || !asked["words"].is_array()) {
    return ErrorReply(400, "no list of words");
  }
  for (const Json& word : asked["words"]) {
    if (!word.is_string()) return ErrorReply(400, "words are strings");
    words.push_back(word.get<std::string>());
  }
  const std::string input = asked.contains("input") && asked["input"].is_string()
                                ? asked["input"].get<std::string>()
                                : std::string();
  const LoadedRoutes routes = LoadRoutes(config_.routes, config_.delivery_port);
  Tables checked;                 // Those of a commit, found good,
  ControlsStore::Table proposed;  // and what they were made of.
  Destconfig destconfig({.store = &store_,
                         .routes = routes.errors.empty() ? &routes.table : nullptr,
                         .sources = &config_.sources,
                         .shards = engine_.shards(),
                         .check =
                             [&](const ProposedControls& controls) {
                               LoadedTables loaded = TablesWith(controls.entries);
                               checked = std::move(loaded.tables);
                               proposed = controls.entries;
                               return LinesOf(loaded.errors);
                             },
                         .use =
                             [&] {
                               table_version_ = engine_.UseTables(std::move(checked));
                               used_ = proposed;
                               return "tables version " + std::to_string(table_version_) +
                                      " in use\n";
                             }});
  const DestconfigResult result = destconfig.Run(words, input);
  return JsonReply(result.done ? 200 : 409, ToJson(result));
}

// Where the engine uses all but a few of these entries already, only those are put into its table.
LoadedTables Control::TablesWith(const ControlsStore::Table& entries) const {
  const WallTime now = io::ReadClock().wall;
  std::optional<policy::ControlsChange> change;
  if (used_ != nullptr) change = policy::SmallChange(*used_, *entries, kChangedEntriesMax);
  return change ? LoadTables(config_, now, engine_.controls(), *std::move(change))
                : LoadTables(config_, now, *entries);
}

ControlReply Control::Status() {
  Json shards = Json::array();
  for (uint32_t number = 0; number < engine_.shards(); ++number) {
    const std::optional<Json> said = engine_.Ask<Json>(number, [](shard::Shard& asked, Now) {
      return Json{{"messages", asked.home().messages()},
                  {"quarantined", asked.home().quarantined()},
                  {"low_space", asked.home().low_space()},
                  {"destinations", asked.dispatcher().destinations()},
                  {"connections", asked.dispatcher().connections()},
                  {"parcels", asked.dispatcher().parcels()}};
    });
    Json shard = {{"shard", number}, {"answers", said.has_value()}};
    if (said) shard.update(*said);
    shards.push_back(std::move(shard));
  }
  Json listening = Json::array();
  for (const SocketAddress& address : engine_.listening()) listening.push_back(address.ToString());
  Json suspensions = Json::array();
  for (const policy::Suspension& one : suspensions_.Active(io::ReadClock().wall)) {
    suspensions.push_back(ToJson(one));
  }
  return JsonReply(200, {{"hostname", config_.hostname},
                         {"table_version", table_version_},
                         {"listening", std::move(listening)},
                         {"shards", std::move(shards)},
                         {"suspensions", std::move(suspensions)}});
}

}  // namespace sluice
