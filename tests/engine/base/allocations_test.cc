// The tests' own counter, without which "does not allocate" says nothing: also under sanitizers,
// which count in another way.

#include "tests/allocations.h"

#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace sluice {
namespace {

TEST(Allocations, EachIsCounted) {
  const uint64_t before = AllocationsOfThread();
  const auto one = std::make_unique<int>(1);
  const std::vector<int> another(1000);
  struct alignas(64) Line {};
  const auto aligned = std::make_unique<Line>();
  EXPECT_EQ(AllocationsOfThread() - before, 3u);
}

TEST(Allocations, AnotherThreadsAreNotCounted) {
  std::unique_ptr<int> theirs;
  std::thread other([&theirs] {
    const uint64_t before = AllocationsOfThread();
    theirs = std::make_unique<int>(1);
    EXPECT_EQ(AllocationsOfThread() - before, 1u);
  });
  const uint64_t before = AllocationsOfThread();
  other.join();
  EXPECT_EQ(AllocationsOfThread() - before, 0u);
}

}  // namespace
}  // namespace sluice
