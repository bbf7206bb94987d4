// Runs many simulations in processes of their own, so that one that is ended by a CHECK, or that
// never ends, is a failure of its seed and no more; and on as many cores as there are processes.

#pragma once

#include <cstdint>
#include <functional>

#include "tests/sim/simulation.h"

namespace sluice::sim {

struct Work {
  uint64_t count = 0;
  // In a process of its own.
  std::function<SimulationResult(uint64_t index)> run;
  // Here, in the order in which they end. `said`: the end of what it wrote to stderr.
  std::function<void(uint64_t index, const SimulationResult&, const std::string& said)> ended;
};

void RunApart(const Work& work, uint32_t processes);

}  // namespace sluice::sim
