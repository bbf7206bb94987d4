// The six levels: the appliance's numbers, words and names, and which of them require TLS and look
// at certificates.

#include "policy/tls_level.h"

#include <string>

#include "absl/strings/ascii.h"
#include "gtest/gtest.h"

namespace sluice::policy {
namespace {

struct Level {
  TlsLevel level;
  int number;
  const char* word;
  const char* long_name;
  bool prefers, requires_tls, verifies;
};

constexpr Level kLevels[] = {
    {TlsLevel::kOff, 0, "off", "No", false, false, false},
    {TlsLevel::kOn, 1, "on", "Preferred", true, false, false},
    {TlsLevel::kRequired, 2, "required", "Required", false, true, false},
    {TlsLevel::kOnVerify, 3, "on_verify", "Preferred - Verify", true, false, true},
    {TlsLevel::kRequireVerify, 4, "require_verify", "Required - Verify", false, true, true},
    {TlsLevel::kRequireVerifyHosted, 5, "require_verify_hosted", "Required - Verify Hosted Domains",
     false, true, true},
};

TEST(TlsLevel, NumbersWordsAndNames) {
  for (const Level& row : kLevels) {
    EXPECT_EQ(static_cast<int>(row.level), row.number);
    EXPECT_EQ(TlsLevelName(row.level), row.word);
    EXPECT_EQ(TlsLevelLongName(row.level), row.long_name);
    EXPECT_EQ(ParseTlsLevel(std::to_string(row.number)), row.level);
    EXPECT_EQ(ParseTlsLevel(row.word), row.level);
    EXPECT_EQ(ParseTlsLevel(absl::AsciiStrToUpper(row.word)), row.level);
  }
  EXPECT_EQ(ParseTlsLevel("On_Verify"), TlsLevel::kOnVerify);
}

TEST(TlsLevel, RequireIsTheBatchCommandsRequired) {
  EXPECT_EQ(ParseTlsLevel("require"), TlsLevel::kRequired);
  EXPECT_EQ(ParseTlsLevel("Require"), TlsLevel::kRequired);
}

TEST(TlsLevel, OtherTextIsNone) {
  for (const char* text : {"",
                           " ",
                           "6",
                           "-1",
                           "00",
                           "01",
                           "1.0",
                           "on ",
                           " on",
                           "o",
                           "onverify",
                           "on-verify",
                           "No",
                           "Preferred",
                           "required_verify",
                           "require_verify_",
                           "require_verify_hosted_domains",
                           "yes",
                           "true",
                           "default",
                           "10"}) {
    EXPECT_FALSE(ParseTlsLevel(text).has_value()) << text;
  }
}

TEST(TlsLevel, WhatTheyAskFor) {
  for (const Level& row : kLevels) {
    EXPECT_EQ(Prefers(row.level), row.prefers) << row.word;
    EXPECT_EQ(Requires(row.level), row.requires_tls) << row.word;
    EXPECT_EQ(Verifies(row.level), row.verifies) << row.word;
  }
}

}  // namespace
}  // namespace sluice::policy
