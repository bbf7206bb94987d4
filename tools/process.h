// What a tool asks of its own process: the wish to end it, its descriptors, and what it has cost.

#pragma once

#include <cstdint>

#include "engine/base/time.h"

namespace sluice::tools {

// From now on SIGTERM and SIGINT are wishes that the main loop looks for; SIGPIPE is ignored.
void WatchStopSignals();
bool StopWanted();

// Raises the limit of open descriptors as far as this process may, and returns it.
uint64_t RaiseDescriptorLimit();

// User and system time of this process so far.
Duration CpuTime();

}  // namespace sluice::tools
