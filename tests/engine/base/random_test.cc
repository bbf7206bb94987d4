// The seeded source of chance: it replays from its seed, keeps to its bounds, and is even enough to
// spread retries. The first words are those of the reference implementation of xoshiro256**
// (Blackman and Vigna) with its state filled by SplitMix64 from the seed 0.

#include "engine/base/random.h"

#include <array>

#include "gtest/gtest.h"

namespace sluice {
namespace {

TEST(Random, IsXoshiro256StarStar) {
  Random random(0);
  for (const uint64_t word :
       {0x99ec5f36cb75f2b4u, 0xbf6e1f784956452au, 0x1a5f849d4933e6e0u, 0x6aa594f1262d2d2cu}) {
    EXPECT_EQ(random.Next(), word);
  }
}

TEST(Random, ReplaysFromItsSeedAndDiffersFromAnother) {
  Random a(42), b(42), c(43);
  EXPECT_EQ(a.Next(), b.Next());
  EXPECT_EQ(a.Next(), b.Next());
  EXPECT_NE(Random(42).Next(), c.Next());
}

TEST(Random, BelowReachesEveryValueAboutEquallyOften) {
  Random random(1);
  std::array<int, 10> counts{};
  for (int i = 0; i < 100'000; ++i) ++counts[random.Below(10)];
  for (const int count : counts) EXPECT_NEAR(count, 10'000, 500);  // Over five standard deviations.
}

TEST(Random, BetweenIncludesBothEnds) {
  Random random(1);
  std::array<bool, 5> seen{};
  for (int i = 0; i < 1000; ++i) {
    const uint64_t value = random.Between(3, 4);
    ASSERT_TRUE(value == 3 || value == 4);
    seen[value] = true;
  }
  EXPECT_TRUE(seen[3] && seen[4]);
  EXPECT_EQ(random.Between(9, 9), 9u);
  EXPECT_EQ(random.Below(1), 0u);
}

TEST(Random, FractionsAndChances) {
  Random random(1);
  double sum = 0;
  for (int i = 0; i < 100'000; ++i) {
    const double fraction = random.Fraction();
    ASSERT_GE(fraction, 0.0);
    ASSERT_LT(fraction, 1.0);
    sum += fraction;
    ASSERT_FALSE(random.Chance(0));
    ASSERT_TRUE(random.Chance(1));
  }
  EXPECT_NEAR(sum / 100'000, 0.5, 0.005);
}

TEST(RandomDeathTest, NothingIsBelowZero) {
  Random random(1);
  EXPECT_DEATH(random.Below(0), "CHECK");
  EXPECT_DEATH(random.Between(2, 1), "CHECK");
}

}  // namespace
}  // namespace sluice
