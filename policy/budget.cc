#include "policy/budget.h"

#include <algorithm>

#include "engine/base/check.h"

namespace sluice::policy {
namespace {

// What one record reserves ahead: so much that records are few beside recipients, and so little
// that the start after a crash, which counts it all as seen, does not stand still for it.
constexpr uint32_t kShareReserved = 16;
constexpr uint32_t kReservedMin = 16;
constexpr uint32_t kReservedMax = 4096;

// A record that was reserved for nobody in the end is kept so long for who comes next: mail whose
// connections fail wants to send again and again, and each time would cost two records.
constexpr Duration kSettleAfter = std::chrono::seconds(5);

uint32_t Chunk(const Limits& limits) {
  return std::clamp(limits.recipients_max / kShareReserved, kReservedMin, kReservedMax);
}

}  // namespace

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
    case Limit::kKeeping:
      return "window_record";
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

uint32_t Budget::RoomInWindow(const Limits& limits, Instant now) {
  const uint64_t counted = window_.Counted(limits.recipient_period, now);
  if (counted >= limits.recipients_max) return 0;  // Over it, when the limit has been lowered.
  return static_cast<uint32_t>(limits.recipients_max - counted);
}

Instant Budget::NextRoom(const Limits& limits, Instant now) {
  if (!limits.recipients_limited || limits.recipients_max == 0) return kNever;
  return window_.NextRelease(limits.recipient_period, now);
}

void Budget::EndCounted(const Limits& limits, uint32_t recipients, uint32_t seen, Instant now) {
  CHECK(seen <= recipients);
  const uint32_t counted = limits.recipients_limited ? seen : 0;
  if (counted > 0) records();  // While all of them are in flight.
  window_.Return(recipients - counted);
  if (records_) records_->allowance.Return(recipients - counted);
  if (limits.recipients_limited) window_.Stamp(counted, limits.recipient_period, now);
}

void Budget::AddConnection(bool leaving, uint32_t recipients_in_flight) {
  ++connections_;
  if (leaving) ++leaving_;
  window_.Take(recipients_in_flight);
  if (records_) records_->allowance.Take(recipients_in_flight);
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
  if (connections_ > 0 || window_.in_flight() > 0 || unsettled()) return false;
  return !limits.recipients_limited || window_.Empty(limits.recipient_period, now);
}

// Early enough, so that the next record is durable before this one is used up.
void Budget::Want(const Limits& limits, uint32_t recipients, uint32_t room, Instant now) {
  if (!limits.recipients_limited && !records_) return;
  Records& records = this->records();
  records.wanted_at = now;
  if (!limits.recipients_limited || records.allowance.asking()) return;
  const uint32_t enough = std::min(room, std::max(recipients, Chunk(limits) / 2));
  if (records.allowance.Left() < enough) {
    records.asked_for = std::max(records.asked_for, recipients);
  }
}

Budget::Records& Budget::records() {
  if (!records_) records_ = std::make_unique<Records>(window_.in_flight());
  return *records_;
}

void Budget::EndLook() {
  if (records_) records_->asked_for = 0;
}

bool Budget::TellsOfAll(const Limits& limits) const {
  if (!limits.recipients_limited) return true;
  return records_ ? records_->allowance.Covered() >= 0 : window_.in_flight() == 0;
}

uint32_t Budget::CoveredByRecords() const {
  if (!records_) return 0;
  return static_cast<uint32_t>(std::clamp<int64_t>(records_->allowance.Left(), 0, UINT32_MAX));
}

Budget::Need Budget::Needs(const Limits& limits, uint32_t room, bool ending, Instant now) const {
  if (!records_) {
    const bool reserve = limits.recipients_limited && (connections_ > 0 || !TellsOfAll(limits));
    return reserve && (room > 0 || !TellsOfAll(limits)) ? Need::kReserve : Need::kNothing;
  }
  const Allowance& allowance = records_->allowance;
  if (allowance.asking()) return Need::kNothing;
  if (!limits.recipients_limited) return allowance.open() ? Need::kSettle : Need::kNothing;
  // What was seen counts for another period than its record says.
  const bool outdated = allowance.recorded() && allowance.period() != limits.recipient_period;
  const bool unprepared = connections_ > 0 && allowance.Left() <= 0 && !allowance.open();
  if (outdated || !TellsOfAll(limits) || (room > 0 && (records_->asked_for > 0 || unprepared))) {
    return now >= allowance.refused_until() ? Need::kReserve : Need::kNothing;
  }
  const bool unused = connections_ == 0 && window_.in_flight() == 0;
  const bool over = unused && (ending || now - records_->wanted_at >= kSettleAfter);
  return over && allowance.open() ? Need::kSettle : Need::kNothing;
}

uint32_t Budget::Ahead(const Limits& limits, uint32_t room) const {
  const uint64_t ahead =
      std::max<uint64_t>(Chunk(limits), uint64_t{records_ ? records_->asked_for : 0} * 2);
  return static_cast<uint32_t>(std::min<uint64_t>(room, ahead));
}

Duration Budget::PeriodOf(const Limits& limits) const {
  if (limits.recipients_limited) return limits.recipient_period;
  return records_ ? records_->allowance.period() : Duration::zero();
}

}  // namespace sluice::policy
