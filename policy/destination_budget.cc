#include "policy/destination_budget.h"

#include <algorithm>

#include "engine/base/check.h"

namespace sluice::policy {

ScopeKey KeyOf(LimitScope scope, const IpAddress& address, uint32_t source) {
  ScopeKey key;
  if (scope.each_address) key.address = address;
  if (scope.each_source) key.source = source;
  return key;
}

// Recipient limits speak first: where one holds the mail back, one connection more or less would
// change nothing, and it is the answer that the operator needs.
Permit DestinationBudget::MayConnect(const Controls& controls, const ScopeKey& key, Instant now) {
  Budget* budget = Find(key);
  if (Room(controls, budget, now) == 0) return NoRoom(controls, budget, now);
  if (!system_.MayConnect(controls.system)) return {.binds = Limit::kSystemConnections};
  if (budget == nullptr) {
    return MayAdd(controls, now) ? Permit{} : NoScope(controls, now);
  }
  if (!budget->MayConnect(controls.limits)) return {.binds = Limit::kConnections};
  return {};
}

void DestinationBudget::ConnectionOpened(const Controls& controls, const ScopeKey& key) {
  system_.ConnectionOpened(controls.system);
  At(key).ConnectionOpened(controls.limits);
}

void DestinationBudget::ConnectionLeaving(const ScopeKey& key) {
  system_.ConnectionLeaving();
  At(key).ConnectionLeaving();
}

void DestinationBudget::ConnectionClosed(const ScopeKey& key, bool was_leaving) {
  system_.ConnectionClosed(was_leaving);
  At(key).ConnectionClosed(was_leaving);
}

bool DestinationBudget::MayMove(const Controls& controls, const ScopeKey& key, Instant now) {
  Budget* budget = Find(key);
  if (Room(controls, budget, now) == 0) return false;
  return budget == nullptr ? MayAdd(controls, now) : budget->MayConnect(controls.limits);
}

void DestinationBudget::ConnectionMoved(const Controls& controls, const ScopeKey& from,
                                        const ScopeKey& to, bool leaving) {
  if (from == to) return;
  At(from).ConnectionClosed(leaving);
  Budget& budget = At(to);
  budget.ConnectionOpened(controls.limits);
  if (leaving) budget.ConnectionLeaving();
}

bool DestinationBudget::Excess(const Controls& controls, const ScopeKey& key) {
  return system_.Excess(controls.system) || At(key).Excess(controls.limits);
}

// The connection's own limit speaks first: at it the connection is closed whatever else there is.
Permit DestinationBudget::MayStart(const Controls& controls, const ScopeKey& key,
                                   uint32_t messages_so_far, uint32_t recipients, Instant now) {
  CHECK(recipients > 0);
  if (messages_so_far >= controls.messages_per_connection_max) {
    return {.binds = Limit::kMessagesPerConnection};
  }
  Budget* budget = Find(key);
  CHECK(budget != nullptr);
  const uint32_t granted = std::min(recipients, Room(controls, budget, now));
  if (granted == 0) return NoRoom(controls, budget, now);
  return {.recipients = granted};
}

void DestinationBudget::TransactionStarted(const Controls& controls, const ScopeKey& key,
                                           uint32_t recipients, Instant now) {
  Budget& budget = At(key);
  CHECK(recipients <= Room(controls, &budget, now));
  system_.TransactionStarted(recipients);
  budget.TransactionStarted(recipients);
}

void DestinationBudget::TransactionEnded(const Controls& controls, const ScopeKey& key,
                                         uint32_t recipients, uint32_t seen, Instant now) {
  if (controls.limits.recipients_limited) counted_ = controls.limits;
  system_.TransactionEnded(controls.system, recipients, seen, now);
  At(key).TransactionEnded(controls.limits, recipients, seen, now);
}

// Where there was no recipient limit, or is none now, what an earlier one had counted is kept in
// its period: the next table may have one again.
void DestinationBudget::BeginRescope(const Limits& before, const Limits& limits, Instant now) {
  if (before.recipients_limited) counted_ = before;
  if (counted_.recipients_limited) {
    uint64_t seen = whole_.Seen(counted_, now);
    for (Scope& scope : scopes_) seen += scope.budget.Seen(counted_, now);
    before_.AddSeen(limits.recipients_limited ? limits : counted_, seen, now);
  }
  whole_ = Budget();
  scopes_.clear();
}

void DestinationBudget::Recount(const ScopeKey& key, bool leaving, uint32_t recipients_in_flight) {
  At(key).AddConnection(leaving, recipients_in_flight);
}

void DestinationBudget::ForgetSeen() {
  system_.ForgetSeen();
  whole_.ForgetSeen();
  before_.ForgetSeen();
  for (Scope& scope : scopes_) scope.budget.ForgetSeen();
}

bool DestinationBudget::Idle(const Controls& controls, Instant now) {
  if (!system_.Idle(controls.system, now)) return false;
  if (!whole_.Idle(controls.limits, now) || !before_.Idle(controls.limits, now)) return false;
  return std::all_of(scopes_.begin(), scopes_.end(),
                     [&](Scope& scope) { return scope.budget.Idle(controls.limits, now); });
}

// Null: nothing is counted in that scope.
Budget* DestinationBudget::Find(const ScopeKey& key) {
  if (key == ScopeKey{}) return &whole_;
  for (Scope& scope : scopes_) {
    if (scope.key == key) return &scope.budget;
  }
  return nullptr;
}

Budget& DestinationBudget::At(const ScopeKey& key) {
  if (Budget* budget = Find(key)) return *budget;
  return scopes_.emplace_back(Scope{.key = key}).budget;
}

// Makes room for a new scope, if it can.
bool DestinationBudget::MayAdd(const Controls& controls, Instant now) {
  if (scopes_.size() < kScopesMax) return true;
  std::erase_if(scopes_, [&](Scope& scope) { return scope.budget.Idle(controls.limits, now); });
  return scopes_.size() < kScopesMax;
}

// Where one only remembers, nothing ends that would wake anybody up: when it next forgets.
Permit DestinationBudget::NoScope(const Controls& controls, Instant now) {
  Permit no = {.binds = Limit::kScopes};
  for (Scope& scope : scopes_) {
    if (scope.budget.connections() > 0) continue;
    no.look_again = std::min(no.look_again, scope.budget.NextRoom(controls.limits, now));
  }
  return no;
}

uint32_t DestinationBudget::Room(const Controls& controls, Budget* budget, Instant now) {
  uint32_t room = system_.Room(controls.system, now);
  if (!controls.limits.recipients_limited) return room;
  uint64_t room_of_scope = controls.limits.recipients_max;
  if (budget != nullptr) room_of_scope = budget->Room(controls.limits, now);
  const uint64_t before = before_.Seen(controls.limits, now);
  room_of_scope -= std::min(before, room_of_scope);
  return static_cast<uint32_t>(std::min<uint64_t>(room, room_of_scope));
}

// All that could make room is looked at, and the first of it decides when to look again.
Permit DestinationBudget::NoRoom(const Controls& controls, Budget* budget, Instant now) {
  if (system_.Room(controls.system, now) == 0) {
    return {.binds = Limit::kSystemRecipients,
            .look_again = system_.NextRoom(controls.system, now)};
  }
  Instant next = before_.NextRoom(controls.limits, now);
  if (budget != nullptr) next = std::min(next, budget->NextRoom(controls.limits, now));
  return {.binds = Limit::kRecipients, .look_again = next};
}

}  // namespace sluice::policy
