// The Received line (RFC 5321 4.4) and the date of RFC 5322 3.3. The dates are those of a calendar.

#include "engine/smtp/trace.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"

namespace sluice::smtp {
namespace {

WallTime At(int64_t seconds) {
  return WallTime(std::chrono::seconds(seconds));
}

IpAddress Address(absl::string_view text) {
  return *IpAddress::Parse(text);
}

TEST(MailDate, IsInUniversalTime) {
  EXPECT_EQ(MailDate(At(0)), "Thu, 01 Jan 1970 00:00:00 +0000");
  EXPECT_EQ(MailDate(At(951782400)), "Tue, 29 Feb 2000 00:00:00 +0000");
  EXPECT_EQ(MailDate(At(1000000000)), "Sun, 09 Sep 2001 01:46:40 +0000");
  EXPECT_EQ(MailDate(At(1767225599)), "Wed, 31 Dec 2025 23:59:59 +0000");
  EXPECT_EQ(MailDate(At(2147483648)), "Tue, 19 Jan 2038 03:14:08 +0000");
}

TEST(MailDate, DropsWhatIsLessThanASecond) {
  EXPECT_EQ(MailDate(At(1) - std::chrono::nanoseconds(1)), "Thu, 01 Jan 1970 00:00:00 +0000");
  EXPECT_EQ(MailDate(At(0) - std::chrono::nanoseconds(1)), "Wed, 31 Dec 1969 23:59:59 +0000");
}

TEST(ReceivedLine, NamesClientHostAndMessage) {
  EXPECT_EQ(ReceivedLine("client.example", Address("192.0.2.1"), "mx.example.net", true, "A7",
                         "bob@y.example", At(1000000000)),
            "Received: from client.example ([192.0.2.1])\r\n\tby mx.example.net with ESMTP\r\n"
            "\tid A7\r\n\tfor <bob@y.example>;\r\n\tSun, 09 Sep 2001 01:46:40 +0000\r\n");
}

TEST(ReceivedLine, SaysSmtpAfterHeloAndTagsIpv6) {
  EXPECT_EQ(ReceivedLine("[IPv6:2001:db8::1]", Address("2001:db8::1"), "mx.example.net", false,
                         "A7", "", At(1000000000)),
            "Received: from [IPv6:2001:db8::1] ([IPv6:2001:db8::1])\r\n"
            "\tby mx.example.net with SMTP\r\n\tid A7;\r\n\tSun, 09 Sep 2001 01:46:40 +0000\r\n");
}

TEST(ReceivedLine, SaysEsmtpsUnderTls) {  // RFC 3848
  for (const bool esmtp : {true, false}) {
    EXPECT_EQ(
        ReceivedLine("c", Address("192.0.2.1"), "h", esmtp, "A7", "", At(1000000000), true),
        absl::StrCat("Received: from c ([192.0.2.1])\r\n\tby h with ", esmtp ? "ESMTPS" : "SMTP",
                     "\r\n\tid A7;\r\n\tSun, 09 Sep 2001 01:46:40 +0000\r\n"));
  }
}

TEST(ReceivedLine, ShowsNothingOfAHeloNameThatCouldMislead) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string line = ReceivedLine(std::string(1, static_cast<char>(byte)),
                                          Address("192.0.2.1"), "h", true, "i", "", At(0));
    const bool shown = byte != 0 && (std::isalnum(byte) ||
                                     absl::string_view(".-_:[]?").find(static_cast<char>(byte)) !=
                                         absl::string_view::npos);
    EXPECT_EQ(line.substr(0, 17), std::string("Received: from ") +
                                      (shown && byte < 128 ? static_cast<char>(byte) : '?') + " ")
        << byte;
  }
  EXPECT_EQ(ReceivedLine("", Address("192.0.2.1"), "h", true, "i", "", At(0)).substr(0, 23),
            "Received: from unknown ");
}

TEST(ReceivedLine, HasNoLineOver998BytesHoweverLongItsParts) {
  const std::string line =
      ReceivedLine(std::string(5000, 'h'), Address("2001:db8:1111:2222:3333:4444:5555:6666"),
                   std::string(253, 'n'), true, std::string(64, 'i'), std::string(254, 'f'), At(0));
  for (const absl::string_view part : absl::StrSplit(line, "\r\n")) EXPECT_LE(part.size(), 998u);
}

}  // namespace
}  // namespace sluice::smtp
