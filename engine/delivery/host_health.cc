#include "engine/delivery/host_health.h"

#include <algorithm>

namespace sluice::delivery {
namespace {

constexpr Duration kAvoided = std::chrono::seconds(60);
constexpr uint32_t kFailuresBeforeAvoided = 2;

}  // namespace

void HostHealth::Failed(const Way& way, bool failed_twice, Instant now) {
  Record* record = FindOrAdd(way, now);
  if (record == nullptr) return;
  record->failures += failed_twice ? kFailuresBeforeAvoided : 1;
  if (record->failures >= kFailuresBeforeAvoided) record->avoid_until = now + kAvoided;
}

void HostHealth::Works(const Way& way) {
  if (Record* record = Find(way)) record->failures = 0;
}

Instant HostHealth::AvoidedUntil(const Way& way) const {
  const Record* record = Find(way);
  return record == nullptr ? Instant{} : record->avoid_until;
}

void HostHealth::TlsBroken(const Way& way, Instant until, Instant now) {
  if (Record* record = FindOrAdd(way, now)) record->tls_broken_until = until;
}

std::vector<SocketAddress> HostHealth::TlsBrokenOf(uint32_t source, Instant now) const {
  std::vector<SocketAddress> broken;
  for (const Record& record : ways_) {
    if (record.way.source == source && now < record.tls_broken_until) {
      broken.push_back(record.way.address);
    }
  }
  return broken;
}

Instant HostHealth::remembered_until() const {
  Instant until{};
  for (const Record& record : ways_) until = std::max(until, record.tls_broken_until);
  return until;
}

HostHealth::Record* HostHealth::Find(const Way& way) {
  for (Record& record : ways_) {
    if (record.way == way) return &record;
  }
  return nullptr;
}

const HostHealth::Record* HostHealth::Find(const Way& way) const {
  return const_cast<HostHealth*>(this)->Find(way);
}

// Null: too many are remembered. What worked since, or may be tried again anyway, makes room.
HostHealth::Record* HostHealth::FindOrAdd(const Way& way, Instant now) {
  if (Record* record = Find(way)) return record;
  std::erase_if(ways_, [&](const Record& record) {
    if (now < record.tls_broken_until) return false;
    return record.failures == 0 || (record.failures > 1 && record.avoid_until <= now);
  });
  if (ways_.size() == kAddressesMax) return nullptr;
  return &ways_.emplace_back(Record{.way = way, .avoid_until = now});
}

}  // namespace sluice::delivery
