// The table of destination controls as an operator reads it: the appliance's LIST and DETAIL, and
// what holds for one address.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/dns/routes_table.h"
#include "policy/controls_table.h"

namespace sluice {

// "There are currently 3 entries configured.": the rows of ListText, so with the default.
std::string CountText(const std::vector<policy::ControlsEntry>& entries);

// A row a section, by name, the default last. TLS has a word of its own for each of the six levels,
// unlike the appliance, whose "On" stands for two.
std::string ListText(const std::vector<policy::ControlsEntry>& entries);

// A block a section; of one, or of all with null. Empty: there is no such section.
std::string DetailText(const std::vector<policy::ControlsEntry>& entries,
                       const std::string* domain);

// The entry that governs a normalised domain, every value with who says it, the route and the
// shard. `routes` may be null and `shards` 0: not known.
std::string TestText(const std::vector<policy::ControlsEntry>& entries, const std::string& domain,
                     const dns::RoutesTable* routes, uint32_t shards);

}  // namespace sluice
