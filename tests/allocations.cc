// The forms that are not here (arrays, nothrow) call these in the standard library.

#include "tests/allocations.h"

#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

// The counter of a replaced operator new can be nothing but global.
thread_local uint64_t allocations = 0;

void* Checked(void* memory) {
  if (memory == nullptr) std::abort();
  return memory;
}

}  // namespace

uint64_t sluice::AllocationsOfThread() {
  return allocations;
}

void* operator new(size_t bytes) {
  ++allocations;
  return Checked(std::malloc(bytes == 0 ? 1 : bytes));
}
void* operator new(size_t bytes, std::align_val_t alignment) {
  ++allocations;
  const auto unit = static_cast<size_t>(alignment);
  return Checked(std::aligned_alloc(unit, (bytes + unit - 1) / unit * unit));
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}
