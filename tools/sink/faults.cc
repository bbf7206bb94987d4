#include "tools/sink/faults.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/domain_name.h"

namespace sluice::tools {
namespace {

constexpr absl::string_view kFields[] = {"stage",    "action",      "reply",
                                         "delay_ms", "bytes_per_s", "probability",
                                         "times",    "port",        "domain"};
constexpr uint32_t kDelayMsMax = 3600 * 1000;
constexpr size_t kReplyBytesMax = 510;  // RFC 5321 4.5.3.1.5, without CRLF.

constexpr std::pair<absl::string_view, FaultStage> kStages[] = {
    {"connect", FaultStage::kConnect}, {"greeting", FaultStage::kConnect},
    {"helo", FaultStage::kHelo},       {"starttls", FaultStage::kStartTls},
    {"mail", FaultStage::kMail},       {"rcpt", FaultStage::kRcpt},
    {"data", FaultStage::kData},       {"dot", FaultStage::kDot}};

constexpr std::pair<absl::string_view, FaultAction> kActions[] = {
    {"reply", FaultAction::kReply}, {"drop", FaultAction::kDrop},
    {"delay", FaultAction::kDelay}, {"close421", FaultAction::kClose421},
    {"slow", FaultAction::kSlow},   {"accept_drop", FaultAction::kAcceptDrop}};

template <class Table>
auto* FindWord(const Table& table, absl::string_view word) {
  const auto* found = std::find_if(std::begin(table), std::end(table),
                                   [&](const auto& row) { return row.first == word; });
  return found == std::end(table) ? nullptr : &found->second;
}

absl::Status Wrong(absl::string_view text, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("fault '", text, "': ", why));
}

bool BeginsWithField(absl::string_view text) {
  return std::any_of(std::begin(kFields), std::end(kFields), [&](absl::string_view field) {
    return text.size() > field.size() && absl::StartsWith(text, field) && text[field.size()] == '=';
  });
}

// Takes "name=value" off the front, with the comma behind it.
absl::string_view TakeField(absl::string_view& rest) {
  size_t end = rest.find(',');
  while (end != absl::string_view::npos && !BeginsWithField(rest.substr(end + 1))) {
    end = rest.find(',', end + 1);
  }
  const absl::string_view field = rest.substr(0, end);
  rest = end == absl::string_view::npos ? absl::string_view() : rest.substr(end + 1);
  return field;
}

template <class Number>
bool TakeNumber(absl::string_view text, Number least, Number most, Number& into) {
  uint64_t value = 0;
  if (!absl::SimpleAtoi(text, &value) || value < least || value > most) return false;
  into = static_cast<Number>(value);
  return true;
}

bool IsRefusal(absl::string_view reply) {
  if (reply.size() < 3 || reply.size() > kReplyBytesMax) return false;
  if (reply[0] != '4' && reply[0] != '5') return false;
  if (!absl::ascii_isdigit(reply[1]) || !absl::ascii_isdigit(reply[2])) return false;
  if (reply.size() > 3 && reply[3] != ' ') return false;
  return std::all_of(reply.begin(), reply.end(), [](char c) { return absl::ascii_isprint(c); });
}

absl::string_view SetWord(Fault& fault, absl::string_view name, absl::string_view value) {
  if (name == "stage") {
    const FaultStage* stage = FindWord(kStages, value);
    if (stage == nullptr) return "stage is one of connect, helo, starttls, mail, rcpt, data, dot";
    fault.stage = *stage;
  } else {
    const FaultAction* action = FindWord(kActions, value);
    if (action == nullptr) {
      return "action is one of reply, drop, delay, close421, slow, accept_drop";
    }
    fault.action = *action;
  }
  return "";
}

absl::string_view SetNumber(Fault& fault, absl::string_view name, absl::string_view value) {
  if (name == "delay_ms") {
    uint32_t delay_ms = 0;
    if (!TakeNumber(value, 1u, kDelayMsMax, delay_ms)) return "delay_ms is 1 to 3600000";
    fault.delay = std::chrono::milliseconds(delay_ms);
  } else if (name == "bytes_per_s") {
    if (!TakeNumber(value, 1u, 1u << 30, fault.bytes_per_s)) return "bytes_per_s is 1 to 2^30";
  } else if (name == "times") {
    if (!TakeNumber(value, uint64_t{1}, UINT64_MAX, fault.times_max)) return "times is 1 or more";
  } else if (name == "port") {
    uint16_t port = 0;
    if (!TakeNumber(value, uint16_t{1}, uint16_t{65535}, port)) return "port is 1 to 65535";
    fault.port = port;
  } else if (!absl::SimpleAtod(value, &fault.probability) ||
             !(fault.probability >= 0 && fault.probability <= 1)) {
    return "probability is between 0 and 1";
  }
  return "";
}

// Returns what is wrong, or "".
absl::string_view SetField(Fault& fault, absl::string_view name, absl::string_view value) {
  if (name == "stage" || name == "action") return SetWord(fault, name, value);
  if (name == "reply") {
    if (!IsRefusal(value)) return "reply is a line like '450 4.7.1 later', from 400 to 599";
    fault.reply = std::string(value);
    return "";
  }
  if (name == "domain") {
    auto domain = NormalizeDomain(value);
    if (!domain.ok()) return "domain is not a domain name";
    fault.domain = *std::move(domain);
    return "";
  }
  return SetNumber(fault, name, value);
}

bool KnowsDomain(FaultStage stage) {
  switch (stage) {
    case FaultStage::kConnect:
    case FaultStage::kHelo:
    case FaultStage::kStartTls:
    case FaultStage::kMail:
      return false;
    case FaultStage::kRcpt:
    case FaultStage::kData:
    case FaultStage::kDot:
      return true;
  }
  return false;
}

// Whether the fields fit each other. Returns what is wrong, or "".
absl::string_view Complete(Fault& fault) {
  if (!fault.domain.empty() && !KnowsDomain(fault.stage)) {
    return "a domain is not known before rcpt";
  }
  if (fault.action == FaultAction::kClose421 && fault.reply.empty()) {
    fault.reply = "421 4.3.2 Closing the connection, as asked";
  }
  const bool replies =
      fault.action == FaultAction::kReply || fault.action == FaultAction::kClose421;
  if (replies && fault.reply.empty()) return "a reply is missing: reply=450 4.7.1 later";
  if (!replies && !fault.reply.empty()) return "this action takes no reply";
  if (fault.action == FaultAction::kClose421 && !absl::StartsWith(fault.reply, "421")) {
    return "the reply of close421 begins with 421";
  }
  const bool delays = fault.action == FaultAction::kDelay;
  if (delays != (fault.delay > Duration::zero())) return "delay_ms goes with action=delay";
  const bool slows = fault.action == FaultAction::kSlow;
  if (slows != (fault.bytes_per_s > 0)) return "bytes_per_s goes with action=slow";
  if (fault.action == FaultAction::kAcceptDrop && fault.stage != FaultStage::kDot) {
    return "accept_drop is for stage=dot";
  }
  if (slows && fault.stage == FaultStage::kDot)
    return "after the dot there is nothing to read slowly";
  return "";
}

}  // namespace

