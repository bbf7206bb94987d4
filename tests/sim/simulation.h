// One simulation from one seed: builds what the options say, lets mail and faults happen for a
// while, then takes the faults away and sees that everything drains.

#pragma once

#include <cstdint>
#include <string>

namespace sluice::sim {

struct SimulationResult {
  bool good = false;
  std::string violation;  // Which checker, when, what.
  uint64_t trace_hash = 0;
  // For reading along.
  uint64_t messages = 0;
  uint64_t deliveries = 0;
  uint64_t calls = 0;
  uint64_t starts = 0;
  double virtual_seconds = 0;
};

SimulationResult Simulate(uint64_t seed, bool prints_trace = false);

}  // namespace sluice::sim
