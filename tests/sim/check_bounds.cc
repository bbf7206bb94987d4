// Bounds: at no time does anything hold more than it was made for, nor the shards together more
// than the engine. An engine without mail holds nothing: no slot, no block, no connection, no
// operation.

#include "absl/strings/str_cat.h"
#include "tests/sim/checkers.h"
#include "tests/sim/sim_engine.h"

namespace sluice::sim {

void CheckWithinBounds(World& world, const EngineModel& engine) {
  for (const EngineModel::Holding& holding : engine.Holdings()) {
    if (holding.held <= holding.most) continue;
    world.Violated("bounds", absl::StrCat(holding.what, ": ", holding.held, ", and there may be ",
                                          holding.most));
  }
}

void CheckNothingHeld(World& world, const EngineModel& engine) {
  const std::string left = engine.Leftovers();
  if (!left.empty()) world.Violated("bounds", absl::StrCat("still held: ", left));
}

}  // namespace sluice::sim
