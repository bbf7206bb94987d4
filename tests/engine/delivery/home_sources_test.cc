// By which pool of sources a message leaves: chosen at its acceptance, kept over a crash, and told
// with what became of it.

#include "policy/sources.h"
#include "tests/engine/delivery/home_words.h"

namespace sluice::delivery {
namespace {

class HomeSources : public HomeTest {
 protected:
  HomeSources() {
    const uint32_t one = Add(sources_, "one");
    Add(sources_, "two");
    policy::SourceRule rule = *policy::ParseSourceRule("@sender.example");
    rule.pool = *sources_.FindPool("two");
    sources_.AddRule(rule);
    sources_.SetDefaultPool(one);
    options_.sources = &sources_;
  }

  // The pool of that name.
  static uint32_t Add(policy::Sources& sources, const std::string& name) {
    sources.AddSource({.name = name, .ipv4 = *IpAddress::Parse("192.0.2.1")});
    return *sources.FindPool(name);
  }
  std::string PoolOf(const Parcel& parcel, const policy::Sources& sources) {
    return sources.pool(parcel.message->pool).name;
  }

  policy::Sources sources_;
  policy::Sources other_;  // Of another configuration.
};

TEST_F(HomeSources, IsChosenByTheSender) {
  Start();
  Accept(WireOf(1, 1000), {"a@far.example"});
  EXPECT_EQ(PoolOf(Out("far.example"), sources_), "two");
  sender_ = "x@elsewhere.example";
  Accept(WireOf(2, 1000), {"a@far.example"});
  EXPECT_EQ(PoolOf(Out("far.example"), sources_), "one");
}

TEST_F(HomeSources, OutlivesACrash) {
  Start();
  Accept(WireOf(1, 1000), {"a@far.example"});
  PowerCut();
  // In another order now.
  Add(other_, "two");
  Add(other_, "one");
  options_.sources = &other_;
  Start();
  EXPECT_EQ(PoolOf(Out("far.example"), other_), "two");
}

TEST_F(HomeSources, ThatIsNotConfiguredAnyMoreGivesItsMailToTheDefault) {
  Start();
  Accept(WireOf(1, 1000), {"a@far.example"});
  PowerCut();
  other_.SetDefaultPool(Add(other_, "three"));
  options_.sources = &other_;
  Start();
  EXPECT_EQ(PoolOf(Out("far.example"), other_), "three");
}

TEST_F(HomeSources, IsToldWithTheOutcome) {
  Start();
  Accept(WireOf(1, 1000), {"a@far.example"});
  Parcel& parcel = Out("far.example");
  parcel.source = *sources_.FindSource("two");
  Delivered(parcel);
  ASSERT_EQ(events_.Count(EventType::kDelivery), 1u);
  EXPECT_EQ(events_.told.back().source, "two");
}

}  // namespace
}  // namespace sluice::delivery
