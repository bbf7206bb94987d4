// Which answers each kind of question takes, at its bounds and one beyond, and what is said to the
// others.

#include "tools/sluice/prompts.h"

#include <gtest/gtest.h>

#include <optional>
#include <sstream>

namespace sluice::tools {
namespace {

// One question, the answers as lines, and what was written.
struct Play {
  explicit Play(const std::string& answers)
      : in(answers), console(in, out, /*scripted=*/true), prompts(console) {}

  bool Wrong() const { return prompts.any_wrong(); }

  std::istringstream in;
  std::ostringstream out;
  StreamConsole console;
  Prompts prompts;
};

TEST(Prompts, NumbersAreTakenWithinTheirRange) {
  struct {
    const char* answer;
    std::optional<uint32_t> taken;
  } const rows[] = {
      {"1", 1},     {"1000", 1000},     {" 7 ", 7},   {"007", 7},  {"0", {}},
      {"1001", {}}, {"-1", {}},         {"+1", {}},   {"1.5", {}}, {"x", {}},
      {"1 2", {}},  {"4294967297", {}}, {"0x10", {}}, {"1e2", {}}, {"99999999999999999999", {}},
  };
  for (const auto& row : rows) {
    Play play(std::string(row.answer) + "\n42\n");
    EXPECT_EQ(play.prompts.Number("How many?", {.min = 1, .max = 1000}, 500),
              row.taken.value_or(42))
        << row.answer;
    EXPECT_EQ(play.Wrong(), !row.taken.has_value()) << row.answer;
    EXPECT_EQ(play.out.str().find("a whole number from 1 to 1000") != std::string::npos,
              !row.taken.has_value())
        << row.answer;
  }
}

TEST(Prompts, ANumberWithoutAnOfferMustBeGiven) {
  Play play("\n0\n");
  EXPECT_EQ(play.prompts.Number("How many?", {.min = 0, .max = 1000}, std::nullopt), 0U);
  EXPECT_EQ(play.out.str(),
            "How many?\n[]> \n\nThe answer must be a whole number from 0 to 1000.\n"
            "How many?\n[]> 0\n\n");
}

TEST(Prompts, YesAndNoAreTakenInAnyCase) {
  struct {
    const char* answer;
    bool taken;
  } const rows[] = {{"y", true},  {"Y", true},  {"yes", true}, {"YES", true},
                    {"n", false}, {"N", false}, {"no", false}, {"No", false}};
  for (const auto& row : rows) {
    Play play(std::string(row.answer) + "\n");
    EXPECT_EQ(play.prompts.YesNo("Is it?", !row.taken), row.taken) << row.answer;
    EXPECT_FALSE(play.Wrong()) << row.answer;
  }
  for (const char* wrong : {"maybe", "1", "yn", "yess"}) {
    Play play(std::string(wrong) + "\n\n");
    EXPECT_TRUE(play.prompts.YesNo("Is it?", true)) << wrong;
    EXPECT_NE(play.out.str().find("must be Y or N"), std::string::npos) << wrong;
  }
}

TEST(Prompts, ChoicesAreTakenByNumberOrWord) {
  const ChoiceQuestion question = {.text = "Which?", .choices = {"One", "Two"}, .offered = 1};
  struct {
    const char* answer;
    std::optional<size_t> taken;
  } const rows[] = {{"", 1},    {"1", 0},  {"2", 1},  {"one", 0},
                    {"TWO", 1}, {"0", {}}, {"3", {}}, {"o", {}}};
  for (const auto& row : rows) {
    Play play(std::string(row.answer) + "\n1\n");
    EXPECT_EQ(play.prompts.Choice(question), row.taken.value_or(0)) << row.answer;
    EXPECT_EQ(play.Wrong(), !row.taken.has_value()) << row.answer;
  }
  Play play("3\n\n");
  play.prompts.Choice(question);
  EXPECT_EQ(play.out.str(),
            "Which?\n1. One\n2. Two\n[2]> 3\n\n"
            "The answer must be a number from 1 to 2, or the words beside it.\n"
            "Which?\n1. One\n2. Two\n[2]> \n\n");
}

TEST(Prompts, WordsAreTakenInAnyCaseOrNone) {
  Play play("thre\nTwo\n\n");
  EXPECT_EQ(play.prompts.Word("Which?", {"ONE", "TWO"}), 1U);
  EXPECT_NE(play.out.str().find("must be one of ONE, TWO."), std::string::npos);
  EXPECT_EQ(play.prompts.Word("Which?", {"ONE", "TWO"}), std::nullopt);
  EXPECT_FALSE(play.prompts.over());
}

TEST(Prompts, TextIsCheckedUnlessItIsEmpty) {
  const TextQuestion question = {.text = "Who?", .check = [](const std::string& answer) {
                                   return answer == "me" ? absl::OkStatus()
                                                         : absl::InvalidArgumentError("Not you.");
                                 }};
  Play play("you\nme\n\n");
  EXPECT_EQ(play.prompts.Text(question), "me");
  EXPECT_EQ(play.out.str(), "Who?\n[]> you\n\nNot you.\nWho?\n[]> me\n\n");
  EXPECT_EQ(play.prompts.Text(question), "");
}

TEST(Prompts, TheLastLineNeedsNoEnd) {
  Play play("7");
  EXPECT_EQ(play.prompts.Number("How many?", {.min = 1, .max = 9}, 5), 7U);
  EXPECT_FALSE(play.prompts.over());
}

TEST(Prompts, BehindTheEndAllIsAnsweredAsOfferedAndNotAsked) {
  Play play("");
  EXPECT_TRUE(play.prompts.YesNo("Is it?", true));
  EXPECT_TRUE(play.prompts.over());
  EXPECT_FALSE(play.prompts.interrupted());
  EXPECT_EQ(play.prompts.Number("How many?", {.min = 1, .max = 9}, 5), 5U);
  EXPECT_EQ(play.prompts.Word("Which?", {"ONE"}), std::nullopt);
  EXPECT_EQ(play.out.str(), "Is it? [Y]> \n");
}

}  // namespace
}  // namespace sluice::tools
