// Conservation: every recipient of every promised message ends, delivered or reported to the
// sender.

#include "absl/strings/str_cat.h"
#include "tests/sim/checkers.h"

namespace sluice::sim {

void CheckConservation(Ledger& ledger) {
  for (const MessageFacts& message : ledger.messages) {
    if (message.state != MessageState::kAccepted) continue;
    for (const RecipientFacts& recipient : message.recipients) {
      if (!recipient.deliveries.empty() || recipient.reports > 0) continue;
      // The report itself may have been refused or have expired; then nobody is told (RFC 5321
      // 6.1), but the engine knows.
      if (recipient.given_up && message.report_died) continue;
      if (recipient.given_up && !recipient.wants_reports()) continue;  // RFC 3461 4.1.
      ledger.world().Violated("conservation",
                              absl::StrCat(recipient.address, " of message ", message.id,
                                           " was neither delivered nor reported"));
    }
  }
}

}  // namespace sluice::sim
