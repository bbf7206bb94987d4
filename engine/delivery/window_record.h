// Between a window as the budget states it, in this process's time, and its record in the log, in
// the wall clock's.
//
// A record names a source, a state numbers it: the caller knows both (policy/sources.h).

#pragma once

#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"
#include "engine/base/time.h"
#include "engine/spool/record.h"
#include "policy/destination_budget.h"

namespace sluice::delivery {

// Without its number and time, which the keeper gives it.
spool::WindowRecord RecordOf(absl::string_view destination, const policy::WindowState& state,
                             absl::string_view source, Now now);

// Of a record that has nothing reserved (WindowKeeper::TakeRestored). `source` is the number of the
// source that it names; nullopt: there is none of that name any more, and what it saw counts
// against each.
policy::WindowState StateOf(const spool::WindowRecord& record, std::optional<uint32_t> source,
                            Now now);

}  // namespace sluice::delivery
