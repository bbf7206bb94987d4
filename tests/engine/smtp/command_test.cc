// Command lines as values: verbs, ESMTP parameters (RFC 1870, 6152, 3461) and the reply that a bad
// one deserves.

#include "engine/smtp/command.h"

#include <limits>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace sluice::smtp {
namespace {

static_assert(kCommandLineBytesMax == 1048);

constexpr Offered kAll = {.size = true, .eight_bit_mime = true, .dsn = true};

MailCommand Mail(absl::string_view parameters) {
  return ParseMail(absl::StrCat("FROM:<a@x.example>", parameters), kAll);
}

RcptCommand Rcpt(absl::string_view parameters) {
  return ParseRcpt(absl::StrCat("TO:<b@y.example>", parameters), kAll, "");
}

// The code of the reply, both of its forms: "501 5.5.4"; "" when there is none.
std::string Code(const Refusal& refusal) {
  return refusal.reply.substr(0, 9);
}

TEST(Command, HasAVerbInAnyCaseAndAnArgument) {
  const CommandLine command = SplitCommand("mAiL   FROM:<>  \t");
  EXPECT_EQ(command.verb, Verb::kMail);
  EXPECT_EQ(command.argument, "FROM:<>");
  EXPECT_EQ(SplitCommand("DATA").verb, Verb::kData);
  EXPECT_EQ(SplitCommand("DATA").argument, "");
  EXPECT_EQ(SplitCommand("StartTLS").verb, Verb::kStartTls);
}

TEST(Command, IsUnknownOrGarbage) {
  for (const absl::string_view line :
       {"", " NOOP", "NOOPX", "GET / HTTP/1.1", "MAIL:", "caf\xc3\xa9"}) {
    EXPECT_EQ(SplitCommand(line).verb, Verb::kUnknown) << line;
  }
  for (const absl::string_view line :
       {absl::string_view("NOOP \0", 6), absl::string_view("NOOP\tx"), absl::string_view("NOOP\n"),
        absl::string_view("\x7f"), absl::string_view("NOOP \xff")}) {
    EXPECT_EQ(SplitCommand(line).verb, Verb::kGarbage) << line;
  }
}

// F17: all two-byte sequences that begin outside ASCII. Valid: C2-DF and 80-BF (RFC 3629 4).
TEST(Command, KnowsValidUtf8) {
  for (int first = 0x80; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      if (second == ' ' || second == '\t') continue;  // Taken off the end.
      const std::string line =
          absl::StrCat("NOOP ", std::string{static_cast<char>(first), static_cast<char>(second)});
      const bool valid = first >= 0xc2 && first <= 0xdf && second >= 0x80 && second <= 0xbf;
      EXPECT_EQ(SplitCommand(line).verb, valid ? Verb::kNoop : Verb::kGarbage) << line;
    }
  }
  for (const absl::string_view valid :
       {"\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_EQ(SplitCommand(absl::StrCat("NOOP ", valid)).verb, Verb::kNoop);
  }
  for (const absl::string_view invalid :
       {"\xe0\x9f\xbf", "\xed\xa0\x80", "\xe2\x82", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80", "\xf0\x90\x80"}) {
    EXPECT_EQ(SplitCommand(absl::StrCat("NOOP ", invalid)).verb, Verb::kGarbage);
  }
}

TEST(MailCommand, TakesSpacesAfterTheColonAndNoOtherForm) {
  EXPECT_FALSE(ParseMail("from: <a@x.example>", kAll).refusal);
  for (const absl::string_view argument : {"", "<a@x.example>", "TO:<a@x.example>", "FROM <a@x>"}) {
    EXPECT_EQ(Code(ParseMail(argument, kAll).refusal), "501 5.5.4") << argument;
  }
}

TEST(MailCommand, TellsBadAddressesFromBadSyntax) {
  const Refusal bad = ParseMail("FROM:<a@>", kAll).refusal;
  EXPECT_EQ(Code(bad), "501 5.1.7");
  EXPECT_TRUE(bad.address);
  const Refusal utf8 = ParseMail("FROM:<\xc3\xa9@x.example>", kAll).refusal;
  EXPECT_EQ(Code(utf8), "553 5.6.7");
  EXPECT_TRUE(utf8.address);
  EXPECT_EQ(Code(ParseMail("FROM:<a@x.example>SIZE=1", kAll).refusal), "501 5.5.4");
  EXPECT_FALSE(ParseMail("FROM:<a@x.example>SIZE=1", kAll).refusal.address);
}

TEST(MailCommand, TakesEachParameterOnceAndInAnyOrder) {
  const MailCommand mail = Mail(" envid=e+2B1  BODY=8bitmime ret=FULL size=0042");
  EXPECT_FALSE(mail.refusal) << mail.refusal.reply;
  EXPECT_EQ(mail.sender.address, "a@x.example");
  EXPECT_EQ(mail.size_bytes, 42u);
  EXPECT_EQ(mail.body_type, BodyType::kEightBitMime);
  EXPECT_EQ(mail.ret, Return::kFull);
  EXPECT_EQ(mail.envelope_id, "e+2B1");
  for (const absl::string_view twice :
       {" SIZE=1 SIZE=1", " BODY=7BIT BODY=7BIT", " RET=FULL RET=HDRS", " ENVID=a ENVID=a"}) {
    EXPECT_EQ(Code(Mail(twice).refusal), "501 5.5.4") << twice;
  }
}

TEST(MailCommand, RefusesBadValues) {
  for (const absl::string_view bad : {" SIZE",      " SIZE=",       " SIZE=-1",
                                      " SIZE=+1",   " SIZE=1x",     " SIZE=000000000000000000001",
                                      " BODY",      " BODY=",       " BODY=BINARYMIME",
                                      " BODY=9BIT", " RET",         " RET=",
                                      " RET=NONE",  " ENVID",       " ENVID=",
                                      " ENVID=a=b", " ENVID=+",     " ENVID=+2",
                                      " ENVID=+2b", " ENVID=+0A",   " ENVID=+00",
                                      " ENVID=+7F", " ENVID=+C3+A9"}) {
    EXPECT_EQ(Code(Mail(bad).refusal), "501 5.5.4") << bad;
  }
}

TEST(MailCommand, HoldsTheBoundsOfItsParameters) {
  EXPECT_EQ(Mail(" SIZE=18446744073709551615").size_bytes, std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(Mail(" SIZE=18446744073709551616").size_bytes, std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(Mail(" SIZE=00000000000000000001").size_bytes, 1u);
  const std::string longest(100, 'e');
  EXPECT_FALSE(Mail(absl::StrCat(" ENVID=", longest)).refusal);
  EXPECT_TRUE(Mail(absl::StrCat(" ENVID=", longest, "e")).refusal);
}

TEST(MailCommand, RefusesParametersThatWereNotOffered) {
  for (const absl::string_view parameter :
       {" SIZE=1", " BODY=7BIT", " RET=FULL", " ENVID=a", " AUTH=<>", " SMTPUTF8", " REQUIRETLS",
        " X", " =1", " NOTIFY=NEVER"}) {
    EXPECT_EQ(Code(ParseMail(absl::StrCat("FROM:<>", parameter), Offered{}).refusal), "555 5.5.4")
        << parameter;
  }
  for (const absl::string_view parameter : {" AUTH=<>", " SMTPUTF8", " X", " NOTIFY=NEVER"}) {
    EXPECT_EQ(Code(Mail(parameter).refusal), "555 5.5.4") << parameter;
  }
}

TEST(RcptCommand, TakesNotifyAndTheOriginalRecipient) {
  const RcptCommand rcpt = Rcpt(" ORCPT=rfc822;B+2B@Y.example notify=failure,SUCCESS,delay");
  EXPECT_FALSE(rcpt.refusal) << rcpt.refusal.reply;
  EXPECT_EQ(rcpt.recipient.address, "b@y.example");
  EXPECT_EQ(rcpt.recipient.destination, "y.example");
  EXPECT_EQ(rcpt.recipient.notify, kNotifyFailure | kNotifySuccess | kNotifyDelay);
  EXPECT_EQ(rcpt.recipient.original_recipient, "rfc822;B+2B@Y.example");
  EXPECT_EQ(Rcpt(" NOTIFY=NEVER").recipient.notify, kNotifyNever);
  EXPECT_EQ(Rcpt("").recipient.notify, 0);
}

TEST(RcptCommand, RefusesBadValues) {
  for (const absl::string_view bad :
       {" NOTIFY", " NOTIFY=", " NOTIFY=NEVER,SUCCESS", " NOTIFY=DELAY,NEVER", " NOTIFY=SUCCESS,",
        " NOTIFY=ALWAYS", " NOTIFY=NEVER NOTIFY=NEVER", " ORCPT", " ORCPT=", " ORCPT=rfc822",
        " ORCPT=rfc822;", " ORCPT=;a@b", " ORCPT=rfc 822;a", " ORCPT=rfc_822;a",
        " ORCPT=rfc822;a=b", " ORCPT=rfc822;+0D+0A", " ORCPT=rfc822;a ORCPT=rfc822;a"}) {
    EXPECT_EQ(Code(Rcpt(bad).refusal), "501 5.5.4") << bad;
  }
  EXPECT_EQ(Code(ParseRcpt("FROM:<b@y.example>", kAll, "").refusal), "501 5.5.4");
  EXPECT_EQ(Code(ParseRcpt("TO:<>", kAll, "").refusal), "501 5.1.3");
  EXPECT_EQ(Code(Rcpt(" SIZE=1").refusal), "555 5.5.4");
  EXPECT_EQ(Code(ParseRcpt("TO:<b@y.example> NOTIFY=NEVER", Offered{}, "").refusal), "555 5.5.4");
}

TEST(RcptCommand, HoldsTheBoundOfTheOriginalRecipient) {
  const std::string longest = absl::StrCat("rfc822;", std::string(500 - 7, 'o'));
  EXPECT_FALSE(Rcpt(absl::StrCat(" ORCPT=", longest)).refusal);
  EXPECT_TRUE(Rcpt(absl::StrCat(" ORCPT=", longest, "o")).refusal);
}

// The line that needs all of the bound: the longest path and parameters, at their own bounds.
TEST(RcptCommand, FitsItsLineAtItsLongest) {
  const std::string line =
      absl::StrCat("RCPT TO:<", std::string(254, 'p'),
                   "> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=", std::string(500, 'o'), "\r\n");
  EXPECT_LE(line.size(), kCommandLineBytesMax);
}

// F13: after decoding too. Each byte as itself and as a hexchar.
TEST(Xtext, DecodesToPrintableAsciiOnly) {
  for (int byte = 0; byte < 256; ++byte) {
    const bool as_itself = byte > 0x20 && byte < 0x7f && byte != '+' && byte != '=';
    EXPECT_EQ(IsXtext(absl::StrCat("a", std::string(1, static_cast<char>(byte)))), as_itself)
        << byte;
    constexpr absl::string_view kDigits = "0123456789ABCDEF";
    const std::string hex = {'+', kDigits[static_cast<size_t>(byte / 16)],
                             kDigits[static_cast<size_t>(byte % 16)]};
    EXPECT_EQ(IsXtext(hex), byte >= 0x20 && byte < 0x7f) << byte;
  }
}

TEST(Refusal, NeverSaysTheClientsTextBack) {
  EXPECT_FALSE(absl::StrContains(Mail(" EVIL=1").refusal.reply, "EVIL"));
  EXPECT_FALSE(absl::StrContains(ParseMail("FROM:<EVIL>", kAll).refusal.reply, "EVIL"));
}

}  // namespace
}  // namespace sluice::smtp
