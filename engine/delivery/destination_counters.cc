#include "engine/delivery/destination_counters.h"

namespace sluice::delivery {

DestinationCounters& CountedDestinations::At(absl::string_view domain) {
  const auto found = by_domain_.find(domain);
  if (found != by_domain_.end()) return *found->second;
  DestinationCounters* counters = slots_.Take();
  if (counters == nullptr) return others_;
  counters->domain.assign(domain.data(), domain.size());
  by_domain_.emplace(counters->domain, counters);
  return *counters;
}

const DestinationCounters* CountedDestinations::Find(absl::string_view domain) const {
  const auto found = by_domain_.find(domain);
  return found == by_domain_.end() ? nullptr : found->second;
}

uint32_t CountedDestinations::CopySome(uint32_t first, uint32_t count,
                                       std::vector<DestinationCounters>& copies) {
  if (first == 0 && others_.last_activity != WallTime{}) copies.push_back(others_);
  const uint32_t next = slots_.VisitSome(
      first, count, [&](const DestinationCounters& one) { copies.push_back(one); });
  return next == Slab<DestinationCounters>::kNoSlot ? 0 : next;
}

}  // namespace sluice::delivery
