// What huge pages could give the slabs: one line touched in each of a million slots of 1 KiB, in an
// order that no prefetcher foresees, each look-up waiting for the one before.
// bench/micro/README.md keeps the figures and what was decided from them.
//
// Run: build/bench/micro/memory_candidates_benchmark

#include <benchmark/benchmark.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstdio>

#include "engine/base/check.h"

namespace sluice {
namespace {

constexpr size_t kSlotBytes = 1 << 10;
constexpr size_t kSlots = 1 << 20;
constexpr size_t kBytes = kSlots * kSlotBytes;

struct Slot {
  uint64_t zero;
  char rest[kSlotBytes - sizeof(uint64_t)];
};
static_assert(sizeof(Slot) == kSlotBytes);

// Of all memory of this process, in KiB.
long HugeKiB() {
  std::FILE* file = std::fopen("/proc/self/smaps_rollup", "re");
  if (file == nullptr) return 0;
  long huge = 0;
  char line[256];
  while (std::fgets(line, sizeof(line), file) != nullptr) {
    if (std::sscanf(line, "AnonHugePages: %ld", &huge) == 1) break;
  }
  std::fclose(file);
  return huge;
}

void Touch(benchmark::State& state, int advice) {
  void* const memory =
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return state.SkipWithError("mmap of 1 GiB is refused");
  Slot* const slots = static_cast<Slot*>(memory);
  if (madvise(memory, kBytes, advice) != 0) {
    state.SkipWithError(strerrorname_np(errno));
  } else {
    for (size_t i = 0; i < kSlots; ++i) slots[i].zero = 0;  // So that all of it is there.
    const long huge = HugeKiB();
    if (advice == MADV_HUGEPAGE && huge == 0) state.SkipWithError("no huge page was given");
    state.counters["huge_MiB"] = static_cast<double>(huge) / 1024;
  }
  uint64_t place = 1;
  for (auto _ : state) {
    // Knuth's linear congruences; the upper 20 bits choose the slot. What is read is 0, but the
    // processor cannot go on before it has come.
    place = place * 6364136223846793005u + 1442695040888963407u + slots[place >> 44].zero;
  }
  benchmark::DoNotOptimize(place);
  CHECK(munmap(memory, kBytes) == 0);
}

// A fixed number: looking for one would fill the memory several times.
BENCHMARK_CAPTURE(Touch, plain, MADV_NOHUGEPAGE)->Iterations(3'000'000);
BENCHMARK_CAPTURE(Touch, huge_pages, MADV_HUGEPAGE)->Iterations(3'000'000);

}  // namespace
}  // namespace sluice

BENCHMARK_MAIN();
