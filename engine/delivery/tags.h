// What the completions and timers of a shard are about: the tags of its OpIds and the kinds of its
// timers. The shard's dispatch is a switch over them.

#pragma once

#include <cstdint>

namespace sluice::delivery {

enum class Tag : uint8_t {
  kLogStep,
  kBodyRead,
  kRecordRead,
  kMoveRead,
  kConnect,
  kReceive,
  kSend,
  kStreamRead,
  kIntakeAccept,
  kIntakeReceive,
  kIntakeSend,
};

enum class TimerKind : uint8_t {
  kParcelDue,     // At home: the next attempt.
  kParcelExpiry,  // In a destination's queue: its time is up.
  kLane,          // When a lane of a destination that had to wait looks again.
  kDestination,   // When a destination without mail may be forgotten.
  kSources,       // When the missing addresses of sources are looked for.
  kConnection,    // A connection's deadline.
  kIntake,        // Sessions and listeners.
};

}  // namespace sluice::delivery
