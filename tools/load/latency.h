// How long something took, many times over: counted in steps of at most 1/64 of the value, so that
// a percentile is right to under two per cent and the memory does not grow.

#pragma once

#include <array>
#include <cstdint>

#include "engine/base/time.h"

namespace sluice::tools {

class Latency {
 public:
  void Add(Duration taken);

  uint64_t count() const { return count_; }
  Duration max() const { return max_; }
  // The least value that at least `fraction` of all do not exceed (by its step's upper edge; never
  // above max). Zero when nothing was added. `fraction` is over 0 and at most 1.
  Duration Percentile(double fraction) const;

 private:
  static constexpr int kStepBits = 6;
  static constexpr int kSteps = 1 << kStepBits;
  // Up to 2^63 ns: the first row counts single nanoseconds below 64, each further one a doubling.
  static constexpr int kRows = 63 - kStepBits + 1;

  static size_t IndexOf(uint64_t ns);
  static uint64_t UpperEdgeOf(size_t index);

  std::array<uint64_t, kRows * kSteps> counts_{};
  uint64_t count_ = 0;
  Duration max_{};
};

}  // namespace sluice::tools
