// The notice about TLS that must be and could not be had: how often it is said, and its text. The
// steps are the table's own words: 300 s, then twice as long each time, up to an hour. Nothing that
// a host says can add a header field, end the message, or leave the text.

#include "engine/delivery/alert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace sluice::delivery {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr Instant kStart{hours(1)};
constexpr Duration kMoment = milliseconds(1);

// --- Its pace.

// A failure each second for so long: the seconds of those that are said.
std::vector<int64_t> SaidOf(AlertPace& pace, int64_t from_s, int64_t to_s) {
  std::vector<int64_t> said;
  for (int64_t second = from_s; second < to_s; ++second) {
    if (pace.Take(kStart + seconds(second))) said.push_back(second);
  }
  return said;
}

TEST(AlertPace, GrowsFromFiveMinutesToAnHour) {
  AlertPace pace;
  EXPECT_THAT(SaidOf(pace, 0, 16'000),
              ElementsAre(0, 300, 900, 2100, 4500, 4500 + 3600, 4500 + 7200, 4500 + 10'800));
}

TEST(AlertPace, IsKeptToTheMoment) {
  AlertPace pace;
  EXPECT_TRUE(pace.Take(kStart));
  EXPECT_FALSE(pace.Take(kStart));
  EXPECT_FALSE(pace.Take(kStart + seconds(300) - kMoment));
  EXPECT_TRUE(pace.Take(kStart + seconds(300)));
  EXPECT_FALSE(pace.Take(kStart + seconds(900) - kMoment));
  EXPECT_TRUE(pace.Take(kStart + seconds(900)));
}

TEST(AlertPace, CountsFromWhatWasSaidAndNotFromWhatWasDue) {
  AlertPace pace;
  EXPECT_TRUE(pace.Take(kStart));
  EXPECT_TRUE(pace.Take(kStart + seconds(1000)));
  EXPECT_FALSE(pace.Take(kStart + seconds(1000 + 600) - kMoment));
  EXPECT_TRUE(pace.Take(kStart + seconds(1000 + 600)));
}

TEST(AlertPace, BeginsAnewAfterASuccess) {
  AlertPace pace;
  EXPECT_THAT(SaidOf(pace, 0, 2100), ElementsAre(0, 300, 900));
  pace.Reset(kStart + seconds(2100));
  EXPECT_THAT(SaidOf(pace, 2101, 3002), ElementsAre(2101, 2401, 3001));
}

// A host that does well and badly in turn is no reason for a notice each time.
TEST(AlertPace, IsNotHurriedByASuccess) {
  AlertPace pace;
  EXPECT_TRUE(pace.Take(kStart));
  pace.Reset(kStart + seconds(299));
  EXPECT_FALSE(pace.Take(kStart + seconds(299)));
  EXPECT_TRUE(pace.Take(kStart + seconds(300)));
}

TEST(AlertPace, OfASuccessWithoutAFailureIsNone) {
  AlertPace pace;
  pace.Reset(kStart);
  EXPECT_LE(pace.remembered_until(), kStart);
  EXPECT_TRUE(pace.Take(kStart));
}

TEST(AlertPace, IsRememberedForAnHourLongerThanItsInterval) {
  AlertPace pace;
  EXPECT_LE(pace.remembered_until(), kStart);
  pace.Take(kStart);
  EXPECT_EQ(pace.remembered_until(), kStart + seconds(300 + 3600));
  pace.Take(kStart + seconds(300));
  EXPECT_EQ(pace.remembered_until(), kStart + seconds(300 + 600 + 3600));
}

TEST(AlertPace, IsForgottenThenWhoeverStillHasIt) {
  AlertPace pace;
  EXPECT_THAT(SaidOf(pace, 0, 301), ElementsAre(0, 300));
  const int64_t forgotten = 300 + 600 + 3600;
  EXPECT_THAT(SaidOf(pace, forgotten, forgotten + 301), ElementsAre(forgotten, forgotten + 300));

  AlertPace remembered;
  EXPECT_THAT(SaidOf(remembered, 0, 301), ElementsAre(0, 300));
  EXPECT_THAT(SaidOf(remembered, forgotten - 1, forgotten + 1198), ElementsAre(forgotten - 1));
}

// --- Its text.

TlsAlert AlertAbout(absl::string_view detail) {
  return {.domain = "bank.example",
          .host = "mx1.bank.example [192.0.2.1]",
          .level = policy::TlsLevel::kRequireVerify,
          .reason = policy::TlsReason::kUntrusted,
          .detail = std::string(detail)};
}

std::string TextOf(const TlsAlert& alert) {
  return ComposeAlert({.hostname = "mta.example.net",
                       .alert_id = "0000000000002",
                       .address = "ops@near.example",
                       .now = WallTime(seconds(0)),
                       .alert = &alert});
}

struct Parts {
  std::vector<std::string> header;
  std::vector<std::string> body;  // Without the final dot.
};

// Held to the wire form on the way: RFC 5321 2.3.8, 4.1.1.4, 4.5.2, 4.5.3.1.6.
Parts Parted(const std::string& message) {
  EXPECT_TRUE(absl::EndsWith(message, "\r\n.\r\n"));
  std::vector<std::string> lines = absl::StrSplit(message, "\r\n");
  EXPECT_EQ(lines.back(), "");
  lines.pop_back();
  EXPECT_EQ(lines.back(), ".");
  lines.pop_back();
  Parts parts;
  bool header = true;
  for (const std::string& line : lines) {
    EXPECT_LE(line.size() + 2, 1000u);
    EXPECT_FALSE(absl::StartsWith(line, ".")) << line;
    for (const char c : line) EXPECT_TRUE(c >= ' ' && c <= '~') << int{c};
    if (header && line.empty()) {
      header = false;
    } else {
      (header ? parts.header : parts.body).push_back(line);
    }
  }
  EXPECT_FALSE(header);
  return parts;
}

// RFC 5322 3.6: the date and the author once, the others at most once; RFC 3834 5.
TEST(Alert, HasAHeaderOfItsOwn) {
  EXPECT_THAT(
      Parted(TextOf(AlertAbout("the chain ends at nobody we trust"))).header,
      ElementsAre("From: Mail Delivery System <MAILER-DAEMON@mta.example.net>",
                  "To: <ops@near.example>",
                  "Subject: TLS required by bank.example could not be had",
                  "Date: Thu, 01 Jan 1970 00:00:00 +0000",
                  "Message-ID: <0000000000002@mta.example.net>", "Auto-Submitted: auto-replied",
                  "MIME-Version: 1.0", "Content-Type: text/plain; charset=us-ascii"));
}

TEST(Alert, NamesDomainHostLevelReasonAndDetail) {
  const std::vector<std::string> body = Parted(TextOf(AlertAbout("not known here"))).body;
  EXPECT_THAT(body[0], HasSubstr("bank.example"));
  EXPECT_THAT(body[0], HasSubstr("Required - Verify"));
  EXPECT_THAT(body, Contains("  Destination: bank.example"));
  EXPECT_THAT(body, Contains("  Host: mx1.bank.example [192.0.2.1]"));
  EXPECT_THAT(body, Contains("  Level: require_verify"));
  EXPECT_THAT(body, Contains("  Reason: untrusted"));
  EXPECT_THAT(body, Contains("  not known here"));
}

TEST(Alert, HasTheWordsOfTheTableAndTheLog) {
  TlsAlert alert = AlertAbout("");
  alert.level = policy::TlsLevel::kRequired;
  alert.reason = policy::TlsReason::kStartTlsRefused;
  EXPECT_THAT(Parted(TextOf(alert)).body, Contains("  Level: required"));
  EXPECT_THAT(Parted(TextOf(alert)).body, Contains("  Reason: starttls-refused"));
  alert.level = policy::TlsLevel::kRequireVerifyHosted;
  alert.reason = policy::TlsReason::kNotYetValid;
  EXPECT_THAT(Parted(TextOf(alert)).body, Contains("  Level: require_verify_hosted"));
  EXPECT_THAT(Parted(TextOf(alert)).body, Contains("  Reason: not-yet-valid"));
}

TEST(Alert, LeavesOutADetailThatIsNotThere) {
  EXPECT_THAT(Parted(TextOf(AlertAbout(""))).body, Not(Contains("  ")));
}

TEST(Alert, HoldsWhatAHostSaidWithinTheText) {
  std::string hostile = "x\r\nBcc: victim@example\r\n\r\n.\r\nMAIL FROM:<>\r\n";
  for (int byte = 0; byte < 256; ++byte) hostile += static_cast<char>(byte);
  hostile += std::string(5000, '.');
  const Parts quiet = Parted(TextOf(AlertAbout("")));
  for (const std::string& detail : {hostile, std::string(5000, '.'), std::string("\r\n.\r\n")}) {
    const Parts parts = Parted(TextOf(AlertAbout(detail)));
    EXPECT_EQ(parts.header, quiet.header);
    for (const std::string& line : parts.body) {
      EXPECT_LE(line.size(), 80u);  // RFC 5322 2.1.1 has 78 for a soft bound; the indent beside.
      EXPECT_FALSE(absl::StartsWith(line, "Bcc"));
      EXPECT_FALSE(absl::StartsWith(line, "MAIL"));
    }
    EXPECT_EQ(parts.body.front(), quiet.body.front());
    EXPECT_EQ(parts.body.back(), quiet.body.back());
  }
}

TEST(Alert, FoldsWhatIsLongAndLosesNothing) {
  TlsAlert alert = AlertAbout(std::string(300, 'd'));
  alert.domain = std::string(245, 'a') + ".example";  // 253: RFC 1035 2.3.4 without its dots.
  alert.host = std::string(253, 'h') + " [2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]";
  const Parts parts = Parted(TextOf(alert));
  std::string unfolded;
  for (const std::string& line : parts.body) {
    unfolded += absl::StartsWith(line, "    ") ? line.substr(4) : line;
  }
  EXPECT_THAT(unfolded, HasSubstr("Destination: " + alert.domain));
  EXPECT_THAT(unfolded, HasSubstr("Host: " + alert.host));
  EXPECT_THAT(unfolded, HasSubstr(alert.detail));
}

}  // namespace
}  // namespace sluice::delivery
