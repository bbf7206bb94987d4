// The clocks against the system's own readings around them.

#include "engine/io/clock.h"

#include <time.h>

#include "gtest/gtest.h"

namespace sluice::io {
namespace {

TEST(ClockTest, TheInstantDoesNotStepBack) {
  Instant last = ReadClock().instant;
  for (int i = 0; i < 1000; ++i) {
    const Instant now = ReadClock().instant;
    EXPECT_GE(now, last);
    last = now;
  }
}

TEST(ClockTest, TheWallTimeIsThatOfTheSystem) {
  timespec before{};
  timespec after{};
  ASSERT_EQ(clock_gettime(CLOCK_REALTIME, &before), 0);
  const WallTime wall = ReadClock().wall;
  ASSERT_EQ(clock_gettime(CLOCK_REALTIME, &after), 0);
  const auto at = [](const timespec& time) {
    return WallTime(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
  };
  EXPECT_LE(at(before), wall);
  EXPECT_LE(wall, at(after));
}

TEST(ClockTest, TheInstantCountsSuspendedTime) {
  timespec before{};
  ASSERT_EQ(clock_gettime(CLOCK_BOOTTIME, &before), 0);
  const Duration since_boot = ReadClock().instant.time_since_epoch();
  EXPECT_GE(since_boot, std::chrono::seconds(before.tv_sec));
}

}  // namespace
}  // namespace sluice::io
