// Recipients counted over a sliding window: those in flight, and those of the last period.
//
// The period is cut into 64 buckets. A recipient is counted until the *end* of the bucket of its stamp
// is a whole period old, so that no window of the period, wherever it begins, holds more than was
// allowed; the price is that room comes back up to one 64th of the period late.
//
// The period is given at each call, since a new table may change it: then all that is counted moves to
// the newest bucket, which can only count it longer.

#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "engine/base/time.h"

namespace sluice::policy {

class RecipientWindow {
 public:
  void Take(uint32_t recipients);                     // Into flight.
  void Return(uint32_t recipients);                   // Out of flight, never seen by the receiver.
  void Stamp(uint32_t recipients, Duration period, Instant now);  // Out of flight, seen by `now`.

  // In flight plus stamped within the last period.
  uint64_t Counted(Duration period, Instant now);
  // When the count next falls by itself; kNever when nothing is stamped.
  Instant NextRelease(Duration period, Instant now);
  bool Empty(Duration period, Instant now) { return Counted(period, now) == 0; }

 private:
  static constexpr int kBuckets = 64;
  struct Stamped;                                     // Only destinations with a limit pay for it.

  uint64_t in_flight_ = 0;
  // (The implementer completes this.)
};

}  // namespace sluice::policy
