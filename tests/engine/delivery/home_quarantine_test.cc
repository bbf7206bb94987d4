// Messages in quarantine: taken up after a start, kept, and never tried; the others are. And what
// is marked while the home is at work on a message.

#include "engine/delivery/active_messages.h"
#include "tests/engine/delivery/home_words.h"

namespace sluice::delivery {
namespace {

class HomeQuarantineTest : public HomeTest {
 protected:
  // The next start has these in quarantine, and one suspect.
  void Quarantine(absl::flat_hash_set<uint64_t> ids, MessageId suspect = {}) {
    tracked_[0] = {.id = suspect.value};
    active_ = std::make_unique<ActiveMessages>(slots_, tracked_, std::move(ids));
    options_.active = active_.get();
  }
  std::vector<uint64_t> slots_ = std::vector<uint64_t>(ActiveMessages::kSlots);
  std::vector<TrackedSuspect> tracked_ = std::vector<TrackedSuspect>(1);
  std::unique_ptr<ActiveMessages> active_;
};

TEST_F(HomeQuarantineTest, IsKeptAndNotTriedAndTheOthersAre) {
  Start();
  const std::string wire = WireOf(1, 5000);
  const MessageId bad = Accept(wire, {"a@one.example", "b@two.example"});
  Accept(WireOf(2, 100), {"c@three.example"});
  Kill();
  Quarantine({bad.value});
  Start();
  EXPECT_EQ(home_->quarantined(), 1u);
  EXPECT_EQ(home_->messages(), 2u);
  EXPECT_FALSE(home_->taking_up());
  Delivered(Out("three.example"));
  home_->DeliverNow("");
  Settle();
  Pass(hours(200));  // Beyond its time: it is not bounced either.
  EXPECT_TRUE(out_.empty());
  EXPECT_EQ(home_->messages(), 1u);
  EXPECT_EQ(events_.Count(EventType::kDelivery), 1u);

  Kill();
  Quarantine({});
  Start();
  EXPECT_EQ(home_->quarantined(), 0u);
  EXPECT_TRUE(BodyOf(Out("one.example")) == wire);
  EXPECT_TRUE(IsOut("two.example"));
}

TEST_F(HomeQuarantineTest, IsMovedAndDoesNotHoldTheLog) {
  log_options_.segment_bytes = 256 << 10;
  Start();
  const MessageId bad = Accept(WireOf(1, 5000), {"a@one.example"});
  Kill();
  Quarantine({bad.value});
  Start();
  PassThrough(200, 20000);
  Settle();
  EXPECT_LE(log_->log_bytes(), 6u * (256 << 10));
  Kill();
  ASSERT_EQ(AfterKill().messages.size(), 1u);
  EXPECT_EQ(AfterKill().messages[0].accepted.id, bad);
}

TEST_F(HomeQuarantineTest, NothingIsMarkedBetweenTurns) {
  Quarantine({});
  Start();
  Accept(WireOf(1, 5000), {"a@one.example"});
  Deferred(Out("one.example"));
  Kill();
  Start();
  Pass(hours(2));
  EXPECT_EQ(slots_, std::vector<uint64_t>(ActiveMessages::kSlots));
}

TEST_F(HomeQuarantineTest, ASuspectThatIsDoneIsNoted) {
  Start();
  const MessageId id = Accept(WireOf(1, 5000), {"a@one.example"});
  Kill();
  Quarantine({}, id);
  Start();
  Delivered(Out("one.example"));
  EXPECT_EQ(tracked_[0].tried, 1u);
}

}  // namespace
}  // namespace sluice::delivery
