// How routes are looked up, as the configuration has it.

#pragma once

#include "engine/config.h"
#include "engine/dns/unbound_resolver.h"

namespace sluice {

// All but the wakers. Looks at the machine's interfaces: a route that leads to an address at which
// we take mail is a loop.
dns::UnboundResolver::Options ResolverOptions(const Config& config);

}  // namespace sluice
