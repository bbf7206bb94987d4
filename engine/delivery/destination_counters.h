// What became of the mail of each destination, as its home shard has counted since the engine
// started: for operators. A destination's mail has many homes; who asks adds them up.
//
// Bounded: when as many destinations are counted as there are slots, the mail of further ones is
// counted together, under no name. One shard owns it; what At returns stays where it is.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "engine/base/limits.h"
#include "engine/base/slab.h"
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

class CountedDestinations {
 public:
  explicit CountedDestinations(uint32_t destinations_max = limits::kCountedDestinationsMax)
      : slots_(destinations_max) {}

  DestinationCounters& At(absl::string_view domain);
  // Null: nothing has been counted for it.
  const DestinationCounters* Find(absl::string_view domain) const;

  // Appends copies of some; returns where to go on, 0 when all have been seen.
  uint32_t CopySome(uint32_t first, uint32_t count, std::vector<DestinationCounters>& copies);

 private:
  Slab<DestinationCounters> slots_;
  absl::flat_hash_map<absl::string_view, DestinationCounters*> by_domain_;  // Of their own names.
  DestinationCounters others_;
};

}  // namespace sluice::delivery
