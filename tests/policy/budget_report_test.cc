// What operators are told of a destination's budget: connections and recipients of each scope, and
// when there is room again. Figures are counted by hand from what the test did.

#include <gtest/gtest.h>

#include <chrono>

#include "policy/destination_budget.h"

namespace sluice::policy {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

const Instant kStart(minutes(1000));

Controls Limited(LimitScope scope) {
  Controls controls;
  controls.scope = scope;
  controls.limits = {.connections_max = 5,
                     .recipients_limited = true,
                     .recipients_max = 10,
                     .recipient_period = minutes(64)};
  return controls;
}

IpAddress Address(const char* text) {
  return *IpAddress::Parse(text);
}

TEST(BudgetReport, OfANewDestinationIsOneEmptyScope) {
  DestinationBudget budget;
  const auto report = budget.Describe(Limited({}), 64, kStart);
  ASSERT_EQ(report.scopes.size(), 1u);
  EXPECT_EQ(report.scopes[0].connections, 0u);
  EXPECT_EQ(report.scopes[0].recipients, 0u);
  EXPECT_EQ(report.scopes[0].room_again, kNever);
  EXPECT_EQ(report.system.connections, 0u);
}

// A bucket is a minute: what was seen in the first one leaves a period after its end.
TEST(BudgetReport, CountsWhatWasSeenAndWhatIsInFlight) {
  const Controls controls = Limited({});
  DestinationBudget budget;
  budget.ConnectionOpened(controls, {});
  budget.ConnectionOpened(controls, {});
  budget.TransactionStarted(controls, {}, 7, kStart);
  budget.TransactionEnded(controls, {}, 7, 6, kStart);
  budget.TransactionStarted(controls, {}, 3, kStart);
  auto report = budget.Describe(controls, 64, kStart);
  EXPECT_EQ(report.scopes[0].connections, 2u);
  EXPECT_EQ(report.scopes[0].recipients, 9u);
  EXPECT_EQ(report.scopes[0].in_flight, 3u);
  EXPECT_EQ(report.scopes[0].room_again, kNever);
  EXPECT_EQ(report.system.connections, 2u);
  EXPECT_EQ(report.system.recipients, 0u);  // It has no such limit.

  budget.TransactionStarted(controls, {}, 1, kStart);
  report = budget.Describe(controls, 64, kStart + seconds(30));
  EXPECT_EQ(report.scopes[0].recipients, 10u);
  EXPECT_GE(report.scopes[0].room_again, kStart + minutes(64));
  EXPECT_LE(report.scopes[0].room_again, kStart + minutes(65));
}

TEST(BudgetReport, TellsTheLimitOfTheSystemApart) {
  Controls controls = Limited({});
  controls.system = {.connections_max = 3,
                     .recipients_limited = true,
                     .recipients_max = 2,
                     .recipient_period = minutes(1)};
  DestinationBudget budget;
  budget.ConnectionOpened(controls, {});
  budget.TransactionStarted(controls, {}, 2, kStart);
  budget.TransactionEnded(controls, {}, 2, 2, kStart);
  const auto report = budget.Describe(controls, 64, kStart);
  EXPECT_EQ(report.system.recipients, 2u);
  EXPECT_GE(report.system.room_again, kStart + minutes(1));
  EXPECT_LE(report.system.room_again, kStart + seconds(61));
  EXPECT_EQ(report.scopes[0].room_again, kNever);
}

TEST(BudgetReport, HasAScopeForEachAddressInUseAndNoMoreThanWereAskedFor) {
  const Controls controls = Limited({.each_address = true});
  DestinationBudget budget;
  for (const char* text : {"192.0.2.1", "192.0.2.2", "192.0.2.3"}) {
    budget.ConnectionOpened(controls, {.address = Address(text)});
  }
  budget.ConnectionClosed({.address = Address("192.0.2.2")}, /*was_leaving=*/false);
  auto report = budget.Describe(controls, 64, kStart);
  ASSERT_EQ(report.scopes.size(), 2u);
  EXPECT_EQ(report.scopes[0].key.address, Address("192.0.2.1"));
  EXPECT_EQ(report.scopes[1].key.address, Address("192.0.2.3"));
  EXPECT_EQ(report.system.connections, 2u);
  report = budget.Describe(controls, 1, kStart);
  EXPECT_EQ(report.scopes.size(), 1u);
  EXPECT_EQ(report.scopes_in_all, 2u);
}

TEST(BudgetReport, CountsInEachNewScopeWhatWasSeenBefore) {
  const Controls before = Limited({});
  DestinationBudget budget;
  budget.ConnectionOpened(before, {});
  budget.TransactionStarted(before, {}, 4, kStart);
  budget.TransactionEnded(before, {}, 4, 4, kStart);
  const Controls after = Limited({.each_address = true});
  budget.BeginRescope(before.limits, after.limits, kStart);
  budget.Recount({.address = Address("192.0.2.1")}, /*leaving=*/false, 0);
  const auto report = budget.Describe(after, 64, kStart);
  ASSERT_EQ(report.scopes.size(), 1u);
  EXPECT_EQ(report.scopes[0].recipients, 4u);
}

}  // namespace
}  // namespace sluice::policy
