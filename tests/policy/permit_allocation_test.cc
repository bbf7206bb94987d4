// Neither a look-up of a destination's controls nor the permit of a transaction allocates. The
// window of a recipient limit is made once, at its first recipient.

#include <chrono>
#include <vector>

#include "gtest/gtest.h"
#include "policy/controls_table.h"
#include "policy/destination_budget.h"
#include "tests/allocations.h"

namespace sluice::policy {
namespace {

TEST(PermitAllocation, NoneInALookUpNorInAPermit) {
  const ControlsTable table(
      {{.domain = "limited.example", .recipients_max = 1'000'000, .recipient_minutes = 60},
       {.domain = ".partial.example", .connections_max = 3}});
  const ScopeKey whole;
  DestinationBudget budget;
  Instant now = Instant(std::chrono::hours(1));
  const auto permit = [&](absl::string_view domain) {
    const Controls& controls = table.Lookup(domain);
    now += std::chrono::seconds(1);
    ASSERT_TRUE(budget.MayConnect(controls, whole, now));
    const uint32_t recipients = budget.MayStart(controls, whole, 0, 1, now).recipients;
    ASSERT_EQ(recipients, 1u);
    budget.TransactionStarted(controls, whole, recipients, now);
    budget.TransactionEnded(controls, whole, recipients, recipients, now);
  };
  permit("limited.example");
  const uint64_t before = AllocationsOfThread();
  for (int i = 0; i < 10'000; ++i) {
    permit("limited.example");
    permit("mail.partial.example");
    permit("a.domain.in.no.entry.whose.name.is.longer.than.a.short.string.example");
  }
  EXPECT_EQ(AllocationsOfThread() - before, 0u);
}

}  // namespace
}  // namespace sluice::policy
