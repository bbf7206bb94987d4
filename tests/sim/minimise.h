// Finds the least options under which a simulation still violates the same checker: switches off
// what can be switched off, makes the rest smaller, one option after another, until nothing more
// can go. A change of the options also changes the way through them, so each is tried along several
// (Options::salt).

#pragma once

#include <cstdint>
#include <string>

#include "tests/sim/simulation.h"

namespace sluice::sim {

struct Minimised {
  Case least;
  std::string checker;  // Empty: it does not fail.
  std::string violation;
  uint64_t tried = 0;
};

Minimised Minimise(const Case& which, uint32_t processes);

}  // namespace sluice::sim
