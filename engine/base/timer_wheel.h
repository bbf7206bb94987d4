// The timers of one shard: a hierarchical wheel with ticks of one millisecond, so that arming and
// disarming are O(1) however many deadlines stand (a queued message has one each).
//
// A Timer lives inside the thing that it times (a session, a connection, a parcel), which the owner
// finds again by `kind` and `owner`. A timer fires at its deadline or up to a tick after it, never
// before. Timers due at the same tick fire in the order in which they were armed, so that a
// simulation replays. Not thread-safe; timers must be disarmed before their memory goes away, while
// the wheel is used. The wheel may end with timers armed (as in a crash that is simulated): it
// touches none of them.
//
// Where a timer waits is a function of its tick and of the wheel's alone: in the level of the
// highest base-64 digit in which the two differ, in the bucket of its own digit there. So timers of
// one tick are always in one bucket, in the order in which they were armed, and every bucket that
// is not empty lies ahead of the wheel's own digit.

#pragma once

#include <cstdint>

#include "engine/base/intrusive_list.h"
#include "engine/base/time.h"

namespace sluice {

struct Timer {
  ListHook hook;
  Instant due = kNever;
  void* owner = nullptr;  // What it times; set once by the owner, as is `kind`.
  uint8_t kind = 0;       // The owner's own enum.
  uint8_t level = 0;      // Where in the wheel it is: the wheel's business.
  uint8_t bucket = 0;

  bool armed() const { return hook.linked(); }
};

class TimerWheel {
 public:
  // Deadlines are counted from `start`.
  explicit TimerWheel(Instant start);
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  // (Re)arms the timer; a deadline in the past is due at once. kNever disarms.
  void Arm(Timer& timer, Instant due);
  void Disarm(Timer& timer);

  // Takes out the next timer that is due at `now`, or null. `now` never goes back.
  Timer* PopDue(Instant now);

  // The time to sleep until: not later than the tick at which the nearest timer fires. A far one is
  // named roughly, by the edge of its bucket; PopDue then brings it nearer, so that every waking is
  // of use. In the past when a timer is due, kNever when none is armed.
  Instant NextDue() const;

  uint64_t armed() const { return armed_; }

 private:
  static constexpr int kLevels = 5;  // 2^30 ms: over 12 days.
  static constexpr int kBucketBits = 6;
  static constexpr int kBuckets = 1 << kBucketBits;
  static constexpr uint8_t kInDue = kLevels;  // A timer's `level` while it waits in due_.
  using Bucket = IntrusiveList<Timer, &Timer::hook>;

  // Where the next timers wait, and the tick at which they are to move down.
  struct Edge {
    int level;
    int bucket;
    int64_t tick;
  };

  int64_t TickOf(Instant due) const;  // Rounded up.
  Instant InstantOf(int64_t tick) const;
  int DigitOf(int64_t tick, int level) const;
  Edge NextEdge() const;  // Something must wait in the buckets.
  bool BucketsEmpty() const { return armed_ == due_.size(); }

  void Place(Timer& timer, int64_t due_tick);
  void Remove(Timer& timer);
  void AdvanceTo(int64_t tick);
  void MoveDown(const Edge& edge);

  Instant start_;
  int64_t tick_ = 0;  // Timers of ticks up to this one are in due_.
  uint64_t armed_ = 0;
  uint64_t occupied_[kLevels] = {};  // A bit for each bucket that is not empty.
  // Timers beyond the last level's rotation wait in its bucket 0, which the rotation itself does
  // not use.
  Bucket buckets_[kLevels][kBuckets];
  Bucket due_;
};

}  // namespace sluice
