#include "engine/delivery/body.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "engine/base/check.h"

namespace sluice::delivery {

using limits::kBodyBlockBytes;

BlockPool::BlockPool(uint32_t blocks) : capacity_(blocks) {
  CHECK(blocks > 0);
  void* memory = mmap(nullptr, size_t{blocks} * kBodyBlockBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(memory != MAP_FAILED);
  memory_ = static_cast<std::byte*>(memory);
  free_.reserve(blocks);
}

BlockPool::~BlockPool() {
  munmap(memory_, size_t{capacity_} * kBodyBlockBytes);
}

std::byte* BlockPool::Take() {
  std::byte* block = nullptr;
  if (!free_.empty()) {
    block = free_.back();
    free_.pop_back();
  } else if (touched_ < capacity_) {
    block = memory_ + size_t{touched_++} * kBodyBlockBytes;
  } else {
    return nullptr;
  }
  ++taken_;
  return block;
}

void BlockPool::Give(std::byte* block) {
  CHECK(taken_ > 0);
  CHECK(block >= memory_);
  CHECK(block < memory_ + size_t{capacity_} * kBodyBlockBytes);
  --taken_;
  free_.push_back(block);
}

bool Body::Append(io::Bytes bytes, BlockPool& pool) {
  while (!bytes.empty()) {
    const size_t used = bytes_ % kBodyBlockBytes;
    if (used == 0) {
      std::byte* block = pool.Take();
      if (block == nullptr) return false;
      blocks_.push_back(block);
    }
    const size_t take = std::min(bytes.size(), kBodyBlockBytes - used);
    std::memcpy(blocks_.back() + used, bytes.data(), take);
    bytes_ += take;
    bytes = bytes.subspan(take);
  }
  return true;
}

bool Body::Reserve(uint64_t bytes, BlockPool& pool) {
  CHECK(empty());
  const uint64_t blocks = (bytes + kBodyBlockBytes - 1) / kBodyBlockBytes;
  if (pool.capacity() - pool.taken() < blocks) return false;
  for (uint64_t i = 0; i < blocks; ++i) blocks_.push_back(pool.Take());
  bytes_ = bytes;
  return true;
}

void Body::Release(BlockPool& pool) {
  for (std::byte* block : blocks_) pool.Give(block);
  blocks_.clear();
  bytes_ = 0;
}

size_t Body::Gather(uint64_t offset, uint64_t bytes, std::span<io::Bytes> parts) const {
  CHECK(offset + bytes <= bytes_);
  size_t count = 0;
  while (bytes > 0 && count < parts.size()) {
    const size_t within = offset % kBodyBlockBytes;
    const size_t take = std::min<uint64_t>(bytes, kBodyBlockBytes - within);
    parts[count++] = io::Bytes(blocks_[offset / kBodyBlockBytes] + within, take);
    offset += take;
    bytes -= take;
  }
  return count;
}

std::span<std::byte> Body::Writable(uint64_t offset, uint64_t bytes) {
  CHECK(offset + bytes <= bytes_);
  const size_t within = offset % kBodyBlockBytes;
  const size_t take = std::min<uint64_t>(bytes, kBodyBlockBytes - within);
  return {blocks_[offset / kBodyBlockBytes] + within, take};
}

}  // namespace sluice::delivery
