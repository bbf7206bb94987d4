// The retry schedule: doubling from the initial delay to the longest, spread by a quarter to both
// sides, and the two bounds at which a message is given up.

#include "policy/bounce_profile.h"

#include <algorithm>

#include "gtest/gtest.h"

namespace sluice::policy {
namespace {

using std::chrono::hours;
using std::chrono::nanoseconds;
using std::chrono::seconds;

TEST(RetryDelay, DoublesToTheLongestWithinAQuarter) {
  const BounceProfile profile{.initial_retry = seconds(60), .max_retry = seconds(3600)};
  const struct {
    uint32_t attempts;
    int middle_s;
  } kRows[] = {{1, 60},   {2, 120},  {3, 240},  {4, 480},    {5, 960},
               {6, 1920}, {7, 3600}, {8, 3600}, {100, 3600}, {UINT32_MAX, 3600}};
  Random random(1);
  for (const auto& row : kRows) {
    Duration shortest = Duration::max();
    Duration longest{};
    for (int i = 0; i < 1000; ++i) {
      const Duration delay = profile.RetryDelay(row.attempts, random);
      shortest = std::min(shortest, delay);
      longest = std::max(longest, delay);
    }
    const Duration middle = seconds(row.middle_s);
    EXPECT_GE(shortest, middle * 3 / 4);
    EXPECT_LT(shortest, middle * 4 / 5);  // Spread, not bunched: 1000 even draws reach both ends.
    EXPECT_LE(longest, middle * 5 / 4);
    EXPECT_GT(longest, middle * 6 / 5);
  }
}

TEST(RetryDelay, ALongestBelowTheInitialOneRules) {
  const BounceProfile profile{.initial_retry = seconds(600), .max_retry = seconds(100)};
  Random random(1);
  EXPECT_LE(profile.RetryDelay(1, random), seconds(125));
  EXPECT_LE(profile.RetryDelay(9, random), seconds(125));
}

TEST(RetryDelay, NeverOverflows) {
  const BounceProfile profile{.initial_retry = hours(1), .max_retry = Duration::max() / 2};
  Random random(1);
  EXPECT_GE(profile.RetryDelay(UINT32_MAX, random), profile.max_retry / 4 * 3);
}

TEST(RetryDelayDeathTest, BeforeTheFirstAttemptThereIsNone) {
  Random random(1);
  EXPECT_DEATH(BounceProfile{}.RetryDelay(0, random), "CHECK");
}

// The appliance with two retries tries at 0, 60 and 120 seconds and gives up after the third.
TEST(Expired, AfterTheLastRetryHasFailed) {
  const BounceProfile profile{.max_retries = 2};
  EXPECT_FALSE(profile.Expired(1, seconds(0)));
  EXPECT_FALSE(profile.Expired(2, seconds(60)));
  EXPECT_TRUE(profile.Expired(3, seconds(120)));
}

TEST(Expired, WithoutRetriesAfterTheFirstAttempt) {
  const BounceProfile profile{.max_retries = 0};
  EXPECT_FALSE(profile.Expired(0, seconds(0)));
  EXPECT_TRUE(profile.Expired(1, seconds(0)));
}

TEST(Expired, WhenItsTimeInTheQueueIsOver) {
  const BounceProfile profile{.max_queue = seconds(100)};
  EXPECT_FALSE(profile.Expired(1, seconds(100) - nanoseconds(1)));
  EXPECT_TRUE(profile.Expired(1, seconds(100)));
  EXPECT_TRUE(profile.Expired(0, seconds(100)));  // Never tried, held by a limit all the time.
}

TEST(Expired, TheDefaultsAreTheAppliances) {
  const BounceProfile profile;
  EXPECT_EQ(profile.name, "Default");
  EXPECT_FALSE(profile.Expired(100, hours(72) - seconds(1)));
  EXPECT_TRUE(profile.Expired(101, seconds(1)));
  EXPECT_TRUE(profile.Expired(1, hours(72)));
}

}  // namespace
}  // namespace sluice::policy
