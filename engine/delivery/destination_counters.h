// What became of the mail of a destination, as its home shard has counted since the engine started:
// for operators. A destination's mail has many homes; who asks adds them up.

#pragma once

#include <cstdint>
#include <string>

#include "engine/base/time.h"

namespace sluice::delivery {

// All but `active` only grow.
struct DestinationCounters {
  std::string domain;         // Empty: those that had no slot of their own.
  uint64_t active = 0;        // Recipients that are not final.
  uint64_t delivered = 0;     // Recipients.
  uint64_t soft_bounced = 0;  // Deferrals: events, of which a recipient may have many.
  uint64_t hard_bounced = 0;  // Recipients that were refused for good,
  uint64_t expired = 0;       // and those that were given up by their bounce profile.
  WallTime last_activity{};   // The last of these but active.
};

}  // namespace sluice::delivery
