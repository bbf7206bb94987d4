// The memory of one send, write or read, in parts, and what is left of it when the kernel took
// some.

#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <span>

#include "engine/base/check.h"

namespace sluice::io {

// The parts without their first `bytes` bytes. A part that is done halfway keeps its second half.
inline std::span<iovec> DropFront(std::span<iovec> parts, size_t bytes) {
  while (!parts.empty() && bytes >= parts.front().iov_len) {
    bytes -= parts.front().iov_len;
    parts = parts.subspan(1);
  }
  if (parts.empty()) {
    CHECK(bytes == 0);  // The kernel does not take more than it was given.
    return parts;
  }
  parts.front().iov_base = static_cast<std::byte*>(parts.front().iov_base) + bytes;
  parts.front().iov_len -= bytes;
  return parts;
}

}  // namespace sluice::io
