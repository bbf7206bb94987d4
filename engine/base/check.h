// CHECK: what must be true, in release too. A false one is a fault of this program, never of a
// peer, a disk or an operator; it names itself on stderr and ends the process, since going on from
// a state that cannot be would put mail at risk.

#pragma once

#include <cstdio>
#include <cstdlib>

namespace sluice {

[[noreturn]] inline void CheckFailed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "sluice: %s:%d: CHECK(%s) failed\n", file, line, condition);
  std::abort();
}

}  // namespace sluice

#define CHECK(condition)                                     \
  (__builtin_expect(!!(condition), 1) ? static_cast<void>(0) \
                                      : ::sluice::CheckFailed(#condition, __FILE__, __LINE__))
