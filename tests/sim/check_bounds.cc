// Bounds: an engine without mail holds nothing: no slot, no block, no connection, no operation.

#include "absl/strings/str_cat.h"
#include "tests/sim/checkers.h"
#include "tests/sim/sim_engine.h"

namespace sluice::sim {

void CheckNothingHeld(World& world, const EngineModel& engine) {
  const std::string left = engine.Leftovers();
  if (!left.empty()) world.Violated("bounds", absl::StrCat("still held: ", left));
}

}  // namespace sluice::sim
