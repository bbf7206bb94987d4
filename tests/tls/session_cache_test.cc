// Sessions kept for resuming: for whom, how often, how long.

#include "tls/session_cache.h"

#include <chrono>
#include <memory>
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "tests/tls/certificate_maker.h"

namespace sluice::tls {
namespace {

SessionKey Whole() {
  return {.host = "mx.example.net",
          .address = {*IpAddress::Parse("192.0.2.1"), 25},
          .source = "198.51.100.1",
          .server_name = "mx.example.net",
          .names = "example.net",
          .level = 1,
          .trust_version = 1,
          .context_version = 1};
}

// A session of another level, address, port, name or trust store is another session (F38, P7).
TEST(SessionKey, TellsApartAllThatTheVerdictHangsOn) {
  std::set<std::string> texts = {Whole().Text()};
  const auto add = [&](auto change) {
    SessionKey key = Whole();
    change(key);
    EXPECT_TRUE(texts.insert(key.Text()).second) << key.Text();
  };
  add([](SessionKey& key) { key.host = "mx2.example.net"; });
  add([](SessionKey& key) { key.address.ip = *IpAddress::Parse("192.0.2.2"); });
  add([](SessionKey& key) { key.address.port = 26; });
  add([](SessionKey& key) { key.source = ""; });
  add([](SessionKey& key) { key.server_name = ""; });
  add([](SessionKey& key) { key.names = "example.org"; });
  add([](SessionKey& key) { key.level = 4; });
  add([](SessionKey& key) { key.trust_version = 2; });
  add([](SessionKey& key) { key.context_version = 2; });
}

constexpr size_t kSessionBytes = 1'000;
constexpr Duration kLifetime = std::chrono::hours(2);

// Sessions of hosts, told apart by how much of each is there: session 3 has three bytes more.
class SessionCacheTest : public testing::Test {
 protected:
  explicit SessionCacheTest(size_t bytes_max = SessionCache::kBytesMax) : cache_(bytes_max) {}

  void Put(const std::string& key, int number, const Verdict& verdict = Good(),
           Duration lifetime = kLifetime) {
    const size_t bytes = kSessionBytes + static_cast<size_t>(number);
    cache_.Put(key, std::make_unique<Session>(std::string(bytes, 's'), lifetime), verdict, now_);
  }
  // Its number, or -1: there is none.
  int Take(const std::string& key) {
    taken_ = cache_.Take(key, now_);
    return taken_.session == nullptr ? -1
                                     : static_cast<int>(taken_.session->bytes() - kSessionBytes);
  }
  static Verdict Good() {
    return {.fault = CertificateFault::kNone,
            .name = NameKind::kDomain,
            .valid_until = kNow + std::chrono::hours(1000)};
  }
  static Verdict Bad() {
    return {.fault = CertificateFault::kExpired, .valid_until = kNow + std::chrono::hours(1000)};
  }

