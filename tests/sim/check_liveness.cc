// Liveness: when faults stop, all that is queued goes out within a day.

#include "absl/strings/str_cat.h"
#include "tests/sim/checkers.h"
#include "tests/sim/sim_engine.h"

namespace sluice::sim {

void CheckDrained(World& world, const EngineModel& engine) {
  if (engine.Empty()) return;
  world.Violated("liveness",
                 absl::StrCat("after a quiet day there is still: ", engine.Leftovers()));
}

}  // namespace sluice::sim
