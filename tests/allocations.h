// Counts allocations, for tests of what must not allocate, and for benchmarks, which tell how often
// a piece does. Of a program that links this, every operator new counts; under a sanitizer, which
// keeps operator new for itself, every malloc.

#pragma once

#include <cstdint>

namespace sluice {

// Of the thread that asks, since it first asked at the latest.
uint64_t AllocationsOfThread();

}  // namespace sluice
