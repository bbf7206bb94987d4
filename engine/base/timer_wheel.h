// The timers of one shard: a hierarchical wheel with ticks of one millisecond, so that arming and
// disarming are O(1) however many deadlines stand (a queued message has one each).
//
// A Timer lives inside the thing that it times (a session, a connection, a parcel), which the owner
// finds again by `kind` and `owner`. A timer fires at its deadline or up to a tick after it, never
// before. Timers due at the same tick fire in the order in which they were armed, so that a simulation
// replays. Not thread-safe; timers must be disarmed before their memory goes away.

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
  ~TimerWheel();
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  // (Re)arms the timer; a deadline in the past is due at once. kNever disarms.
  void Arm(Timer& timer, Instant due);
  void Disarm(Timer& timer);

  // Takes out the next timer that is due at `now`, or null. `now` never goes back.
  Timer* PopDue(Instant now);

  // Not later than the nearest deadline (a far one is named roughly, by the edge of its bucket), kNever
  // when no timer is armed: the time to sleep until.
  Instant NextDue() const;

  uint64_t armed() const { return armed_; }

 private:
  static constexpr int kLevels = 5;            // 2^30 ms: over 12 days; later ones wait in the last level.
  static constexpr int kBucketBits = 6;
  static constexpr int kBuckets = 1 << kBucketBits;
  using Bucket = IntrusiveList<Timer, &Timer::hook>;

  int64_t TickOf(Instant due) const;           // Rounded up.
  void Place(Timer& timer);
  void AdvanceTo(int64_t tick);
  void Cascade(int level);

  Instant start_;
  int64_t tick_ = 0;                           // All ticks up to this one have been emptied into due_.
  uint64_t armed_ = 0;
  uint64_t occupied_[kLevels] = {};            // A bit for each bucket that is not empty.
  Bucket buckets_[kLevels][kBuckets];
  Bucket due_;
};

}  // namespace sluice
