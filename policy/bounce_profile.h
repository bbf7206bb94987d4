// How long mail is tried, and how often: the retry schedule of a bounce profile.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/random.h"
#include "engine/base/time.h"

namespace sluice::policy {

struct BounceProfile {
  std::string name = "Default";
  Duration initial_retry = std::chrono::seconds(60);
  Duration max_retry = std::chrono::seconds(3600);
  uint32_t max_retries = 100;
  Duration max_queue = std::chrono::seconds(259200);

  // How long to wait after the `attempts`-th failed attempt (from 1): initial_retry doubled at
  // each, at most max_retry, then spread evenly over [3/4, 5/4] of it so that what failed together
  // does not come back together.
  Duration RetryDelay(uint32_t attempts, Random& random) const;

  // Whether a message that has been kept for `age` and has failed `attempts` times is given up.
  bool Expired(uint32_t attempts, Duration age) const;
};

struct BounceProfiles {
  BounceProfile by_default;
  std::vector<BounceProfile> others;

  // Empty, or not known (any more): the default.
  const BounceProfile& Named(absl::string_view name) const;
};

}  // namespace sluice::policy
