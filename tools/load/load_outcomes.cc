// What became of the mail, in the results, in the ledger, in the work that is left.

#include <utility>

#include "tools/load/load.h"

namespace sluice::tools {

void Load::OnRecipientRefused(Connection& connection) {
  Carried& carried = connection.current();
  carried.fates[connection.session.recipient_index()] = Fate::kRefused;
  CountRefusal(carried, connection.session.reply(), true);
}

void Load::CountRefusal(Carried& carried, const smtp::Reply& reply, bool may_retry) {
  ++results_.refused[reply.code];
  if (may_retry && reply.transient() && options_.retry_refused) {
    ++carried.later;
  } else {
    ++results_.given_up;
  }
}

void Load::OnMessageDone(Connection& connection) {
  Carried& carried = connection.current();
  Piece again = carried.piece;
  again.recipients = carried.moved;
  const uint16_t open = carried.OpenRecipients();
  switch (connection.session.result()) {
    case smtp::MessageResult::kAccepted:
      ++results_.accepted;
      ++connection.accepted;
      results_.recipients_accepted += open;
      results_.dot.Add(now_.instant - carried.dot_at);
      results_.elapsed = now_.instant - started_at_;
      if (ledger_.open()) carried.WriteTo(ledger_);
      break;
    case smtp::MessageResult::kRefused:
    case smtp::MessageResult::kUnsendable: {
      const bool may_retry = connection.session.result() == smtp::MessageResult::kRefused;
      const smtp::Reply& reply = connection.session.reply();
      for (uint16_t i = 0; i < open; ++i) CountRefusal(carried, reply, may_retry);
      break;
    }
    case smtp::MessageResult::kInDoubt:
      ++results_.in_doubt;
      again.recipients += open;
      break;
    case smtp::MessageResult::kUntried:  // It may have been refused, for the sake of another.
      if (connection.session.reply().code > 0) {
        results_.refused[connection.session.reply().code] += open;
      }
      [[fallthrough]];
    case smtp::MessageResult::kSessionLost:
      again.recipients += open;
      break;
  }
  if (again.recipients > 0) work_.PutBack(again);
  again.recipients = carried.later;
  if (again.recipients > 0) {
    const bool kept = work_.Later(again, now_.instant + options_.retry_after);
    (kept ? results_.retried : results_.given_up) += again.recipients;
  }
  work_.Finish();
  if (!std::exchange(connection.ahead, false)) return;
  connection.second = !connection.second;
}

}  // namespace sluice::tools
