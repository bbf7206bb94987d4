// The questions about an entry, their order and what is offered, and the options that the answers
// come to; expected from the appliance's dialogue. Answers come from a script, and what is asked is
// the last line of each question.

#include "tools/sluice/controls_questions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

namespace sluice::tools {
namespace {

using policy::ControlsEntry;
using policy::TlsLevel;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Behind the last answer comes the end.
class ScriptedConsole : public Console {
 public:
  explicit ScriptedConsole(std::deque<std::string> answers) : answers_(std::move(answers)) {}

  void Write(absl::string_view text) override { written.append(text.data(), text.size()); }
  Line Ask(const Prompt& prompt) override {
    asked.push_back(prompt.text);
    written += prompt.text;
    if (answers_.empty()) return {.kind = Line::Kind::kEnd};
    Line line = {.text = answers_.front()};
    answers_.pop_front();
    return line;
  }
  bool scripted() const override { return true; }

  std::vector<std::string> asked;
  std::string written;

 private:
  std::deque<std::string> answers_;
};

class ControlsQuestionsTest : public ::testing::Test {
 protected:
  static ControlsEntry Entry(const std::string& domain) {
    ControlsEntry entry;
    entry.domain = domain;
    return entry;
  }

  std::vector<std::string> New(std::deque<std::string> answers) {
    return Asked(Entry("x.example"), std::move(answers), [](ControlsQuestions& questions) {
      return questions.AskOfDomain(/*is_new=*/true);
    });
  }
  std::vector<std::string> Edit(const ControlsEntry& entry, std::deque<std::string> answers) {
    return Asked(entry, std::move(answers), [](ControlsQuestions& questions) {
      return questions.AskOfDomain(/*is_new=*/false);
    });
  }
  std::vector<std::string> All(const ControlsEntry& entry, std::deque<std::string> answers) {
    return Asked(entry, std::move(answers),
                 [](ControlsQuestions& questions) { return questions.AskOfAll(); });
  }
  std::vector<std::string> Default(const ControlsEntry& entry, std::deque<std::string> answers) {
    return Asked(entry, std::move(answers),
                 [](ControlsQuestions& questions) { return questions.AskOfDefault(); });
  }

  ControlsEntry default_entry_;
  ControlsNames names_ = {.bounce_profiles = {{"Default", "tls_failed"}},
                          .certificates = {{"mta-2026"}}};
  std::vector<std::string> prompts_asked_;
  std::string written_;
  bool over_ = false;

