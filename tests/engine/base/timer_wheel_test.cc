// The timer wheel against a plain sorted list of deadlines: the same timers at the same ticks in
// the same order, over days, with deadlines at every distance, also beyond the wheel's span; and
// the time to sleep until is never too late and always of use.

#include "engine/base/timer_wheel.h"

#include <map>
#include <memory>
#include <vector>

#include "engine/base/random.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr Instant kStart = Instant(seconds(1'000'000));

TEST(TimerWheel, FiresAtTheTickAfterItsDeadlineAndNotBefore) {
  TimerWheel wheel(kStart);
  Timer timer;
  wheel.Arm(timer, kStart + milliseconds(5) + nanoseconds(1));
  EXPECT_EQ(timer.due, kStart + milliseconds(5) + nanoseconds(1));
  EXPECT_EQ(wheel.NextDue(), kStart + milliseconds(6));
  EXPECT_EQ(wheel.PopDue(kStart + milliseconds(6) - nanoseconds(1)), nullptr);
  EXPECT_EQ(wheel.PopDue(kStart + milliseconds(6)), &timer);
  EXPECT_FALSE(timer.armed());
  EXPECT_EQ(wheel.armed(), 0u);
  EXPECT_EQ(wheel.NextDue(), kNever);
}

TEST(TimerWheel, ADeadlineInThePastIsDueAtOnce) {
  TimerWheel wheel(kStart);
  Timer at_start, before_start, late;
  wheel.Arm(at_start, kStart);
  wheel.Arm(before_start, Instant{});
  EXPECT_LE(wheel.NextDue(), kStart);
  EXPECT_EQ(wheel.PopDue(kStart), &at_start);
  EXPECT_EQ(wheel.PopDue(kStart), &before_start);
  EXPECT_EQ(wheel.PopDue(kStart + seconds(10)), nullptr);
  wheel.Arm(late, kStart + seconds(10));
  EXPECT_LE(wheel.NextDue(), kStart + seconds(10));
  EXPECT_EQ(wheel.PopDue(kStart + seconds(10)), &late);
}

TEST(TimerWheel, NeverDisarms) {
  TimerWheel wheel(kStart);
  Timer timer;
  wheel.Arm(timer, kNever);
  EXPECT_FALSE(timer.armed());
  wheel.Arm(timer, kStart + seconds(1));
  wheel.Arm(timer, kNever);
  EXPECT_FALSE(timer.armed());
  EXPECT_EQ(wheel.NextDue(), kNever);
  wheel.Disarm(timer);  // Of a timer that is not armed: nothing.
  EXPECT_EQ(wheel.armed(), 0u);
}

TEST(TimerWheel, ArmingAgainMovesTheDeadline) {
  TimerWheel wheel(kStart);
  Timer timer;
  wheel.Arm(timer, kStart + milliseconds(1));
  wheel.Arm(timer, kStart + hours(1));
  EXPECT_EQ(wheel.armed(), 1u);
  EXPECT_EQ(wheel.PopDue(kStart + hours(1) - milliseconds(1)), nullptr);
  EXPECT_EQ(wheel.PopDue(kStart + hours(1)), &timer);
}

TEST(TimerWheel, OneTickInTheOrderOfArmingFromWhereverItWasArmed) {
  TimerWheel wheel(kStart);
  const Instant due = kStart + hours(400);
  std::vector<std::unique_ptr<Timer>> timers;
  // From ever nearer: from beyond the span, then from each level of the wheel down to the same
  // tick.
  for (const Duration before :
       std::vector<Duration>{hours(400), hours(300), hours(2), seconds(200), seconds(3),
                             milliseconds(40), milliseconds(1), milliseconds(0)}) {
    EXPECT_EQ(wheel.PopDue(due - before - nanoseconds(1)), nullptr);
    for (int i = 0; i < 2; ++i) wheel.Arm(*timers.emplace_back(std::make_unique<Timer>()), due);
  }
  for (const auto& timer : timers) EXPECT_EQ(wheel.PopDue(due), timer.get());
}

TEST(TimerWheel, EarlierTicksFirstWhenSeveralAreLate) {
  TimerWheel wheel(kStart);
  Timer later, earlier;
  wheel.Arm(later, kStart + seconds(70));
  wheel.Arm(earlier, kStart + milliseconds(3));
  EXPECT_EQ(wheel.PopDue(kStart + hours(1)), &earlier);
  EXPECT_EQ(wheel.PopDue(kStart + hours(1)), &later);
}

