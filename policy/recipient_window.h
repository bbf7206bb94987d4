// Recipients counted over a sliding window: those in flight, and those of the last period.
//
// The period is cut into 64 buckets. A recipient is counted until the *end* of the bucket of its
// stamp is a whole period old, so that no window of the period, wherever it begins, holds more than
// was allowed; the price is that room comes back up to one 64th of the period late.
//
// The period is given at each call, since a new table may change it: then all that is counted moves
// to the newest bucket, which can only count it longer. What had left the window of a shorter
// period is forgotten, also for a longer one that comes after.
//
// What it has stamped can be written down and taken up again, in another process whose buckets lie
// elsewhere: nothing leaves earlier for it, and up to one 64th more of the period later.

#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/base/check.h"
#include "engine/base/time.h"

namespace sluice::policy {

// So many recipients had been seen by then.
struct WindowStamp {
  Instant by{};
  uint32_t recipients = 0;

  bool operator==(const WindowStamp&) const = default;
};

class RecipientWindow {
 public:
  void Take(uint32_t recipients) { in_flight_ += recipients; }  // Into flight.
  // Out of flight, not to be counted.
  void Return(uint32_t recipients) {
    CHECK(recipients <= in_flight_);
    in_flight_ -= recipients;
  }
  void Stamp(uint32_t recipients, Duration period, Instant now);  // Out of flight, seen by `now`.
  void Add(uint64_t recipients, Duration period, Instant now);    // Never in flight here.

  void Forget() { stamped_.reset(); }  // All but what is in flight.

  uint64_t in_flight() const { return in_flight_; }
  // In flight plus stamped within the last period.
  uint64_t Counted(Duration period, Instant now);
  // When the count next falls by itself; kNever when nothing is stamped.
  Instant NextRelease(Duration period, Instant now);
  bool Empty(Duration period, Instant now) { return Counted(period, now) == 0; }

  // What is stamped, in the order of time, each at a time of its own: no more than buckets.
  std::vector<WindowStamp> Stamps(Duration period, Instant now);
  // Adds what another window had stamped. A time that is still to come is taken for now.
  void Restore(std::span<const WindowStamp> stamps, Duration period, Instant now);

  static constexpr size_t kStampsMax = 65;

 private:
  static constexpr int kBuckets = 64;

  // Made at the first stamp, so that only destinations with a limit pay for it.
  class Stamped {
   public:
    Stamped(Duration period, Instant now);

    void Advance(Duration period, Instant now);  // First of all, at each look.
    void Add(uint64_t recipients) { AddTo(newest_, recipients); }
    void AddSeen(const WindowStamp& seen, Instant now);
    void AppendStamps(Instant now, std::vector<WindowStamp>& stamps);
    uint64_t total() const { return total_; }
    Instant NextRelease() const;

   private:
    // The buckets of one period and the one that is being filled.
    static constexpr int kSlots = kBuckets + 1;
    static_assert(kSlots == kStampsMax);

    void AddTo(int64_t bucket, uint64_t recipients);
    void SetPeriod(Duration period, Instant now);
    void EnterBucket(int64_t bucket);
    int64_t BucketAt(Instant at) const;
    Instant EndOf(int64_t bucket) const;
    uint32_t& CountOf(int64_t bucket) { return counts_[bucket % kSlots]; }

    // The first line of cache holds what is looked at when no bucket has ended since the last look.
    Duration period_{};
    Duration bucket_width_{};
    Instant newest_end_{};
    int64_t newest_ = 0;  // The bucket that is being filled.
    uint64_t total_ = 0;
    std::array<uint32_t, kSlots> counts_{};
  };

  uint64_t in_flight_ = 0;
  std::unique_ptr<Stamped> stamped_;
};

}  // namespace sluice::policy
