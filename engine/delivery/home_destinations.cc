#include "engine/delivery/home_destinations.h"

namespace sluice::delivery {

HomeDestination& HomeDestinations::At(absl::string_view domain) {
  const auto found = by_domain_.find(domain);
  if (found != by_domain_.end()) return *found->second;
  HomeDestination* destination = slots_.Take();
  if (destination == nullptr) return others_;
  destination->counters.domain.assign(domain.data(), domain.size());
  by_domain_.emplace(destination->counters.domain, destination);
  return *destination;
}

const DestinationCounters* HomeDestinations::Find(absl::string_view domain) const {
  const auto found = by_domain_.find(domain);
  return found == by_domain_.end() ? nullptr : &found->second->counters;
}

uint32_t HomeDestinations::CopySome(uint32_t first, uint32_t count,
                                    std::vector<DestinationCounters>& copies) {
  if (first == 0 && others_.counters.last_activity != WallTime{}) {
    copies.push_back(others_.counters);
  }
  const uint32_t next = slots_.VisitSome(
      first, count, [&](const HomeDestination& one) { copies.push_back(one.counters); });
  return next == Slab<HomeDestination>::kNoSlot ? 0 : next;
}

}  // namespace sluice::delivery
