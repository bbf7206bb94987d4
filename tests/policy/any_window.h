// How a receiver audits a recipient limit.

#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "engine/base/time.h"

namespace sluice::policy {

// The most that was seen in any window of the period, wherever it begins.
inline size_t MostInAnyWindow(std::vector<Instant> seen, Duration period) {
  std::sort(seen.begin(), seen.end());
  size_t most = 0;
  for (size_t first = 0, end = 0; first < seen.size(); ++first) {
    while (end < seen.size() && seen[end] <= seen[first] + period) ++end;
    most = std::max(most, end - first);
  }
  return most;
}

}  // namespace sluice::policy
