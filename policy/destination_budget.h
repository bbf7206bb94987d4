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
//
// Windows can be kept, so that a restart or a crash lets no more through than the limit: then
// recipients are granted only within what a durable record of each window has reserved. Whoever
// keeps them takes the states that are to be written (TakeStates), says which number each record
// has (Asked) and when it is durable (Kept). States must reach the log in the order in which they
// are given. Where nobody keeps windows, nothing waits for it.

#pragma once

#include <cstdint>
#include <span>
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

  bool empty() const { return source == 0 && address.family == Family::kNone; }
  bool operator==(const ScopeKey&) const = default;
};

ScopeKey KeyOf(LimitScope scope, const IpAddress& address, uint32_t source);

// What of a destination a window counts.
enum class WindowPart : uint8_t { kScope, kSystem, kBefore };

// A window as it is to be written, or was.
struct WindowState {
  WindowPart part = WindowPart::kScope;
  LimitScope scope;  // Under which `key` names it. Of kScope alone.
  ScopeKey key;
  Duration period{};
  uint32_t reserved = 0;  // May be seen beside these, until the next record; `ahead` of it are not
  uint32_t ahead = 0;     // in flight.
  std::vector<WindowStamp> seen;
};

// The two budgets that are asked of where limits are of the whole share a line of the cache.
class alignas(64) DestinationBudget {
 public:
  DestinationBudget() = default;  // Nobody keeps its windows.
  enum class Windows : uint8_t { kForgotten, kKept };
  explicit DestinationBudget(Windows windows) : kept_(windows == Windows::kKept) {}

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

  // Asks for the memory that a permit without a recipient limit reads: of a million destinations
  // the next one is in no cache, and comes while another is worked on.
  void Foresee() const {
    __builtin_prefetch(this);
    __builtin_prefetch(reinterpret_cast<const char*>(this) + alignof(DestinationBudget));
  }

  // What is in flight goes on counting.
  void ForgetSeen();

  // For operators.
  struct ScopeReport {
    ScopeKey key;
    uint32_t connections = 0;
    uint64_t recipients = 0;      // What counts against the limit; 0 where there is none.
    uint64_t in_flight = 0;       // Of these.
    Instant room_again = kNever;  // By itself, where it is used up.
  };
  struct Report {
    ScopeReport system;               // All scopes together, by the limits of the system.
    std::vector<ScopeReport> scopes;  // No more than were asked for.
    size_t scopes_in_all = 0;
  };
  Report Describe(const Controls& controls, size_t scopes_max, Instant now);

  uint32_t connections() const { return system_.connections(); }
  // Nothing is held, nothing is counted and nothing is to be written: the destination may be
  // forgotten.
  bool Idle(const Controls& controls, Instant now);

  // --- Keeping windows.

  // What was seen before the start, first of all: what a record said, with all that it had reserved
  // among the seen. Of a scope that is none under these controls: it counts against each.
  void Restore(const Controls& controls, const WindowState& state, Instant now);

  // Appends the states that should be written now. To be asked whenever the destination has been
  // looked at, and once more after something of it is durable. Mostly there are none. `ending`:
  // nobody wants to send any more, and what need not be reserved is given back at once.
  void TakeStates(const Controls& controls, bool ending, Instant now,
                  std::vector<WindowState>& states);
  // A state of the last TakeStates is being written under this number.
  void Asked(const WindowState& state, uint64_t number);
  // It cannot be written before then.
  void Refused(const WindowState& state, Instant look_again);
  // The record of this number is durable. False: nothing here has waited for it.
  bool Kept(uint64_t number);
  // There are records that tell of more than there was, or are being written.
  bool Unsettled() const;

 private:
  struct Scope {
    ScopeKey key;
    Budget budget;
  };

  Budget* Find(const ScopeKey& key) { return key.empty() ? &whole_ : FindOther(key); }
  Budget* FindOther(const ScopeKey& key);
  Budget& At(const ScopeKey& key);
  bool MayAdd(const Controls& controls, Instant now);
  Permit NoScope(const Controls& controls, Instant now);
  uint32_t Room(const Controls& controls, Budget* budget, Instant now);
  uint32_t RoomOfScope(const Controls& controls, Budget* budget, Instant now);
  Permit NoRoom(const Controls& controls, Budget* budget, Instant now);
  ScopeReport DescribeScope(const Controls& controls, const ScopeKey& key, Budget& budget,
                            Instant now);

  void Want(const Controls& controls, Budget* budget, uint32_t recipients, Instant now);
  Permit Uncovered(Budget* budget, Instant now) const;
  void TakeState(const Limits& limits, uint32_t room, Budget& budget, WindowState state,
                 bool ending, Instant now, std::vector<WindowState>& states);
  void TakeBefore(const Controls& controls, Instant now, std::vector<WindowState>& states);
  void TakeEnded(const Controls& controls, std::vector<WindowState>& states);
  Budget* BudgetOf(const WindowState& state);
  template <class Visit>
  void ForEachScope(Visit visit);

  Budget system_;  // Of all scopes together.
  Budget whole_;   // The scope with the empty key.

  bool kept_ = false;
  bool to_look_at_ = false;      // There may be states to be written.
  bool before_changed_ = false;  // Its record does not tell of all.
  LimitScope recorded_scope_;    // Under which scopes have been written.

  Budget before_;              // Seen in scopes that are none any more; no connections.
  std::vector<Scope> scopes_;  // The others.
  Limits counted_;             // The last ones by which recipients were counted in the scopes.
  Limits recorded_limits_;     // When they were last looked at.
  Limits recorded_system_;
  std::vector<WindowState> ended_;  // Of which nothing is to be left in the log.
};

}  // namespace sluice::policy
