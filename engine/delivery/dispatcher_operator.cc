// What operators ask of a shard's destinations, and what they are told.

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "engine/delivery/dispatcher.h"

namespace sluice::delivery {
namespace {

// Destinations that are told to deliver now, in one turn.
constexpr uint32_t kToldPerTurnMax = 1024;

// Scopes of one destination that operators are told of.
constexpr size_t kScopesToldMax = 64;

}  // namespace

void Dispatcher::DeliverNow(absl::string_view domain, bool resets_limits, Now now) {
  if (!domain.empty()) {
    if (Destination* one = FindDestination(domain)) DeliverNow(*one, resets_limits, now);
    return;
  }
  const bool under_way = deliver_next_ != Slab<Destination>::kNoSlot;
  deliver_resets_limits_ = resets_limits || (under_way && deliver_resets_limits_);
  deliver_next_ = 0;
}

void Dispatcher::DeliverSome(Now now) {
  if (deliver_next_ == Slab<Destination>::kNoSlot) return;
  deliver_next_ = destinations_.VisitSome(deliver_next_, kToldPerTurnMax, [&](Destination& one) {
    DeliverNow(one, deliver_resets_limits_, now);
  });
}

void Dispatcher::DeliverNow(Destination& destination, bool resets_limits, Now now) {
  RefreshControls(destination, now);
  destination.health.Clear();
  if (resets_limits) destination.budget.ForgetSeen();
  for (Lane& lane : destination.lanes) {
    lane.not_before = now.instant;
    lane.failures = 0;
  }
  LookAt(destination);
}

std::optional<DestinationStatus> Dispatcher::Describe(absl::string_view domain, Now now) {
  Destination* destination = FindDestination(domain);
  if (destination == nullptr) return std::nullopt;
  RefreshControls(*destination, now);
  DestinationStatus status = {.controls = destination->controls,
                              .table_version = destination->table_version,
                              .route = destination->route};
  for (Lane& lane : destination->lanes) {
    status.lanes.push_back(StatusOf(lane, now));
  }
  policy::DestinationBudget::Report report =
      destination->budget.Describe(destination->controls, kScopesToldMax, now.instant);
  status.system = report.system;
  status.scopes_in_all = report.scopes_in_all;
  for (policy::DestinationBudget::ScopeReport& scope : report.scopes) {
    status.scopes.push_back({scope, sources_.source(scope.key.source).name});
  }
  return status;
}

LaneStatus Dispatcher::StatusOf(const Lane& lane, Now now) const {
  LaneStatus status = {.pool = sources_.pool(lane.pool).name,
                       .waiting = lane.queue.size(),
                       .connections = static_cast<uint32_t>(lane.connections.size()),
                       .opening = lane.opening,
                       .idle = static_cast<uint32_t>(lane.ready.size()),
                       .binding = lane.binding,
                       .binding_since = lane.binding_since,
                       .look_again = lane.timer.armed() ? lane.timer.due : kNever,
                       .not_before = std::max(lane.not_before, now.instant),
                       .failures = lane.failures};
  if (lane.failure.code == 0) return status;
  status.last_reply = lane.failure.ToString();
  status.last_tls = policy::TlsReasonWord(lane.failure_tls.decision.reason);
  return status;
}

uint32_t Dispatcher::CopyGauges(uint32_t first, uint32_t count,
                                std::vector<DestinationGauges>& copies) {
  const uint32_t next = destinations_.VisitSome(first, count, [&](Destination& destination) {
    DestinationGauges gauges = {.domain = {}, .connections = destination.budget.connections()};
    for (Lane& lane : destination.lanes) {
      gauges.down |= lane.failures > 0 && lane.want == Want::kNothing;
    }
    if (gauges.connections == 0 && !gauges.down) return;
    gauges.domain = destination.domain;
    copies.push_back(std::move(gauges));
  });
  return next == Slab<Destination>::kNoSlot ? 0 : next;
}

}  // namespace sluice::delivery
