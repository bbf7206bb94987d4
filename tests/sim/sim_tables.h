// Drawn destination controls: exact and partial entries and a default, each leaving fields out.

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "policy/controls_table.h"
#include "tests/sim/options.h"
#include "tests/sim/world.h"

namespace sluice::sim {

// All hosts of the domain meet the level. Of the name of a default or partial entry: of all
// domains.
using CanMeet = std::function<bool(const std::string& domain, policy::TlsLevel level)>;

// `may_hold`: some may be told to take no recipients at all, or to send nothing to hosts that
// cannot meet the level of TLS.
std::vector<policy::ControlsEntry> DrawTable(World& world, const Options& options,
                                             const std::vector<std::string>& domains,
                                             const CanMeet& can_meet, bool may_hold);

}  // namespace sluice::sim
