// Slots of one type, at most `capacity` of them, named by slot and generation.
//
// The memory is reserved whole at the start and becomes resident only as slots are first used; a
// slot never moves. That of a large slab comes in pages of 2 MiB where the system gives them: slots
// are used at random, and with small pages most uses would also miss the table of pages. A slot is
// constructed at its first use and is *not* destroyed when it is released: the next user finds the
// buffers (strings, vectors) of the last one with their capacity, so a busy slab stops allocating.
// Who takes a slot resets it.
//
// A handle names one use of a slot: after Release every older handle finds nothing. Generations are
// 24 bits, since they travel in a completion's id (engine/io/io.h), and are never 0. Free slots are
// reused last in, first out, so that they stay in the cache. Not thread-safe.

#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "engine/base/check.h"

namespace sluice {

struct Handle {
  uint32_t slot = UINT32_MAX;
  uint32_t generation = 0;  // 0 names nothing.

  bool operator==(const Handle&) const = default;
  explicit operator bool() const { return generation != 0; }
};

template <class T>
class Slab {
 public:
  static constexpr uint32_t kNoSlot = UINT32_MAX;
  static constexpr size_t kLargeBytes = size_t{64} << 20;

  explicit Slab(uint32_t capacity) : capacity_(capacity), bytes_(size_t{capacity} * sizeof(Slot)) {
    CHECK(capacity > 0);
    void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(memory != MAP_FAILED);
    slots_ = static_cast<Slot*>(memory);
    if (bytes_ >= kLargeBytes) madvise(memory, bytes_, MADV_HUGEPAGE);  // Only a wish.
  }
  ~Slab() {
    for (uint32_t i = 0; i < constructed_; ++i) slots_[i].~Slot();
    munmap(slots_, bytes_);
  }
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;

  // A slot for a new use, or null when all are taken: the caller refuses or defers.
  T* Take() {
    Slot* slot = nullptr;
    if (first_free_ != kNoSlot) {
      slot = &slots_[first_free_];
      first_free_ = slot->next_free;
    } else if (constructed_ < capacity_) {
      slot = new (&slots_[constructed_++]) Slot;
    } else {
      return nullptr;
    }
    CHECK(slot->taken == 0);
    slot->taken = 1;
    ++taken_;
    return &slot->value;
  }

  void Release(T& value) {
    Slot& slot = SlotOf(value);
    CHECK(slot.taken != 0);
    slot.taken = 0;
    slot.generation = slot.generation == kGenerationMax ? 1 : slot.generation + 1;
    slot.next_free = first_free_;
    first_free_ = static_cast<uint32_t>(&slot - slots_);
    --taken_;
  }

  // What the handle names, or null when that use has ended.
  T* Find(Handle handle) {
    if (handle.slot >= constructed_) return nullptr;
    Slot& slot = slots_[handle.slot];
    if (slot.taken == 0 || slot.generation != handle.generation) return nullptr;
    return &slot.value;
  }

  Handle HandleOf(const T& value) {
    Slot& slot = SlotOf(value);
    CHECK(slot.taken != 0);
    return {static_cast<uint32_t>(&slot - slots_), slot.generation};
  }

  // Calls visit(T&) for every taken slot, in slot order.
  template <class Visit>
  void ForEach(Visit visit) {
    for (uint32_t i = 0; i < constructed_; ++i) {
      if (slots_[i].taken != 0) visit(slots_[i].value);
    }
  }

  // The same in parts: visits up to `slots` slots from `first` on, and returns where to go on;
  // kNoSlot when all have been visited.
  template <class Visit>
  uint32_t VisitSome(uint32_t first, uint32_t slots, Visit visit) {
    const uint32_t end = constructed_ - first > slots ? first + slots : constructed_;
    for (uint32_t i = first; i < end; ++i) {
      if (slots_[i].taken != 0) visit(slots_[i].value);
    }
    return end < constructed_ ? end : kNoSlot;
  }

  uint32_t taken() const { return taken_; }
  uint32_t capacity() const { return capacity_; }
  bool full() const { return taken_ == capacity_; }

 private:
  static constexpr uint32_t kGenerationMax = (1u << 24) - 1;

  struct Slot {
    T value{};
    uint32_t generation : 24 = 1;
    uint32_t taken : 8 = 0;
    uint32_t next_free = kNoSlot;
  };

  Slot& SlotOf(const T& value) {
    // `value` is the first member, so that its address is the slot's.
    auto* slot = reinterpret_cast<Slot*>(const_cast<T*>(&value));
    CHECK(slot >= slots_ && slot < slots_ + constructed_);
    return *slot;
  }

  uint32_t capacity_;
  size_t bytes_;
  Slot* slots_ = nullptr;
  uint32_t constructed_ = 0;
  uint32_t taken_ = 0;
  uint32_t first_free_ = kNoSlot;
};

}  // namespace sluice
