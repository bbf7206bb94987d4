// ParseExtensions reads what a server offered in its reply to EHLO (RFC 5321 4.1.1.1), and bears
// what servers do to the form of it (R13, S4).

#include "engine/smtp/extensions.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace sluice::smtp {
namespace {

Extensions Parse(absl::string_view lines) {
  return ParseExtensions({250, {}, absl::StrCat("mx.example\n", lines)});
}

TEST(Extensions, AllThatWeKnow) {
  const Extensions all = Parse(
      "PIPELINING\nSIZE 1000\n8BITMIME\nENHANCEDSTATUSCODES\nDSN\nSTARTTLS\nCHUNKING\nSMTPUTF8\n"
      "LIMITS MAILMAX=5 RCPTMAX=2 RCPTDOMAINMAX=1");
  EXPECT_TRUE(all.pipelining);
  EXPECT_TRUE(all.size);
  EXPECT_EQ(all.size_max, 1000u);
  EXPECT_TRUE(all.eight_bit_mime);
  EXPECT_TRUE(all.enhanced_status_codes);
  EXPECT_TRUE(all.dsn);
  EXPECT_TRUE(all.starttls);
  EXPECT_TRUE(all.chunking);
  EXPECT_TRUE(all.smtputf8);
  EXPECT_EQ(all.mail_max, 5u);
  EXPECT_EQ(all.recipients_max, 2u);
}

TEST(Extensions, NoneAreAssumed) {
  for (const absl::string_view lines : {"", "HELP", "VRFY\nETRN\nAUTH PLAIN LOGIN\nAUTH=LOGIN",
                                        "XPIPELINING\nPIPELININGX\nSIZE=1000\n\n \n\t"}) {
    const Extensions none = Parse(lines);
    EXPECT_FALSE(none.pipelining || none.size || none.eight_bit_mime || none.starttls) << lines;
    EXPECT_FALSE(none.dsn || none.chunking || none.smtputf8 || none.enhanced_status_codes);
    EXPECT_EQ(none.size_max + none.mail_max + none.recipients_max, 0u);
  }
}

TEST(Extensions, FirstLineIsTheGreeting) {
  EXPECT_FALSE(ParseExtensions({250, {}, "PIPELINING"}).pipelining);
  EXPECT_FALSE(ParseExtensions({250, {}, ""}).pipelining);
  EXPECT_TRUE(ParseExtensions({250, {}, "PIPELINING\nPIPELINING"}).pipelining);
}

TEST(Extensions, AnyCaseSpacesAndTabs) {
  EXPECT_TRUE(Parse("starttls").starttls);
  EXPECT_TRUE(Parse("StartTLS  \t ").starttls);
  EXPECT_TRUE(Parse(" PIPELINING\r").pipelining);
  EXPECT_EQ(Parse("size\t \t77 ").size_max, 77u);
  EXPECT_EQ(Parse("Limits\tmailmax=3\tRcptMax=4").recipients_max, 4u);
}

TEST(Extensions, SizeThatSaysNoLimit) {
  // C51, and what is no number: SIZE is offered, and no limit is known.
  for (const absl::string_view line : {"SIZE", "SIZE 0", "SIZE abc", "SIZE -1", "SIZE +1",
                                       "SIZE 10k", "SIZE 99999999999999999999"}) {
    EXPECT_TRUE(Parse(line).size) << line;
    EXPECT_EQ(Parse(line).size_max, 0u) << line;
  }
  EXPECT_EQ(Parse("SIZE 18446744073709551615").size_max, UINT64_MAX);
  EXPECT_EQ(Parse("SIZE 10 20").size_max, 10u);
}

TEST(Extensions, NonsenseLimitsAreIgnored) {
  for (const absl::string_view line :
       {"LIMITS", "LIMITS MAILMAX", "LIMITS MAILMAX=", "LIMITS MAILMAX=x", "LIMITS MAILMAX=0",
        "LIMITS MAILMAX=-1", "LIMITS MAILMAX=1000000", "LIMITS =5", "MAILMAX=5"}) {
    EXPECT_EQ(Parse(line).mail_max, 0u) << line;
  }
  EXPECT_EQ(Parse("LIMITS MAILMAX=999999").mail_max, 999999u);  // RFC 9422 4: six digits.
  EXPECT_EQ(Parse("LIMITS MAILMAX=x RCPTMAX=7 OTHER=1").recipients_max, 7u);
}

}  // namespace
}  // namespace sluice::smtp
