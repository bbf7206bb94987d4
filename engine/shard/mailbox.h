// A mailbox from one thread to another: a ring of small values with one writer and one reader.
//
// No lock; each side writes its own cache line and reads the other's only when its copy of that
// says full or empty. Put and Take are batched: what was put becomes visible at Publish, once a
// turn, so that a turn costs one release store however much mail it had. What does not fit stays
// with the writer (Put says false), who tries again next turn: the mailbox never grows and never
// blocks.

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace sluice::shard {

template <class T, size_t kCapacity>
class Mailbox {
  static_assert((kCapacity & (kCapacity - 1)) == 0, "a power of two");

 public:
  // --- The writer's thread.
  bool Put(const T& mail) {
    if (written_ - reader_seen_ == kCapacity) {
      reader_seen_ = read_.load(std::memory_order_acquire);
      if (written_ - reader_seen_ == kCapacity) return false;
    }
    ring_[written_++ % kCapacity] = mail;
    return true;
  }
  // True if there was anything new.
  bool Publish() {
    if (published_.load(std::memory_order_relaxed) == written_) return false;
    published_.store(written_, std::memory_order_release);
    return true;
  }

  // --- The reader's thread.
  bool Take(T& mail) {
    if (taken_ == writer_seen_) {
      writer_seen_ = published_.load(std::memory_order_acquire);
      if (taken_ == writer_seen_) return false;
    }
    mail = ring_[taken_++ % kCapacity];
    return true;
  }
  // Gives the slots of what has been taken back to the writer.
  void Acknowledge() {
    if (read_.load(std::memory_order_relaxed) != taken_)
      read_.store(taken_, std::memory_order_release);
  }
  bool Empty() const { return published_.load(std::memory_order_acquire) == taken_; }

 private:
  static constexpr size_t kLine = 64;
  // The writer's.
  alignas(kLine) uint64_t written_ = 0;
  uint64_t reader_seen_ = 0;
  alignas(kLine) std::atomic<uint64_t> published_{0};
  // The reader's.
  alignas(kLine) uint64_t taken_ = 0;
  uint64_t writer_seen_ = 0;
  alignas(kLine) std::atomic<uint64_t> read_{0};
  alignas(kLine) std::array<T, kCapacity> ring_;
};

}  // namespace sluice::shard
