#include "engine/control.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "engine/base/domain_name.h"
#include "engine/destconfig.h"
#include "engine/destconfig_json.h"
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

ControlReply Reply(int status, const Json& json) {
  // What others wrote is among it: bytes that are no UTF-8 are replaced.
  return {.status = status, .body = json.dump(-1, ' ', false, Json::error_handler_t::replace)};
}

ControlReply Error(int status, const std::string& why) {
  return Reply(status, {{"error", why}});
}

}  // namespace

ControlReply Control::Handle(const ControlRequest& request) {
  if (request.path == "/v1/status" && request.method == "GET") return Status();
  if (request.path == "/v1/reload" && request.method == "POST") return ReloadReply();
  constexpr absl::string_view kDestinations = "/v1/destinations/";
  if (absl::StartsWith(request.path, kDestinations) && request.method == "GET") {
    return HostStatus(request.path.substr(kDestinations.size()));
  }
  if (request.path == "/v1/destconfig" && request.method == "POST") {
    return RunDestconfig(request.body);
  }
  return Error(404, request.method + " " + request.path + ": there is no such request");
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
  if (errors.empty()) return Reply(200, {{"table_version", table_version_}});
  return Reply(
      409, {{"error", "the tables have errors; the old ones stay"}, {"errors", LinesOf(errors)}});
}

ControlReply Control::RunDestconfig(const std::string& body) {
  const Json asked = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  std::vector<std::string> words;
  if (!asked.is_object() || !asked.contains("words") || !asked["words"].is_array()) {
    return Error(400, "no list of words");
  }
  for (const Json& word : asked["words"]) {
    if (!word.is_string()) return Error(400, "words are strings");
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
  return Reply(result.done ? 200 : 409, ToJson(result));
}

// Where the engine uses all but a few of these entries already, only those are put into its table.
LoadedTables Control::TablesWith(const ControlsStore::Table& entries) const {
  const WallTime now = io::ReadClock().wall;
  std::optional<policy::ControlsChange> change;
  if (used_ != nullptr) change = policy::SmallChange(*used_, *entries, kChangedEntriesMax);
  return change ? LoadTables(config_, now, engine_.controls(), *std::move(change))
                : LoadTables(config_, now, *entries);
}

// Of the shard that owns it; what waits at its homes for its next attempt is not among it.
ControlReply Control::HostStatus(const std::string& name) {
  const absl::StatusOr<std::string> domain = NormalizeDomain(name);
  if (!domain.ok()) return Error(400, std::string(domain.status().message()));
  const uint32_t owner = shard::Shard::OwnerOf(*domain, engine_.shards());
  const auto answer = engine_.Ask<std::optional<delivery::DestinationStatus>>(
      owner, [name = *domain](shard::Shard& asked, Now now) {
        return asked.dispatcher().Describe(name, now);
      });
  if (!answer) return Error(503, "shard " + std::to_string(owner) + " does not answer");
  const std::optional<delivery::DestinationStatus>& status = *answer;
  Json json = {{"domain", *domain}, {"shard", owner}, {"known", status.has_value()}};
  if (!status) return Reply(200, json);
  json["table_version"] = status->table_version;
  json["waiting"] = status->waiting;
  json["connections"] = status->connections;
  json["opening"] = status->opening;
  json["idle"] = status->idle;
  json["concurrency_limit"] = status->controls.limits.connections_max;
  json["binding_limit"] = std::string(status->binding);
  json["look_again_s"] = std::chrono::duration<double>(status->look_again).count();
  json["failures"] = status->failures;
  json["last_reply"] = status->last_reply;
  json["last_tls_reason"] = std::string(status->last_tls);
  json["route"] = status->route;
  return Reply(200, json);
}

ControlReply Control::Status() {
  Json shards = Json::array();
  for (uint32_t number = 0; number < engine_.shards(); ++number) {
    const std::optional<Json> said = engine_.Ask<Json>(number, [](shard::Shard& asked, Now) {
      return Json{{"messages", asked.home().messages()},
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
  return Reply(200, {{"hostname", config_.hostname},
                     {"table_version", table_version_},
                     {"listening", std::move(listening)},
                     {"shards", std::move(shards)}});
}

}  // namespace sluice
