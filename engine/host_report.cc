#include "engine/host_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/suspensions.h"

namespace sluice {
namespace {

using delivery::DestinationCounters;
using delivery::DestinationStatus;
using delivery::LaneStatus;
using delivery::ScopeStatus;
using Json = nlohmann::ordered_json;

Json LimitsJson(const policy::Limits& limits) {
  Json json = {{"connections", limits.connections_max}};
  if (limits.connections_max == policy::kNoConnectionLimit) json["connections"] = nullptr;
  json["recipients"] = nullptr;
  if (!limits.recipients_limited) return json;
  json["recipients"] = limits.recipients_max;
  json["period_s"] = Seconds(limits.recipient_period);
  return json;
}

Json CountsJson(const HostReport& report, const policy::DestinationBudget::ScopeReport& counts) {
  Json json = {{"connections", counts.connections},
               {"recipients", counts.recipients},
               {"in_flight", counts.in_flight}};
  if (counts.room_again != kNever) {
    json["room_again"] = UnixSeconds(WallOf(report, counts.room_again));
  }
  return json;
}

Json ScopeJson(const HostReport& report, const ScopeStatus& scope) {
  Json json = Json::object();
  if (report.status->controls.scope.each_address) {
    json["address"] = scope.counts.key.address.ToString();
  }
  if (report.status->controls.scope.each_source) json["source"] = scope.source;
  json.update(CountsJson(report, scope.counts));
  return json;
}

Json LaneJson(const HostReport& report, const LaneStatus& lane) {
  Json json = {{"pool", lane.pool},
               {"waiting", lane.waiting},
               {"connections", lane.connections},
               {"opening", lane.opening},
               {"idle", lane.idle},
               {"binding_limit", std::string(lane.binding)}};
  if (!lane.binding.empty()) json["since"] = UnixSeconds(WallOf(report, lane.binding_since));
  json["failures"] = lane.failures;
  json["last_reply"] = lane.last_reply;
  json["last_tls_reason"] = std::string(lane.last_tls);
  return json;
}

Json RouteJson(const dns::Route& route) {
  Json hosts = Json::array();
  for (const dns::RouteHost& host : route.hosts) {
    Json addresses = Json::array();
    for (const IpAddress& address : host.addresses) addresses.push_back(address.ToString());
    hosts.push_back({{"host", host.name},
                     {"port", host.port},
                     {"preference", host.preference},
                     {"addresses", std::move(addresses)}});
  }
  return hosts;
}

// What all lanes have together, and what the one that failed last in a row was told.
void AddLanes(const HostReport& report, Json& json) {
  uint64_t waiting = 0;
  uint32_t opening = 0;
  uint32_t idle = 0;
  uint32_t connections = 0;
  Instant look_again = kNever;
  const LaneStatus* failed = nullptr;
  Json lanes = Json::array();
  for (const LaneStatus& lane : report.status->lanes) {
    waiting += lane.waiting;
    opening += lane.opening;
    idle += lane.idle;
    connections += lane.connections;
    look_again = std::min(look_again, lane.look_again);
    const bool worse = failed == nullptr || lane.failures > failed->failures;
    if (!lane.last_reply.empty() && worse) failed = &lane;
    lanes.push_back(LaneJson(report, lane));
  }
  json["waiting"] = waiting;
  json["connections"] = connections;
  json["opening"] = opening;
  json["idle"] = idle;
  json["look_again_s"] =
      look_again == kNever ? -1.0 : std::max(0.0, Seconds(look_again - report.now.instant));
  json["failures"] = failed == nullptr ? 0 : failed->failures;
  json["last_reply"] = failed == nullptr ? "" : failed->last_reply;
  json["last_tls_reason"] = failed == nullptr ? "" : std::string(failed->last_tls);
  json["lanes"] = std::move(lanes);
}

void AddStatus(const HostReport& report, Json& json) {
  const DestinationStatus& status = *report.status;
  AddLanes(report, json);
  json["table_version"] = status.table_version;
  json["concurrency_limit"] = status.controls.limits.connections_max;
  json["limits"] = LimitsJson(status.controls.limits);
  json["system_limits"] = LimitsJson(status.controls.system);
  json["route"] = RouteJson(status.route);
  json["route_reason"] = status.route.reason;
  json["each_address"] = status.controls.scope.each_address;
  json["each_source"] = status.controls.scope.each_source;
  json["system"] = CountsJson(report, status.system);
  Json scopes = Json::array();
  for (const ScopeStatus& scope : status.scopes) scopes.push_back(ScopeJson(report, scope));
  json["scopes"] = std::move(scopes);
  json["scopes_in_all"] = status.scopes_in_all;
}

}  // namespace

const LaneStatus* BoundLane(const HostReport& report) {
  const LaneStatus* bound = nullptr;
  if (!report.status) return bound;
  for (const LaneStatus& lane : report.status->lanes) {
    if (lane.binding.empty()) continue;
    if (bound == nullptr || lane.waiting > bound->waiting) bound = &lane;
  }
  return bound;
}

const char* HostState(const HostReport& report) {
  if (!report.status) return "unknown";
  bool down = false;
  for (const LaneStatus& lane : report.status->lanes) {
    if (lane.connections > lane.opening) return "up";
    down |= lane.failures > 0;
  }
  return down ? "down" : "unknown";
}

WallTime WallOf(const HostReport& report, Instant instant) {
  return report.now.wall + (instant - report.now.instant);
}

void AddCounters(DestinationCounters& sum, const DestinationCounters& more) {
  sum.active += more.active;
  sum.delivered += more.delivered;
  sum.soft_bounced += more.soft_bounced;
  sum.hard_bounced += more.hard_bounced;
  sum.expired += more.expired;
  sum.last_activity = std::max(sum.last_activity, more.last_activity);
}

double UnixSeconds(WallTime time) {
  return Seconds(time.time_since_epoch());
}

Json ToJson(const policy::Suspension& suspension) {
  Json json = {{"domain", SuspendedName(suspension)},
               {"since", UnixSeconds(suspension.since)},
               {"until", nullptr},
               {"reason", suspension.reason}};
  if (suspension.until) json["until"] = UnixSeconds(*suspension.until);
  return json;
}

Json ToJson(const DestinationCounters& counters) {
  Json json = {{"active", counters.active},
               {"delivered", counters.delivered},
               {"soft_bounced", counters.soft_bounced},
               {"hard_bounced", counters.hard_bounced},
               {"expired", counters.expired},
               {"last_activity", nullptr}};
  if (counters.last_activity != WallTime{}) {
    json["last_activity"] = UnixSeconds(counters.last_activity);
  }
  return json;
}

Json ToJson(const HostReport& report, const std::string& held_by) {
  const LaneStatus* bound = BoundLane(report);
  Json json = {{"domain", report.domain},
               {"shard", report.shard},
               {"known", report.status.has_value()},
               {"held_by", held_by},
               {"binding_limit", bound == nullptr ? "" : std::string(bound->binding)},
               {"since", nullptr},
               {"state", HostState(report)},
               {"counters", ToJson(report.counters)},
               {"suspension", nullptr}};
  if (bound != nullptr) json["since"] = UnixSeconds(WallOf(report, bound->binding_since));
  if (report.suspension) {
    json["binding_limit"] = "suspended";
    json["since"] = UnixSeconds(report.suspension->since);
    json["suspension"] = ToJson(*report.suspension);
  }
  if (report.status) AddStatus(report, json);
  return json;
}

}  // namespace sluice
