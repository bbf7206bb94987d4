// What a destination is doing, and what holds its mail back: for operators.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/time.h"
#include "engine/dns/route.h"
#include "policy/controls.h"
#include "policy/destination_budget.h"

namespace sluice::delivery {

// Of one pool of sources.
struct LaneStatus {
  std::string pool;          // Its name; empty: the system chooses.
  uint64_t waiting = 0;      // Parcels in the queue.
  uint32_t connections = 0;  // Half-open ones too.
  uint32_t opening = 0;      // Of these: not ready yet,
  uint32_t idle = 0;         // and without a transaction.

  absl::string_view binding;    // What holds the mail back (lane.h); empty: nothing.
  Instant binding_since{};      // It has been that since then.
  Instant look_again = kNever;  // At the latest; kNever: something is awaited.
  Instant not_before{};         // No host is tried before.
  uint32_t failures = 0;        // Times in a row that no session could be had.
  std::string last_reply;       // Of the last of them,
  absl::string_view last_tls;   // and its TLS reason; empty: it was not TLS.
};

struct ScopeStatus {
  policy::DestinationBudget::ScopeReport counts;
  std::string
      source;  // The name of the scope's; empty: the system's choice, or no scope of its own.
};

struct DestinationStatus {
  policy::Controls controls;
  uint64_t table_version = 0;
  dns::Route route;  // As it was last found.
  std::vector<LaneStatus> lanes;
  policy::DestinationBudget::ScopeReport system;
  std::vector<ScopeStatus> scopes;  // Some of those that are in use.
  size_t scopes_in_all = 0;
};

// What of a destination is shown beside others.
struct DestinationGauges {
  std::string domain;
  uint32_t connections = 0;
  bool down = false;  // The last attempt to get a session has failed.
};

}  // namespace sluice::delivery
