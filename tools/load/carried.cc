#include "tools/load/carried.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace sluice::tools {

void Carried::Make(const Piece& of, const ProbeId& as, absl::string_view domain,
                   MessageMaker& maker) {
  piece = of;
  id = as;
  later = moved = 0;
  fates.assign(piece.recipients, Fate::kOpen);
  if (recipients.size() < piece.recipients) recipients.resize(piece.recipients);
  recipient_pointers.clear();
  for (uint16_t i = 0; i < piece.recipients; ++i) {
    std::string& address = recipients[i].address;
    address.clear();
    absl::StrAppend(&address, "r", i, "@", domain);
    recipient_pointers.push_back(&recipients[i]);
  }
  maker.Make(id, piece.size, message);
}

smtp::Transaction Carried::TransactionFrom(absl::string_view sender) const {
  return {.sender = sender, .recipients = recipient_pointers, .body_bytes = message.bytes};
}

uint16_t Carried::OpenRecipients() const {
  return static_cast<uint16_t>(std::count(fates.begin(), fates.end(), Fate::kOpen));
}

void Carried::WriteTo(LineFile& ledger) const {
  ledger.Append(id.ToString());
  for (size_t i = 0; i < fates.size(); ++i) {
    if (fates[i] != Fate::kOpen) continue;
    ledger.Append(" ");
    ledger.Append(recipients[i].address);
  }
  ledger.Append("\n");
}

}  // namespace sluice::tools
