// The tag in a reverse-path: its form, whom it is for, and what is never tagged. The signatures
// were computed by Python's hmac module:
//
//   hmac.new(b"Cisco_key", b"0461joe@example.com", hashlib.sha1).hexdigest()[:6]

#include "policy/bounce_tag.h"

#include <string>

#include "gtest/gtest.h"

namespace sluice::policy {
namespace {

// 2026-01-01 is day 20,454; a week later 20,461.
constexpr WallTime kNow = WallTime(std::chrono::hours(20454 * 24 + 5));

std::string Tagged(const std::string& sender, WallTime now = kNow) {
  std::string tagged = "what stood there before";
  BounceTagger("Cisco_key").Tag(sender, now, tagged);
  return tagged;
}

TEST(BounceTag, HasTheAppliancesOrderAndBatvsTag) {
  EXPECT_EQ(Tagged("joe@example.com"), "prvs=joe=04613da491@example.com");
}

TEST(BounceTag, DependsOnKeyNumberDayAndAddress) {
  std::string tagged;
  BounceTagger("another", 3).Tag("joe@example.com", kNow, tagged);
  EXPECT_EQ(tagged, "prvs=joe=3461b1c991@example.com");
  EXPECT_EQ(Tagged("joe@example.com", kNow + std::chrono::hours(24)),
            "prvs=joe=04622cb705@example.com");
  EXPECT_EQ(Tagged("jim@example.com"), "prvs=jim=04610ef164@example.com");
}

TEST(BounceTag, IsNotGivenTwice) {
  EXPECT_EQ(Tagged("prvs=joe=0461abcdef@example.com"), "prvs=joe=0461abcdef@example.com");
  EXPECT_EQ(Tagged("PRVS=joe=0461abcdef@example.com"), "PRVS=joe=0461abcdef@example.com");
}

TEST(BounceTag, IsNotForTheNullSender) {
  EXPECT_EQ(Tagged(""), "");
}

TEST(BounceTag, IsNotForWhatCannotHoldIt) {
  EXPECT_EQ(Tagged("\"a b\"@example.com"), "\"a b\"@example.com");
  EXPECT_EQ(Tagged("postmaster"), "postmaster");
  // "prvs=" and "=" and ten characters leave 48 of the 64 octets.
  const std::string most(48, 'a');
  EXPECT_EQ(Tagged(most + "@example.com").find("prvs=" + most + "=0461"), 0u);
  const std::string more(49, 'a');
  EXPECT_EQ(Tagged(more + "@example.com"), more + "@example.com");
}

}  // namespace
}  // namespace sluice::policy