 private:
  template <class Ask>
  std::vector<std::string> Asked(const ControlsEntry& entry, std::deque<std::string> answers,
                                 Ask ask) {
    ScriptedConsole console(std::move(answers));
    Prompts prompts(console);
    ControlsQuestions questions(prompts, entry, default_entry_, names_);
    std::vector<std::string> options = ask(questions);
    prompts_asked_ = console.asked;
    written_ = console.written;
    over_ = prompts.over();
    return options;
  }
};

TEST_F(ControlsQuestionsTest, NoToAllSaysNothing) {
  EXPECT_THAT(New({"n", "n", "n", "n", "n", "n", "n"}), IsEmpty());
  EXPECT_THAT(prompts_asked_, SizeIs(7));
  EXPECT_FALSE(over_);
}

TEST_F(ControlsQuestionsTest, EveryAttributeIsSaidInTheOrderOfTheQuestions) {
  EXPECT_THAT(
      New({"y", "20", "y", "5", "y", "1", "180", "2", "2", "y", "6", "y", "y", "y", "2", "y", "3"}),
      ElementsAre("max_host_concurrency=20", "max_messages_per_connection=5", "recipient_minutes=1",
                  "recipient_limit=180", "limit_type=MXIP", "limit_apply=VG",
                  "table_tls=require_verify_hosted", "bounce_validation=on",
                  "bounce_profile=tls_failed", "ip_sort_pref=PREFER_V4"));
  EXPECT_THAT(prompts_asked_, SizeIs(17));
}

TEST_F(ControlsQuestionsTest, EmptyAnswersTakeWhatIsOffered) {
  EXPECT_THAT(New({"", "", "", "", "", "", "", "", "", ""}),
              ElementsAre("max_host_concurrency=500", "limit_type=host", "limit_apply=system"));
  EXPECT_FALSE(over_);
}

// The kind of limit is asked for where there is a limit: connections or recipients, not messages.
TEST_F(ControlsQuestionsTest, KindOfLimitIsAskedForBehindALimit) {
  const std::string scope = "Select how you want to apply the limits";
  New({"n", "y", "5", "n", "n", "n", "n", "n"});
  EXPECT_THAT(written_, testing::Not(HasSubstr(scope)));
  New({"n", "n", "y", "60", "9", "1", "1", "n", "n", "n", "n"});
  EXPECT_THAT(written_, HasSubstr(scope));
  New({"y", "9", "n", "n", "1", "1", "n", "n", "n", "n"});
  EXPECT_THAT(written_, HasSubstr(scope));
}

TEST_F(ControlsQuestionsTest, ChoicesAreTakenByTheirWordsToo) {
  EXPECT_THAT(New({"no", "NO", "No", "Yes", "required - verify", "n", "n", "n"}),
              ElementsAre("table_tls=require_verify"));
}

TEST_F(ControlsQuestionsTest, AnEditOffersWhatTheEntrySays) {
  ControlsEntry entry = Entry("x.example");
  entry.messages_per_connection_max = 7;
  entry.tls.level = TlsLevel::kOnVerify;
  EXPECT_THAT(Edit(entry, {"", "", "", "", "", "", "", "", ""}), IsEmpty());
  EXPECT_THAT(
      prompts_asked_,
      ElementsAre("Do you wish to configure a concurrency limit for x.example? [N]> ",
                  "Do you wish to apply a messages-per-connection limit to this domain? "
                  "[Y]> ",
                  "[7]> ", "Do you wish to apply a recipient limit to this domain? [N]> ",
                  "Do you wish to apply a specific TLS setting for this domain? [Y]> ", "[4]> ",
                  "Do you wish to apply a specific bounce verification address tagging "
                  "setting for this domain? [N]> ",
                  "Do you wish to apply a specific bounce profile to this domain? [N]> ",
                  "Do you wish to apply a specific IP sort preference to this domain? "
                  "[N]> "));
}

TEST_F(ControlsQuestionsTest, NoInAnEditLeavesOutWhatTheEntrySays) {
  ControlsEntry entry = Entry("x.example");
  entry.messages_per_connection_max = 7;
  entry.tls.level = TlsLevel::kOn;
  EXPECT_THAT(Edit(entry, {"n", "n", "n", "n", "n", "n", "n"}),
              ElementsAre("max_messages_per_connection=default", "table_tls=default"));
}

TEST_F(ControlsQuestionsTest, TheDefaultsPreferenceIsOffered) {
  default_entry_.ip_preference = policy::IpPreference::kRequireV4;
  EXPECT_THAT(New({"n", "n", "n", "n", "n", "n", "y", ""}), ElementsAre("ip_sort_pref=REQUIRE_V4"));
  EXPECT_EQ(prompts_asked_.back(), "[4]> ");
}

TEST_F(ControlsQuestionsTest, TheDefaultHasNoGateButOfRecipients) {
  EXPECT_THAT(Default(default_entry_, {"", "", "", "", "", "", "", ""}), IsEmpty());
  EXPECT_THAT(
      prompts_asked_,
      ElementsAre("[500]> ", "[50]> ", "Do you wish to apply a recipient limit by default? [N]> ",
                  "[1]> ", "[1]> ", "[1]> ", "Perform bounce verification address tagging? [N]> ",
                  "[1]> "));
  EXPECT_THAT(Default(default_entry_, {"7", "50", "y", "60", "0", "1", "1", "3", "n", "4"}),
              ElementsAre("max_host_concurrency=7", "recipient_minutes=60", "recipient_limit=0",
                          "table_tls=required", "ip_sort_pref=REQUIRE_V4"));
}

TEST_F(ControlsQuestionsTest, TheDemoCertificateIsNoneThatIsNamed) {
  EXPECT_THAT(All(default_entry_, {"", ""}), IsEmpty());
  EXPECT_THAT(written_, HasSubstr("this will not be secure"));
  EXPECT_THAT(All(default_entry_, {"2", "y"}),
              ElementsAre("certificate=mta-2026", "send_tls_req_alert=on"));
  ControlsEntry entry;
  entry.tls.certificate = "mta-2026";
  entry.tls.alert_where_required_fails = true;
  EXPECT_THAT(All(entry, {"", ""}), IsEmpty());
  EXPECT_THAT(prompts_asked_,
              ElementsAre("Please choose the certificate to apply: [2]> ",
                          "Do you want to send an alert when a required TLS connection fails? "
                          "[Y]> "));
  EXPECT_THAT(All(entry, {"Demo", "n"}),
              ElementsAre("certificate=default", "send_tls_req_alert=off"));
}

TEST_F(ControlsQuestionsTest, ACertificateThatIsNotConfiguredAnyMoreIsKept) {
  ControlsEntry entry;
  entry.tls.certificate = "mta-2019";
  EXPECT_THAT(All(entry, {"", ""}), IsEmpty());
  EXPECT_EQ(prompts_asked_[0], "Please choose the certificate to apply: [3]> ");
}

TEST_F(ControlsQuestionsTest, UnknownNamesAreTypedFreely) {
  names_ = {};
  EXPECT_THAT(All(default_entry_, {"any name", "n"}), ElementsAre("certificate=any name"));
  EXPECT_THAT(New({"n", "n", "n", "n", "n", "y", "slow", "n"}), ElementsAre("bounce_profile=slow"));
  EXPECT_THAT(New({"n", "n", "n", "n", "n", "y", "", "n"}), IsEmpty());
}

TEST_F(ControlsQuestionsTest, NothingIsAskedBehindTheEnd) {
  New({"y"});
  EXPECT_TRUE(over_);
  EXPECT_THAT(prompts_asked_, SizeIs(2));
}

}  // namespace
}  // namespace sluice::tools
