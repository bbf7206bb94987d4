// What a destination may still do, over all of its scopes: *may I now, and if not, which limit
// binds and when do I look again?*
//
// limit_type and limit_apply say what has limits of its own: the whole destination, each address of
// its hosts, each of our sources, or each pair. Each such scope has a budget; the limits of the
// system hold for all of them together. A table may change what the scopes are while mail flows:
// the connections are then counted anew, and what had been seen in the scopes before counts against
// *each* new one until it leaves the window, since nobody knows any more which of them saw it.
//
// A scope's budget is made when it is first used and dropped when it is idle. Arithmetic only; one
// shard owns it.

#pragma once

#include <cstdint>
#include <vector>

#include "engine/base/ip_address.h"
#include "engine/base/time.h"
#include "policy/budget.h"
#include "policy/controls.h"

namespace sluice::policy {

// Names a scope of a destination. A part that has no limits of its own is empty.
struct ScopeKey {
  IpAddress address;
  uint32_t source = 0;

  bool operator==(const ScopeKey&) const = default;
};

ScopeKey KeyOf(LimitScope scope, const IpAddress& address, uint32_t source);

class DestinationBudget {
 public:
  // Scopes of one destination that are not idle; beyond, what would need another one waits.
  static constexpr size_t kScopesMax = 4096;

  // May a connection be opened in this scope? Also no while a recipient limit is used up: a
  // connection that could send nothing would be opened for nothing.
  Permit MayConnect(const Controls& controls, const ScopeKey& key, Instant now);
  void ConnectionOpened(const Controls& controls, const ScopeKey& key);
  void ConnectionLeaving(const ScopeKey& key);
  void ConnectionClosed(const ScopeKey& key, bool was_leaving);
  // May a connection that counts elsewhere count in this scope?
  bool MayMove(const Controls& controls, const ScopeKey& key, Instant now);
  // The connection is between two addresses, with nothing in flight: it counts there from now on.
  void ConnectionMoved(const Controls& controls, const ScopeKey& from, const ScopeKey& to,
                       bool leaving);
  // A limit has been lowered, and this scope or all together have more connections.
  bool Excess(const Controls& controls, const ScopeKey& key);

  // May a transaction start on a connection of this scope that has begun `messages_so_far`, and
  // with how many of `recipients` at most?
  Permit MayStart(const Controls& controls, const ScopeKey& key, uint32_t messages_so_far,
                  uint32_t recipients, Instant now);
  // Takes recipients out of the budget before the transaction starts, as many as MayStart granted.
  void TransactionStarted(const Controls& controls, const ScopeKey& key, uint32_t recipients,
                          Instant now);
  // The transaction has ended: `seen` of them may have reached the receiver (RCPT was sent), the
  // rest were never sent and are given back. Every started recipient must end exactly once.
  void TransactionEnded(const Controls& controls, const ScopeKey& key, uint32_t recipients,
                        uint32_t seen, Instant now);

  // A new table has changed the scope. Recipients were counted under the limits `before`. Every
  // connection must be told again at once, by Recount.
  void BeginRescope(const Limits& before, const Limits& limits, Instant now);
  void Recount(const ScopeKey& key, bool leaving, uint32_t recipients_in_flight);

  // What is in flight goes on counting.
  void ForgetSeen();

  uint32_t connections() const { return system_.connections(); }
  // Nothing is held and nothing is counted: the destination may be forgotten.
  bool Idle(const Controls& controls, Instant now);

 private:
  struct Scope {
    ScopeKey key;
    Budget budget;
  };

  Budget* Find(const ScopeKey& key);
  Budget& At(const ScopeKey& key);
  bool MayAdd(const Controls& controls, Instant now);
  Permit NoScope(const Controls& controls, Instant now);
  uint32_t Room(const Controls& controls, Budget* budget, Instant now);
  Permit NoRoom(const Controls& controls, Budget* budget, Instant now);

  Budget system_;              // Of all scopes together.
  Budget whole_;               // The scope with the empty key.
  Budget before_;              // Seen in scopes that are none any more; no connections.
  std::vector<Scope> scopes_;  // The others.
  Limits counted_;             // The last ones by which recipients were counted in the scopes.
};

}  // namespace sluice::policy
