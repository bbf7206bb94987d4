// The engine's resolver, for a program that waits for each route.

#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "engine/config.h"
#include "engine/dns/route.h"
#include "engine/dns/routes_table.h"

namespace sluice::tools {

// The route of a normalised domain. An error: the resolver does not start.
absl::StatusOr<dns::Route> FindRoute(const Config& config, const std::string& domain,
                                     const dns::RoutesTable& table);

}  // namespace sluice::tools
