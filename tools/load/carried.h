// A message under way on a connection: what it is made of, and what became of its recipients.
//
// Each connection has two, which it uses in turn, so that nothing that is lent to the ring is made
// anew under it. Their memory is used again.

#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/time.h"
#include "engine/smtp/client_session.h"
#include "engine/smtp/envelope.h"
#include "tools/line_file.h"
#include "tools/load/message_maker.h"
#include "tools/load/work.h"

namespace sluice::tools {

enum class Fate : uint8_t { kOpen, kRefused, kMoved };  // Of a recipient.

struct Carried {
  Piece piece;
  ProbeId id;
  MadeMessage message;
  std::vector<smtp::EnvelopeRecipient> recipients;
  std::vector<const smtp::EnvelopeRecipient*> recipient_pointers;
  std::vector<Fate> fates;
  uint16_t later = 0;  // Recipients of the piece that are to be tried again,
  uint16_t moved = 0;  // and those for a further transaction.
  Instant dot_at;

  // A message for the piece, whose recipients are of `domain`.
  void Make(const Piece& of, const ProbeId& as, absl::string_view domain, MessageMaker& maker);
  // What Make made; lent by this object, and by the sender's owner.
  smtp::Transaction TransactionFrom(absl::string_view sender) const;

  uint16_t OpenRecipients() const;
  // Id and open recipients, which were promised.
  void WriteTo(LineFile& ledger) const;
};

}  // namespace sluice::tools
