// Processor time of pieces of work, summed up.

#pragma once

#include "engine/base/time.h"
#include "engine/io/clock.h"

namespace sluice {

// Adds what `work` took of this thread's processor time.
template <typename Work>
void Timed(Duration& cost, Work work) {
  const Duration before = io::ReadThreadTime();
  work();
  cost += io::ReadThreadTime() - before;
}

}  // namespace sluice
