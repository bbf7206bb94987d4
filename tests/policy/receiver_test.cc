// The promise as the *receiver* would audit it. Random destinations are driven by random loads;
// each recipient that is sent reaches the receiver at a random instant between its permit and the
// reply, and the receiver keeps every such instant. In the end every window of the period is
// counted, wherever it begins. And the promise is not kept by standing still: all of the limit is
// back a period and a 64th after the last reply.

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "engine/base/random.h"
#include "gtest/gtest.h"
#include "policy/destination_budget.h"
#include "tests/policy/any_window.h"

namespace sluice::policy {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::nanoseconds;

constexpr ScopeKey kWhole;
constexpr Instant kStart = Instant(hours(1000));

Instant Between(Random& random, Instant from, Instant to) {
  return from + nanoseconds(random.Below((to - from).count() + 1));
}

Controls RandomControls(Random& random) {
  return {.limits = {.connections_max = 10,
                     .recipients_limited = true,
                     .recipients_max = static_cast<uint32_t>(random.Between(1, 60)),
                     .recipient_period = minutes(random.Between(1, 60))}};
}

// A transaction, with what the receiver will have seen of it.
struct Transaction {
  Instant permitted;
  uint32_t recipients;
};

// What a sender does with one destination.
class Sender {
 public:
  explicit Sender(Random& random) : random_(random) {}

  // Sends as much as a random load asks for and the budget grants.
  void MaybeStart(const Controls& controls, Instant now) {
    const auto wanted = static_cast<uint32_t>(random_.Between(1, 30));
    const Permit permit = budget_.MayStart(controls, kWhole, 0, wanted, now);
    if (!permit) return;
    ASSERT_GE(permit.recipients, 1u);
    ASSERT_LE(permit.recipients, wanted);
    const auto recipients = static_cast<uint32_t>(random_.Between(1, permit.recipients));
    budget_.TransactionStarted(controls, kWhole, recipients, now);
    in_flight_.push_back({now, recipients});
  }

  // Ends one transaction; returns when the receiver saw each of its recipients.
  std::vector<Instant> EndAny(const Controls& controls, Instant now) {
    std::swap(in_flight_[random_.Below(in_flight_.size())], in_flight_.back());
    const Transaction transaction = in_flight_.back();
    in_flight_.pop_back();
    const auto seen = static_cast<uint32_t>(
        random_.Chance(0.7) ? transaction.recipients : random_.Below(transaction.recipients + 1));
    budget_.TransactionEnded(controls, kWhole, transaction.recipients, seen, now);
    std::vector<Instant> instants;
    for (uint32_t i = 0; i < seen; ++i) {
      Instant at = Between(random_, transaction.permitted, now);
      if (random_.Chance(0.2)) at = transaction.permitted;  // The extremes are the hard cases.
      if (random_.Chance(0.2)) at = now;
      instants.push_back(at);
    }
    return instants;
  }

  bool idle() const { return in_flight_.empty(); }
  uint32_t recipients_in_flight() const {
    uint32_t recipients = 0;
    for (const Transaction& transaction : in_flight_) recipients += transaction.recipients;
    return recipients;
  }
  DestinationBudget& budget() { return budget_; }

 private:
  Random& random_;
  DestinationBudget budget_;
  std::vector<Transaction> in_flight_;
};

class Receiver : public testing::TestWithParam<uint64_t> {};

TEST_P(Receiver, SeesNeverMoreThanTheLimitInAnyWindow) {
  Random random(GetParam());
  const Controls controls = RandomControls(random);
  Sender sender(random);
  std::vector<Instant> seen;
  const auto end_any = [&](Instant now) {
    const std::vector<Instant> instants = sender.EndAny(controls, now);
    seen.insert(seen.end(), instants.begin(), instants.end());
  };
  Instant now = kStart;
  for (int step = 0; step < 2000; ++step) {
    now += nanoseconds(
        random.Below(controls.limits.recipient_period.count() >> random.Between(2, 12)));
    const Permit permit = sender.budget().MayConnect(controls, kWhole, now);
    // As the shard does, at the very instant that was named.
    if (!permit && permit.look_again != kNever && random.Chance(0.5)) now = permit.look_again;
    if (random.Chance(0.7)) sender.MaybeStart(controls, now);
    if (!sender.idle() && random.Chance(0.5)) end_any(now);
  }
  while (!sender.idle()) end_any(now);
  EXPECT_LE(MostInAnyWindow(seen, controls.limits.recipient_period),
            controls.limits.recipients_max);
  EXPECT_GT(seen.size(), controls.limits.recipients_max);  // The limit was put to the test.

  const Instant back =
      now + controls.limits.recipient_period + controls.limits.recipient_period / 64;
  EXPECT_EQ(sender.budget().MayStart(controls, kWhole, 0, UINT32_MAX, back).recipients,
            controls.limits.recipients_max);
  EXPECT_TRUE(sender.budget().Idle(controls, back));
}

// Under changing tables each permit is held against the table of its instant: with it, no more than
// the limit may be in flight or seen within the period before. Excused is what the window may
// forget: what was seen longer ago than the *old* period when the period changed, and what ended
// without a limit.
TEST_P(Receiver, SeesNeverMoreThanTheTableOfTheHourAllows) {
  Random random(GetParam());
  Controls controls = RandomControls(random);
  Duration counted_period = controls.limits.recipient_period;
  Sender sender(random);
  std::vector<Instant> seen;
  Instant now = kStart;
  int permits_under_pressure = 0;
  for (int step = 0; step < 3000; ++step) {
    now += nanoseconds(
        random.Below(controls.limits.recipient_period.count() >> random.Between(2, 12)));
    if (random.Chance(0.01)) {
      controls = RandomControls(random);
      controls.limits.recipients_limited = random.Chance(0.8);
    }
    if (controls.limits.recipients_limited && controls.limits.recipient_period != counted_period) {
      std::erase_if(seen, [&](Instant at) { return at < now - counted_period; });
      sender.budget().MayConnect(controls, kWhole, now);
      counted_period = controls.limits.recipient_period;
    }
    const uint32_t before = sender.recipients_in_flight();
    if (random.Chance(0.7)) sender.MaybeStart(controls, now);
    if (controls.limits.recipients_limited && sender.recipients_in_flight() > before) {
      const auto in_window = std::count_if(seen.begin(), seen.end(), [&](Instant at) {
        return at >= now - controls.limits.recipient_period;
      });
      ASSERT_LE(sender.recipients_in_flight() + in_window, controls.limits.recipients_max);
      if (in_window > 0) ++permits_under_pressure;
    }
    if (!sender.idle() && random.Chance(0.5)) {
      const std::vector<Instant> instants = sender.EndAny(controls, now);
      if (controls.limits.recipients_limited)
        seen.insert(seen.end(), instants.begin(), instants.end());
    }
  }
  EXPECT_GT(permits_under_pressure, 20);
}

INSTANTIATE_TEST_SUITE_P(Seeds, Receiver, testing::Range<uint64_t>(1, 61));

}  // namespace
}  // namespace sluice::policy
