// A destination as operators see it: what its shard says of it, what its homes have counted, and
// what the operator has suspended; and how it goes over the control socket (admin/API.md).

#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "engine/base/time.h"
#include "engine/delivery/destination_counters.h"
#include "engine/delivery/destination_status.h"
#include "policy/suspensions.h"

namespace sluice {

struct HostReport {
  std::string domain;
  uint32_t shard = 0;                                 // That owns it.
  Now now;                                            // When its shard was asked.
  std::optional<delivery::DestinationStatus> status;  // nullopt: it has nothing of it.
  delivery::DestinationCounters counters;             // Of all homes together.
  std::optional<policy::Suspension> suspension;       // That holds it.
};

// The lane whose mail is held back, the one with the most of it; null: none is.
const delivery::LaneStatus* BoundLane(const HostReport& report);

// "up": there is a session; "down": the last attempt to get one failed; "unknown".
const char* HostState(const HostReport& report);

WallTime WallOf(const HostReport& report, Instant instant);

// Adds what another home has counted.
void AddCounters(delivery::DestinationCounters& sum, const delivery::DestinationCounters& more);

// As numbers go over the socket: seconds since 1970.
double UnixSeconds(WallTime time);

nlohmann::ordered_json ToJson(const policy::Suspension& suspension);
nlohmann::ordered_json ToJson(const delivery::DestinationCounters& counters);
// `held_by`: the sentence.
nlohmann::ordered_json ToJson(const HostReport& report, const std::string& held_by);

}  // namespace sluice
