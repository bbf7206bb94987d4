// What operators ask about destinations and do with their mail. A destination's limits and queue
// are at one shard, its messages at many: where these are asked for, all shards are.

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "engine/base/domain_name.h"
#include "engine/control.h"
#include "engine/control_reply.h"
#include "engine/held_by.h"
#include "engine/host_report.h"
#include "engine/io/clock.h"
#include "engine/suspend_request.h"
#include "engine/top_hosts.h"

namespace sluice {
namespace {

using admin::ControlReply;
using delivery::DestinationCounters;
using delivery::DestinationGauges;
using Json = nlohmann::ordered_json;

// Slots that a shard looks at for one question, so that its turns are held up by less than a
// millisecond.
constexpr uint32_t kSliceSlots = 4096;

constexpr size_t kTopHosts = 20;  // As on the appliance.
constexpr size_t kTopHostsMax = 1000;

ControlReply Silent(uint32_t shard) {
  return ErrorReply(503, absl::StrCat("shard ", shard, " does not answer"));
}

// All of a shard's slots, slice by slice; `copy` appends some and returns where to go on. False: it
// does not answer.
template <class Item, class Copy, class Add>
bool CopyAll(Engine& engine, uint32_t shard, Copy copy, Add add) {
  struct Slice {
    std::vector<Item> items;
    uint32_t next = 0;
  };
  uint32_t first = 0;
  do {
    const std::optional<Slice> slice =
        engine.Ask<Slice>(shard, [first, copy](shard::Shard& asked, Now) {
          Slice copied;
          copied.next = copy(asked, first, copied.items);
          return copied;
        });
    if (!slice) return false;
    for (const Item& item : slice->items) add(item);
    first = slice->next;
  } while (first != 0);
  return true;
}

bool AddShard(Engine& engine, uint32_t shard, TopHosts& hosts) {
  const auto add = [&hosts](const auto& one) { hosts.Add(one); };
  return CopyAll<DestinationCounters>(
             engine, shard,
             [](shard::Shard& asked, uint32_t first, std::vector<DestinationCounters>& copies) {
               return asked.home().destinations().CopySome(first, kSliceSlots, copies);
             },
             add) &&
         CopyAll<DestinationGauges>(
             engine, shard,
             [](shard::Shard& asked, uint32_t first, std::vector<DestinationGauges>& copies) {
               return asked.dispatcher().CopyGauges(first, kSliceSlots, copies);
             },
             add);
}

Json TopHostJson(const TopHost& host) {
  Json json = {{"domain", host.counters.domain}, {"down", host.down}};
  json.update(ToJson(host.counters));
  json["connections"] = host.connections;
  return json;
}

// "count" of a query; nullopt: it is no number from 1 to the most.
std::optional<size_t> CountOf(const std::map<std::string, std::string>& parameters) {
  const auto found = parameters.find("count");
  if (found == parameters.end()) return kTopHosts;
  size_t count = 0;
  const bool number = absl::SimpleAtoi(found->second, &count);
  return number && count > 0 && count <= kTopHostsMax ? std::optional(count) : std::nullopt;
}

struct DeliverNowRequest {
  std::string domain;  // Empty: all.
  bool resets_limits = false;
};

absl::StatusOr<DeliverNowRequest> ParseDeliverNow(const std::string& body) {
  const auto bad = [](const char* why) { return absl::InvalidArgumentError(why); };
  const Json read = Json::parse(body.empty() ? "{}" : body, nullptr, /*allow_exceptions=*/false);
  if (!read.is_object()) return bad("the request is no JSON object");
  DeliverNowRequest request;
  for (const auto& [name, value] : read.items()) {
    if (name == "domain") {
      if (!value.is_string()) return bad("domain: a string");
      const absl::StatusOr<std::string> domain = NormalizeDomain(value.get<std::string>());
      if (!domain.ok()) return domain.status();
      request.domain = *domain;
    } else if (name == "reset_limits") {
      if (!value.is_boolean()) return bad("reset_limits: true or false");
      request.resets_limits = value.get<bool>();
    } else {
      return absl::InvalidArgumentError(absl::StrCat("'", name, "' is no part of this request"));
    }
  }
  return request;
}

}  // namespace

// -------------------------------------------------------------------------------------------------
// Looking.

// Of all homes together; nullopt: a shard does not answer.
std::optional<DestinationCounters> Control::CountersOf(const std::string& domain) {
  DestinationCounters sum;
  sum.domain = domain;
  for (uint32_t number = 0; number < engine_.shards(); ++number) {
    const auto counted = engine_.Ask<DestinationCounters>(number, [domain](shard::Shard& of, Now) {
      const DestinationCounters* found = of.home().destinations().Find(domain);
      return found == nullptr ? DestinationCounters{} : *found;
    });
    if (!counted) return std::nullopt;
    AddCounters(sum, *counted);
  }
  return sum;
}

ControlReply Control::HostStatus(const std::string& name) {
  const absl::StatusOr<std::string> domain = NormalizeDomain(name);
  if (!domain.ok()) return ErrorReply(400, std::string(domain.status().message()));
  HostReport report = {.domain = *domain,
                       .shard = shard::Shard::OwnerOf(*domain, engine_.shards())};
  const std::optional<DestinationCounters> counters = CountersOf(*domain);
  if (!counters) return ErrorReply(503, "a shard does not answer");
  report.counters = *counters;
  auto answer = engine_.Ask<std::pair<Now, std::optional<delivery::DestinationStatus>>>(
      report.shard, [name = *domain](shard::Shard& asked, Now now) {
        return std::pair(now, asked.dispatcher().Describe(name, now));
      });
  if (!answer) return Silent(report.shard);
  report.now = answer->first;
  report.status = std::move(answer->second);
  const auto suspensions = suspensions_.ForShards(report.now.wall);
  if (const policy::Suspension* found = suspensions->Find(*domain, report.now.wall)) {
    report.suspension = *found;
  }
  return JsonReply(200, ToJson(report, HeldBy(report, absl::LocalTimeZone())));
}

ControlReply Control::ShowTopHosts(const std::map<std::string, std::string>& parameters) {
  const auto word = parameters.find("by");
  const std::optional<TopBy> by =
      word == parameters.end() ? TopBy::kActive : ParseTopBy(word->second);
  if (!by) {
    return ErrorReply(
        400, absl::StrCat("'", word->second, "': active, connections, delivered, soft or hard"));
  }
  const std::optional<size_t> count = CountOf(parameters);
  if (!count) return ErrorReply(400, absl::StrCat("count: a number from 1 to ", kTopHostsMax));
  TopHosts hosts;
  for (uint32_t number = 0; number < engine_.shards(); ++number) {
    if (!AddShard(engine_, number, hosts)) return Silent(number);
  }
  Json list = Json::array();
  for (const TopHost& host : hosts.Top(*by, *count)) list.push_back(TopHostJson(host));
  return JsonReply(200, {{"by", std::string(TopByWord(*by))},
                         {"as_of", UnixSeconds(io::ReadClock().wall)},
                         {"hosts", std::move(list)},
                         {"others", ToJson(hosts.others())}});
}

// -------------------------------------------------------------------------------------------------
// Acting.

// The destination's shard first, so that what its homes send finds no wait there; the order between
// the others does not matter.
ControlReply Control::DeliverNow(const std::string& body) {
  const absl::StatusOr<DeliverNowRequest> request = ParseDeliverNow(body);
  if (!request.ok()) return ErrorReply(request.status());
  const std::optional<DestinationCounters> before = CountersOf(request->domain);
  for (uint32_t number = 0; number < engine_.shards(); ++number) {
    const std::optional<bool> told =
        engine_.Ask<bool>(number, [asked = *request](shard::Shard& of, Now now) {
          of.dispatcher().DeliverNow(asked.domain, asked.resets_limits, now);
          of.home().DeliverNow(asked.domain);
          return true;
        });
    if (!told) return Silent(number);
  }
  const WallTime now = io::ReadClock().wall;
  const auto suspensions = suspensions_.ForShards(now);
  const policy::Suspension* held = suspensions->Find(request->domain, now);
  Json reply = {{"domain", request->domain.empty() ? "ALL" : request->domain},
                {"reset_limits", request->resets_limits},
                {"suspension", held == nullptr ? Json(nullptr) : ToJson(*held)}};
  if (!request->domain.empty() && before) reply["active"] = before->active;
  return JsonReply(200, reply);
}

ControlReply Control::Suspend(const std::string& body) {
  const absl::StatusOr<SuspendRequest> request = ParseSuspendRequest(body);
  if (!request.ok()) return ErrorReply(request.status());
  const WallTime now = io::ReadClock().wall;
  std::vector<policy::Suspension> more;
  for (const std::string& domain : request->domains) {
    more.push_back({.domain = domain, .since = now, .reason = request->reason});
    if (request->span) more.back().until = now + *request->span;
  }
  return TellSuspensions(suspensions_.Suspend(std::move(more), now), now);
}

ControlReply Control::Resume(const std::string& body) {
  const absl::StatusOr<std::vector<std::string>> domains = ParseResumeRequest(body);
  if (!domains.ok()) return ErrorReply(domains.status());
  const WallTime now = io::ReadClock().wall;
  return TellSuspensions(suspensions_.Resume(*domains, now), now);
}

// `written`: what became of the list on the disk. What is on the disk is told to the shards, so
// that a restart changes nothing.
ControlReply Control::TellSuspensions(const absl::Status& written, WallTime now) {
  if (!written.ok() && !absl::IsDataLoss(written)) return ErrorReply(written);
  const std::vector<uint32_t> silent = engine_.UseSuspensions(suspensions_.ForShards(now));
  shards_behind_ = !silent.empty();
  if (shards_behind_) {
    return ErrorReply(503, absl::StrCat("shard ", silent.front(),
                                        " does not answer and may go on as before; the others, and "
                                        "the engine after a restart, do as you say: ask again"));
  }
  if (!written.ok()) {
    return ErrorReply(500, absl::StrCat("done, but a crash may undo it: ", written.message()));
  }
  return ShowSuspensions();
}

void Control::CatchShardsUp() {
  if (!shards_behind_) return;
  const WallTime now = io::ReadClock().wall;
  shards_behind_ = !engine_.UseSuspensions(suspensions_.ForShards(now)).empty();
}

ControlReply Control::ShowSuspensions() {
  Json list = Json::array();
  for (const policy::Suspension& one : suspensions_.Active(io::ReadClock().wall)) {
    list.push_back(ToJson(one));
  }
  return JsonReply(200, {{"suspensions", std::move(list)}});
}

}  // namespace sluice
