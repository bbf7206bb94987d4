// Which messages a shard is at work on, kept where it outlives the process: so that a start after a
// crash can tell what it may have died of (engine/active_file.h). And which ones are set aside
// because of that, in quarantine: they stay at home and are not tried.
//
// A slot for each delivery connection holds the message of its transaction, one more the message
// that the home reads back or records the outcome of. Begin and End are a store each, no system
// call, since a process that dies leaves the pages of its shared mapping to the kernel.
//
// Suspects are the messages that were at work in a crash before. Of them it is noted that they were
// tried: one that is tried and not at work when the next crash comes is none any more.
//
// One shard owns its slots; suspects are shared by all shards, and only ever set. Both are lent.

#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <span>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/base/message_id.h"

namespace sluice::delivery {

struct TrackedSuspect {
  uint64_t id = 0;
  uint64_t tried = 0;  // 1: since the start.
};

class ActiveMessages {
 public:
  static constexpr uint32_t kHomeSlot = limits::kDeliveryConnectionsPerShardMax;
  static constexpr uint32_t kSlots = kHomeSlot + 1;

  // `suspects`: by id.
  ActiveMessages(std::span<uint64_t> slots, std::span<TrackedSuspect> suspects,
                 absl::flat_hash_set<uint64_t> quarantined)
      : slots_(slots), suspects_(suspects), quarantined_(std::move(quarantined)) {
    CHECK(slots.size() == kSlots);
  }

  void Begin(uint32_t slot, MessageId id) {
    NoteTried(id);
    Store(slot, id.value);
  }
  void End(uint32_t slot) { Store(slot, 0); }

  // It is nobody's suspect any more: it is done.
  void OnDone(MessageId id) { NoteTried(id); }

  bool Quarantined(MessageId id) const { return quarantined_.contains(id.value); }

 private:
  void Store(uint32_t slot, uint64_t value) {
    CHECK(slot < slots_.size());
    std::atomic_ref(slots_[slot]).store(value, std::memory_order_relaxed);
  }
  void NoteTried(MessageId id) {
    if (suspects_.empty()) return;
    const auto found = std::lower_bound(
        suspects_.begin(), suspects_.end(), id.value,
        [](const TrackedSuspect& suspect, uint64_t value) { return suspect.id < value; });
    if (found == suspects_.end() || found->id != id.value) return;
    std::atomic_ref(found->tried).store(1, std::memory_order_relaxed);
  }

  const std::span<uint64_t> slots_;
  const std::span<TrackedSuspect> suspects_;
  const absl::flat_hash_set<uint64_t> quarantined_;
};

// For the time of a call. `active` may be null.
class ActiveWhile {
 public:
  ActiveWhile(ActiveMessages* active, MessageId id) : active_(active) {
    if (active_ != nullptr) active_->Begin(ActiveMessages::kHomeSlot, id);
  }
  ~ActiveWhile() {
    if (active_ != nullptr) active_->End(ActiveMessages::kHomeSlot);
  }
  ActiveWhile(const ActiveWhile&) = delete;
  ActiveWhile& operator=(const ActiveWhile&) = delete;

 private:
  ActiveMessages* const active_;
};

}  // namespace sluice::delivery
