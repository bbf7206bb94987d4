// The sliding window against a plain list of all stamps: never less than what stands in the period,
// never more than what stands in the period and a 64th; and how a change of the period moves it.

#include "policy/recipient_window.h"

#include <vector>

#include "engine/base/random.h"
#include "gtest/gtest.h"

namespace sluice::policy {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr Instant kStart = Instant(hours(1000));

TEST(RecipientWindow, EmptyAtFirst) {
  RecipientWindow window;
  EXPECT_TRUE(window.Empty(minutes(1), kStart));
  EXPECT_EQ(window.NextRelease(minutes(1), kStart), kNever);
}

TEST(RecipientWindow, InFlightCountsWithoutEnd) {
  RecipientWindow window;
  window.Take(3);
  EXPECT_EQ(window.Counted(minutes(1), kStart + hours(24)), 3u);
  EXPECT_EQ(window.NextRelease(minutes(1), kStart), kNever);
  window.Return(2);
  EXPECT_EQ(window.Counted(minutes(1), kStart + hours(24)), 1u);
  window.Stamp(0, minutes(1), kStart);  // Nothing seen.
  EXPECT_EQ(window.Counted(minutes(1), kStart), 1u);
}

// 64 minutes in buckets of a minute.
TEST(RecipientWindow, LeavesWhenTheEndOfItsBucketIsAPeriodOld) {
  const Duration period = minutes(64);
  for (const Duration into_bucket :
       {nanoseconds(0), nanoseconds(seconds(30)), nanoseconds(minutes(1)) - nanoseconds(1)}) {
    RecipientWindow window;
    window.Take(5);
    window.Stamp(5, period, kStart + into_bucket);
    EXPECT_EQ(window.NextRelease(period, kStart + into_bucket), kStart + minutes(65));
    EXPECT_EQ(window.Counted(period, kStart + minutes(65) - nanoseconds(1)), 5u);
    EXPECT_EQ(window.Counted(period, kStart + minutes(65)), 0u);
    EXPECT_EQ(window.NextRelease(period, kStart + minutes(65)), kNever);
  }
}

TEST(RecipientWindow, FromTheBeginningOfTime) {
  RecipientWindow window;
  window.Take(1);
  window.Stamp(1, minutes(64), Instant{});
  EXPECT_EQ(window.NextRelease(minutes(64), Instant{}), Instant(minutes(65)));
  EXPECT_EQ(window.Counted(minutes(64), Instant(minutes(65))), 0u);
}

TEST(RecipientWindow, ALongSilenceEmptiesIt) {
  RecipientWindow window;
  for (int minute = 0; minute < 64; ++minute) {
    window.Take(1);
    window.Stamp(1, minutes(64), kStart + minutes(minute));
  }
  EXPECT_EQ(window.Counted(minutes(64), kStart + minutes(64)), 64u);
  EXPECT_EQ(window.Counted(minutes(64), kStart + hours(10'000)), 0u);
}

TEST(RecipientWindow, AChangedPeriodCountsLongerNeverShorter) {
  for (const Duration changed : {nanoseconds(minutes(1)), nanoseconds(minutes(640))}) {
    RecipientWindow window;
    window.Take(2);
    window.Stamp(1, minutes(64), kStart);
    window.Stamp(1, minutes(64), kStart + minutes(30));
    const Instant change = kStart + minutes(40);
    EXPECT_EQ(window.Counted(changed, change), 2u);
    EXPECT_EQ(window.Counted(changed, change + changed - nanoseconds(1)), 2u);
    EXPECT_EQ(window.Counted(changed, change + changed + changed / 64), 0u);
  }
}

TEST(RecipientWindow, AChangedPeriodBringsNothingBack) {
  RecipientWindow window;
  window.Take(1);
  window.Stamp(1, minutes(1), kStart);
  EXPECT_EQ(window.Counted(minutes(60), kStart + minutes(2)), 0u);
}

TEST(RecipientWindowDeathTest, NothingLeavesThatWasNotTaken) {
  RecipientWindow window;
  window.Take(2);
  EXPECT_DEATH(window.Return(3), "CHECK");
  EXPECT_DEATH(window.Stamp(3, minutes(1), kStart), "CHECK");
  EXPECT_DEATH(window.Stamp(1, minutes(0), kStart), "CHECK");
}

class RecipientWindowModel : public testing::TestWithParam<uint64_t> {};

TEST_P(RecipientWindowModel, AgainstAListOfAllStamps) {
  Random random(GetParam());
  const Duration period =
      random.Chance(0.5)
          ? nanoseconds(minutes(random.Between(1, 60)))
          : nanoseconds(random.Between(1, 1'000'000));  // Not divisible by 64 either.
  const Duration late = period / 64 + nanoseconds(64);  // A 64th, rounded up in each bucket.
  struct Stamp {
    Instant at;
    uint32_t recipients;
  };
  std::vector<Stamp> stamps;
  RecipientWindow window;
  uint64_t in_flight = 0;
  Instant now = kStart;
  for (int step = 0; step < 1000; ++step) {
    now += nanoseconds(random.Below(period.count() / (1 << random.Below(10)) + 2));
    const auto recipients = static_cast<uint32_t>(random.Between(1, 100));
    if (random.Chance(0.5)) {
      window.Take(recipients);
      in_flight += recipients;
    } else if (recipients <= in_flight) {
      in_flight -= recipients;
      if (random.Chance(0.8)) {
        window.Stamp(recipients, period, now);
        stamps.push_back({now, recipients});
      } else {
        window.Return(recipients);
      }
    }
    uint64_t at_least = in_flight;
    uint64_t at_most = in_flight;
    for (const Stamp& stamp : stamps) {
      if (stamp.at >= now - period) at_least += stamp.recipients;
      if (stamp.at > now - period - late) at_most += stamp.recipients;
    }
    const uint64_t counted = window.Counted(period, now);
    ASSERT_GE(counted, at_least);
    ASSERT_LE(counted, at_most);

    const Instant release = window.NextRelease(period, now);
    ASSERT_EQ(release == kNever, counted == in_flight);
    if (release == kNever || random.Chance(0.9)) continue;
    ASSERT_GT(release, now);
    ASSERT_EQ(window.Counted(period, release - nanoseconds(1)), counted);
    ASSERT_LT(window.Counted(period, release), counted);
    now = release;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RecipientWindowModel, testing::Range<uint64_t>(1, 31));

// Taken up by a process whose clock and buckets lie elsewhere: never less than what stands in the
// period, never more than what stands in it and two 64ths.
TEST(RecipientWindow, StampsAreTakenUpElsewhere) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    Random random(seed);
    const Duration period = nanoseconds(random.Between(64, hours(1) / nanoseconds(1)));
    const Duration offset = random.Chance(0.5) ? -kStart.time_since_epoch()  // Since a boot.
                                               : Duration(random.Below(hours(900).count() * 3600));
    RecipientWindow window;
    std::vector<WindowStamp> all;
    Instant now = kStart;
    for (int i = 0; i < 300; ++i) {
      now += nanoseconds(random.Below(period.count() / 50 + 1));
      all.push_back({.by = now, .recipients = static_cast<uint32_t>(random.Below(5))});
      window.Take(all.back().recipients);
      window.Stamp(all.back().recipients, period, now);
    }
    std::vector<WindowStamp> stamps = window.Stamps(period, now);
    ASSERT_LE(stamps.size(), RecipientWindow::kStampsMax);
    for (size_t i = 1; i < stamps.size(); ++i) ASSERT_LT(stamps[i - 1].by, stamps[i].by);
    for (WindowStamp& stamp : stamps) stamp.by += offset;
    now += nanoseconds(random.Below(period.count()));
    RecipientWindow other;
    other.Restore(stamps, period, now + offset);
    for (; now < kStart + 20 * period; now += period / 100 + nanoseconds(1)) {
      uint64_t least = 0;
      uint64_t most = 0;
      for (const WindowStamp& stamp : all) {
        if (now - stamp.by <= period) least += stamp.recipients;
        if (now - stamp.by <= period + period / 32 + nanoseconds(192)) most += stamp.recipients;
      }
      ASSERT_GE(other.Counted(period, now + offset), least) << seed;
      ASSERT_LE(other.Counted(period, now + offset), most) << seed;
    }
  }
}

TEST(RecipientWindow, ExactWhereTheBucketsAreTheSame) {
  const Duration period = minutes(64);
  RecipientWindow window;
  for (const int minute : {0, 1, 1, 30, 63}) {
    window.Take(2);
    window.Stamp(2, period, kStart + minutes(minute) + seconds(20));
  }
  const Instant now = kStart + minutes(63) + seconds(40);
  const std::vector<WindowStamp> expected = {
      {kStart + minutes(1), 2}, {kStart + minutes(2), 4}, {kStart + minutes(31), 2}, {now, 2}};
  EXPECT_EQ(window.Stamps(period, now), expected);
}

TEST(RecipientWindow, WhatIsStillToComeIsTakenForNow) {
  RecipientWindow window;
  const std::vector<WindowStamp> stamps = {{kStart + hours(5), 3}};
  window.Restore(stamps, minutes(64), kStart);
  EXPECT_EQ(window.Counted(minutes(64), kStart), 3u);
  EXPECT_EQ(window.NextRelease(minutes(64), kStart), kStart + minutes(65));
}

}  // namespace
}  // namespace sluice::policy
