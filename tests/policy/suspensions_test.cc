// Which suspension speaks for a domain, and until when. The order (exact, the longest partial
// domain, all) is suspensions.h's; times are written by hand.

#include "policy/suspensions.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

namespace sluice::policy {
namespace {

using std::chrono::seconds;

const WallTime kNoon(std::chrono::hours(12));

Suspension Of(const std::string& domain, const std::string& reason = "x") {
  return {.domain = domain, .since = kNoon, .reason = reason};
}

// The reason of what holds it; empty: nothing.
std::string Holds(const std::vector<Suspension>& all, const std::string& domain,
                  WallTime now = kNoon) {
  const Suspensions suspensions(all);
  const Suspension* found = suspensions.Find(domain, now);
  return found == nullptr ? "" : found->reason;
}

TEST(Suspensions, OfADomainHoldThatDomainAlone) {
  const std::vector<Suspension> all = {Of("example.com")};
  EXPECT_EQ(Holds(all, "example.com"), "x");
  EXPECT_EQ(Holds(all, "mail.example.com"), "");
  EXPECT_EQ(Holds(all, "com"), "");
  EXPECT_EQ(Holds(all, "example.org"), "");
}

TEST(Suspensions, OfAPartialDomainHoldWhatIsBelowIt) {
  const std::vector<Suspension> all = {Of(".example.com")};
  EXPECT_EQ(Holds(all, "a.example.com"), "x");
  EXPECT_EQ(Holds(all, "b.a.example.com"), "x");
  EXPECT_EQ(Holds(all, "example.com"), "");
  EXPECT_EQ(Holds(all, "badexample.com"), "");
}

TEST(Suspensions, OfAllHoldEveryDomain) {
  EXPECT_EQ(Holds({Of("")}, "example.com"), "x");
  EXPECT_EQ(Holds({Of("")}, "[192.0.2.1]"), "x");
  EXPECT_EQ(Holds({}, "example.com"), "");
  EXPECT_TRUE(Suspensions().empty());
  EXPECT_FALSE(Suspensions({Of("")}).empty());
}

TEST(Suspensions, TheNearestSpeaks) {
  const std::vector<Suspension> all = {Of("", "all"), Of(".com", "com"),
                                       Of(".example.com", "partial"), Of("a.example.com", "exact")};
  EXPECT_EQ(Holds(all, "a.example.com"), "exact");
  EXPECT_EQ(Holds(all, "b.example.com"), "partial");
  EXPECT_EQ(Holds(all, "example.com"), "com");
  EXPECT_EQ(Holds(all, "example.org"), "all");
}

TEST(Suspensions, TheLastOfADomainCounts) {
  EXPECT_EQ(Holds({Of("a.example", "first"), Of("a.example", "last")}, "a.example"), "last");
}

TEST(Suspensions, EndAtTheirTimeAndThenTheNextOneSpeaks) {
  std::vector<Suspension> all = {Of("a.example", "exact"), Of("", "all")};
  all[0].until = kNoon + seconds(10);
  EXPECT_EQ(Holds(all, "a.example", kNoon + seconds(10) - std::chrono::nanoseconds(1)), "exact");
  EXPECT_EQ(Holds(all, "a.example", kNoon + seconds(10)), "all");
  all[1].until = kNoon + seconds(20);
  EXPECT_EQ(Holds(all, "a.example", kNoon + seconds(20)), "");
}

}  // namespace
}  // namespace sluice::policy
