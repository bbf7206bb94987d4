// Time as a value that is handed in.
//
// Two clocks, both without now(): only engine/io/clock.cc reads the machine's clocks, so a core
// cannot take a stray look at the time, and the simulator decides what time it is.
//
//   Instant   monotonic, for timers and limits. It means nothing in another process.
//   WallTime  since 1970-01-01 UTC, for what outlives the process (the spool) or is read by people
//             (Received, the delivery log). It may jump; nothing is timed by it.

#pragma once

#include <chrono>
#include <cstdint>

namespace sluice {

struct Monotonic {
  using rep = int64_t;
  using period = std::nano;
  using duration = std::chrono::nanoseconds;
  using time_point = std::chrono::time_point<Monotonic>;
  static constexpr bool is_steady = true;
};

struct Wall {
  using rep = int64_t;
  using period = std::nano;
  using duration = std::chrono::nanoseconds;
  using time_point = std::chrono::time_point<Wall>;
  static constexpr bool is_steady = false;
};

using Duration = Monotonic::duration;
using Instant = Monotonic::time_point;
using WallTime = Wall::time_point;

inline constexpr Instant kNever = Instant::max();

// One reading of both clocks, taken once a turn of the shard's loop.
struct Now {
  Instant instant;
  WallTime wall;
};

inline constexpr double Seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace sluice
