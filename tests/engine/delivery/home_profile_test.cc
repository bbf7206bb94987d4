// Bounce profiles by destination, at home: who decides how often and how long mail is tried, also
// when a table names another profile meanwhile, and after a restart. The profiles' own arithmetic
// is in tests/policy/bounce_profile_test.cc.

#include <optional>
#include <string>

#include "policy/controls_table.h"
#include "tests/engine/delivery/home_words.h"

namespace sluice::delivery {
namespace {

class ProfileTest : public HomeTest {
 protected:
  ProfileTest() {
    policy::BounceProfile& ordinary = options_.bounce_profiles.by_default;
    ordinary.initial_retry = ordinary.max_retry = minutes(2);
    ordinary.max_queue = hours(24);
    policy::BounceProfile quick = ordinary;
    quick.name = "quick";
    quick.max_retries = 0;
    policy::BounceProfile brief = ordinary;
    brief.name = "brief";
    brief.max_queue = hours(1);
    options_.bounce_profiles.others = {quick, brief};
  }

  // What one.example is tried by from now on.
  void Use(const std::string& profile) {
    table_.emplace(
        std::vector<policy::ControlsEntry>{{.domain = "one.example", .bounce_profile = profile}});
    home_->UseControls(*table_);
  }
  bool GivenUp(absl::string_view recipient) {
    return events_.Count(EventType::kExpiration, recipient) == 1;
  }

  std::optional<policy::ControlsTable> table_;
};

TEST_F(ProfileTest, IsTheDestinations) {
  Start();
  Use("quick");
  Accept(WireOf(1, 1000), {"a@one.example", "b@two.example"});
  Deferred(Out("one.example"));
  Deferred(Out("two.example"));
  EXPECT_TRUE(GivenUp("a@one.example"));
  EXPECT_FALSE(GivenUp("b@two.example"));
}

TEST_F(ProfileTest, SetsTheTimeInTheQueue) {
  Start();
  Use("brief");
  Accept(WireOf(1, 1000), {"a@one.example", "b@two.example"});
  EXPECT_EQ(Out("one.example").expires, now_.instant + hours(1));
  EXPECT_EQ(Out("two.example").expires, now_.instant + hours(24));
}

TEST_F(ProfileTest, OfAnotherTableHoldsFromTheNextRound) {
  Start();
  Use("");
  Accept(WireOf(1, 1000), {"a@one.example"});
  Deferred(Out("one.example"));
  EXPECT_FALSE(GivenUp("a@one.example"));
  Use("quick");
  Pass(minutes(3));
  Deferred(Out("one.example"));
  EXPECT_TRUE(GivenUp("a@one.example"));
}

// Its hour is counted from the acceptance, not from the table.
TEST_F(ProfileTest, OfAnotherTableCountsFromTheAcceptance) {
  Start();
  Use("");
  Accept(WireOf(1, 1000), {"a@one.example"});
  const Instant accepted = now_.instant;
  Pass(minutes(30));
  Use("brief");
  Deferred(Out("one.example"));
  Pass(minutes(3));
  EXPECT_EQ(Out("one.example").expires, accepted + hours(1));
}

TEST_F(ProfileTest, ThatIsNotKnownAnyMoreIsTheDefault) {
  Start();
  Use("forgotten");
  Accept(WireOf(1, 1000), {"a@one.example"});
  EXPECT_EQ(Out("one.example").expires, now_.instant + hours(24));
}

// The time at which mail was accepted outlives the crash; controls come before what is restored.
TEST_F(ProfileTest, HoldsAfterARestart) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example"});
  Pass(minutes(20));
  PowerCut();
  controls_ = &table_.emplace(
      std::vector<policy::ControlsEntry>{{.domain = "one.example", .bounce_profile = "brief"}});
  Start();
  EXPECT_EQ(Out("one.example").expires, now_.instant + minutes(40));
}

}  // namespace
}  // namespace sluice::delivery
