// The messages that were at work when the engine died, and how often in a row: PATH/suspects.json
// in the spool's folder. One that was at work in three crashes is in quarantine: it is kept and not
// tried, until `sluice spool release ID`.
//
// In a row: of the runs in which it was tried. A run that tries it and does not die of it clears
// it; one that does not come to it changes nothing. All that was at work at a crash counts, since
// nobody knows which one it was: so a message that was merely in a transaction in three crashes in
// a row is in quarantine too, and released by hand. A crash is the end of the process alone: when
// the machine went down with it, nothing is counted.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/message_id.h"

namespace sluice {

inline constexpr uint32_t kCrashesToQuarantine = 3;

// More are not kept: those with the fewest crashes go.
inline constexpr size_t kSuspectsMax = size_t{1} << 16;

struct Suspect {
  MessageId id;
  uint32_t crashes = 0;

  bool quarantined() const { return crashes >= kCrashesToQuarantine; }
  bool operator==(const Suspect&) const = default;
};

struct Suspects {
  std::vector<Suspect> list;  // By id.
  uint64_t counted_run = 0;   // The last run whose end has been counted.
};

// How a run ended, by what it left.
struct RunEnd {
  uint64_t run = 0;               // Its number, never the same twice.
  bool crashed = false;           // Else it ended by itself, or with the machine.
  std::vector<MessageId> active;  // At work then.
  std::vector<MessageId> tried;   // Suspects that it tried, or that are done.
};

// What follows. The same run is counted once.
Suspects Count(const Suspects& before, const RunEnd& end);

// Of a spool's folder; a file that is not there has none.
absl::StatusOr<Suspects> LoadSuspects(const std::string& spool);
absl::Status SaveSuspects(const std::string& spool, const Suspects& suspects);

// Forgets it. The engine reads the file when it starts: so the next start tries the message. False:
// it was none.
absl::StatusOr<bool> ReleaseSuspect(const std::string& spool, MessageId id);

}  // namespace sluice
