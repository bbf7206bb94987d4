// The message that tells a sender of a failure: its headers are fixed, and nothing that a remote
// server says can add one, end the message, or leave the text (fault F14).

#include "engine/delivery/bounce.h"

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "engine/delivery/attempt.h"
#include "gtest/gtest.h"

namespace sluice::delivery {
namespace {

std::string BounceWith(const smtp::Reply& reply, absl::string_view address = "b@y.example") {
  BounceFacts facts;
  facts.hostname = "mta.example.net";
  facts.bounce_id = "0000000000002";
  facts.message_id = "0000000000001";
  facts.sender = "a@x.example";
  facts.now = WallTime(std::chrono::seconds(0));
  facts.failed.push_back(
      {.address = address, .reply = &reply, .command = "RCPT TO", .peer_name = "mx.y.example"});
  return ComposeBounce(facts);
}

std::vector<std::string> Lines(const std::string& message) {
  return absl::StrSplit(message, "\r\n");
}

TEST(Bounce, SaysWhoFailedAndWhy) {
  const std::string message = BounceWith(OwnReply("550 5.1.1 no such user"));
  EXPECT_TRUE(absl::StrContains(message, "To: <a@x.example>\r\n"));
  EXPECT_TRUE(absl::StrContains(message, "Auto-Submitted: auto-replied\r\n"));
  EXPECT_TRUE(absl::StrContains(message, "Date: Thu, 01 Jan 1970 00:00:00 +0000\r\n"));
  EXPECT_TRUE(absl::StrContains(message, "<b@y.example>\r\n"));
  EXPECT_TRUE(absl::StrContains(message, "550 5.1.1 no such user\r\n"));
  EXPECT_TRUE(absl::StrContains(message, "mx.y.example answered to RCPT TO:\r\n"));
}

TEST(Bounce, EndsWithTheOnlyLineThatBeginsWithADot) {
  smtp::Reply reply = OwnReply("550 no");
  reply.text = std::string(80, '.') + "\n.\n..";
  const std::vector<std::string> lines = Lines(BounceWith(reply));
  ASSERT_GE(lines.size(), 2u);
  EXPECT_EQ(lines.back(), "");
  EXPECT_EQ(lines[lines.size() - 2], ".");
  for (size_t i = 0; i + 2 < lines.size(); ++i)
    EXPECT_FALSE(absl::StartsWith(lines[i], ".")) << lines[i];
}

TEST(Bounce, HoldsRemoteTextToPrintableTextWithinShortLines) {
  smtp::Reply reply = OwnReply("550 no");
  reply.text = "x\r\nBcc: victim@example\r\n\r\n.\r\n";
  for (int byte = 0; byte < 256; ++byte) reply.text += static_cast<char>(byte);
  reply.text += std::string(5000, 'y');
  const std::string message = BounceWith(reply);
  bool header = true;
  for (const std::string& line : Lines(message)) {
    EXPECT_LE(line.size(), 998u);
    for (const char c : line) EXPECT_TRUE(c >= ' ' && c <= '~') << int{c};
    if (line.empty()) header = false;
    EXPECT_FALSE(header && absl::StartsWith(line, "Bcc:"));
  }
  EXPECT_TRUE(absl::EndsWith(message, "\r\n.\r\n"));
}

TEST(Bounce, HasASubjectThatNobodyElseWrites) {
  const std::string message = BounceWith(OwnReply("550 no"), "\"Subject: x\"@y.example");
  int subjects = 0;
  for (const std::string& line : Lines(message)) subjects += absl::StartsWith(line, "Subject:");
  EXPECT_EQ(subjects, 1);
}

}  // namespace
}  // namespace sluice::delivery
