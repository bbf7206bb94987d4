#include "tests/sim/ledger.h"

#include "absl/strings/ascii.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "engine/base/check.h"
#include "tests/sim/checkers.h"

namespace sluice::sim {

MessageFacts& Ledger::NewMessage(const std::string& sender_domain) {
  MessageFacts message;
  message.number = static_cast<uint32_t>(messages.size());
  message.sender = absl::StrCat("s.m", message.number, "@", sender_domain);
  messages.push_back(std::move(message));
  return messages.back();
}

RecipientFacts& Ledger::AddRecipient(MessageFacts& message, const std::string& domain,
                                     bool unknown) {
  RecipientFacts recipient;
  recipient.address = absl::StrCat(unknown ? "x" : "u", message.recipients.size(), ".m",
                                   message.number, "@", domain);
  recipient.domain = domain;
  recipient.unknown = unknown;
  recipient.may_bounce = unknown || !domains.at(domain).exists;
  by_address_[recipient.address] = {message.number, uint32_t(message.recipients.size())};
  message.recipients.push_back(std::move(recipient));
  return message.recipients.back();
}

// Injectors spell some domains in capitals: the same recipient (RFC 5321 2.4).
RecipientFacts* Ledger::FindRecipient(absl::string_view address) {
  const auto found = by_address_.find(absl::AsciiStrToLower(address));
  if (found == by_address_.end()) return nullptr;
  return &messages[found->second.first].recipients[found->second.second];
}

const MessageFacts& Ledger::MessageOf(absl::string_view address) const {
  const auto found = by_address_.find(absl::AsciiStrToLower(address));
  CHECK(found != by_address_.end());
  return messages[found->second.first];
}

MessageFacts* Ledger::FindBySender(absl::string_view sender) {
  if (!absl::ConsumePrefix(&sender, "s.m")) return nullptr;
  uint32_t number = 0;
  if (!absl::SimpleAtoi(sender.substr(0, sender.find('@')), &number)) return nullptr;
  return number < messages.size() ? &messages[number] : nullptr;
}

bool Ledger::Confirmed(const Delivery& delivery) const {
  if (delivery.garbled || delivery.reply_end == 0) return false;
  return network_.Get(delivery.connection).bytes_heard(0) >= delivery.reply_end;
}

void Ledger::RefusedForGood(absl::string_view sender, absl::string_view domain) {
  MessageFacts* message = FindBySender(sender);
  if (message == nullptr) return;
  for (RecipientFacts& recipient : message->recipients) {
    if (recipient.domain == domain) recipient.may_bounce = true;
  }
}

// -------------------------------------------------------------------------------------------------
// What peers took.

uint32_t Ledger::NewDelivery(const Connection& connection, bool garbled) {
  deliveries.push_back({.connection = connection.number(),
                        .garbled = garbled,
                        .life = life,
                        .when = world_.instant()});
  return static_cast<uint32_t>(deliveries.size() - 1);
}

std::vector<uint32_t> Ledger::Took(const Connection& connection, absl::string_view sender,
                                   const std::vector<std::string>& addresses,
                                   absl::string_view message, bool garbled) {
  std::vector<uint32_t> taken;
  if (sender.empty()) {
    CHECK(!addresses.empty());
    TookReport(connection, addresses.front(), message, taken, garbled);
  } else {
    TookMessage(connection, sender, addresses, message, taken, garbled);
  }
  return taken;
}

void Ledger::TookMessage(const Connection& connection, absl::string_view sender,
                         const std::vector<std::string>& addresses, absl::string_view message,
                         std::vector<uint32_t>& taken, bool garbled) {
  MessageFacts* facts = FindBySender(sender);
  if (facts == nullptr) return world_.Violated("peer", absl::StrCat("unknown sender ", sender));
  if (WithoutTrace(message) != facts->content) {
    return world_.Violated("peer",
                           absl::StrCat("message ", facts->number, " is not what was injected"));
  }
  switch (facts->state) {
    case MessageState::kSent:
    case MessageState::kAccepted:
      break;
    case MessageState::kRefused:
      if (disk_failed) break;
      [[fallthrough]];
    case MessageState::kComing:
    case MessageState::kBrokenOff:
      return world_.Violated("conservation",
                             absl::StrCat("message ", facts->number, " was never promised, state ",
                                          static_cast<int>(facts->state)));
  }
  for (const std::string& address : addresses) {
    RecipientFacts* recipient = FindRecipient(address);
    CHECK(recipient != nullptr);
    // What was sent whole behind its commands may be taken when the engine has waited long enough,
    // or is gone.
    const bool given_up = connection.gone(0);
    if (!given_up) CheckSecondDelivery(*this, address, recipient->deliveries, recipient->final);
    if (recipient->bounced && !given_up) {
      world_.Violated("conservation", absl::StrCat(address, " is delivered after it bounced"));
    }
    taken.push_back(NewDelivery(connection, garbled));
    recipient->deliveries.push_back(taken.back());
  }
}

namespace {

absl::string_view Between(absl::string_view text, absl::string_view before,
                          absl::string_view after) {
  const size_t start = text.find(before);
  if (start == absl::string_view::npos) return {};
  text.remove_prefix(start + before.size());
  return text.substr(0, text.find(after));
}

// What a bounce may say was answered; empty: no server answered anything.
bool IsCommand(absl::string_view text) {
  for (const absl::string_view command : {"", "us", "EHLO", "HELO", "MAIL FROM", "RCPT TO", "DATA",
                                          "BDAT", "the message body", "the final dot"}) {
    if (text == command) return true;
  }
  return false;
}

}  // namespace

void Ledger::TookReport(const Connection& connection, const std::string& to,
                        absl::string_view message, std::vector<uint32_t>& taken, bool garbled) {
  const std::string id(Between(message, "\r\nMessage-ID: <", "@"));
  const MessageFacts* about = FindBySender(to);
  if (id.empty() || about == nullptr || about->sender != to) {
    return world_.Violated("peer", absl::StrCat("a bounce to ", to, " about nothing"));
  }
  ReportFacts& report = reports[id];
  const bool first = report.deliveries.empty();
  if (first) {
    report.message = about->number;
    const absl::string_view list =
        message.substr(std::min(message.size(), message.find("could not be delivered to:")));
    for (absl::string_view line : absl::StrSplit(list, "\r\n")) {
      if (line.size() > 2 && line.front() == '<' && line.back() == '>') {
        report.failed.emplace_back(line.substr(1, line.size() - 2));
      }
    }
    if (report.failed.empty()) world_.Violated("peer", absl::StrCat("an empty bounce ", id));
    const absl::string_view command = Between(list, " answered to ", ":\r\n");
    if (!IsCommand(command)) {
      world_.Violated("peer", absl::StrCat("a bounce quotes an answer to \"", command, "\""));
    }
  }
  const bool given_up = connection.gone(0);
  if (!given_up) {
    CheckSecondDelivery(*this, absl::StrCat("bounce ", id), report.deliveries, report.final);
  }
  taken.push_back(NewDelivery(connection, garbled));
  report.deliveries.push_back(taken.back());
  if (!first) return;
  for (const std::string& failed : report.failed) {
    RecipientFacts* recipient = FindRecipient(failed);
    if (recipient == nullptr ||
        FindBySender(to) != &messages[by_address_[absl::AsciiStrToLower(failed)].first]) {
      return world_.Violated("peer", absl::StrCat("a bounce to ", to, " about ", failed));
    }
    ++recipient->reports;
    CheckReport(*this, *recipient);
  }
}

absl::string_view WithoutTrace(absl::string_view message) {
  if (!absl::StartsWith(message, "Received: ")) return {};
  size_t end = message.find("\r\n");
  while (end != absl::string_view::npos && end + 2 < message.size() &&
         (message[end + 2] == ' ' || message[end + 2] == '\t')) {
    end = message.find("\r\n", end + 2);
  }
  return end == absl::string_view::npos ? absl::string_view() : message.substr(end + 2);
}

}  // namespace sluice::sim
