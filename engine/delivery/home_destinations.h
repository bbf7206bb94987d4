// The destinations of the messages that this shard keeps: what was counted of each, and the queue
// of the parcels that are due and have not been handed out. A destination's shard gets some of its
// parcels at a time, however many wait: these alone are in memory with their messages.
//
// Bounded: when as many destinations are known as there are slots, further ones share one queue and
// one count, under no name. One shard owns it; what At returns stays where it is.

#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "engine/base/intrusive_list.h"
#include "engine/base/limits.h"
#include "engine/base/slab.h"
#include "engine/delivery/destination_counters.h"
#include "engine/delivery/kept.h"

namespace sluice::delivery {

struct HomeDestination {
  DestinationCounters counters;
  IntrusiveList<KeptParcel, &KeptParcel::hook> waiting;  // Due, in the order of their turn.
  uint32_t out = 0;  // Parcels that its shard has, or that are being read for it.
  ListHook hook;     // Among those from which the next may be taken.
};

class HomeDestinations {
 public:
  explicit HomeDestinations(uint32_t destinations_max = limits::kCountedDestinationsMax)
      : slots_(destinations_max) {}

  HomeDestination& At(absl::string_view domain);
  // Null: nothing has been counted for it.
  const DestinationCounters* Find(absl::string_view domain) const;

  // Appends copies of some; returns where to go on, 0 when all have been seen.
  uint32_t CopySome(uint32_t first, uint32_t count, std::vector<DestinationCounters>& copies);

 private:
  Slab<HomeDestination> slots_;
  absl::flat_hash_map<absl::string_view, HomeDestination*> by_domain_;  // Of their own names.
  HomeDestination others_;
};

}  // namespace sluice::delivery
