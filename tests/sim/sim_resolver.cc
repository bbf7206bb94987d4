#include "tests/sim/sim_resolver.h"

#include "engine/base/check.h"

namespace sluice::sim {

using std::chrono::microseconds;
using std::chrono::seconds;

void SimResolver::Begin(uint32_t shards, std::function<void(uint32_t)> wake) {
  ++life_;
  wake_ = std::move(wake);
  answers_.assign(shards, {});
}

void SimResolver::Ask(dns::RouteQuery query) {
  const Duration delay =
      scene_.world.Delay(microseconds(100), scene_.faults_on ? seconds(20) : seconds(2));
  scene_.world.Happens("asks", query.shard, 0, query.domain);
  scene_.world.After(delay, [this, query = std::move(query), life = life_] {
    if (life != life_) return;
    answers_[query.shard].push_back({query.destination, Look(query.domain)});
    wake_(query.shard);
  });
}

dns::Route SimResolver::Look(const std::string& domain) {
  const auto found = routes_.find(domain);
  CHECK(found != routes_.end());
  if (scene_.faults_on && scene_.world.Chance(scene_.options.faults.dns_temporary * 2)) {
    return {.result = dns::RouteResult::kTemporary, .reason = "the name servers are away"};
  }
  dns::Route route = found->second;
  if (scene_.options.new_routes) DropSome(route.hosts);
  route.ttl =
      scene_.world.Chance(0.1) ? Duration::max() : scene_.world.Delay(seconds(1), seconds(7200));
  return route;
}

// Not all of them.
void SimResolver::DropSome(std::vector<dns::RouteHost>& hosts) {
  if (hosts.empty()) return;
  const uint64_t stays = scene_.world.Between(0, hosts.size() - 1);
  uint64_t number = 0;
  std::erase_if(
      hosts, [&](const dns::RouteHost&) { return number++ != stays && scene_.world.Chance(0.4); });
}

void SimResolver::Poll(uint32_t shard, std::vector<dns::RouteAnswer>& answers) {
  for (dns::RouteAnswer& answer : answers_[shard]) answers.push_back(std::move(answer));
  answers_[shard].clear();
}

}  // namespace sluice::sim
