// Bodies in blocks: what was appended comes out again in pieces, at every border of a block, and an
// empty pool refuses. The plain twin is a string.

#include "engine/delivery/body.h"

#include <array>
#include <string>

#include "engine/base/random.h"
#include "gtest/gtest.h"

namespace sluice::delivery {
namespace {

constexpr size_t kBlock = limits::kBodyBlockBytes;

std::string Gathered(const Body& body, uint64_t offset, uint64_t bytes) {
  std::array<io::Bytes, 16> parts;
  std::string text;
  const size_t count = body.Gather(offset, bytes, parts);
  for (size_t i = 0; i < count; ++i) {
    text.append(reinterpret_cast<const char*>(parts[i].data()), parts[i].size());
  }
  return text;
}

std::string Drawn(Random& random, size_t bytes) {
  std::string text;
  for (size_t i = 0; i < bytes; ++i) text += static_cast<char>('a' + random.Below(26));
  return text;
}

TEST(Body, GivesBackWhatItTook) {
  Random random(1);
  BlockPool pool(8);
  for (const size_t bytes : {size_t{1}, kBlock - 1, kBlock, kBlock + 1, 3 * kBlock, 8 * kBlock}) {
    Body body;
    const std::string text = Drawn(random, bytes);
    for (size_t at = 0; at < bytes;) {
      const size_t piece = std::min<size_t>(bytes - at, 1 + random.Below(5000));
      ASSERT_TRUE(body.Append(io::BytesOf(text.substr(at, piece)), pool));
      at += piece;
    }
    EXPECT_EQ(body.bytes(), bytes);
    EXPECT_EQ(Gathered(body, 0, bytes), text);
    const uint64_t offset = random.Below(bytes);
    EXPECT_EQ(Gathered(body, offset, bytes - offset), text.substr(offset));
    EXPECT_EQ(pool.taken(), (bytes + kBlock - 1) / kBlock);
    body.Release(pool);
    EXPECT_EQ(pool.taken(), 0u);
  }
}

TEST(Body, StopsWhenThePoolIsEmpty) {
  BlockPool pool(2);
  Body body;
  EXPECT_TRUE(body.Append(io::BytesOf(std::string(2 * kBlock, 'x')), pool));
  EXPECT_FALSE(body.Append(io::BytesOf("y"), pool));
  EXPECT_EQ(pool.Take(), nullptr);
  body.Release(pool);
  EXPECT_TRUE(body.Append(io::BytesOf("y"), pool));
  body.Release(pool);
}

TEST(Body, ReservesAllOrNothing) {
  BlockPool pool(2);
  Body body;
  EXPECT_FALSE(body.Reserve(2 * kBlock + 1, pool));
  EXPECT_EQ(pool.taken(), 0u);
  ASSERT_TRUE(body.Reserve(kBlock + 10, pool));
  EXPECT_EQ(pool.taken(), 2u);
  EXPECT_EQ(body.Writable(0, kBlock + 10).size(), kBlock);  // To the border of the block.
  EXPECT_EQ(body.Writable(kBlock, 10).size(), 10u);
  body.Release(pool);
}

TEST(Body, GathersNoMorePiecesThanThereIsRoomFor) {
  BlockPool pool(4);
  Body body;
  ASSERT_TRUE(body.Append(io::BytesOf(std::string(4 * kBlock, 'x')), pool));
  std::array<io::Bytes, 2> parts;
  EXPECT_EQ(body.Gather(100, 4 * kBlock - 100, parts), 2u);
  EXPECT_EQ(parts[0].size(), kBlock - 100);
  EXPECT_EQ(parts[1].size(), kBlock);
  body.Release(pool);
}

}  // namespace
}  // namespace sluice::delivery
