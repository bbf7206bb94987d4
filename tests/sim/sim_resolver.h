// The simulated resolver: the routes of the domains there are, after drawn delays, with temporary
// failures while faults are on.

#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/dns/resolver.h"
#include "tests/sim/sim_peer.h"

namespace sluice::sim {

class SimResolver : public dns::Resolver {
 public:
  explicit SimResolver(Scene& scene) : scene_(scene) {}

  void Add(const std::string& domain, dns::Route route) { routes_[domain] = std::move(route); }
  // For a new life of the engine: answers to the old one are lost. `wake` wakes a shard.
  void Begin(uint32_t shards, std::function<void(uint32_t)> wake);

  void Ask(dns::RouteQuery query) override;
  void Poll(uint32_t shard, std::vector<dns::RouteAnswer>& answers) override;
  void UseRoutes(std::shared_ptr<const dns::RoutesTable>) override {}

 private:
  dns::Route Look(const std::string& domain);
  void DropSome(std::vector<dns::RouteHost>& hosts);

  Scene& scene_;
  std::map<std::string, dns::Route> routes_;
  std::vector<std::vector<dns::RouteAnswer>> answers_;  // By shard.
  std::function<void(uint32_t)> wake_;
  uint32_t life_ = 0;
};

}  // namespace sluice::sim
