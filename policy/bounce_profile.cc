#include "policy/bounce_profile.h"

#include <algorithm>

#include "engine/base/check.h"

namespace sluice::policy {

Duration BounceProfile::RetryDelay(uint32_t attempts, Random& random) const {
  CHECK(attempts >= 1);
  CHECK(initial_retry > Duration::zero());
  Duration delay = std::min(initial_retry, max_retry);
  for (uint32_t i = 1; i < attempts && delay < max_retry; ++i) {
    delay = delay > max_retry / 2 ? max_retry : delay * 2;
  }
  const auto delay_ns = static_cast<uint64_t>(delay.count());
  return Duration(random.Between(delay_ns - delay_ns / 4, delay_ns + delay_ns / 4));
}

bool BounceProfile::Expired(uint32_t attempts, Duration age) const {
  return attempts > max_retries || age >= max_queue;
}

const BounceProfile& BounceProfiles::Named(absl::string_view name) const {
  for (const BounceProfile& profile : others) {
    if (profile.name == name) return profile;
  }
  return by_default;
}

}  // namespace sluice::policy
