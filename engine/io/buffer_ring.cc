#include "engine/io/buffer_ring.h"

#include <liburing.h>
#include <sys/mman.h>

#include <bit>

#include "engine/base/check.h"

namespace sluice::io {
namespace {

constexpr size_t kPageBytes = 4096;

size_t WholePages(size_t bytes) {
  return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
}

}  // namespace

BufferRing::BufferRing(uint32_t buffers, uint32_t buffer_bytes)
    : buffers_(buffers),
      buffer_bytes_(buffer_bytes),
      ring_bytes_(WholePages(size_t{buffers} * sizeof(io_uring_buf))),
      memory_bytes_(ring_bytes_ + size_t{buffers} * buffer_bytes) {
  CHECK(std::has_single_bit(buffers));
  CHECK(buffers <= 1u << 15);
  CHECK(buffer_bytes > 0);
  void* memory =
      mmap(nullptr, memory_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  // A child must not get pages that the kernel writes into.
  CHECK(madvise(memory, memory_bytes_, MADV_DONTFORK) == 0);
  memory_ = static_cast<std::byte*>(memory);
  ring_ = static_cast<io_uring_buf_ring*>(memory);
  lent_.reserve(buffers);
}

BufferRing::~BufferRing() {
  munmap(memory_, memory_bytes_);
}

int BufferRing::Register(io_uring& ring, uint16_t group) {
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<uintptr_t>(ring_);
  registration.ring_entries = buffers_;
  registration.bgid = group;
  const int result = io_uring_register_buf_ring(&ring, &registration, 0);
  if (result < 0) return result;
  io_uring_buf_ring_init(ring_);
  for (uint32_t id = 0; id < buffers_; ++id) {
    Give(static_cast<uint16_t>(id), static_cast<int>(id));
  }
  io_uring_buf_ring_advance(ring_, static_cast<int>(buffers_));
  return 0;
}

Bytes BufferRing::Lend(uint16_t id, size_t bytes) {
  CHECK(id < buffers_);
  CHECK(bytes <= buffer_bytes_);
  CHECK(lent_.size() < buffers_);
  lent_.push_back(id);
  return {memory_ + ring_bytes_ + size_t{id} * buffer_bytes_, bytes};
}

void BufferRing::TakeBack() {
  if (lent_.empty()) return;
  for (size_t i = 0; i < lent_.size(); ++i) Give(lent_[i], static_cast<int>(i));
  io_uring_buf_ring_advance(ring_, static_cast<int>(lent_.size()));
  lent_.clear();
}

void BufferRing::Give(uint16_t id, int position) {
  io_uring_buf_ring_add(ring_, memory_ + ring_bytes_ + size_t{id} * buffer_bytes_, buffer_bytes_,
                        id, io_uring_buf_ring_mask(buffers_), position);
}

}  // namespace sluice::io
