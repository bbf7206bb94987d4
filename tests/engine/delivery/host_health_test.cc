// What addresses of hosts did lately, as each source sees them: when one is left out, for how long,
// and how much is remembered. Expectations are host_health.h's.

#include "engine/delivery/host_health.h"

#include <gtest/gtest.h>

#include <chrono>

namespace sluice::delivery {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

constexpr Instant kNow = Instant(hours(1000));

HostHealth::Way WayTo(uint8_t host, uint32_t source = 0) {
  HostHealth::Way way = {.address = {*IpAddress::Parse("192.0.2.0"), 25}, .source = source};
  way.address.ip.bytes[3] = host;
  return way;
}

TEST(HostHealth, AnAddressIsLeftOutAfterTwoFailuresInARow) {
  HostHealth health;
  health.Failed(WayTo(1), /*failed_twice=*/false, kNow);
  EXPECT_FALSE(health.Avoided(WayTo(1), kNow));
  health.Works(WayTo(1));
  health.Failed(WayTo(1), /*failed_twice=*/false, kNow);
  EXPECT_FALSE(health.Avoided(WayTo(1), kNow));
  health.Failed(WayTo(1), /*failed_twice=*/false, kNow);
  EXPECT_TRUE(health.Avoided(WayTo(1), kNow));
  EXPECT_FALSE(health.Avoided(WayTo(2), kNow));
  const Instant until = health.AvoidedUntil(WayTo(1));
  EXPECT_GT(until, kNow);
  EXPECT_LE(until, kNow + minutes(5));
  EXPECT_FALSE(health.Avoided(WayTo(1), until));
}

TEST(HostHealth, OrAtOnceWhereItIsSaid) {
  HostHealth health;
  health.Failed(WayTo(1), /*failed_twice=*/true, kNow);
  EXPECT_TRUE(health.Avoided(WayTo(1), kNow));
  health.Clear();
  EXPECT_FALSE(health.Avoided(WayTo(1), kNow));
}

// Z3: it may be one of our addresses that it does not like.
TEST(HostHealth, ForTheOtherSourcesItHasNotFailed) {
  HostHealth health;
  health.Failed(WayTo(1, 1), /*failed_twice=*/true, kNow);
  EXPECT_TRUE(health.Avoided(WayTo(1, 1), kNow));
  EXPECT_FALSE(health.Avoided(WayTo(1, 2), kNow));
  health.TlsBroken(WayTo(1, 1), kNow + hours(1), kNow);
  EXPECT_EQ(health.TlsBrokenOf(1, kNow).size(), 1u);
  EXPECT_TRUE(health.TlsBrokenOf(2, kNow).empty());
  EXPECT_TRUE(health.TlsBrokenOf(1, kNow + hours(1)).empty());
  EXPECT_EQ(health.remembered_until(), kNow + hours(1));
}

TEST(HostHealth, OnlySoManyAreRemembered) {
  HostHealth health;
  for (uint8_t host = 0; host < HostHealth::kAddressesMax; ++host) {
    health.Failed(WayTo(host), /*failed_twice=*/true, kNow);
  }
  health.Failed(WayTo(200), /*failed_twice=*/true, kNow);
  EXPECT_FALSE(health.Avoided(WayTo(200), kNow));
  EXPECT_TRUE(health.Avoided(WayTo(0), kNow));
  const Instant later = health.AvoidedUntil(WayTo(0));
  health.Failed(WayTo(200), /*failed_twice=*/true, later);  // The others make room.
  EXPECT_TRUE(health.Avoided(WayTo(200), later));
}

}  // namespace
}  // namespace sluice::delivery
