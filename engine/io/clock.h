// The only place that reads the machine's clocks.

#pragma once

#include "engine/base/time.h"

namespace sluice::io {

// Instant from CLOCK_BOOTTIME, so that a suspended machine does not stretch its timers; WallTime
// from CLOCK_REALTIME. Thread-safe.
Now ReadClock();

// The processor time that the calling thread has used.
Duration ReadThreadTime();

}  // namespace sluice::io
