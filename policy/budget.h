// What one scope may still do: its budget of connections and recipients, and the one question asked
// of it, *may I now, and if not, which limit binds and when do I look again?* A destination has one
// or several (destination_budget.h).
//
// Exact: at no instant more connections than the limit (half-open ones count, and a connection
// counts until its socket is closed); never more recipients, as the *receiver* counts them, in any
// window of the period. For that a recipient counts from the moment it is permitted, and leaves the
// window one period after the reply that proves that the receiver had seen it: whenever it saw it
// in between, the window holds.
//
// Limits may be lowered under it (a new table): it then answers no until enough has drained. What
// ended while no recipient limit stood was not counted, and is not counted when one is set.
// Arithmetic only: no clock, no memory of its own beyond the window. One shard owns it.

#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "engine/base/time.h"
#include "policy/controls.h"
#include "policy/recipient_window.h"

namespace sluice::policy {

enum class Limit : uint8_t {
  kNone,
  kConnections,
  kMessagesPerConnection,
  kRecipients,
  kSystemConnections,
  kSystemRecipients,
  kScopes,  // Too many addresses have limits of their own to be told apart.
};

// "none", "concurrency", "messages_per_connection", "recipients", "system_concurrency",
// "system_recipients", "scopes": the log's binding_limit.
const char* LimitName(Limit limit);

struct Permit {
  Limit binds = Limit::kNone;  // kNone: go.
  // Or when something ends (a connection, a transaction), if that is sooner.
  Instant look_again = kNever;
  uint32_t recipients = 0;  // For a transaction, when it may: how many, at least 1.

  explicit operator bool() const { return binds == Limit::kNone; }
};

class Budget {
 public:
  // May a connection be opened? Not in question here: whether it could send anything.
  bool MayConnect(const Limits& limits) const { return connections_ < limits.connections_max; }
  void ConnectionOpened(const Limits& limits);
  // Told to quit: it does not count as one too many any more.
  void ConnectionLeaving();
  void ConnectionClosed(bool was_leaving);
  // More connections than the limit, which has been lowered.
  bool Excess(const Limits& limits) const {
    return connections_ - leaving_ > limits.connections_max;
  }

  // How many recipients more may be sent.
  uint32_t Room(const Limits& limits, Instant now);
  // When there is more room by itself; kNever also under a limit of 0: only a new table changes it.
  Instant NextRoom(const Limits& limits, Instant now);

  // Takes recipients out of the budget before the transaction starts, no more than Room.
  void TransactionStarted(uint32_t recipients);
  // The transaction has ended: `seen` of them may have reached the receiver (RCPT was sent), the
  // rest were never sent and are given back. Every started recipient must end exactly once.
  void TransactionEnded(const Limits& limits, uint32_t recipients, uint32_t seen, Instant now);

  // Another scope counts these from now on.
  void AddConnection(bool leaving, uint32_t recipients_in_flight);
  // Counts what another scope has counted, as if it were seen now.
  void AddSeen(const Limits& limits, uint64_t recipients, Instant now);

  void ForgetSeen() { window_.Forget(); }

  uint32_t connections() const { return connections_; }
  // Seen within the last period.
  uint64_t Seen(const Limits& limits, Instant now);
  // Nothing is held and nothing is counted: it may be forgotten.
  bool Idle(const Limits& limits, Instant now);

 private:
  uint32_t connections_ = 0;
  uint32_t leaving_ = 0;
  RecipientWindow window_;
};

}  // namespace sluice::policy
