// What is left of the parts "abc", "de", "f" after each number of bytes.

#include "engine/io/gather.h"

#include <string>

#include "gtest/gtest.h"

namespace sluice::io {
namespace {

struct Parts {
  std::string a = "abc";
  std::string b = "de";
  std::string c = "f";
  iovec list[3] = {{a.data(), 3}, {b.data(), 2}, {c.data(), 1}};
};

std::string Joined(std::span<const iovec> parts) {
  std::string text;
  for (const iovec& part : parts) {
    if (!text.empty()) text += "|";
    text += std::string(static_cast<const char*>(part.iov_base), part.iov_len);
  }
  return text;
}

TEST(GatherTest, DropsWhatWasDone) {
  const struct {
    size_t bytes;
    const char* left;
  } kCases[] = {{0, "abc|de|f"}, {1, "bc|de|f"}, {2, "c|de|f"}, {3, "de|f"},
                {4, "e|f"},      {5, "f"},       {6, ""}};
  for (const auto& test : kCases) {
    Parts parts;
    EXPECT_EQ(Joined(DropFront(parts.list, test.bytes)), test.left) << test.bytes;
  }
}

TEST(GatherTest, InStepsOfOne) {
  Parts parts;
  std::span<iovec> left = parts.list;
  std::string text;
  while (!left.empty()) {
    text += *static_cast<const char*>(left.front().iov_base);
    left = DropFront(left, 1);
  }
  EXPECT_EQ(text, "abcdef");
}

TEST(GatherDeathTest, MoreThanThereWas) {
  Parts parts;
  EXPECT_DEATH(DropFront(parts.list, 7), "bytes == 0");
}

}  // namespace
}  // namespace sluice::io
