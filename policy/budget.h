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
// Where windows are kept (destination_budget.h), recipients of a limited scope are granted only
// within what the records of its window allow (allowance.h).
//
// Limits may be lowered under it (a new table): it then answers no until enough has drained. What
// ended while no recipient limit stood was not counted, and is not counted when one is set.
// Arithmetic only: no clock, no memory of its own beyond the window. One shard owns it.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/time.h"
#include "policy/allowance.h"
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
  kScopes,   // Too many addresses have limits of their own to be told apart.
  kKeeping,  // The record that would cover the recipients is not durable yet.
};

// "none", "concurrency", "messages_per_connection", "recipients", "system_concurrency",
// "system_recipients", "scopes", "window_record": the log's binding_limit.
const char* LimitName(Limit limit);

struct Permit {
  Limit binds = Limit::kNone;  // kNone: go.
  // Or when something ends (a connection, a transaction, the writing of a record), if that is
  // sooner.
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
  uint32_t Room(const Limits& limits, Instant now) {
    return limits.recipients_limited ? RoomInWindow(limits, now) : UINT32_MAX;
  }
  // When there is more room by itself; kNever also under a limit of 0: only a new table changes it.
  Instant NextRoom(const Limits& limits, Instant now);

  // Takes recipients out of the budget before the transaction starts, no more than Room.
  void TransactionStarted(uint32_t recipients) {
    window_.Take(recipients);  // Without a limit too: one may be set before they end.
    if (records_) records_->allowance.Take(recipients);
  }
  // The transaction has ended: `seen` of them may have reached the receiver (RCPT was sent), the
  // rest were never sent and are given back. Every started recipient must end exactly once.
  void TransactionEnded(const Limits& limits, uint32_t recipients, uint32_t seen, Instant now) {
    if (limits.recipients_limited || records_) return EndCounted(limits, recipients, seen, now);
    window_.Return(recipients);
  }

  // Another scope counts these from now on.
  void AddConnection(bool leaving, uint32_t recipients_in_flight);
  // Counts what another scope has counted, as if it were seen now.
  void AddSeen(const Limits& limits, uint64_t recipients, Instant now);

  void ForgetSeen() { window_.Forget(); }

  uint32_t connections() const { return connections_; }
  uint64_t in_flight() const { return window_.in_flight(); }  // Recipients.
  // Seen within the last period.
  uint64_t Seen(const Limits& limits, Instant now);
  // Nothing is held, nothing is counted and nothing is to be written: it may be forgotten.
  bool Idle(const Limits& limits, Instant now);

  // --- Where windows are kept.

  // So many would be sent, if the limit's `room` allows: a record may be wanted for them.
  void Want(const Limits& limits, uint32_t recipients, uint32_t room, Instant now);
  // What may be granted of what the limit leaves.
  uint32_t Covered(const Limits& limits) const {
    return limits.recipients_limited ? CoveredByRecords() : UINT32_MAX;
  }
  Instant refused_until() const {
    return records_ ? records_->allowance.refused_until() : Instant{};
  }

  // What a record of it should reserve ahead, beside those in flight, of the limit's `room`.
  enum class Need : uint8_t {
    kNothing,
    kReserve,  // A record that reserves: somebody wants to send, or what is in flight has none.
    kSettle,   // One that reserves nothing: nobody has wanted to for a while, or will (`ending`).
  };
  Need Needs(const Limits& limits, uint32_t room, bool ending, Instant now) const;
  uint32_t Ahead(const Limits& limits, uint32_t room) const;
  // The last look has been taken: who wants to send will say so again.
  void EndLook();
  void Asked(uint64_t number, Duration period, uint32_t ahead, bool reserves) {
    records().allowance.Asked(number, period, ahead, reserves);
  }
  void Refused(Instant look_again) { records().allowance.Refused(look_again); }
  bool Kept(uint64_t number) { return records_ && records_->allowance.Kept(number); }
  bool recorded() const { return records_ && records_->allowance.recorded(); }
  // A record is being written, or has reserved what it need not: there is more to come.
  bool unsettled() const {
    return records_ && (records_->allowance.asking() || records_->allowance.open());
  }
  // All in flight is told of by a durable record, where it must be.
  bool TellsOfAll(const Limits& limits) const;

  // Of what its records speak: the limit's period, or the one that it had.
  Duration PeriodOf(const Limits& limits) const;
  std::vector<WindowStamp> Stamps(Duration period, Instant now) {
    return window_.Stamps(period, now);
  }
  void Restore(std::span<const WindowStamp> stamps, Duration period, Instant now) {
    window_.Restore(stamps, period, now);
  }
  void Restored(Duration period) { records().allowance.Restored(period); }

 private:
  // Made where there is a limit, so that the budgets of a destination without one are one line of
  // the cache.
  struct Records {
    explicit Records(uint64_t in_flight) { allowance.TakeUntold(in_flight); }

    uint32_t asked_for = 0;  // Recipients that wait for a record.
    Instant wanted_at{};     // When somebody wanted to send, last.
    Allowance allowance;
  };
  Records& records();
  uint32_t RoomInWindow(const Limits& limits, Instant now);
  uint32_t CoveredByRecords() const;
  void EndCounted(const Limits& limits, uint32_t recipients, uint32_t seen, Instant now);

  uint32_t connections_ = 0;
  uint32_t leaving_ = 0;
  RecipientWindow window_;
  std::unique_ptr<Records> records_;
};
static_assert(sizeof(Budget) == 32);

}  // namespace sluice::policy
