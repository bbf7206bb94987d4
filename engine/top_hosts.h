// The busiest destinations: what each home has counted and each shard has open, added up by domain,
// and the first of them in an operator's order. Arithmetic only.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "engine/delivery/destination_counters.h"
#include "engine/delivery/destination_status.h"

namespace sluice {

enum class TopBy : uint8_t { kActive, kConnections, kDelivered, kSoftBounced, kHardBounced };

// Ours ("active", "connections", "delivered", "soft", "hard") and the appliance's ("active_rcpts",
// "conn_out", "deliv_recip", "soft_bounced", "hard_bounced"), in any case.
std::optional<TopBy> ParseTopBy(absl::string_view word);
absl::string_view TopByWord(TopBy by);  // Ours.

struct TopHost {
  delivery::DestinationCounters counters;
  uint32_t connections = 0;
  bool down = false;

  // Expired ones too: the appliance's "Hard Bounced" is all that will never be delivered.
  uint64_t hard_bounced() const { return counters.hard_bounced + counters.expired; }
};

class TopHosts {
 public:
  // What one home has counted of a domain; of each home once.
  void Add(const delivery::DestinationCounters& counters);
  // What its shard has open. Told twice, the last holds.
  void Add(const delivery::DestinationGauges& gauges);

  // The first `count` with the most; of equals, by name. Those with nothing of it come too, while
  // there is room, but not what had no slot of its own (others).
  std::vector<TopHost> Top(TopBy by, size_t count) const;
  const delivery::DestinationCounters& others() const { return others_; }

 private:
  absl::flat_hash_map<std::string, TopHost> by_domain_;
  delivery::DestinationCounters others_;
};

}  // namespace sluice
