#include "engine/io/clock.h"

#include <time.h>

#include <chrono>

#include "engine/base/check.h"

namespace sluice::io {
namespace {

std::chrono::nanoseconds Read(clockid_t clock) {
  timespec time{};
  CHECK(clock_gettime(clock, &time) == 0);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

}  // namespace

Now ReadClock() {
  return {.instant = Instant(Read(CLOCK_BOOTTIME)), .wall = WallTime(Read(CLOCK_REALTIME))};
}

Duration ReadThreadTime() {
  return Read(CLOCK_THREAD_CPUTIME_ID);
}

}  // namespace sluice::io
