// What an operator may ask to be suspended and resumed, and what is refused with which sentence.
// The forms are admin/API.md's.

#include "engine/suspend_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string Why(const absl::Status& status) {
  return std::string(status.message());
}

TEST(SuspendedDomain, IsADomainAPartialOneOrAll) {
  EXPECT_EQ(*ParseSuspendedDomain("Example.COM."), "example.com");
  EXPECT_EQ(*ParseSuspendedDomain(".Example.com"), ".example.com");
  EXPECT_EQ(*ParseSuspendedDomain("b\xC3\xBC"
                                  "cher.example"),
            "xn--bcher-kva.example");
  EXPECT_EQ(*ParseSuspendedDomain("[192.0.2.1]"), "[192.0.2.1]");
  EXPECT_EQ(*ParseSuspendedDomain("ALL"), "");
  EXPECT_EQ(*ParseSuspendedDomain("all"), "");
}

TEST(SuspendedDomain, IsNothingElse) {
  for (const char* text :
       {"", ".", "..", "a..b", "a@b.example", "a b", "*.example", ".[192.0.2.1]"})
    EXPECT_THAT(Why(ParseSuspendedDomain(text).status()), HasSubstr("is no domain")) << text;
}

TEST(Span, HasAUnit) {
  EXPECT_EQ(*ParseSpan("90s"), std::chrono::seconds(90));
  EXPECT_EQ(*ParseSpan("30m"), std::chrono::minutes(30));
  EXPECT_EQ(*ParseSpan("1h"), std::chrono::hours(1));
  EXPECT_EQ(*ParseSpan("2D"), std::chrono::hours(48));
  EXPECT_EQ(*ParseSpan("365d"), std::chrono::hours(365 * 24));
  EXPECT_EQ(*ParseSpan("31536000s"), std::chrono::hours(365 * 24));
}

TEST(Span, IsRefusedOutsideItsBoundsAndInOtherForms) {
  for (const char* text : {"", "s", "5", "0s", "-1h", "+1h", "1.5h", "1 h", "1w", "1hh", "366d",
                           "31536001s", "99999999999s", "9999999999999999999999d"})
    EXPECT_THAT(Why(ParseSpan(text).status()), HasSubstr("is no time")) << text;
}

TEST(SuspendRequest, IsOfAllWithoutDomains) {
  for (const char* body : {R"({"reason": "x"})", R"({"domains": [], "reason": "x"})"}) {
    const absl::StatusOr<SuspendRequest> request = ParseSuspendRequest(body);
    ASSERT_TRUE(request.ok()) << request.status();
    EXPECT_THAT(request->domains, ElementsAre(""));
    EXPECT_EQ(request->span, std::nullopt);
    EXPECT_EQ(request->reason, "x");
  }
}

TEST(SuspendRequest, NamesDomainsAndATime) {
  const absl::StatusOr<SuspendRequest> request =
      ParseSuspendRequest(R"({"domains": ["A.example", ".b"], "for": "1h", "reason": "x y"})");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_THAT(request->domains, ElementsAre("a.example", ".b"));
  EXPECT_EQ(request->span, std::chrono::hours(1));
}

TEST(SuspendRequest, IsRefusedWithASentence) {
  const struct {
    std::string body;
    const char* why;
  } kRefused[] = {
      {"", "a reason is required"},
      {"{}", "a reason is required"},
      {R"({"reason": " "})", "a reason is required"},
      {R"({"reason": 1})", "a reason is required"},
      {R"({"reason": "a\nb"})", "one line"},
      {R"({"reason": ")" + std::string(401, 'x') + R"("})", "401 bytes"},
      {R"({"reason": "x", "domains": "a.example"})", "no list"},
      {R"({"reason": "x", "domains": [1]})", "strings"},
      {R"({"reason": "x", "domains": ["a.example", "b..c"]})", "'b..c' is no domain"},
      {R"({"reason": "x", "for": 3600})", "must be a string"},
      {R"({"reason": "x", "until": "1h"})", "'until' is no part"},
      {"[]", "no JSON object"},
      {"nonsense", "no JSON object"},
  };
  for (const auto& refused : kRefused) {
    EXPECT_THAT(Why(ParseSuspendRequest(refused.body).status()), HasSubstr(refused.why))
        << refused.body;
  }
  EXPECT_TRUE(ParseSuspendRequest(R"({"reason": ")" + std::string(400, 'x') + R"("})").ok());
}

// Whoever walks down into it needs a stack as deep.
TEST(SuspendRequest, DeepNestingIsRefusedToo) {
  const std::string deep(400000, '[');
  const std::string body =
      R"({"reason": "x", "for": )" + deep + std::string(deep.size(), ']') + "}";
  EXPECT_FALSE(ParseSuspendRequest(body).ok());
}

TEST(ResumeRequest, NamesDomainsOrIsOfAllThatIsSuspended) {
  EXPECT_THAT(*ParseResumeRequest(R"({"domains": ["A.example", "ALL"]})"),
              ElementsAre("a.example", ""));
  EXPECT_THAT(*ParseResumeRequest(""), IsEmpty());
  EXPECT_THAT(Why(ParseResumeRequest(R"({"domain": "a.example"})").status()),
              HasSubstr("'domain' is no part"));
}

}  // namespace
}  // namespace sluice
