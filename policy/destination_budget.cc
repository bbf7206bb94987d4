#include "policy/destination_budget.h"

#include <algorithm>
#include <utility>

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
  if (kept_) {
    Want(controls, budget, 1, now);
    const bool covered = system_.Covered(controls.system) > 0 &&
                         (budget == nullptr || budget->Covered(controls.limits) > 0);
    // The first connection comes up while the record is being written; others would be opened for
    // nothing, as it would be where no record can be had.
    const Permit uncovered = Uncovered(budget, now);
    const Budget& holder = budget == nullptr ? system_ : *budget;
    if (!covered && (holder.connections() > 0 || uncovered.look_again != kNever)) return uncovered;
  }
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
  to_look_at_ = true;
}

void DestinationBudget::ConnectionLeaving(const ScopeKey& key) {
  system_.ConnectionLeaving();
  At(key).ConnectionLeaving();
}

void DestinationBudget::ConnectionClosed(const ScopeKey& key, bool was_leaving) {
  system_.ConnectionClosed(was_leaving);
  At(key).ConnectionClosed(was_leaving);
  to_look_at_ = true;
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
  to_look_at_ = true;
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
  if (!kept_) return {.recipients = granted};
  // A message is not cut up for want of a record that is about to be there.
  Want(controls, budget, recipients, now);
  const uint32_t covered =
      std::min(system_.Covered(controls.system), budget->Covered(controls.limits));
  if (covered >= granted) return {.recipients = granted};
  const Permit uncovered = Uncovered(budget, now);
  if (uncovered.look_again == kNever || covered == 0) return uncovered;
  return {.recipients = covered};
}

void DestinationBudget::TransactionStarted(const Controls& controls, const ScopeKey& key,
                                           uint32_t recipients, Instant now) {
  Budget& budget = At(key);
  CHECK(recipients <= Room(controls, &budget, now));
  if (kept_) {
    CHECK(recipients <= system_.Covered(controls.system));
    CHECK(recipients <= budget.Covered(controls.limits));
  }
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
    if (seen > 0) before_changed_ = true;
  }
  const auto end = [&](const ScopeKey& key, const Budget& budget) {
    if (budget.recorded()) ended_.push_back({.scope = recorded_scope_, .key = key});
  };
  end({}, whole_);
  for (Scope& scope : scopes_) end(scope.key, scope.budget);
  whole_ = Budget();
  scopes_.clear();
  to_look_at_ = true;
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

DestinationBudget::Report DestinationBudget::Describe(const Controls& controls, size_t scopes_max,
                                                      Instant now) {
  Report report;
  report.system = {.connections = system_.connections(), .in_flight = system_.in_flight()};
  if (controls.system.recipients_limited) {
    report.system.recipients = system_.Seen(controls.system, now) + system_.in_flight();
    if (system_.Room(controls.system, now) == 0) {
      report.system.room_again = system_.NextRoom(controls.system, now);
    }
  }
  const auto add = [&](const ScopeKey& key, Budget& budget) {
    ++report.scopes_in_all;
    if (report.scopes.size() < scopes_max) {
      report.scopes.push_back(DescribeScope(controls, key, budget, now));
    }
  };
  if (controls.scope.whole() || !whole_.Idle(controls.limits, now)) add(ScopeKey{}, whole_);
  for (Scope& scope : scopes_) {
    if (!scope.budget.Idle(controls.limits, now)) add(scope.key, scope.budget);
  }
  return report;
}

// With what was seen before the scopes were what they are: it counts in each.
DestinationBudget::ScopeReport DestinationBudget::DescribeScope(const Controls& controls,
                                                                const ScopeKey& key, Budget& budget,
                                                                Instant now) {
  ScopeReport report = {
      .key = key, .connections = budget.connections(), .in_flight = budget.in_flight()};
  if (!controls.limits.recipients_limited) return report;
  report.recipients =
      budget.Seen(controls.limits, now) + budget.in_flight() + before_.Seen(controls.limits, now);
  if (report.recipients >= controls.limits.recipients_max) {
    report.room_again =
        std::min(budget.NextRoom(controls.limits, now), before_.NextRoom(controls.limits, now));
  }
  return report;
}

