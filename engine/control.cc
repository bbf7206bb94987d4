#include "engine/control.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "engine/io/clock.h"
#include "engine/tables.h"

namespace sluice {
namespace {

using admin::ControlReply;
using admin::ControlRequest;
using Json = nlohmann::ordered_json;

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
  return Error(404, request.method + " " + request.path + ": there is no such request");
}

std::vector<ConfigError> Control::Reload() {
  LoadedTables loaded = LoadTables(config_, io::ReadClock().wall);
  if (loaded.errors.empty()) table_version_ = engine_.UseTables(std::move(loaded.tables));
  return std::move(loaded.errors);
}

ControlReply Control::ReloadReply() {
  const std::vector<ConfigError> errors = Reload();
  if (errors.empty()) return Reply(200, {{"table_version", table_version_}});
  Json lines = Json::array();
  for (const ConfigError& error : errors) lines.push_back(error.ToString());
  return Reply(409, {{"error", "the tables have errors; the old ones stay"}, {"errors", lines}});
}

ControlReply Control::Status() {
  Json shards = Json::array();
  for (uint32_t number = 0; number < engine_.shards(); ++number) {
    Json shard = {{"shard", number}};
    engine_.Ask(number, [&shard](shard::Shard& asked, Now) {
      shard["messages"] = asked.home().messages();
      shard["destinations"] = asked.dispatcher().destinations();
      shard["connections"] = asked.dispatcher().connections();
    });
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
