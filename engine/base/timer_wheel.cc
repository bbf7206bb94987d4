#include "engine/base/timer_wheel.h"

#include <bit>

#include "engine/base/check.h"

namespace sluice {
namespace {

constexpr Duration kTick = std::chrono::milliseconds(1);

}  // namespace

TimerWheel::TimerWheel(Instant start) : start_(start) {
  CHECK(start.time_since_epoch().count() >=
        0);  // So that a difference of instants never overflows.
}

void TimerWheel::Arm(Timer& timer, Instant due) {
  Disarm(timer);
  if (due == kNever) return;
  timer.due = due;
  Place(timer, TickOf(due));
  ++armed_;
}

void TimerWheel::Disarm(Timer& timer) {
  if (!timer.armed()) return;
  Remove(timer);
  timer.due = kNever;
  CHECK(armed_ > 0);
  --armed_;
}

Timer* TimerWheel::PopDue(Instant now) {
  if (due_.empty() && now > start_) AdvanceTo((now - start_) / kTick);
  Timer* timer = due_.Front();
  if (timer != nullptr) Disarm(*timer);
  return timer;
}

Instant TimerWheel::NextDue() const {
  if (!due_.empty()) return InstantOf(tick_);
  if (BucketsEmpty()) return kNever;
  return InstantOf(NextEdge().tick);
}

int64_t TimerWheel::TickOf(Instant due) const {
  if (due <= start_) return 0;
  const Duration wait = due - start_;
  return wait / kTick + (wait % kTick != Duration::zero() ? 1 : 0);
}

// The last tick before the end of time may have been rounded up beyond it.
Instant TimerWheel::InstantOf(int64_t tick) const {
  if (tick > (kNever - start_) / kTick) return kNever;
  return start_ + tick * kTick;
}

int TimerWheel::DigitOf(int64_t tick, int level) const {
  return static_cast<int>(tick >> (level * kBucketBits)) & (kBuckets - 1);
}

// The nearest is in the lowest level that is not empty, in the first bucket after our own digit.
TimerWheel::Edge TimerWheel::NextEdge() const {
  for (int level = 0; level < kLevels; ++level) {
    const int shift = level * kBucketBits;
    const uint64_t ahead = occupied_[level] & (~uint64_t{1} << DigitOf(tick_, level));
    if (ahead == 0) continue;
    const int bucket = std::countr_zero(ahead);
    const int64_t rotation = tick_ >> (shift + kBucketBits) << kBucketBits;
    return {level, bucket, (rotation | bucket) << shift};
  }
  CHECK(occupied_[kLevels - 1] == 1);
  constexpr int kSpanBits = kLevels * kBucketBits;
  return {kLevels - 1, 0, ((tick_ >> kSpanBits) + 1) << kSpanBits};
}

void TimerWheel::Place(Timer& timer, int64_t due_tick) {
  if (due_tick <= tick_) {
    timer.level = kInDue;
    due_.PushBack(timer);
    return;
  }
  const auto difference = static_cast<uint64_t>(due_tick ^ tick_);
  int level = (std::bit_width(difference) - 1) / kBucketBits;
  int bucket = 0;
  if (level < kLevels) {
    bucket = DigitOf(due_tick, level);
  } else {
    level = kLevels - 1;
  }
  timer.level = static_cast<uint8_t>(level);
  timer.bucket = static_cast<uint8_t>(bucket);
  buckets_[level][bucket].PushBack(timer);
  occupied_[level] |= uint64_t{1} << bucket;
}

void TimerWheel::Remove(Timer& timer) {
  if (timer.level == kInDue) {
    due_.Remove(timer);
    return;
  }
  Bucket& bucket = buckets_[timer.level][timer.bucket];
  bucket.Remove(timer);
  if (bucket.empty()) occupied_[timer.level] &= ~(uint64_t{1} << timer.bucket);
}

// Goes from edge to edge, not from tick to tick: what lies empty between costs nothing.
void TimerWheel::AdvanceTo(int64_t tick) {
  while (!BucketsEmpty()) {
    const Edge edge = NextEdge();
    if (edge.tick > tick) break;
    MoveDown(edge);
  }
  if (tick > tick_) tick_ = tick;
}

// What was far is near: every timer of the bucket is placed anew, in order, as seen from the edge.
void TimerWheel::MoveDown(const Edge& edge) {
  CHECK(edge.tick > tick_);
  tick_ = edge.tick;
  Bucket& bucket = buckets_[edge.level][edge.bucket];
  occupied_[edge.level] &= ~(uint64_t{1} << edge.bucket);
  for (size_t left = bucket.size(); left > 0;
       --left) {  // Some may come back, if beyond the last level.
    Timer& timer = *bucket.PopFront();
    Place(timer, TickOf(timer.due));
  }
}

}  // namespace sluice
