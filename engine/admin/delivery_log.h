// The delivery log of one shard: renders events, holds them until what they tell is durable, and
// hands them over to the writer a batch at a time.
//
// Bounded at both ends: lines that wait for their batch (the disk of the spool), and lines that
// wait for the writer (the disk of the log). At a bound events are dropped and counted, and the
// next line that goes through is one that says how many: {"type":"Dropped","count":N,…}. What no
// line could tell before the end, the writer says on stderr. Mail is never held up by its log.

#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "engine/admin/delivery_log_writer.h"
#include "engine/base/time.h"
#include "engine/delivery/event.h"

namespace sluice::admin {

class ShardLog : public delivery::EventSink {
 public:
  // Lines that wait for their batch to be durable: as many as may wait for the writer.
  static constexpr uint64_t kHeldBytesMax = 64 << 20;

  // The writer must outlive it.
  ShardLog(uint32_t shard, DeliveryLogWriter& writer, uint64_t held_bytes_max = kHeldBytesMax)
      : shard_(shard), writer_(writer), held_bytes_max_(held_bytes_max) {}
  ~ShardLog() override;  // Tells of what was dropped. What no batch made durable did not happen.
  ShardLog(const ShardLog&) = delete;
  ShardLog& operator=(const ShardLog&) = delete;

  void Emit(const delivery::Event& event, uint64_t batch) override;
  void Release(uint64_t durable_batch) override;

 private:
  struct Held {
    uint64_t batch = 0;
    uint64_t events = 0;
    WallTime last{};
    std::string lines;
  };

  Held& HeldOf(uint64_t batch);
  void HandOver(Held& held);
  void Drop(uint64_t events, WallTime last);
  bool TellDropped();

  const uint32_t shard_;
  DeliveryLogWriter& writer_;
  const uint64_t held_bytes_max_;

  std::deque<Held> held_;  // By batch.
  uint64_t held_bytes_ = 0;
  std::string spare_;  // An empty buffer with capacity.

  uint64_t dropped_ = 0;  // Not told yet.
  WallTime last_dropped_{};
  std::string dropped_line_;
};

}  // namespace sluice::admin
