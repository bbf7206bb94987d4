// Sessions kept for resuming: for whom, how often, how long.

#include "tls/session_cache.h"

#include <set>

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

TEST(SessionCache, HasNothingToBeginWith) {
  SessionCache cache;
  EXPECT_EQ(cache.Take("a", kNow).session, nullptr);
  EXPECT_EQ(cache.size(), 0u);
}

}  // namespace
}  // namespace sluice::tls
