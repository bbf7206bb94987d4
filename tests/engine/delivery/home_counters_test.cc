// What a home counts of each destination, and that what waits there is tried at once when it is
// told so. Expectations are home_destinations.h's and home.h's.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "engine/delivery/home_destinations.h"
#include "tests/engine/delivery/home_words.h"

namespace sluice::delivery {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

class HomeCounters : public HomeTest {
 protected:
  // "active delivered soft hard expired"
  std::string Counted(absl::string_view domain) {
    const DestinationCounters* counters = home_->destinations().Find(domain);
    if (counters == nullptr) return "";
    return absl::StrCat(counters->active, " ", counters->delivered, " ", counters->soft_bounced,
                        " ", counters->hard_bounced, " ", counters->expired);
  }
  void DeliverNow(absl::string_view domain) {
    home_->DeliverNow(domain);
    Settle();
  }
};

TEST_F(HomeCounters, CountRecipientsOfEachDestination) {
  Start();
  EXPECT_EQ(Counted("a.example"), "");
  Accept(WireOf(1, 1000), {"x@a.example", "y@a.example", "z@b.example"});
  EXPECT_EQ(Counted("a.example"), "2 0 0 0 0");
  EXPECT_EQ(Counted("b.example"), "1 0 0 0 0");
  Delivered(Out("a.example"));
  EXPECT_EQ(Counted("a.example"), "0 2 0 0 0");
  EXPECT_EQ(home_->destinations().Find("a.example")->last_activity, now_.wall);
}

TEST_F(HomeCounters, CountEachDeferralAndARefusalOnce) {
  Start();
  Accept(WireOf(1, 1000), {"x@a.example"});
  Deferred(Out("a.example"));
  EXPECT_EQ(Counted("a.example"), "1 0 1 0 0");
  Pass(hours(2));
  Deferred(Out("a.example"));
  EXPECT_EQ(Counted("a.example"), "1 0 2 0 0");
  Pass(hours(2));
  Refused(Out("a.example"));
  EXPECT_EQ(Counted("a.example"), "0 0 2 1 0");
}

TEST_F(HomeCounters, CountWhatWasGivenUp) {
  Start();
  Accept(WireOf(1, 1000), {"x@a.example"});
  Deferred(Out("a.example"));
  Pass(hours(73));
  EXPECT_EQ(Counted("a.example"), "0 0 1 0 1");
}

TEST_F(HomeCounters, CountWhatIsStillWaitedForAfterARestart) {
  Start();
  Accept(WireOf(1, 1000), {"x@a.example", "y@a.example"});
  Parcel& parcel = Out("a.example");
  AnswerAll(parcel, Verdict::kDeferred, "450 4.2.1 busy");
  Answer(parcel, 0, Verdict::kDelivered, "250 ok");
  Returns(parcel, ParcelResult::kAttempted);
  Kill();
  Start();
  EXPECT_EQ(Counted("a.example"), "1 0 0 0 0");
}

TEST_F(HomeCounters, AreTriedNowOfOneDestination) {
  Start();
  Accept(WireOf(1, 1000), {"x@a.example", "y@b.example"});
  Deferred(Out("a.example"));
  Deferred(Out("b.example"));
  DeliverNow("a.example");
  EXPECT_TRUE(IsOut("a.example"));
  EXPECT_FALSE(IsOut("b.example"));
  Delivered(Out("a.example"));
  DeliverNow("a.example");
  EXPECT_FALSE(IsOut("a.example"));
  DeliverNow("");
  EXPECT_TRUE(IsOut("b.example"));
  Delivered(Out("b.example"));
}

// --- The table itself.

TEST(HomeDestinations, AreCopiedSliceBySlice) {
  HomeDestinations counted(10);
  for (const char* domain : {"a", "b", "c"}) counted.At(domain).counters.active = 1;
  std::vector<DestinationCounters> copies;
  uint32_t next = counted.CopySome(0, 2, copies);
  EXPECT_EQ(next, 2u);
  EXPECT_THAT(copies, SizeIs(2));
  next = counted.CopySome(next, 2, copies);
  EXPECT_EQ(next, 0u);
  std::vector<std::string> names;
  for (const DestinationCounters& one : copies) names.push_back(one.domain);
  EXPECT_THAT(names, ElementsAre("a", "b", "c"));
}

TEST(HomeDestinations, BeyondTheirSlotsAreCountedTogether) {
  HomeDestinations counted(1);
  counted.At("a").counters.delivered = 1;
  for (const char* domain : {"b", "c"}) {
    ++counted.At(domain).counters.delivered;
    counted.At(domain).counters.last_activity = WallTime(std::chrono::seconds(1));
  }
  EXPECT_EQ(counted.Find("b"), nullptr);
  std::vector<DestinationCounters> copies;
  EXPECT_EQ(counted.CopySome(0, 10, copies), 0u);
  ASSERT_THAT(copies, SizeIs(2));
  EXPECT_EQ(copies[0].domain, "");
  EXPECT_EQ(copies[0].delivered, 2u);
  EXPECT_EQ(copies[1].domain, "a");
}

// Both were asked for before the first look was over: neither makes it a look for all.
TEST_F(HomeCounters, DeliverNowOfTwoDestinationsTakesNoThird) {
  Start();
  Accept(WireOf(1, 1000), {"x@a.example", "y@b.example", "z@c.example"});
  for (const char* domain : {"a.example", "b.example", "c.example"}) Deferred(Out(domain));
  home_->DeliverNow("a.example");
  home_->DeliverNow("b.example");
  Settle();
  EXPECT_TRUE(IsOut("a.example"));
  EXPECT_TRUE(IsOut("b.example"));
  EXPECT_FALSE(IsOut("c.example"));
}

}  // namespace
}  // namespace sluice::delivery
