// Duplicates: nothing is delivered twice, except where the mail protocol cannot decide: the answer
// to the dot did not arrive, or the machine stopped before the outcome was on the disk.

#include "absl/strings/str_cat.h"
#include "tests/sim/checkers.h"

namespace sluice::sim {

void CheckSecondDelivery(Ledger& ledger, absl::string_view what,
                         const std::vector<uint32_t>& deliveries, bool final) {
  if (final) {
    ledger.world().Violated("duplicates",
                            absl::StrCat(what, " is delivered, though it was known to be done"));
  }
  for (const uint32_t number : deliveries) {
    const Delivery& earlier = ledger.deliveries[number];
    if (ledger.InDoubt(earlier)) continue;  // Its outcome was not released: else `final`.
    ledger.world().Violated(
        "duplicates", absl::StrCat(what, " was delivered and confirmed at ", TimeText(earlier.when),
                                   " and is delivered again"));
  }
}

// The sums: so many were delivered again, and so many deliveries were in doubt.
DuplicateSums CheckDuplicateSums(Ledger& ledger) {
  DuplicateSums sums;
  for (const Delivery& delivery : ledger.deliveries) sums.in_doubt += ledger.InDoubt(delivery);
  const auto add = [&](absl::string_view what, size_t deliveries, uint32_t told) {
    if (deliveries > 1) sums.duplicates += deliveries - 1;
    // By the engine's own word, where no crash has swallowed any.
    if (ledger.unclean_life > 0 || deliveries <= told) return;
    ledger.world().Violated("duplicates", absl::StrCat(what, " was delivered ", deliveries,
                                                       " times, and the engine says so or holds it "
                                                       "possible of ",
                                                       told));
  };
  for (const MessageFacts& message : ledger.messages) {
    for (const RecipientFacts& recipient : message.recipients) {
      add(recipient.address, recipient.deliveries.size(), recipient.told);
    }
  }
  for (const auto& [id, report] : ledger.reports) add(id, report.deliveries.size(), UINT32_MAX);
  if (sums.duplicates > sums.in_doubt) {
    ledger.world().Violated(
        "duplicates", absl::StrCat(sums.duplicates, " deliveries too many, and ", sums.in_doubt,
                                   " were in doubt"));
  }
  return sums;
}

// A recipient is reported once, and not one that was delivered. After a crash it may come again:
// the bounce stands in the log before the outcome that it reports.
void CheckReport(Ledger& ledger, const RecipientFacts& recipient) {
  if (!recipient.wants_reports()) {
    ledger.world().Violated(
        "conservation",
        absl::StrCat(recipient.address, " is reported, with NOTIFY=", recipient.notify));
  }
  const bool crashed = ledger.unclean_life > 0;
  if (recipient.reports > 1 && !crashed) {
    ledger.world().Violated("duplicates",
                            absl::StrCat(recipient.address, " is reported a second time"));
  }
  for (const uint32_t number : recipient.deliveries) {
    if (!ledger.Confirmed(ledger.deliveries[number]) || crashed) continue;
    ledger.world().Violated("conservation",
                            absl::StrCat(recipient.address, " was delivered and is reported"));
  }
}

}  // namespace sluice::sim
