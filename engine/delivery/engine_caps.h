// What the engine as a whole may have at once, over all shards: connections to hosts, and
// connections that are being opened and will have a handshake. The one thing that shards count
// together: it is touched when a connection is opened and when it ends, and never for a message.

#pragma once

#include <atomic>
#include <cstdint>

#include "engine/base/check.h"

namespace sluice::delivery {

class EngineCap {
 public:
  explicit EngineCap(uint32_t most = 0) : most_(most) {}  // 0: no cap.

  bool Take() {
    if (most_ == 0) return true;
    if (taken_.fetch_add(1, std::memory_order_relaxed) < most_) return true;
    taken_.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  void Give() {
    if (most_ == 0) return;
    const uint32_t before = taken_.fetch_sub(1, std::memory_order_relaxed);
    CHECK(before > 0);
  }
  uint32_t taken() const { return taken_.load(std::memory_order_relaxed); }  // Without a cap 0.

 private:
  const uint32_t most_;
  std::atomic<uint32_t> taken_{0};
};

struct EngineCaps {
  EngineCaps(uint32_t connections_max, uint32_t handshakes_max)
      : connections(connections_max), handshakes(handshakes_max) {}

  EngineCap connections;  // Half-open ones too.
  EngineCap handshakes;   // From the call until the session is ready, or over.
};

}  // namespace sluice::delivery
