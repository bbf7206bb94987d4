// The checkers: what must hold whatever happens. A file each; each says what it found in
// World::Violated.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/spool/recovery.h"
#include "tests/sim/ledger.h"

namespace sluice::sim {

class EngineModel;

// check_duplicates.cc: a peer takes something for the second time (or the first: nothing to say).
// `final`: the engine has released an event that says it is done.
void CheckSecondDelivery(Ledger& ledger, absl::string_view what,
                         const std::vector<uint32_t>& deliveries, bool final);
// At the end: what was delivered again is never more than what was in doubt.
struct DuplicateSums {
  uint64_t duplicates = 0;
  uint64_t in_doubt = 0;
};
DuplicateSums CheckDuplicateSums(Ledger& ledger);
// A bounce about the recipient has come.
void CheckReport(Ledger& ledger, const RecipientFacts& recipient);

// check_durability.cc: after a start, before the first turn.
void CheckRecovered(Ledger& ledger, const spool::Recovered& recovered);

// check_conservation.cc: at the end, when nothing is queued any more.
void CheckConservation(Ledger& ledger);

// check_liveness.cc: after a day without faults.
void CheckDrained(World& world, const EngineModel& engine);

// check_bounds.cc: now and then; and when there has been no mail for long enough.
void CheckWithinBounds(World& world, const EngineModel& engine);
void CheckNothingHeld(World& world, const EngineModel& engine);

}  // namespace sluice::sim
