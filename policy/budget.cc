#include "policy/budget.h"

#include "engine/base/check.h"

namespace sluice::policy {

const char* LimitName(Limit limit) {
  switch (limit) {
    case Limit::kNone:
      return "none";
    case Limit::kConnections:
      return "concurrency";
    case Limit::kMessagesPerConnection:
      return "messages_per_connection";
    case Limit::kRecipients:
      return "recipients";
    case Limit::kSystemConnections:
      return "system_concurrency";
    case Limit::kSystemRecipients:
      return "system_recipients";
    case Limit::kScopes:
      return "scopes";
  }
  return "";
}

void Budget::ConnectionOpened(const Limits& limits) {
  CHECK(connections_ < limits.connections_max);
  ++connections_;
}

void Budget::ConnectionLeaving() {
  CHECK(leaving_ < connections_);
  ++leaving_;
}

void Budget::ConnectionClosed(bool was_leaving) {
  CHECK(connections_ > 0);
  --connections_;
  if (!was_leaving) return;
  CHECK(leaving_ > 0);
  --leaving_;
}

uint32_t Budget::Room(const Limits& limits, Instant now) {
  if (!limits.recipients_limited) return UINT32_MAX;
  const uint64_t counted = window_.Counted(limits.recipient_period, now);
  if (counted >= limits.recipients_max) return 0;  // Over it, when the limit has been lowered.
  return static_cast<uint32_t>(limits.recipients_max - counted);
}

Instant Budget::NextRoom(const Limits& limits, Instant now) {
  if (!limits.recipients_limited || limits.recipients_max == 0) return kNever;
  return window_.NextRelease(limits.recipient_period, now);
}

// In flight they are counted without a limit too, since one may be set before they end.
void Budget::TransactionStarted(uint32_t recipients) {
  CHECK(recipients > 0);
  window_.Take(recipients);
}

void Budget::TransactionEnded(const Limits& limits, uint32_t recipients, uint32_t seen,
                              Instant now) {
  CHECK(seen <= recipients);
  window_.Return(recipients - seen);
  if (limits.recipients_limited) {
    window_.Stamp(seen, limits.recipient_period, now);
  } else {
    window_.Return(seen);
  }
}

void Budget::AddConnection(bool leaving, uint32_t recipients_in_flight) {
  ++connections_;
  if (leaving) ++leaving_;
  window_.Take(recipients_in_flight);
}

void Budget::AddSeen(const Limits& limits, uint64_t recipients, Instant now) {
  if (!limits.recipients_limited || recipients == 0) return;
  window_.Add(recipients, limits.recipient_period, now);
}

uint64_t Budget::Seen(const Limits& limits, Instant now) {
  if (!limits.recipients_limited) return 0;
  return window_.Counted(limits.recipient_period, now) - window_.in_flight();
}

bool Budget::Idle(const Limits& limits, Instant now) {
  if (connections_ > 0 || window_.in_flight() > 0) return false;
  return !limits.recipients_limited || window_.Empty(limits.recipient_period, now);
}

}  // namespace sluice::policy
