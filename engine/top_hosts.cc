#include "engine/top_hosts.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "engine/host_report.h"

namespace sluice {
namespace {

constexpr struct {
  TopBy by;
  absl::string_view word;
  absl::string_view appliance;
} kWords[] = {{TopBy::kActive, "active", "active_rcpts"},
              {TopBy::kConnections, "connections", "conn_out"},
              {TopBy::kDelivered, "delivered", "deliv_recip"},
              {TopBy::kSoftBounced, "soft", "soft_bounced"},
              {TopBy::kHardBounced, "hard", "hard_bounced"}};

uint64_t ValueOf(const TopHost& host, TopBy by) {
  switch (by) {
    case TopBy::kActive:
      return host.counters.active;
    case TopBy::kConnections:
      return host.connections;
    case TopBy::kDelivered:
      return host.counters.delivered;
    case TopBy::kSoftBounced:
      return host.counters.soft_bounced;
    case TopBy::kHardBounced:
      return host.hard_bounced();
  }
  return 0;
}

}  // namespace

std::optional<TopBy> ParseTopBy(absl::string_view word) {
  for (const auto& one : kWords) {
    if (absl::EqualsIgnoreCase(word, one.word) || absl::EqualsIgnoreCase(word, one.appliance)) {
      return one.by;
    }
  }
  return std::nullopt;
}

absl::string_view TopByWord(TopBy by) {
  for (const auto& one : kWords) {
    if (one.by == by) return one.word;
  }
  return "";
}

void TopHosts::Add(const delivery::DestinationCounters& counters) {
  if (counters.domain.empty()) return AddCounters(others_, counters);
  AddCounters(by_domain_[counters.domain].counters, counters);
}

void TopHosts::Add(const delivery::DestinationGauges& gauges) {
  TopHost& host = by_domain_[gauges.domain];
  host.connections = gauges.connections;
  host.down = gauges.down;
}

std::vector<TopHost> TopHosts::Top(TopBy by, size_t count) const {
  std::vector<const decltype(by_domain_)::value_type*> all;
  for (const auto& one : by_domain_) all.push_back(&one);
  const size_t first = std::min(count, all.size());
  std::partial_sort(all.begin(), all.begin() + static_cast<ptrdiff_t>(first), all.end(),
                    [by](const auto* a, const auto* b) {
                      const uint64_t of_a = ValueOf(a->second, by);
                      const uint64_t of_b = ValueOf(b->second, by);
                      return of_a != of_b ? of_a > of_b : a->first < b->first;
                    });
  std::vector<TopHost> top;
  for (size_t i = 0; i < first; ++i) {
    top.push_back(all[i]->second);
    top.back().counters.domain = all[i]->first;
  }
  return top;
}

}  // namespace sluice
