// What a run has done to its disk, in order: all that decides what a crash may leave.
//
// A file keeps its number over all of its names. Writes count from the moment at which they are
// asked for; a sync, when it comes back.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/base/time.h"
#include "engine/spool/record.h"

namespace sluice::crash {

struct Event {
  enum class Kind : uint8_t {
    kContent,  // From here on the disk holds this file, or (the first of them) nothing else.
    kWrite,    // Any part of it may be on the disk from here on, until
    kDropped,  // it turns out that it is never carried out (or in part: a kWrite follows),
    kSync,     // or it is covered by a sync: all of it is there.
    kCreate,   // A call begins: what it does may have happened from here on,
    kCreated,  // and has happened from here on.
    kRecycle,  // The same.
    kRecycled,
    kRemove,
    kRemoved,
  };
  Kind kind{};
  uint32_t file = 0;
  spool::SegmentId id;  // The file's name; of kRecycle, the new one.
  uint64_t offset = 0;
  std::vector<std::byte> bytes;  // Of kContent and kWrite.
  uint64_t file_bytes = 0;       // Of kCreate.
  std::vector<size_t> writes;    // By place in the recording: what kSync covers; the one dropped.
  bool first = false;            // Of kContent.
  Instant when{};
};

using Recording = std::vector<Event>;

}  // namespace sluice::crash
