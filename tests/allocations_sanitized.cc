// Under a sanitizer operator new stays the sanitizer's, which checks it against delete and defines
// it itself; the sanitizer tells us of each allocation instead (of malloc, too).

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include <sanitizer/allocator_interface.h>

#include "tests/allocations.h"

namespace {

thread_local uint64_t allocations = 0;

void Count(const volatile void*, size_t) {
  ++allocations;
}
void Ignore(const volatile void*) {}

}  // namespace

uint64_t sluice::AllocationsOfThread() {
  static const bool told = __sanitizer_install_malloc_and_free_hooks(&Count, &Ignore) > 0;
  if (!told) std::abort();
  return allocations;
}
