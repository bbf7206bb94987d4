// What has been counted against recipient limits, kept over a restart.

#include "engine/base/check.h"
#include "engine/delivery/dispatcher.h"
#include "engine/delivery/window_record.h"

namespace sluice::delivery {

// What was counted before the start.
void Dispatcher::RestoreWindows(Destination& destination, Now now) {
  if (options_.windows == nullptr) return;
  for (const spool::WindowRecord& record :
       options_.windows->TakeRestored(destination.domain, now)) {
    const std::optional<uint32_t> source = sources_.FindSource(record.key.source);
    destination.budget.Restore(destination.controls, StateOf(record, source, now), now.instant);
  }
}

// Its budget has been asked all that there was to ask: what it wants written is written.
void Dispatcher::KeepWindows(Destination& destination, Now now) {
  if (options_.windows == nullptr) return;
  window_states_.clear();
  destination.budget.TakeStates(destination.controls, draining_, now.instant, window_states_);
  for (const policy::WindowState& state : window_states_) {
    const std::string& source = sources_.source(state.key.source).name;
    const uint64_t number =
        options_.windows->Keep(RecordOf(destination.domain, state, source, now), now);
    if (number != 0) {
      destination.budget.Asked(state, number);
      continue;
    }
    const Instant again = now.instant + WindowKeeper::kLookAgainAfter;
    destination.budget.Refused(state, again);
    for (Lane& lane : destination.lanes) {
      LookAgainAt(lane, again);
    }
  }
}

void Dispatcher::TakeKeptWindows(Now now) {
  if (options_.windows == nullptr) return;
  options_.windows->TakeKept(kept_windows_);
  for (const KeptWindow& kept : kept_windows_) {
    Destination* destination = FindDestination(kept.destination);
    if (destination == nullptr || !destination->budget.Kept(kept.number)) continue;
    if (destination->lanes.empty()) {
      ForgetIfIdle(*destination, now);
    } else {
      LookAt(*destination);
    }
  }
  kept_windows_.clear();
}

// At the end it is waited for until its records tell of what there was.
bool Dispatcher::Unwritten(const Destination& destination) const {
  return options_.windows != nullptr && !options_.windows->failed() &&
         destination.budget.Unsettled();
}

}  // namespace sluice::delivery
