// Counts allocations, for tests of what must not allocate, and for benchmarks, which tell how often
// a piece does. Of a program that links this, every operator new counts. (malloc does not: under a
// sanitizer it must stay the sanitizer's.)

#pragma once

#include <cstdint>

namespace sluice {

// Of the thread that asks, since it began.
uint64_t AllocationsOfThread();

}  // namespace sluice
