// Bodies in memory: chains of blocks from one pool a shard.
//
// A body is kept in wire form, as DATA carries it: dots stuffed, the final ".\r\n" included. So it
// is stuffed once, by whoever injected it, and sending it is sending these bytes as they stand. The
// pool is reserved whole at the start; what happens when it is empty is the caller's to decide
// (452, or the message waits).

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/limits.h"
#include "engine/io/io.h"

namespace sluice::delivery {

class BlockPool {
 public:
  explicit BlockPool(uint32_t blocks);
  ~BlockPool();
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  std::byte* Take();  // Null: none left.
  void Give(std::byte* block);

  uint32_t taken() const { return taken_; }
  uint32_t capacity() const { return capacity_; }

 private:
  uint32_t capacity_;
  uint32_t taken_ = 0;
  uint32_t touched_ = 0;  // Blocks that have ever been given out; the rest is untouched memory.
  std::byte* memory_ = nullptr;
  std::vector<std::byte*> free_;
};

class Body {
 public:
  // Appends as much as the pool has blocks for; false when it ran out.
  bool Append(io::Bytes bytes, BlockPool& pool);
  // Makes room for `bytes` that will be read into Block(i); false (and nothing taken) without room.
  bool Reserve(uint64_t bytes, BlockPool& pool);
  void Release(BlockPool& pool);

  uint64_t bytes() const { return bytes_; }
  bool empty() const { return bytes_ == 0; }

  // The bytes from `offset` on, up to `bytes`, as at most parts.size() pieces. Returns how many
  // pieces.
  size_t Gather(uint64_t offset, uint64_t bytes, std::span<io::Bytes> parts) const;
  std::span<std::byte> Writable(uint64_t offset,
                                uint64_t bytes);  // Within one block; may be cut at its end.

 private:
  std::vector<std::byte*> blocks_;
  uint64_t bytes_ = 0;
};

}  // namespace sluice::delivery
