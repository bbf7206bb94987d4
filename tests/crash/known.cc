#include "tests/crash/known.h"

#include <utility>

#include "engine/base/check.h"

namespace sluice::crash {

using sim::MessageFacts;
using sim::MessageState;
using sim::RecipientFacts;

Known KnownNow(const sim::Ledger& ledger) {
  Known known(ledger.messages.size());
  for (size_t i = 0; i < known.size(); ++i) {
    const MessageFacts& facts = ledger.messages[i];
    KnownMessage& message = known[i];
    message.promised = facts.received || facts.state == MessageState::kAccepted;
    message.sent = message.promised || facts.state == MessageState::kSent ||
                   facts.state == MessageState::kRefused;
    message.report_died = facts.report_died;
    for (const RecipientFacts& recipient : facts.recipients) {
      message.recipients.push_back({.taken = !recipient.deliveries.empty(),
                                    .decided = recipient.final_life > 0,
                                    .given_up = recipient.given_up,
                                    .delivered = recipient.final,
                                    .bounced = recipient.bounced,
                                    .reported = recipient.reports > 0});
    }
  }
  return known;
}

void Tell(const Known& known, const std::vector<MessageFacts>& facts, sim::Ledger& ledger) {
  for (size_t i = 0; i < known.size(); ++i) {
    const MessageFacts& before = facts[i];
    MessageFacts& message = ledger.NewMessage(before.sender.substr(before.sender.find('@') + 1));
    message.content = before.content;
    message.ret = before.ret;
    message.envelope_id = before.envelope_id;
    message.received = known[i].promised;
    message.report_died = known[i].report_died;
    if (known[i].sent) message.state = MessageState::kSent;
    if (known[i].promised) message.state = MessageState::kAccepted;
    message.id = before.id;
    for (size_t j = 0; j < before.recipients.size(); ++j) {
      const KnownRecipient& was = known[i].recipients[j];
      RecipientFacts& recipient =
          ledger.AddRecipient(message, before.recipients[j].domain, before.recipients[j].unknown);
      CHECK(recipient.address == before.recipients[j].address);
      recipient.notify = before.recipients[j].notify;
      recipient.may_bounce |= was.given_up;
      recipient.final_life = was.decided ? 1 : 0;
      recipient.given_up = was.given_up;
      recipient.final = was.delivered;
      recipient.bounced = was.bounced;
      recipient.reports = was.reported ? 1 : 0;
      if (!was.taken) continue;
      ledger.deliveries.push_back({.garbled = true});  // The answer may have been lost.
      recipient.deliveries.push_back(static_cast<uint32_t>(ledger.deliveries.size() - 1));
    }
  }
}

void Marks::Note(size_t point, Known known) {
  for (size_t i = 0; i < known.size(); ++i) {
    if (i < last_.size() && known[i] == last_[i]) continue;
    marks_.push_back({.point = point, .message = i, .known = known[i]});
  }
  last_ = std::move(known);
}

const Known& Marks::Walk::At(size_t point) {
  for (; next_ < marks_.marks_.size() && marks_.marks_[next_].point <= point; ++next_) {
    const Mark& mark = marks_.marks_[next_];
    if (mark.message >= known_.size()) known_.resize(mark.message + 1);
    known_[mark.message] = mark.known;
  }
  return known_;
}

}  // namespace sluice::crash
