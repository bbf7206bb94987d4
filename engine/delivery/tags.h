// What the completions and timers of a shard are about: the tags of its OpIds and the kinds of its
// timers. The shard's dispatch is a switch over them.

#pragma once

#include <cstdint>

namespace sluice::delivery {

enum class Tag : uint8_t {
  kLogStep,
  kBodyRead,
  kConnect,
  kReceive,
  kSend,
  kIntakeAccept,
  kIntakeReceive,
  kIntakeSend,
};

enum class TimerKind : uint8_t {
  kParcelDue,     // At home: the next attempt.
  kParcelExpiry,  // In a destination's queue: its time is up.
  kDestination,   // When a destination that had to wait looks again.
  kConnection,    // A connection's deadline.
  kIntake,        // Sessions and listeners.
};

}  // namespace sluice::delivery
