// The seam for routes: a shard asks for a destination's route and polls for the answer.
//
// Behind it: libunbound on a thread of its own (unbound_resolver.h), or the simulator's. Ask and
// Poll may be called by every shard's thread; an answer waits until its shard polls, and the shard
// is woken. DNS is off the path of a message (a route serves many), so a lock is good enough here.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/slab.h"
#include "engine/dns/route.h"
#include "engine/dns/routes_table.h"

namespace sluice::dns {

struct RouteQuery {
  uint32_t shard = 0;
  Handle destination;  // The asker's; comes back in the answer.
  std::string domain;  // Normalised, or an address literal.
};

struct RouteAnswer {
  Handle destination;
  Route route;
};

class Resolver {
 public:
  virtual ~Resolver() = default;
  virtual void Ask(RouteQuery query) = 0;
  // Appends the answers for `shard`.
  virtual void Poll(uint32_t shard, std::vector<RouteAnswer>& answers) = 0;
  // A new routes table for the queries to come (SIGHUP).
  virtual void UseRoutes(std::shared_ptr<const RoutesTable> routes) = 0;
};

}  // namespace sluice::dns
