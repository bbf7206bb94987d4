#include "tools/sluice/route_finder.h"

#include <memory>
#include <semaphore>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "engine/dns/unbound_resolver.h"
#include "engine/resolver_options.h"

namespace sluice::tools {

absl::StatusOr<dns::Route> FindRoute(const Config& config, const std::string& domain,
                                     const dns::RoutesTable& table) {
  std::binary_semaphore answered(0);
  dns::UnboundResolver::Options options = ResolverOptions(config);
  options.wakers.push_back([&answered] { answered.release(); });
  dns::UnboundResolver resolver(std::move(options));
  resolver.UseRoutes(std::make_shared<const dns::RoutesTable>(table));
  if (absl::Status started = resolver.Start(); !started.ok()) return started;
  resolver.Ask({.domain = domain});
  answered.acquire();
  std::vector<dns::RouteAnswer> answers;
  resolver.Poll(0, answers);
  CHECK(answers.size() == 1);
  return std::move(answers.front().route);
}

}  // namespace sluice::tools
