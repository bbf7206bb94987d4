// A message out of its wire form. The expected texts are those of RFC 5321 4.5.2: a line's first
// dot is not its own, and a line of one dot ends the message.

#include "tools/sluice/dot_remover.h"

#include <gtest/gtest.h>

namespace sluice::tools {
namespace {

struct Case {
  const char* wire;
  const char* message;
};

constexpr Case kCases[] = {
    {".\r\n", ""},
    {"a\r\n.\r\n", "a\r\n"},
    {"..\r\n.\r\n", ".\r\n"},
    {"a\r\n..b\r\n...\r\n.\r\n", "a\r\n.b\r\n..\r\n"},
    {"a.b\r\nc.\r\n.\r\n", "a.b\r\nc.\r\n"},
    {"\r\n\r\n.\r\n", "\r\n\r\n"},
};

TEST(DotRemover, TakesTheDotsOutThatWereStuffed) {
  for (const Case& each : kCases) EXPECT_EQ(DotRemover().Take(each.wire), each.message);
}

TEST(DotRemover, TakesPiecesThatAreCutAnywhere) {
  for (const Case& each : kCases) {
    const absl::string_view wire = each.wire;
    for (size_t cut = 0; cut <= wire.size(); ++cut) {
      DotRemover remover;
      const std::string front = remover.Take(wire.substr(0, cut));
      EXPECT_EQ(front + remover.Take(wire.substr(cut)), each.message) << "cut at " << cut;
    }
  }
}

}  // namespace
}  // namespace sluice::tools
