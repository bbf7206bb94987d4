// The busiest destinations: sums over homes, the five orders and their words, what stands apart.
// Expectations are added up by hand.

#include "engine/top_hosts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sluice {
namespace {

using testing::ElementsAre;

std::vector<std::string> Names(const TopHosts& hosts, TopBy by, size_t count = 20) {
  std::vector<std::string> names;
  for (const TopHost& host : hosts.Top(by, count)) names.push_back(host.counters.domain);
  return names;
}

class TopHostsTest : public testing::Test {
 protected:
  TopHostsTest() {
    hosts_.Add({.domain = "a", .active = 3, .delivered = 1, .hard_bounced = 1, .expired = 2});
    hosts_.Add({.domain = "b", .active = 2, .delivered = 5});
    hosts_.Add({.domain = "b", .active = 2, .delivered = 5, .soft_bounced = 1});  // Another home.
    hosts_.Add({.domain = "c", .active = 1, .hard_bounced = 2});
    hosts_.Add({.domain = "", .delivered = 100});
    hosts_.Add(delivery::DestinationGauges{.domain = "c", .connections = 4, .down = false});
    hosts_.Add(delivery::DestinationGauges{.domain = "d", .connections = 0, .down = true});
  }
  TopHosts hosts_;
};

TEST_F(TopHostsTest, AreInTheOrderThatIsAskedFor) {
  EXPECT_THAT(Names(hosts_, TopBy::kActive), ElementsAre("b", "a", "c", "d"));
  EXPECT_THAT(Names(hosts_, TopBy::kConnections), ElementsAre("c", "a", "b", "d"));
  EXPECT_THAT(Names(hosts_, TopBy::kDelivered), ElementsAre("b", "a", "c", "d"));
  EXPECT_THAT(Names(hosts_, TopBy::kSoftBounced), ElementsAre("b", "a", "c", "d"));
  EXPECT_THAT(Names(hosts_, TopBy::kHardBounced), ElementsAre("a", "c", "b", "d"));
}

TEST_F(TopHostsTest, AddUpTheirHomes) {
  const TopHost b = hosts_.Top(TopBy::kActive, 1)[0];
  EXPECT_EQ(b.counters.active, 4u);
  EXPECT_EQ(b.counters.delivered, 10u);
  EXPECT_EQ(b.counters.soft_bounced, 1u);
}

TEST_F(TopHostsTest, AreNoMoreThanThatAreAskedFor) {
  EXPECT_THAT(Names(hosts_, TopBy::kActive, 2), ElementsAre("b", "a"));
  EXPECT_THAT(Names(TopHosts(), TopBy::kActive), ElementsAre());
}

TEST_F(TopHostsTest, CountExpiredRecipientsAsHardBounced) {
  EXPECT_EQ(hosts_.Top(TopBy::kHardBounced, 1)[0].hard_bounced(), 3u);
}

TEST_F(TopHostsTest, LeaveOutWhatHadNoSlotOfItsOwn) {
  EXPECT_EQ(hosts_.others().delivered, 100u);
}

TEST_F(TopHostsTest, TakeTheLastGaugeThatIsTold) {
  hosts_.Add(delivery::DestinationGauges{.domain = "c", .connections = 1, .down = true});
  const TopHost c = hosts_.Top(TopBy::kConnections, 1)[0];
  EXPECT_EQ(c.connections, 1u);
  EXPECT_TRUE(c.down);
}

TEST(TopBy, HasOurWordsAndTheAppliances) {
  EXPECT_EQ(ParseTopBy("active"), TopBy::kActive);
  EXPECT_EQ(ParseTopBy("active_rcpts"), TopBy::kActive);
  EXPECT_EQ(ParseTopBy("connections"), TopBy::kConnections);
  EXPECT_EQ(ParseTopBy("conn_out"), TopBy::kConnections);
  EXPECT_EQ(ParseTopBy("delivered"), TopBy::kDelivered);
  EXPECT_EQ(ParseTopBy("deliv_recip"), TopBy::kDelivered);
  EXPECT_EQ(ParseTopBy("soft"), TopBy::kSoftBounced);
  EXPECT_EQ(ParseTopBy("soft_bounced"), TopBy::kSoftBounced);
  EXPECT_EQ(ParseTopBy("hard"), TopBy::kHardBounced);
  EXPECT_EQ(ParseTopBy("HARD_BOUNCED"), TopBy::kHardBounced);
  EXPECT_EQ(ParseTopBy(""), std::nullopt);
  EXPECT_EQ(ParseTopBy("size"), std::nullopt);
  EXPECT_EQ(TopByWord(TopBy::kSoftBounced), "soft");
}

}  // namespace
}  // namespace sluice
