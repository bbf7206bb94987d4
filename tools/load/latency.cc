#include "tools/load/latency.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "engine/base/check.h"

namespace sluice::tools {

void Latency::Add(Duration taken) {
  const Duration bounded = std::max(taken, Duration::zero());
  ++counts_[IndexOf(static_cast<uint64_t>(bounded.count()))];
  ++count_;
  max_ = std::max(max_, bounded);
}

Duration Latency::Percentile(double fraction) const {
  CHECK(fraction > 0 && fraction <= 1);
  const auto wanted = static_cast<uint64_t>(std::ceil(fraction * static_cast<double>(count_)));
  uint64_t counted = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    counted += counts_[i];
    if (counted >= wanted && counted > 0) {
      return std::min(max_, Duration(static_cast<int64_t>(UpperEdgeOf(i))));
    }
  }
  return Duration::zero();
}

// The highest bit chooses the row, the six below it the step.
size_t Latency::IndexOf(uint64_t ns) {
  const int bits = std::bit_width(ns);
  if (bits <= kStepBits) return ns;
  const int shift = bits - kStepBits - 1;
  const auto row = static_cast<size_t>(shift + 1);
  return row * kSteps + ((ns >> shift) - kSteps);
}

uint64_t Latency::UpperEdgeOf(size_t index) {
  const size_t row = index / kSteps;
  const size_t step = index % kSteps;
  if (row == 0) return step;
  return ((step + kSteps + 1) << (row - 1)) - 1;
}

}  // namespace sluice::tools
