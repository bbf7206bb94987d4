// The cache of verdicts: how long one is kept, what it is kept for, and its bound.

#include "tls/verdict_cache.h"

#include <set>
#include <thread>

#include "gtest/gtest.h"
#include "tests/tls/certificate_maker.h"

namespace sluice::tls {
namespace {

using std::chrono::hours;
using std::chrono::nanoseconds;
using std::chrono::seconds;

VerdictCache::Key KeyNumber(int number) {
  return VerdictCache::KeyOf({}, {.domain = std::to_string(number)}, {}, 1);
}

Verdict Until(WallTime time, std::string subject = "CN=a") {
  return {.fault = CertificateFault::kNone, .valid_until = time, .subject = std::move(subject)};
}

TEST(VerdictCache, KeepsAVerdictUntilItEnds) {
  VerdictCache cache;
  EXPECT_FALSE(cache.Find(KeyNumber(1), kNow));
  cache.Keep(KeyNumber(1), Until(kNow + seconds(10)), kNow);
  ASSERT_TRUE(cache.Find(KeyNumber(1), kNow));
  EXPECT_EQ(cache.Find(KeyNumber(1), kNow)->subject, "CN=a");
  EXPECT_TRUE(cache.Find(KeyNumber(1), kNow + seconds(10) - nanoseconds(1)));
  EXPECT_FALSE(cache.Find(KeyNumber(1), kNow + seconds(10)));
  EXPECT_FALSE(cache.Find(KeyNumber(2), kNow));
}

TEST(VerdictCache, KeepsItForAnHourAtMost) {
  VerdictCache cache;
  cache.Keep(KeyNumber(1), Until(WallTime::max()), kNow);
  EXPECT_TRUE(cache.Find(KeyNumber(1), kNow + hours(1) - nanoseconds(1)));
  EXPECT_FALSE(cache.Find(KeyNumber(1), kNow + hours(1)));
}

TEST(VerdictCache, DoesntKeepWhatIsOver) {
  VerdictCache cache;
  cache.Keep(KeyNumber(1), Until(kNow), kNow);
  EXPECT_FALSE(cache.Find(KeyNumber(1), kNow));
}

TEST(VerdictCache, AClockThatWasSetBackFindsNothing) {
  VerdictCache cache;
  cache.Keep(KeyNumber(1), Until(WallTime::max()), kNow);
  EXPECT_FALSE(cache.Find(KeyNumber(1), kNow - seconds(1)));
}

TEST(VerdictCache, TheLastVerdictOnAQuestionCounts) {
  VerdictCache cache;
  cache.Keep(KeyNumber(1), Until(kNow + hours(1), "CN=a"), kNow);
  cache.Keep(KeyNumber(1), Until(kNow + hours(1), "CN=b"), kNow);
  EXPECT_EQ(cache.Find(KeyNumber(1), kNow)->subject, "CN=b");
}

TEST(VerdictCache, AFullSetGivesUpWhatEndsFirst) {
  VerdictCache cache(4);  // One set.
  for (int i = 0; i < 4; ++i) cache.Keep(KeyNumber(i), Until(kNow + seconds(40 - i)), kNow);
  cache.Keep(KeyNumber(4), Until(kNow + seconds(100)), kNow);
  for (const int kept : {0, 1, 2, 4}) EXPECT_TRUE(cache.Find(KeyNumber(kept), kNow)) << kept;
  EXPECT_FALSE(cache.Find(KeyNumber(3), kNow));
}

TEST(VerdictCache, NeverHoldsMoreThanItsBound) {
  VerdictCache cache(64);
  for (int i = 0; i < 1000; ++i) cache.Keep(KeyNumber(i), Until(kNow + seconds(100)), kNow);
  int found = 0;
  for (int i = 0; i < 1000; ++i) found += cache.Find(KeyNumber(i), kNow).has_value() ? 1 : 0;
  EXPECT_LE(found, 64);
  EXPECT_GT(found, 32);  // 1000 keys spread over 16 sets of four leave few slots free.
}

TEST(VerdictCacheKey, DiffersByAllThatAVerdictDependsOn) {
  const std::byte a{1};
  const std::byte b{2};
  const Chain chain = {{a}, {b}};
  const References names{.domain = "d", .mx_hosts = {"m"}, .route_hosts = {"r"}};
  std::set<VerdictCache::Key> keys;
  const auto add = [&](const Chain& chain, const References& names, bool common_name,
                       uint64_t version) {
    keys.insert(VerdictCache::KeyOf(chain, names, {.accept_common_name = common_name}, version));
  };
  add(chain, names, false, 1);
  add(chain, names, false, 1);
  EXPECT_EQ(keys.size(), 1U);
  add(chain, names, true, 1);
  add(chain, names, false, 2);
  add({{a, b}}, names, false, 1);
  add({{a}, {b}, {}}, names, false, 1);
  add({{b}, {a}}, names, false, 1);
  add(chain, {.domain = "e", .mx_hosts = {"m"}, .route_hosts = {"r"}}, false, 1);
  add(chain, {.domain = "d", .mx_hosts = {"m", "r"}}, false, 1);
  add(chain, {.domain = "d", .route_hosts = {"m", "r"}}, false, 1);
  add(chain, {.domain = "d", .mx_hosts = {"r"}, .route_hosts = {"m"}}, false, 1);
  add(chain, {.domain = "dm", .mx_hosts = {""}, .route_hosts = {"r"}}, false, 1);
  EXPECT_EQ(keys.size(), 11U);
}

TEST(VerdictCache, ServesManyThreads) {
  VerdictCache cache(16);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&cache] {
      for (int i = 0; i < 2000; ++i) {
        const int number = i % 40;
        const auto found = cache.Find(KeyNumber(number), kNow);
        EXPECT_EQ(found ? found->subject : std::to_string(number), std::to_string(number));
        cache.Keep(KeyNumber(number), Until(kNow + seconds(5), std::to_string(number)), kNow);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace sluice::tls
