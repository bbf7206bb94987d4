// The receive buffers of a ring: the kernel takes one when bytes have arrived, so ten thousand idle
// sessions hold no receive memory.
//
// A buffer that came with a completion is lent to the shard until TakeBack, which gives all of them
// back to the kernel at once. (liburing 2.3 has no io_uring_setup_buf_ring, so the memory is our
// own.)

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/io/io.h"

struct io_uring;
struct io_uring_buf_ring;

namespace sluice::io {

class BufferRing {
 public:
  // `buffers` is a power of two, at most 32,768: buffer ids have 16 bits.
  BufferRing(uint32_t buffers, uint32_t buffer_bytes);
  ~BufferRing();  // The ring that it was registered with has ended before.
  BufferRing(const BufferRing&) = delete;
  BufferRing& operator=(const BufferRing&) = delete;

  // Registers the buffers as `group` of the ring and gives all to the kernel. 0 or -errno.
  int Register(io_uring& ring, uint16_t group);

  // What the kernel has put into the buffer that it took.
  Bytes Lend(uint16_t id, size_t bytes);
  void TakeBack();

 private:
  void Give(uint16_t id, int position);

  uint32_t buffers_;
  uint32_t buffer_bytes_;
  size_t ring_bytes_;
  size_t memory_bytes_;
  std::byte* memory_ = nullptr;  // The kernel's ring of entries, then the buffers.
  io_uring_buf_ring* ring_ = nullptr;
  std::vector<uint16_t> lent_;
};

}  // namespace sluice::io
