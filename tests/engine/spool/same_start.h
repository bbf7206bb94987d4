// Whether the start that reads indexes (TakeStock, then a Takeover for each shard) finds what its
// plain twin, which reads every record (Recover), has found on the same disk.

#pragma once

#include <cstdint>

#include "engine/spool/recovery.h"
#include "tests/engine/spool/memory_disk.h"

namespace sluice::spool {

struct SameStart {
  uint64_t shards = 1;
  // Something on the disk is damaged: one of the two may not have seen it.
  bool damaged = false;
};

// Opens all segments of `disk` anew, and leaves them open. How many of them had an index is
// returned: so that a test can say that it tested one.
uint64_t ExpectSameStart(MemoryDisk& disk, const Recovered& plain, const SameStart& options);

}  // namespace sluice::spool
