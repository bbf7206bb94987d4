// What a benchmark allocates an operation, on its own thread; told beside its time:
//
//   const Allocations allocations;
//   for (auto _ : state) …
//   allocations.Tell(state);
//
// (A benchmark::MemoryManager would count what stands around the loop, too.)

#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>

#include "tests/allocations.h"

namespace sluice {

class Allocations {
 public:
  void Tell(benchmark::State& state) const {
    const uint64_t since = AllocationsOfThread() - before_;
    state.counters["allocations"] =
        benchmark::Counter(static_cast<double>(since), benchmark::Counter::kAvgIterations);
  }

 private:
  const uint64_t before_ = AllocationsOfThread();
};

}  // namespace sluice