bool DestinationBudget::Idle(const Controls& controls, Instant now) {
  if (!ended_.empty() || !system_.Idle(controls.system, now)) return false;
  if (!whole_.Idle(controls.limits, now) || !before_.Idle(controls.limits, now)) return false;
  return std::all_of(scopes_.begin(), scopes_.end(),
                     [&](Scope& scope) { return scope.budget.Idle(controls.limits, now); });
}

// Null: nothing is counted in that scope.
Budget* DestinationBudget::FindOther(const ScopeKey& key) {
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
  return std::min(system_.Room(controls.system, now), RoomOfScope(controls, budget, now));
}

uint32_t DestinationBudget::RoomOfScope(const Controls& controls, Budget* budget, Instant now) {
  if (!controls.limits.recipients_limited) return UINT32_MAX;
  const uint32_t room =
      budget == nullptr ? controls.limits.recipients_max : budget->Room(controls.limits, now);
  const uint64_t before = before_.Seen(controls.limits, now);
  return room - static_cast<uint32_t>(std::min<uint64_t>(before, room));
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

// -------------------------------------------------------------------------------------------------
// Keeping windows.

void DestinationBudget::Want(const Controls& controls, Budget* budget, uint32_t recipients,
                             Instant now) {
  system_.Want(controls.system, recipients, system_.Room(controls.system, now), now);
  to_look_at_ = true;
  if (budget == nullptr) return;
  budget->Want(controls.limits, recipients, RoomOfScope(controls, budget, now), now);
}

// kNever: what would cover more is being written, or will be by who looked.
Permit DestinationBudget::Uncovered(Budget* budget, Instant now) const {
  Instant refused = system_.refused_until();
  if (budget != nullptr) refused = std::max(refused, budget->refused_until());
  if (before_changed_) refused = std::max(refused, before_.refused_until());
  return {.binds = Limit::kKeeping, .look_again = refused > now ? refused : kNever};
}

// What a scope that is none any more told of is told of by the record of those before from now on:
// a scope of the same name may come again, and its record would take the place of this one's.
void DestinationBudget::Restore(const Controls& controls, const WindowState& state, Instant now) {
  recorded_scope_ = controls.scope;
  to_look_at_ = true;
  Budget* budget = &before_;
  if (state.part == WindowPart::kSystem) budget = &system_;
  if (state.part == WindowPart::kScope && state.scope == controls.scope &&
      (scopes_.size() < kScopesMax || Find(state.key) != nullptr)) {
    budget = &At(state.key);
  }
  budget->Restore(state.seen, state.period, now);
  if (budget != &system_) counted_ = {.recipients_limited = true, .recipient_period = state.period};
  if (budget != &before_) return budget->Restored(state.period);
  if (state.part == WindowPart::kBefore) return;
  before_changed_ = true;
  ended_.push_back({.scope = state.scope, .key = state.key});
}

void DestinationBudget::TakeStates(const Controls& controls, bool ending, Instant now,
                                   std::vector<WindowState>& states) {
  if (!kept_) return;
  const bool changed = recorded_limits_ != controls.limits || recorded_system_ != controls.system;
  if (!to_look_at_ && !changed) return;
  recorded_limits_ = controls.limits;
  recorded_system_ = controls.system;
  recorded_scope_ = controls.scope;
  to_look_at_ = false;
  TakeState(controls.system, system_.Room(controls.system, now), system_,
            {.part = WindowPart::kSystem}, ending, now, states);
  if (before_changed_) TakeBefore(controls, now, states);
  if (!before_changed_) {
    TakeEnded(controls, states);  // First: a scope may have the name of one that has ended.
    ForEachScope([&](const ScopeKey& key, Budget& budget) {
      TakeState(controls.limits, RoomOfScope(controls, &budget, now), budget,
                {.scope = controls.scope, .key = key}, ending, now, states);
    });
  }
  if (!ended_.empty() || before_changed_) to_look_at_ = true;
}

void DestinationBudget::TakeState(const Limits& limits, uint32_t room, Budget& budget,
                                  WindowState state, bool ending, Instant now,
                                  std::vector<WindowState>& states) {
  const Budget::Need need = budget.Needs(limits, room, ending, now);
  if (need == Budget::Need::kReserve) state.ahead = budget.Ahead(limits, room);
  budget.EndLook();
  // What is unsettled and has nothing on its way is looked at again.
  if (budget.unsettled() && budget.connections() == 0) to_look_at_ = true;
  if (need == Budget::Need::kNothing) return;
  if (need == Budget::Need::kReserve) {
    const uint64_t reserved = budget.in_flight() + state.ahead;
    state.reserved = static_cast<uint32_t>(std::min<uint64_t>(reserved, UINT32_MAX));
  }
  state.period = budget.PeriodOf(limits);
  state.seen = budget.Stamps(state.period, now);
  states.push_back(std::move(state));
}

// Before all that is written of the new scopes: a record of one of these may take the place of one
// that told of what is counted here now.
void DestinationBudget::TakeBefore(const Controls& controls, Instant now,
                                   std::vector<WindowState>& states) {
  if (before_.unsettled() || now < before_.refused_until()) return;
  const Limits& limits = controls.limits.recipients_limited ? controls.limits : counted_;
  WindowState state = {.part = WindowPart::kBefore, .period = limits.recipient_period};
  if (limits.recipients_limited) state.seen = before_.Stamps(state.period, now);
  if (state.seen.empty()) {
    before_changed_ = false;
    return;
  }
  states.push_back(std::move(state));
}

// When what they told of is told of by others.
void DestinationBudget::TakeEnded(const Controls& controls, std::vector<WindowState>& states) {
  if (ended_.empty()) return;
  bool all_told = true;
  ForEachScope([&](const ScopeKey&, Budget& budget) {
    all_told = all_told && budget.TellsOfAll(controls.limits);
  });
  if (!all_told) return;
  for (WindowState& state : ended_) {
    // It has a record again where the scopes are what they were before.
    const Budget* budget = state.scope == controls.scope ? Find(state.key) : nullptr;
    if (budget == nullptr || !budget->recorded()) states.push_back(std::move(state));
  }
  ended_.clear();
}

void DestinationBudget::Asked(const WindowState& state, uint64_t number) {
  Budget* budget = BudgetOf(state);
  if (budget == nullptr) return;
  if (state.part == WindowPart::kBefore) before_changed_ = false;
  budget->Asked(number, state.period, state.ahead, state.reserved > 0);
}

void DestinationBudget::Refused(const WindowState& state, Instant look_again) {
  Budget* budget = BudgetOf(state);
  if (budget != nullptr) budget->Refused(look_again);
  to_look_at_ = true;
}

bool DestinationBudget::Kept(uint64_t number) {
  bool kept = system_.Kept(number) || before_.Kept(number);
  ForEachScope([&](const ScopeKey&, Budget& budget) { kept = kept || budget.Kept(number); });
  to_look_at_ = to_look_at_ || kept;
  return kept;
}

bool DestinationBudget::Unsettled() const {
  if (!ended_.empty() || system_.unsettled() || before_.unsettled() || whole_.unsettled()) {
    return true;
  }
  return std::any_of(scopes_.begin(), scopes_.end(),
                     [](const Scope& scope) { return scope.budget.unsettled(); });
}

// Null: an ended one, which nothing waits for.
Budget* DestinationBudget::BudgetOf(const WindowState& state) {
  switch (state.part) {
    case WindowPart::kSystem:
      return &system_;
    case WindowPart::kBefore:
      return &before_;
    case WindowPart::kScope:
      return state.period == Duration::zero() ? nullptr : Find(state.key);
  }
  return nullptr;
}

template <class Visit>
void DestinationBudget::ForEachScope(Visit visit) {
  visit(ScopeKey{}, whole_);
  for (Scope& scope : scopes_) visit(scope.key, scope.budget);
}

}  // namespace sluice::policy
