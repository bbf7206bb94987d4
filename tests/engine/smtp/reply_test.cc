// ReplyParser takes what servers say, a reply at a time: by the grammar of RFC 5321 4.2, with the
// laxness and the refusals of its contract, at each bound and one over, whole and split at every
// position.

#include "engine/smtp/reply.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice::smtp {
namespace {

using Status = ReplyParser::Status;
using ::testing::ElementsAre;

// Each reply on one line, text lines joined by "|"; "malformed" and "partial" at the end.
std::vector<std::string> Read(ReplyParser& parser, absl::string_view bytes) {
  std::vector<std::string> replies;
  while (!bytes.empty()) {
    const Status status = parser.Take(bytes);
    if (status == Status::kNeedMore) break;
    if (status == Status::kMalformed) {
      replies.push_back("malformed");
      return replies;
    }
    std::string text = parser.reply().text;
    for (char& c : text) c = c == '\n' ? '|' : c;
    replies.push_back(
        absl::StrCat(parser.reply().code, ",", parser.reply().enhanced.ToString(), ",", text));
  }
  if (parser.partial()) replies.push_back("partial");
  return replies;
}

std::vector<std::string> Read(absl::string_view bytes) {
  ReplyParser parser;
  return Read(parser, bytes);
}

TEST(Reply, OneLine) {
  EXPECT_THAT(Read("250 ok\r\n"), ElementsAre("250,,ok"));
  EXPECT_THAT(Read("250 2.0.0 Ok: queued as X\r\n"), ElementsAre("250,2.0.0,Ok: queued as X"));
  EXPECT_THAT(Read("599 x\r\n"), ElementsAre("599,,x"));
}

TEST(Reply, SeveralLines) {
  EXPECT_THAT(Read("250-mx\r\n250-SIZE 10\r\n250 HELP\r\n"), ElementsAre("250,,mx|SIZE 10|HELP"));
  EXPECT_THAT(Read("250-\r\n250-a\r\n250\r\n"), ElementsAre("250,,|a|"));
}

TEST(Reply, SeveralReplies) {
  EXPECT_THAT(Read("250 a\r\n550-b\r\n550 c\r\n354 d\r\n2"),
              ElementsAre("250,,a", "550,,b|c", "354,,d", "partial"));
}

TEST(Reply, LaxServers) {
  EXPECT_THAT(Read("250 ok\n"), ElementsAre("250,,ok"));  // LF alone (R14).
  EXPECT_THAT(Read("250\r\n"), ElementsAre("250,,"));     // No space (C5).
  EXPECT_THAT(Read("250 \r\n"), ElementsAre("250,,"));
  EXPECT_THAT(Read("250-mx\n250 x\r\n"), ElementsAre("250,,mx|x"));  // Both ends in one reply.
}

TEST(Reply, EnhancedCodeOfEachLineIsTakenOut) {
  EXPECT_THAT(Read("550-5.1.1 no such\r\n550 5.1.1 user\r\n"),
              ElementsAre("550,5.1.1,no such|user"));
  EXPECT_THAT(Read("550-sorry\r\n550 5.1.1 no\r\n"), ElementsAre("550,5.1.1,sorry|no"));
  EXPECT_THAT(Read("550-5.1.1 no\r\n550 5.7.1 either\r\n"),
              ElementsAre("550,5.1.1,no|5.7.1 either"));
  EXPECT_THAT(Read("250 2.1.5\r\n"), ElementsAre("250,2.1.5,"));
  EXPECT_THAT(Read("452 4.123.999 x\r\n"), ElementsAre("452,4.123.999,x"));
}

TEST(Reply, WhatIsNoEnhancedCodeStaysInTheText) {
  EXPECT_THAT(Read("550 4.3.2 odd\r\n"), ElementsAre("550,,4.3.2 odd"));  // P28
  for (const absl::string_view text :
       {"5.1 x", "5.1.1x", "5.1.1.1 x", "5.1234.1 x", "5.1.1234 x", "5..1 x", "5.1. x", "51.1 x",
        "5", "5.", "5.1.", "6.1.1 x"}) {
    EXPECT_THAT(Read(absl::StrCat("550 ", text, "\r\n")), ElementsAre(absl::StrCat("550,,", text)));
  }
  EXPECT_THAT(Read("354 3.0.0 go\r\n"), ElementsAre("354,,3.0.0 go"));  // RFC 3463 has no class 3.
}

TEST(Reply, WhatIsNoReplyIsMalformed) {
  for (const absl::string_view line :
       {"", "2", "25", "abc", "hello", "150 x", "050 x", "650 x", "950 x", "25x ok", "2 0 x",
        " 250 ok", "250_ok", "250\tok", "2500 ok", "-250 ok", "25\xb2 ok"}) {
    EXPECT_THAT(Read(absl::StrCat(line, "\r\n")), ElementsAre("malformed")) << line;
  }
  EXPECT_THAT(Read(absl::string_view("250 a\0b\r\n", 9)), ElementsAre("malformed"));
  EXPECT_THAT(Read("250-a\r\n251 b\r\n"), ElementsAre("malformed"));
  EXPECT_THAT(Read("250-a\r\nb\r\n"), ElementsAre("malformed"));
  EXPECT_THAT(Read("250 a\r\nx\r\n250 b\r\n"), ElementsAre("250,,a", "malformed"));
}

std::string LineOf(absl::string_view front, size_t bytes) {
  return absl::StrCat(front, std::string(bytes - front.size(), 'x'));
}

TEST(Reply, LineAtItsBound) {
  constexpr size_t kMax = ReplyParser::kLineBytesMax;
  EXPECT_EQ(Read(absl::StrCat(LineOf("250 ", kMax), "\r\n"))[0].size(), kMax - 4 + 5);
  EXPECT_EQ(Read(absl::StrCat(LineOf("250 ", kMax), "\n"))[0].size(), kMax - 4 + 5);
  EXPECT_THAT(Read(absl::StrCat(LineOf("250 ", kMax + 1), "\r\n")), ElementsAre("malformed"));
  EXPECT_THAT(Read(absl::StrCat(LineOf("250 ", kMax + 1), "\n")), ElementsAre("malformed"));
}

TEST(Reply, LineWithoutEndIsNotKept) {
  ReplyParser parser;
  const std::string piece(1000, '2');
  EXPECT_THAT(Read(parser, piece), ElementsAre("partial"));
  EXPECT_THAT(Read(parser, piece), ElementsAre("partial"));
  EXPECT_THAT(Read(parser, piece), ElementsAre("malformed"));
}

TEST(Reply, LinesAtTheirBound) {
  std::string lines;
  for (size_t i = 1; i < ReplyParser::kLinesMax; ++i) lines += "250-x\r\n";
  EXPECT_EQ(Read(absl::StrCat(lines, "250 x\r\n")).front().substr(0, 7), "250,,x|");
  EXPECT_THAT(Read(absl::StrCat(lines, "250-x\r\n250 x\r\n")), ElementsAre("malformed"));
  // The bound is a reply's, not the session's.
  EXPECT_EQ(Read(absl::StrCat(lines, "250 x\r\n", lines, "250 x\r\n")).size(), 2u);
}

TEST(Reply, BytesAtTheirBound) {
  // 63 lines of 1,024 bytes, and one that fills the rest.
  std::string lines;
  for (int i = 0; i < 63; ++i) lines += LineOf("250-", 1022) + "\r\n";
  const size_t rest = ReplyParser::kReplyBytesMax - lines.size() - 2;
  EXPECT_EQ(Read(absl::StrCat(lines, LineOf("250 ", rest), "\r\n")).front().substr(0, 5), "250,,");
  EXPECT_THAT(Read(absl::StrCat(lines, LineOf("250 ", rest + 1), "\r\n")),
              ElementsAre("malformed"));
}

TEST(Reply, SplitAtEveryPosition) {
  const absl::string_view bytes =
      "250-2.1.0 mx\r\n250-\n250 2.1.0 a\r\n354 go\r\n550 4.1.1 no\r\n4";
  const std::vector<std::string> whole = Read(bytes);
  ASSERT_EQ(whole.size(), 4u);
  for (size_t first = 0; first <= bytes.size(); ++first) {
    for (size_t second = first; second <= bytes.size(); ++second) {
      ReplyParser parser;
      std::vector<std::string> replies;
      for (const absl::string_view piece :
           {bytes.substr(0, first), bytes.substr(first, second - first), bytes.substr(second)}) {
        if (!replies.empty() && replies.back() == "partial") replies.pop_back();
        const std::vector<std::string> more = Read(parser, piece);
        replies.insert(replies.end(), more.begin(), more.end());
      }
      ASSERT_EQ(replies, whole) << first << " " << second;
    }
  }
}

TEST(Reply, TakesNoMoreThanTheReply) {
  ReplyParser parser;
  absl::string_view input = "250 a\r\n250 b\r\n";
  EXPECT_EQ(parser.Take(input), Status::kReply);
  EXPECT_EQ(input, "250 b\r\n");
  EXPECT_FALSE(parser.partial());
}

TEST(Reply, ResetForgetsHalfAReply) {
  ReplyParser parser;
  EXPECT_THAT(Read(parser, "250-a\r\n25"), ElementsAre("partial"));
  parser.Reset();
  EXPECT_FALSE(parser.partial());
  EXPECT_THAT(Read(parser, "550 b\r\n"), ElementsAre("550,,b"));
}

TEST(Reply, ClassIsTheFirstDigit) {
  struct Row {
    int code;
    bool positive, intermediate, transient, permanent, closing;
  };
  for (const Row& row :
       {Row{250, true, false, false, false, false}, Row{299, true, false, false, false, false},
        Row{354, false, true, false, false, false}, Row{400, false, false, true, false, false},
        Row{421, false, false, true, false, true}, Row{500, false, false, false, true, false},
        Row{599, false, false, false, true, false}, Row{0, false, false, false, false, false}}) {
    const Reply reply = {row.code, {}, ""};
    EXPECT_EQ(reply.positive(), row.positive) << row.code;
    EXPECT_EQ(reply.intermediate(), row.intermediate) << row.code;
    EXPECT_EQ(reply.transient(), row.transient) << row.code;
    EXPECT_EQ(reply.permanent(), row.permanent) << row.code;
    EXPECT_EQ(reply.closing(), row.closing) << row.code;
  }
}

TEST(Reply, OnOneLineForLogs) {
  EXPECT_EQ((Reply{550, {5, 1, 1}, "no such user\ntry another"}).ToString(),
            "550 5.1.1 no such user / try another");
  EXPECT_EQ((Reply{250, {}, ""}).ToString(), "250");
  EXPECT_EQ((Reply{250, {2, 0, 0}, ""}).ToString(), "250 2.0.0");
  EXPECT_EQ((Reply{}).ToString(), "");
  EXPECT_EQ((Reply{250, {}, "a\x1b[2J\r\x7f"}).ToString(), "250 a?[2J??");  // F26
}

}  // namespace
}  // namespace sluice::smtp
