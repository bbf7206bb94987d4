// Wakes a shard through an eventfd whose read is armed in the shard's ring.
//
// Works from any thread, with or without a ring of its own; what it costs beside ring messages is
// measured in bench/micro/wake_benchmark.cc (README.md has the figures).
//
// No wake is lost: the eventfd keeps its count until the armed read takes it, and the read is armed
// again before the shard sleeps again. No message is lost either: TookWake is called before the
// shard looks into its mailboxes, and it acquires what every absorbed waker had written before its
// Wake.

#pragma once

#include <atomic>
#include <cstdint>

#include "engine/io/io.h"

struct io_uring_sqe;

namespace sluice::io {

class EventWaker : public Waker {
 public:
  EventWaker() = default;
  ~EventWaker() override;
  EventWaker(const EventWaker&) = delete;
  EventWaker& operator=(const EventWaker&) = delete;

  int Open();  // 0 or -errno. Once, before any other call.

  void Wake() override;

  // For the shard's thread.
  void PrepareRead(io_uring_sqe& sqe);
  void TookWake();

 private:
  // On a line of its own: wakers of other cores write it.
  alignas(64) std::atomic<bool> pending_{false};
  alignas(64) uint64_t count_ = 0;  // Written by the kernel; nobody needs its value.
  int descriptor_ = -1;
};

}  // namespace sluice::io