absl::StatusOr<Fault> Fault::Parse(absl::string_view text) {
  Fault fault;
  fault.text = std::string(text);
  absl::string_view rest = text;
  std::vector<absl::string_view> seen;
  while (!rest.empty()) {
    if (!BeginsWithField(rest)) {
      return Wrong(text,
                   "fields are stage, action, reply, delay_ms, bytes_per_s, probability, times, "
                   "port and domain, each as name=value");
    }
    const absl::string_view field = TakeField(rest);
    const size_t equals = field.find('=');
    const absl::string_view name = field.substr(0, equals);
    if (std::find(seen.begin(), seen.end(), name) != seen.end()) {
      return Wrong(text, absl::StrCat(name, " is given twice"));
    }
    seen.push_back(name);
    const absl::string_view wrong = SetField(fault, name, field.substr(equals + 1));
    if (!wrong.empty()) return Wrong(text, wrong);
  }
  if (std::find(seen.begin(), seen.end(), "stage") == seen.end()) {
    return Wrong(text, "the stage is missing: stage=rcpt");
  }
  const absl::string_view wrong = Complete(fault);
  if (!wrong.empty()) return Wrong(text, wrong);
  return fault;
}

const Fault* Faults::Next(FaultStage stage, uint16_t port, absl::string_view domain) {
  for (Fault& fault : faults_) {
    if (fault.stage != stage || fault.times == fault.times_max) continue;
    if (fault.port && *fault.port != port) continue;
    if (!fault.domain.empty() && absl::string_view(fault.domain) != domain) continue;
    if (!random_.Chance(fault.probability)) continue;
    ++fault.times;
    return &fault;
  }
  return nullptr;
}

bool Faults::Any(FaultStage stage) const {
  return std::any_of(faults_.begin(), faults_.end(),
                     [&](const Fault& fault) { return fault.stage == stage; });
}

}  // namespace sluice::tools
