#include "engine/base/printable.h"

#include "gtest/gtest.h"

namespace sluice {
namespace {

TEST(Printable, KeepsPrintableAsciiAlone) {
  EXPECT_EQ(Printable(" Aa~"), " Aa~");
  EXPECT_EQ(Printable("a\r\nb\x1b[2J\x7f"), "a??b?[2J?");
  EXPECT_EQ(Printable("\xc3\xa9"), "??");
  EXPECT_EQ(Printable(absl::string_view("\0", 1)), "?");
  EXPECT_EQ(Printable(""), "");
}

}  // namespace
}  // namespace sluice
