// One simulation from one seed: builds what the options say, lets mail and faults happen for a
// while, then takes the faults away and sees that everything drains.

#pragma once

#include <cstdint>
#include <string>

#include "tests/sim/options.h"

namespace sluice::sim {

// For reading along.
struct Totals {
  uint64_t messages = 0;
  uint64_t deliveries = 0;
  uint64_t calls = 0;
  uint64_t sealed_calls = 0;  // Of these, under TLS.
  uint64_t duplicates = 0;    // Of the deliveries: of what had been delivered before.
  uint64_t in_doubt = 0;
  uint64_t starts = 0;
  double virtual_seconds = 0;

  void Add(const Totals& other);
};

struct SimulationResult {
  std::string checker;    // That was violated; empty: none.
  std::string violation;  // When, and what.
  uint64_t trace_hash = 0;
  Totals totals;

  bool good() const { return checker.empty(); }
};

SimulationResult Simulate(const Case& which, bool prints_trace = false);

}  // namespace sluice::sim
