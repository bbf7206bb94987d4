#include "policy/budget.h"

#include <algorithm>

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
  }
  return "";
}

// The recipient limit speaks first: where it holds the mail back, one connection more or less would
// change nothing, and it is the answer that the operator needs.
Permit Budget::MayConnect(const Controls& controls, Instant now) {
  if (Room(controls, now) == 0) return NoRoom(controls, now);
  if (connections_ >= controls.connections_max) return {.binds = Limit::kConnections};
  return {};
}

void Budget::ConnectionOpened(const Controls& controls) {
  CHECK(connections_ < controls.connections_max);
  ++connections_;
}

void Budget::ConnectionClosed() {
  CHECK(connections_ > 0);
  --connections_;
}

// The connection's own limit speaks first: at it the connection is closed whatever else there is.
Permit Budget::MayStart(const Controls& controls, uint32_t messages_so_far, uint32_t recipients,
                        Instant now) {
  CHECK(recipients > 0);
  if (messages_so_far >= controls.messages_per_connection_max) {
    return {.binds = Limit::kMessagesPerConnection};
  }
  const uint32_t granted = std::min(recipients, Room(controls, now));
  if (granted == 0) return NoRoom(controls, now);
  return {.recipients = granted};
}

// In flight they are counted without a limit too, since one may be set before they end.
void Budget::TransactionStarted(const Controls& controls, uint32_t recipients, Instant now) {
  CHECK(recipients > 0);
  CHECK(recipients <= Room(controls, now));
  window_.Take(recipients);
}

void Budget::TransactionEnded(const Controls& controls, uint32_t recipients, uint32_t seen,
                              Instant now) {
  CHECK(seen <= recipients);
  window_.Return(recipients - seen);
  if (controls.recipients_limited) {
    window_.Stamp(seen, controls.recipient_period, now);
  } else {
    window_.Return(seen);
  }
}

bool Budget::Idle(const Controls& controls, Instant now) {
  if (connections_ > 0 || window_.in_flight() > 0) return false;
  return !controls.recipients_limited || window_.Empty(controls.recipient_period, now);
}

// How many recipients more the window holds.
uint32_t Budget::Room(const Controls& controls, Instant now) {
  if (!controls.recipients_limited) return UINT32_MAX;
  const uint64_t counted = window_.Counted(controls.recipient_period, now);
  if (counted >= controls.recipients_max) return 0;  // Over it, when the limit has been lowered.
  return static_cast<uint32_t>(controls.recipients_max - counted);
}

// Under a limit of 0 no release of the window is worth a look: only a new table is.
Permit Budget::NoRoom(const Controls& controls, Instant now) {
  Permit no{.binds = Limit::kRecipients};
  if (controls.recipients_max > 0) {
    no.look_again = window_.NextRelease(controls.recipient_period, now);
  }
  return no;
}

}  // namespace sluice::policy
