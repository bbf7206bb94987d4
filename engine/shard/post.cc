#include "engine/shard/post.h"

namespace sluice::shard {

Post::Post(uint32_t shards) : shards_(shards), states_(std::make_unique<State[]>(shards)) {
  for (uint32_t i = 0; i < (shards + 1) * shards; ++i)
    boxes_.push_back(std::make_unique<ShardMailbox>());
}

bool Post::Waiting(uint32_t to) const {
  for (uint32_t from = 0; from <= shards_; ++from) {
    if (!boxes_[from * shards_ + to]->Empty()) return true;
  }
  return false;
}

void Post::SetWaker(uint32_t shard, io::Waker* waker) {
  states_[shard].waker.store(waker, std::memory_order_release);
}

// Sequential consistency on both sides: either the reader sees the mail here, or the writer sees in
// Notify that the reader sleeps.
bool Post::BeginSleep(uint32_t shard) {
  states_[shard].sleeping.store(true, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!Waiting(shard)) return true;
  EndSleep(shard);
  return false;
}

void Post::EndSleep(uint32_t shard) {
  states_[shard].sleeping.store(false, std::memory_order_relaxed);
}

void Post::Notify(uint32_t shard) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (states_[shard].sleeping.load(std::memory_order_seq_cst)) Wake(shard);
}

// Who turns to rest wakes the others, so that the last one ends them all.
void Post::SetAtRest(uint32_t shard, bool at_rest) {
  if (states_[shard].at_rest.exchange(at_rest, std::memory_order_acq_rel) == at_rest) return;
  if (!at_rest) return;
  for (uint32_t other = 0; other < shards_; ++other) {
    if (other != shard) Wake(other);
  }
}

bool Post::AllAtRest() const {
  for (uint32_t shard = 0; shard < shards_; ++shard) {
    if (!states_[shard].at_rest.load(std::memory_order_acquire)) return false;
  }
  return true;
}

void Post::Wake(uint32_t shard) {
  io::Waker* waker = states_[shard].waker.load(std::memory_order_acquire);
  if (waker != nullptr) waker->Wake();
}

}  // namespace sluice::shard