TEST(TimerWheel, TheEndOfTimeIsNotOverrun) {
  TimerWheel wheel(kStart);
  Timer timer;
  wheel.Arm(timer, kNever - nanoseconds(1));
  EXPECT_LE(wheel.NextDue(), timer.due);
  EXPECT_EQ(wheel.PopDue(kStart + hours(24 * 365 * 100)), nullptr);
  EXPECT_TRUE(timer.armed());
}

TEST(TimerWheel, EveryWakingIsOfUse) {
  for (const Duration wait :
       std::vector<Duration>{milliseconds(1), milliseconds(63), milliseconds(64), seconds(4),
                             hours(5), hours(299), hours(1000)}) {
    TimerWheel wheel(kStart);
    Timer timer;
    wheel.Arm(timer, kStart + wait);
    int wakings = 0;
    while (timer.armed()) {
      const Instant next = wheel.NextDue();
      ASSERT_LE(next, timer.due);
      wheel.PopDue(next);
      ASSERT_LE(++wakings, 5 + 1000 / 298);  // One a level, and one for each rotation of the last.
    }
  }
}

// The plain twin: what is armed, by the tick at which it fires and then by the order of arming.
class Model {
 public:
  void Arm(int timer, Instant due) {
    Disarm(timer);
    const Duration wait = due > kStart ? due - kStart : Duration::zero();
    const int64_t tick = std::max<int64_t>(
        (wait + milliseconds(1) - nanoseconds(1)) / milliseconds(1), emptied_tick_);
    armed_.emplace(tick, timer);
  }
  void Disarm(int timer) {
    std::erase_if(armed_, [&](const auto& entry) { return entry.second == timer; });
  }
  int PopDue(Instant now) {
    const int64_t tick = (now - kStart) / milliseconds(1);
    if (armed_.empty() || armed_.begin()->first > emptied_tick_) emptied_tick_ = tick;
    if (armed_.empty() || armed_.begin()->first > tick) return -1;
    // Ticks that came due together are already in their order; later arrivals queue behind them.
    const int timer = armed_.begin()->second;
    armed_.erase(armed_.begin());
    return timer;
  }
  Instant Nearest() const {
    return armed_.empty() ? kNever : kStart + milliseconds(armed_.begin()->first);
  }
  size_t armed() const { return armed_.size(); }

 private:
  std::multimap<int64_t, int> armed_;
  int64_t emptied_tick_ = 0;
};

Duration AnyDistance(Random& random) {
  const uint64_t span_ns = uint64_t{1} << random.Between(10, 51);  // A microsecond to 26 days.
  return nanoseconds(random.Below(span_ns));
}

class TimerWheelModel : public testing::TestWithParam<uint64_t> {};

TEST_P(TimerWheelModel, SameTimersAtTheSameTicksInTheSameOrder) {
  constexpr int kTimers = 40;
  Random random(GetParam());
  TimerWheel wheel(kStart);
  Model model;
  std::vector<Timer> timers(kTimers);
  Instant now = kStart;
  for (int turn = 0; turn < 4000; ++turn) {
    now += AnyDistance(random) / 64;
    for (;;) {  // All that is due, before anything new is armed: the loop of a shard.
      const int expected = model.PopDue(now);
      Timer* timer = wheel.PopDue(now);
      ASSERT_EQ(timer, expected < 0 ? nullptr : &timers[expected]) << "turn " << turn;
      if (timer == nullptr) break;
    }
    for (uint64_t i = random.Below(8); i > 0; --i) {
      const int timer = static_cast<int>(random.Below(kTimers));
      if (random.Chance(0.25)) {
        wheel.Disarm(timers[timer]);
        model.Disarm(timer);
      } else {
        // Now and then on a whole tick that others share, or in the past.
        Instant due = now + AnyDistance(random);
        if (random.Chance(0.3)) due = now + milliseconds(random.Below(4));
        if (random.Chance(0.05)) due = now - AnyDistance(random);
        wheel.Arm(timers[timer], due);
        model.Arm(timer, due);
      }
    }
    ASSERT_EQ(wheel.armed(), model.armed());
    ASSERT_LE(wheel.NextDue(), model.Nearest());
    if (random.Chance(0.3) && wheel.NextDue() > now) {
      if (wheel.NextDue() != kNever) now = wheel.NextDue();  // Sleep as the shard does.
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, TimerWheelModel, testing::Range<uint64_t>(1, 21));

}  // namespace
}  // namespace sluice
