// The most recipients in any window, by arithmetic: what begins a window is in it, what comes a
// whole window later is not. Compared with counting by hand, and with a slow twin over random
// stamps.

#include "tools/sink/window_peak.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "engine/base/random.h"

namespace sluice::tools {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

class WindowPeak : public ::testing::Test {
 protected:
  static Instant At(Duration since_start) { return Instant() + since_start; }

  uint64_t stamps_left_ = 1000;
};

TEST_F(WindowPeak, HoldsItsBeginningAndNotItsEnd) {
  const Duration spans[] = {seconds(60)};
  WindowPeaks peaks(spans, stamps_left_);
  peaks.Add(1, At(seconds(0)));
  peaks.Add(1, At(seconds(60) - nanoseconds(1)));
  EXPECT_EQ(peaks.peak(0), 2u);
  peaks.Add(1, At(seconds(60)));  // The first is out now, the second not.
  EXPECT_EQ(peaks.peak(0), 2u);
  peaks.Add(1, At(seconds(60)));
  EXPECT_EQ(peaks.peak(0), 3u);
}

TEST_F(WindowPeak, IsOfAnyWindowNotOfFixedOnes) {
  const Duration spans[] = {seconds(60)};
  WindowPeaks peaks(spans, stamps_left_);
  // 50 at the end of the first minute and 50 at the beginning of the second: 100 within two
  // seconds.
  for (int i = 0; i < 50; ++i) peaks.Add(1, At(seconds(59) + milliseconds(i)));
  for (int i = 0; i < 50; ++i) peaks.Add(1, At(seconds(61) + milliseconds(i)));
  EXPECT_EQ(peaks.peak(0), 100u);
}

TEST_F(WindowPeak, IsKeptForEachWindow) {
  const Duration spans[] = {seconds(1), seconds(10)};
  WindowPeaks peaks(spans, stamps_left_);
  for (int i = 0; i < 20; ++i) peaks.Add(3, At(seconds(i)));
  EXPECT_EQ(peaks.peak(0), 3u);
  EXPECT_EQ(peaks.peak(1), 30u);
}

TEST_F(WindowPeak, StaysAfterTheWindowIsEmpty) {
  const Duration spans[] = {seconds(1)};
  WindowPeaks peaks(spans, stamps_left_);
  peaks.Add(5, At(seconds(0)));
  peaks.Add(1, At(seconds(100)));
  EXPECT_EQ(peaks.peak(0), 5u);
  EXPECT_TRUE(peaks.exact());
}

TEST_F(WindowPeak, AgreesWithCountingEveryPair) {
  Random random(7);
  const Duration spans[] = {nanoseconds(5), nanoseconds(50)};
  WindowPeaks peaks(spans, stamps_left_);
  std::vector<int64_t> stamps;
  int64_t now = 0;
  for (int i = 0; i < 500; ++i) {
    now += static_cast<int64_t>(random.Below(6));
    stamps.push_back(now);
    peaks.Add(1, At(nanoseconds(now)));
  }
  for (size_t window = 0; window < 2; ++window) {
    uint64_t most = 0;
    for (const int64_t begin : stamps) {
      most = std::max(most, static_cast<uint64_t>(
                                std::count_if(stamps.begin(), stamps.end(), [&](int64_t stamp) {
                                  return stamp >= begin && stamp - begin < spans[window].count();
                                })));
    }
    EXPECT_EQ(peaks.peak(window), most) << window;
  }
}

TEST_F(WindowPeak, GivesStampsBack) {
  const Duration spans[] = {seconds(1)};
  WindowPeaks peaks(spans, stamps_left_);
  for (int i = 0; i < 10; ++i) peaks.Add(1, At(seconds(2 * i)));
  EXPECT_EQ(stamps_left_, 999u);
}

TEST_F(WindowPeak, AtTheBoundLetsTheOldestGoAndSaysSo) {
  const Duration spans[] = {seconds(60), seconds(1)};
  stamps_left_ = 2;
  WindowPeaks peaks(spans, stamps_left_);
  peaks.Add(1, At(seconds(0)));
  peaks.Add(1, At(seconds(10)));
  EXPECT_TRUE(peaks.exact());
  peaks.Add(1, At(seconds(20)));
  EXPECT_FALSE(peaks.exact());
  EXPECT_EQ(peaks.peak(0), 2u);
  EXPECT_EQ(peaks.peak(1), 1u);
  EXPECT_EQ(stamps_left_, 0u);
}

TEST_F(WindowPeak, WithoutAnyStampLeftCountsNothing) {
  const Duration spans[] = {seconds(60)};
  stamps_left_ = 0;
  WindowPeaks peaks(spans, stamps_left_);
  peaks.Add(1, At(seconds(0)));
  EXPECT_FALSE(peaks.exact());
  EXPECT_EQ(peaks.peak(0), 0u);
}

}  // namespace
}  // namespace sluice::tools