  WallTime now_ = kNow;
  SessionCache cache_;
  CachedSession taken_;  // The last.
};

TEST_F(SessionCacheTest, HasNothingToBeginWith) {
  EXPECT_EQ(Take("a"), -1);
  EXPECT_EQ(cache_.size(), 0u);
}

TEST_F(SessionCacheTest, EachConnectionToAHostFindsOne) {
  for (int number = 0; number < 20; ++number) Put("a", number);
  std::set<int> taken;
  for (int i = 0; i < 20; ++i) taken.insert(Take("a"));
  EXPECT_EQ(taken.size(), 20u);
  EXPECT_EQ(taken.count(-1), 0u);
}

// RFC 8446 C.4.
TEST_F(SessionCacheTest, EachServesOnce) {
  Put("a", 1);
  Put("a", 2);
  EXPECT_EQ(Take("a"), 2);
  EXPECT_EQ(Take("a"), 1);
  EXPECT_EQ(Take("a"), -1);
  EXPECT_EQ(cache_.size(), 0u);
}

TEST_F(SessionCacheTest, AreOfOneKeyOnly) {
  Put("a", 1);
  EXPECT_EQ(Take("b"), -1);
  EXPECT_EQ(Take("a"), 1);
}

TEST_F(SessionCacheTest, OldestOfAKeyMakesRoom) {
  const int kept = SessionCache::kSessionsPerKeyMax;
  Put("b", 7);
  for (int number = 0; number < kept + 2; ++number) Put("a", number);
  EXPECT_EQ(cache_.size(), static_cast<size_t>(kept) + 1);
  for (int number = kept + 1; number >= 2; --number) EXPECT_EQ(Take("a"), number);
  EXPECT_EQ(Take("a"), -1);
  EXPECT_EQ(Take("b"), 7);
}

TEST_F(SessionCacheTest, NewerOneThatHasEndedHidesNoneBehindIt) {
  Put("a", 1);
  Put("a", 2, Good(), std::chrono::minutes(5));
  Put("a", 3, Good(), std::chrono::minutes(5));
  now_ += std::chrono::minutes(5);
  EXPECT_EQ(Take("a"), 1);
  EXPECT_EQ(cache_.size(), 0u);
}

TEST_F(SessionCacheTest, EndsWithItsLifetimeAWeekOrTheChain) {
  const auto usable = [&](Duration lifetime, Duration chain) {
    Verdict verdict = Good();
    verdict.valid_until = kNow + chain;
    now_ = kNow;
    Put("a", 1, verdict, lifetime);
    EXPECT_EQ(Take("a"), 1);
    return taken_.usable_until - kNow;
  };
  using std::chrono::hours;
  EXPECT_EQ(usable(hours(1), hours(1000)), hours(1));
  EXPECT_EQ(usable(hours(1000), hours(1000)), hours(7 * 24));
  EXPECT_EQ(usable(hours(2), hours(1)), hours(1));
  now_ = kNow + hours(1);
  Verdict ended = Good();
  ended.valid_until = now_;
  Put("a", 1, ended);
  EXPECT_EQ(Take("a"), -1);
}

// What a host shows now counts, not what it showed before (F38).
TEST_F(SessionCacheTest, AllOfAKeyHaveTheVerdictOfTheLast) {
  Put("a", 1);
  Put("a", 2);
  Put("b", 3);
  Put("a", 4, Bad());
  Put("a", 5, Bad());
  EXPECT_EQ(Take("a"), 5);
  EXPECT_EQ(taken_.verdict.Finding(), Bad().Finding());
  EXPECT_EQ(Take("a"), 4);
  EXPECT_EQ(Take("a"), -1);
  EXPECT_EQ(Take("b"), 3);
  EXPECT_EQ(taken_.verdict.Finding(), Good().Finding());
}

TEST_F(SessionCacheTest, DropsAllOfAKey) {
  cache_.Drop("a");
  Put("a", 1);
  Put("b", 2);
  Put("a", 3);
  cache_.Drop("a");
  EXPECT_EQ(cache_.size(), 1u);
  EXPECT_EQ(Take("a"), -1);
  EXPECT_EQ(Take("b"), 2);
}

// Room for five.
class FullSessionCacheTest : public SessionCacheTest {
 protected:
  FullSessionCacheTest() : SessionCacheTest(6 * kSessionBytes + kSessionBytes / 2) {}
};

TEST_F(FullSessionCacheTest, OldestMakesRoom) {
  int number = 0;
  for (const char* key : {"a", "b", "c", "d", "e", "f"}) Put(key, ++number);
  EXPECT_EQ(cache_.size(), 5u);
  EXPECT_EQ(Take("a"), -1);
  EXPECT_EQ(Take("b"), 2);
  EXPECT_EQ(Take("f"), 6);
}

TEST_F(FullSessionCacheTest, HostWithManyTakesNoneFromHostsWithOne) {
  Put("a", 1);
  Put("b", 2);
  for (int number = 3; number < 20; ++number) Put("c", number);
  EXPECT_EQ(cache_.size(), 5u);
  EXPECT_EQ(Take("a"), 1);
  EXPECT_EQ(Take("b"), 2);
  for (int number = 19; number >= 17; --number) EXPECT_EQ(Take("c"), number);
  EXPECT_EQ(Take("c"), -1);
}

TEST_F(FullSessionCacheTest, HostsWithManyMakeRoomForNewOnes) {
  for (int number = 1; number <= 5; ++number) Put("a", number);
  Put("b", 6);
  Put("c", 7);
  EXPECT_EQ(Take("b"), 6);
  EXPECT_EQ(Take("c"), 7);
  for (int number = 5; number >= 3; --number) EXPECT_EQ(Take("a"), number);
  EXPECT_EQ(Take("a"), -1);
}

// One that was behind another is its host's only one when that is taken.
TEST_F(FullSessionCacheTest, LastOfAHostIsNoLongerOneOfMany) {
  Put("a", 1);
  Put("a", 2);
  EXPECT_EQ(Take("a"), 2);
  for (int number = 3; number < 20; ++number) Put("b", number);
  EXPECT_EQ(Take("a"), 1);
}

TEST_F(FullSessionCacheTest, WhatIsTakenOrDroppedMakesRoom) {
  for (int number = 1; number <= 5; ++number) Put("a", number);
  cache_.Drop("a");
  for (int number = 1; number <= 5; ++number) Put("b", number);
  for (int number = 5; number >= 1; --number) EXPECT_EQ(Take("b"), number);
  for (int number = 1; number <= 5; ++number) Put("c", number);
  EXPECT_EQ(cache_.size(), 5u);
}

}  // namespace
}  // namespace sluice::tls
