// What a destination may still do: its budget of connections and recipients, and the one question
// asked of it, *may I now, and if not, which limit binds and when do I look again?*
//
// Exact: at no instant more connections than the limit (half-open ones count, and a connection
// counts until its socket is closed); never more messages on a connection; never more recipients,
// as the *receiver* counts them, in any window of the period. For that a recipient counts from the
// moment it is permitted, and leaves the window one period after the reply that proves that the
// receiver had seen it: whenever it saw it in between, the window holds.
//
// Limits may be lowered under it (a new table): it then answers no until enough has drained. What
// ended while no recipient limit stood was not counted, and is not counted when one is set.
// Arithmetic only: no clock, no memory of its own beyond the window. One shard owns it.

#pragma once

#include <cstdint>

#include "engine/base/time.h"
#include "policy/controls.h"
#include "policy/recipient_window.h"

namespace sluice::policy {

enum class Limit : uint8_t { kNone, kConnections, kMessagesPerConnection, kRecipients };

// "none", "concurrency", "messages_per_connection", "recipients": the log's binding_limit.
const char* LimitName(Limit limit);

struct Permit {
  Limit binds = Limit::kNone;  // kNone: go.
  // Or when something ends (a connection, a transaction), if that is sooner.
  Instant look_again = kNever;
  uint32_t recipients = 0;  // MayStart, when it may: how many, at least 1.

  explicit operator bool() const { return binds == Limit::kNone; }
};

class Budget {
 public:
  // May a connection be opened? Also no while the recipient limit is used up: a connection that
  // could send nothing would be opened for nothing.
  Permit MayConnect(const Controls& controls, Instant now);
  void ConnectionOpened(const Controls& controls);
  void ConnectionClosed();

  // May a transaction start on a connection that has begun `messages_so_far`, and with how many of
  // `recipients` at most?
  Permit MayStart(const Controls& controls, uint32_t messages_so_far, uint32_t recipients,
                  Instant now);

  // Takes recipients out of the budget before the transaction starts, as many as MayStart granted.
  void TransactionStarted(const Controls& controls, uint32_t recipients, Instant now);
  // The transaction has ended: `seen` of them may have reached the receiver (RCPT was sent), the
  // rest were never sent and are given back. Every started recipient must end exactly once.
  void TransactionEnded(const Controls& controls, uint32_t recipients, uint32_t seen, Instant now);

  uint32_t connections() const { return connections_; }
  // Nothing is held and nothing is counted: the destination may be forgotten.
  bool Idle(const Controls& controls, Instant now);

 private:
  uint32_t Room(const Controls& controls, Instant now);
  Permit NoRoom(const Controls& controls, Instant now);

  uint32_t connections_ = 0;
  RecipientWindow window_;
};

}  // namespace sluice::policy
