// What a kernel must offer for our ring, and one sentence for the operator when it does not: what
// was refused, the likely cause, and what to change.

#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

struct io_uring;

namespace sluice::io {

// What usually explains a refusal.
struct UringSurroundings {
  std::string kernel_release;
  std::optional<int>
      io_uring_disabled;  // The sysctl (kernel 6.6): 0 for all, 1 for a group, 2 off.
  bool seccomp_filter = false;
  uint64_t locked_bytes_max = 0;  // RLIMIT_MEMLOCK
  uint64_t descriptors_max = 0;   // RLIMIT_NOFILE
};

UringSurroundings ReadUringSurroundings();

// `call` returned -`error`.
absl::Status UringRefused(absl::string_view call, int error, const UringSurroundings& surroundings);

// Whether a ring that could be made has every operation and feature that we use.
absl::Status CheckUringAbilities(io_uring& ring, const UringSurroundings& surroundings);

}  // namespace sluice::io
