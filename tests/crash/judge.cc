#include "tests/crash/judge.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tests/sim/sim_injector.h"

namespace sluice::crash {

using sim::MessageFacts;
using sim::RecipientFacts;

std::string Judge::WhatIsWrong(const Found& found, const Known& known, WallTime when) {
  if (!found.error.empty()) return absl::StrCat("recovery refuses: ", found.error);
  if (found.damaged_records > 0) {
    return absl::StrCat(found.damaged_records, " records count as damaged");
  }
  waits_.assign(known.size(), {});
  reported_.assign(known.size(), {});
  for (size_t i = 0; i < known.size(); ++i) {
    waits_[i].resize(known[i].recipients.size());
    reported_[i].resize(known[i].recipients.size());
  }
  for (const FoundMessage& message : found.messages) {
    std::string wrong = message.sender.empty() ? Bounce(message, known) : Message(message, known);
    if (!wrong.empty()) return wrong;
  }
  if (std::string wrong = Missing(known); !wrong.empty()) return wrong;
  return Windows(found, when);
}

// By its sender, "s.m17@…".
const MessageFacts* Judge::Find(const std::string& sender, const Known& known) const {
  absl::string_view text = sender;
  uint32_t number = 0;
  if (!absl::ConsumePrefix(&text, "s.m")) return nullptr;
  if (!absl::SimpleAtoi(text.substr(0, text.find('@')), &number)) return nullptr;
  if (number >= known.size() || facts_[number].sender != sender) return nullptr;
  return known[number].sent ? &facts_[number] : nullptr;
}

const std::string& Judge::WireOf(size_t number) {
  wires_.resize(facts_.size());
  if (wires_[number].empty()) wires_[number] = sim::Stuffed(facts_[number].content) + ".\r\n";
  return wires_[number];
}

std::string Judge::Message(const FoundMessage& found, const Known& known) {
  const MessageFacts* facts = Find(found.sender, known);
  if (facts == nullptr) return absl::StrCat("a message of ", found.sender, " was never sent");
  if (sim::WithoutTrace(found.body) != WireOf(facts->number)) {
    return absl::StrCat("message ", facts->number, " has another body");
  }
  if (found.recipients.size() != facts->recipients.size()) {
    return absl::StrCat("message ", facts->number, " has ", found.recipients.size(),
                        " recipients, not ", facts->recipients.size());
  }
  for (size_t i = 0; i < facts->recipients.size(); ++i) {
    size_t times = 0;
    for (const FoundRecipient& recipient : found.recipients) {
      if (recipient.address != facts->recipients[i].address) continue;
      ++times;
      if (!recipient.waits) continue;
      if (waits_[facts->number][i]) return absl::StrCat(recipient.address, " waits twice");
      waits_[facts->number][i] = true;
    }
    if (times != 1) {
      return absl::StrCat(facts->recipients[i].address, " is there ", times, " times");
    }
  }
  return "";
}

std::string Judge::Bounce(const FoundMessage& found, const Known& known) {
  if (found.recipients.size() != 1) return "a bounce with more than one recipient";
  const MessageFacts* facts = Find(found.recipients[0].address, known);
  if (facts == nullptr) {
    return absl::StrCat("a bounce to ", found.recipients[0].address, " about nothing");
  }
  const std::string body = absl::AsciiStrToLower(found.body);
  bool about_any = false;
  for (size_t i = 0; i < facts->recipients.size(); ++i) {
    const std::string line = absl::StrCat("\r\n<", facts->recipients[i].address, ">\r\n");
    if (!absl::StrContains(body, line)) continue;
    about_any = true;
    if (!known[facts->number].recipients[i].given_up) {
      return absl::StrCat("a bounce about ", facts->recipients[i].address, ", which waits");
    }
    if (found.recipients[0].waits) reported_[facts->number][i] = true;
  }
  return about_any ? "" : absl::StrCat("an empty bounce to ", facts->sender);
}

std::string Judge::Missing(const Known& known) const {
  for (size_t i = 0; i < known.size(); ++i) {
    for (size_t j = 0; j < known[i].recipients.size(); ++j) {
      const KnownRecipient& recipient = known[i].recipients[j];
      const RecipientFacts& facts = facts_[i].recipients[j];
      if (waits_[i][j] && recipient.told()) {
        return absl::StrCat(facts.address, " waits, and its outcome was told");
      }
      if (known[i].promised && !recipient.decided && !waits_[i][j]) {
        return absl::StrCat(facts.address, " was promised and does not wait");
      }
      // Whoever neither waits nor has had it must have had a bounce, or be about to.
      const bool owed =
          recipient.bounced || (known[i].promised && !waits_[i][j] && !recipient.taken);
      const bool has_it =
          recipient.reported || reported_[i][j] || known[i].report_died || !facts.wants_reports();
      if (owed && !has_it) {
        return absl::StrCat("the bounce about ", facts.address, " is not there");
      }
    }
  }
  return "";
}

// Of what came at the very instant of the crash nobody can say whether it was before.
std::string Judge::Windows(const Found& found, WallTime when) const {
  for (const KnownWindow& known : windows_) {
    const auto begin = std::upper_bound(known.seen.begin(), known.seen.end(), when - known.period);
    const auto end = std::lower_bound(known.seen.begin(), known.seen.end(), when);
    const int64_t seen = begin < end ? end - begin : 0;
    int64_t counted = 0;
    for (const FoundWindow& window : found.windows) {
      if (window.destination != known.destination || window.of_system != known.of_system) continue;
      counted += window.reserved;
      for (const auto& [by, recipients] : window.seen) {
        if (by > when - known.period) counted += recipients;
      }
    }
    if (counted < seen) {
      return absl::StrCat(known.destination, " has seen ", seen,
                          " recipients, and its window counts ", counted);
    }
  }
  return "";
}

}  // namespace sluice::crash
