// Drawn destination controls: exact and partial entries and a default, each leaving fields out.

#pragma once

#include <string>
#include <vector>

#include "policy/controls_table.h"
#include "tests/sim/options.h"
#include "tests/sim/world.h"

namespace sluice::sim {

// `may_hold`: some may be told to take no recipients at all.
std::vector<policy::ControlsEntry> DrawTable(World& world, const Options& options,
                                             const std::vector<std::string>& domains,
                                             bool may_hold);

}  // namespace sluice::sim
