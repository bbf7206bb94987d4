// An allocator for the few large arrays that are read at random: in pages of 2 MiB, where the
// system gives them, since with pages of 4 KiB most reads of such an array would also miss the
// table of pages. What is smaller than such a page is allocated as ever.

#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>

namespace sluice {

inline constexpr size_t kHugePageBytes = 2 << 20;

template <class T>
class HugePageAllocator {
 public:
  using value_type = T;

  HugePageAllocator() = default;
  template <class U>
  HugePageAllocator(const HugePageAllocator<U>&) {}  // As containers demand: not explicit.

  T* allocate(size_t count) {
    const size_t bytes = count * sizeof(T);
    void* memory = ::operator new(bytes, AlignmentOf(bytes));
    // Only a wish: without huge pages all works, slower.
    if (bytes >= kHugePageBytes) madvise(memory, bytes & ~(kHugePageBytes - 1), MADV_HUGEPAGE);
    return static_cast<T*>(memory);
  }

  void deallocate(T* memory, size_t count) {
    ::operator delete(memory, AlignmentOf(count * sizeof(T)));
  }

  bool operator==(const HugePageAllocator&) const { return true; }

 private:
  static std::align_val_t AlignmentOf(size_t bytes) {
    constexpr size_t kSmall = alignof(T) > 64 ? alignof(T) : 64;  // A line of cache.
    return std::align_val_t(bytes >= kHugePageBytes ? kHugePageBytes : kSmall);
  }
};

}  // namespace sluice
