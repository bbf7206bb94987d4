#include "tests/sim/sim_events.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"

namespace sluice::sim {

// A Received field is no longer than this here.
constexpr uint64_t kTraceBytesMax = 300;

using delivery::Event;
using delivery::EventType;

void SimEvents::Emit(const Event& event, uint64_t batch) {
  const std::string destination(event.destination);
  Held held = {.batch = batch,
               .type = event.type,
               .id = event.id.ToString(),
               .recipient = std::string(event.recipient),
               .report = event.sender.empty()};
  scene_.world.Happens("event", static_cast<uint64_t>(event.type), batch,
                       absl::StrCat(held.id, " ", held.recipient, " ",
                                    event.reply == nullptr ? "" : event.reply->ToString()));
  if (!held_.empty() && batch < held_.back().batch) {
    scene_.world.Violated("events", "an event for a batch before the last one's");
  }
  RecipientFacts* recipient = scene_.ledger.FindRecipient(held.recipient);
  if (!held.report && recipient == nullptr) {
    return scene_.world.Violated("events", absl::StrCat("of an unknown ", held.recipient));
  }
  switch (event.type) {
    case EventType::kReception:
      scene_.limits.Outstanding(destination, +1);
      break;
    case EventType::kTransientFailure:
      break;
    case EventType::kDelivery:
      OnDelivery(held, event);
      break;
    case EventType::kBounce:
      OnBounce(held, event);
      break;
    case EventType::kExpiration:
      OnExpiration(held, event);
      break;
  }
  if (recipient != nullptr) recipient->told += event.type == EventType::kDelivery || event.in_doubt;
  const bool final = event.type == EventType::kDelivery || event.type == EventType::kBounce ||
                     event.type == EventType::kExpiration;
  if (final) {
    scene_.limits.Outstanding(destination, -1);
    if (!held.report && recipient->final_life == 0) recipient->final_life = scene_.ledger.life;
    if (!held.report && event.type != EventType::kDelivery) recipient->given_up = true;
  }
  held_.push_back(std::move(held));
}

void SimEvents::OnDelivery(const Held& held, const Event& event) {
  const std::vector<uint32_t>* deliveries = nullptr;
  if (held.report) {
    const auto found = scene_.ledger.reports.find(held.id);
    if (found != scene_.ledger.reports.end()) deliveries = &found->second.deliveries;
  } else {
    deliveries = &scene_.ledger.FindRecipient(held.recipient)->deliveries;
  }
  if (deliveries == nullptr || deliveries->empty()) {
    return scene_.world.Violated(
        "conservation", absl::StrCat(held.recipient, " is said to be delivered, and was not"));
  }
  const bool any = std::any_of(deliveries->begin(), deliveries->end(), [&](uint32_t number) {
    return SaysHow(event, scene_.ledger.deliveries[number]);
  });
  if (any) return;
  scene_.world.Violated("policy",
                        absl::StrCat(held.recipient, " is said to be delivered with TLS \"",
                                     event.tls == nullptr ? absl::string_view("nothing")
                                                          : policy::TlsResult(event.tls->decision),
                                     "\", and was not"));
}

// In clear, or under TLS; and where it says verified, the certificate was good.
bool SimEvents::SaysHow(const Event& event, const Delivery& delivery) const {
  if (event.tls == nullptr) return delivery.shown == nullptr;
  const std::string domain(event.destination);
  switch (event.tls->decision.action) {
    case policy::TlsAction::kClear:
      return delivery.shown == nullptr;
    case policy::TlsAction::kUnverified:
      return delivery.shown != nullptr;
    case policy::TlsAction::kVerified:
      return delivery.shown != nullptr &&
             scene_.policy.MetBy(domain, policy::TlsLevel::kRequireVerifyHosted, delivery.shown);
    case policy::TlsAction::kReconnectClear:
    case policy::TlsAction::kNextHost:
      return false;
  }
  return false;
}

// What the engine must refuse by itself, since the server does not take it: too large (RFC 1870),
// or 8-bit without 8BITMIME (RFC 6152).
bool SimEvents::RefusedByUs(const std::string& address, const Event& event) const {
  if (event.reply == nullptr) return false;
  const std::string& content = scene_.ledger.MessageOf(address).content;
  const smtp::EnhancedCode code = event.reply->enhanced;
  if (code == smtp::EnhancedCode{5, 3, 0}) return scene_.options.faults.read_errors > 0;
  if (code == smtp::EnhancedCode{5, 3, 4}) return content.size() + kTraceBytesMax > kPeerSizeMax;
  const auto eight_bit = [](char c) { return (c & 0x80) != 0; };
  return code == smtp::EnhancedCode{5, 6, 3} &&
         std::any_of(content.begin(), content.end(), eight_bit);
}

void SimEvents::OnBounce(const Held& held, const Event& event) {
  if (held.report) {
    if (MessageFacts* about = scene_.ledger.FindBySender(held.recipient)) about->report_died = true;
    return;
  }
  const RecipientFacts& recipient = *scene_.ledger.FindRecipient(held.recipient);
  if (RefusedByUs(held.recipient, event)) return;
  if (recipient.may_bounce || scene_.ledger.domains.at(recipient.domain).may_bounce) return;
  scene_.world.Violated(
      "conservation",
      absl::StrCat(held.recipient, " bounces, and nobody refused it for good: ",
                   event.reply == nullptr ? std::string("no reply") : event.reply->ToString()));
}

void SimEvents::OnExpiration(const Held& held, const Event& event) {
  if (held.report) {
    if (MessageFacts* about = scene_.ledger.FindBySender(held.recipient)) about->report_died = true;
    return;
  }
  const std::optional<MessageId> id = MessageId::Parse(held.id);
  CHECK(id.has_value());
  const WallTime accepted{std::chrono::microseconds(id->value >> 8)};
  const bool old = event.timestamp - accepted + scene_.ledger.clock_steps >=
                   scene_.ledger.options.max_queue - std::chrono::seconds(1);
  if (old || event.attempts >= scene_.ledger.options.max_retries) return;
  scene_.world.Violated("conservation", absl::StrCat(held.recipient, " expires after ",
                                                     Seconds(event.timestamp - accepted), " s and ",
                                                     event.attempts, " attempts"));
}

void SimEvents::Release(uint64_t durable_batch) {
  while (!held_.empty() && held_.front().batch <= durable_batch) {
    const Held held = std::move(held_.front());
    held_.pop_front();
    if (held.report) {
      const auto found = scene_.ledger.reports.find(held.id);
      if (held.type == EventType::kDelivery && found != scene_.ledger.reports.end()) {
        found->second.final = true;
        scene_.ledger.Told(found->second.deliveries);
      }
      continue;
    }
    RecipientFacts& recipient = *scene_.ledger.FindRecipient(held.recipient);
    if (held.type == EventType::kReception) {
      const uint32_t number = scene_.ledger.MessageOf(held.recipient).number;
      MessageFacts& message = scene_.ledger.messages[number];
      message.received = true;
      message.id = held.id;
    }
    if (held.type == EventType::kDelivery) recipient.final = true;
    if (held.type == EventType::kDelivery) {
      recipient.final = true;
      scene_.ledger.Told(recipient.deliveries);
    }
    if (held.type == EventType::kBounce || held.type == EventType::kExpiration)
      recipient.bounced = true;
  }
}

}  // namespace sluice::sim
