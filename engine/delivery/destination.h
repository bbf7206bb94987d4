// A destination: a recipient domain with mail to be delivered, its controls, budget and route, and
// the lanes by which its mail leaves. It exists while it has a lane or remembers what a limit must
// not forget, on the one shard that owns its domain.

#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "engine/base/intrusive_list.h"
#include "engine/base/time.h"
#include "engine/base/timer_wheel.h"
#include "engine/delivery/alert.h"
#include "engine/delivery/host_health.h"
#include "engine/delivery/lane.h"
#include "engine/delivery/tls_intent.h"
#include "engine/dns/route.h"
#include "policy/controls.h"
#include "policy/destination_budget.h"

namespace sluice::delivery {

inline constexpr uint32_t kAheadRefusedMax = 3;
inline constexpr uint32_t kChunksLostMax = 3;
inline constexpr Duration kDataOnlyFor = std::chrono::hours(1);

enum class RouteState : uint8_t { kUnknown, kAsked, kKnown };

struct Destination {
  std::string domain;
  policy::Controls controls;
  uint64_t table_version = 0;  // Of `controls`; of the tables in use, once they are refreshed.
  uint64_t idle_version = 0;   // Of the controls by which its idle connections were last judged.
  policy::DestinationBudget budget;

  // In the order in which they may open connections and start transactions: who has done so goes to
  // the end.
  IntrusiveList<Lane, &Lane::destination_hook> lanes;

  RouteState route_state = RouteState::kUnknown;
  dns::Route route;
  uint64_t route_version = 0;  // Grows with each new route.
  uint64_t route_tables = 0;   // The tables' version when it was asked for: older is outdated.
  Instant route_expires = kNever;
  Instant route_asked{};
  uint64_t asked_tables = 0;  // Of the question under way.
  Duration route_time{};      // Of the last look-up, until an attempt tells it.

  std::shared_ptr<const TlsIntent> tls;  // Of the last connection; null: none, or none is tried.
  AlertPace alerts;                      // About TLS that must be and could not be had.
  HostHealth health;
  // Connections in a row that took nothing which was offered ahead of a reply to the dot; at most
  // kAheadRefusedMax, and then it is offered no more.
  uint32_t ahead_refused = 0;
  // And that were lost under a message sent by BDAT; with kChunksLostMax all go by DATA for a
  // while.
  uint32_t chunks_lost = 0;
  Instant data_only_until{};

  Timer timer;  // When it may be forgotten.
};

}  // namespace sluice::delivery
