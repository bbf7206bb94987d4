// Durability: whatever was promised is there after every start, or what became of it is known.

#include <set>

#include "absl/strings/str_cat.h"
#include "tests/sim/checkers.h"

namespace sluice::sim {

void CheckRecovered(Ledger& ledger, const spool::Recovered& recovered) {
  std::set<std::string> there;
  for (const spool::RecoveredMessage& message : recovered.messages) {
    there.insert(message.accepted.id.ToString());
  }
  for (const MessageFacts& message : ledger.messages) {
    if (message.state != MessageState::kAccepted || there.contains(message.id)) continue;
    for (const RecipientFacts& recipient : message.recipients) {
      const bool ended =
          !recipient.deliveries.empty() || recipient.reports > 0 || recipient.final_life > 0;
      if (ended) continue;
      ledger.world().Violated("durability", absl::StrCat("message ", message.number, " (",
                                                         message.id, ") was promised and is gone; ",
                                                         recipient.address, " never had it"));
    }
  }
}

}  // namespace sluice::sim
