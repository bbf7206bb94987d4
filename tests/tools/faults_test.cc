// Faults: their text, what it refuses and why, and when they strike.

#include "tools/sink/faults.h"

#include <gtest/gtest.h>

namespace sluice::tools {
namespace {

TEST(FaultText, IsFieldsInAnyOrder) {
  const auto fault =
      Fault::Parse("probability=0.1,reply=450 4.7.1 later,stage=rcpt,times=3,port=2525");
  ASSERT_TRUE(fault.ok()) << fault.status();
  EXPECT_EQ(fault->stage, FaultStage::kRcpt);
  EXPECT_EQ(fault->action, FaultAction::kReply);
  EXPECT_EQ(fault->reply, "450 4.7.1 later");
  EXPECT_EQ(fault->probability, 0.1);
  EXPECT_EQ(fault->times_max, 3u);
  EXPECT_EQ(fault->port, 2525);
}

TEST(FaultText, MayHaveCommasInItsReply) {
  const auto fault = Fault::Parse("stage=dot,reply=451 4.3.0 later, please,domain=X.Example.");
  ASSERT_TRUE(fault.ok()) << fault.status();
  EXPECT_EQ(fault->reply, "451 4.3.0 later, please");
  EXPECT_EQ(fault->domain, "x.example");
}

TEST(FaultText, NamesEveryStageAndAction) {
  const std::pair<const char*, FaultStage> stages[] = {
      {"connect", FaultStage::kConnect}, {"greeting", FaultStage::kConnect},
      {"helo", FaultStage::kHelo},       {"starttls", FaultStage::kStartTls},
      {"mail", FaultStage::kMail},       {"rcpt", FaultStage::kRcpt},
      {"data", FaultStage::kData},       {"dot", FaultStage::kDot}};
  for (const auto& [name, stage] : stages) {
    const auto fault = Fault::Parse(std::string("action=drop,stage=") + name);
    ASSERT_TRUE(fault.ok()) << fault.status();
    EXPECT_EQ(fault->stage, stage);
  }
  const std::pair<const char*, FaultAction> actions[] = {
      {"action=reply,reply=550 no", FaultAction::kReply},
      {"action=drop", FaultAction::kDrop},
      {"action=close421", FaultAction::kClose421},
      {"action=delay,delay_ms=1", FaultAction::kDelay},
      {"action=accept_drop", FaultAction::kAcceptDrop}};
  for (const auto& [text, action] : actions) {
    const auto fault = Fault::Parse(std::string("stage=dot,") + text);
    ASSERT_TRUE(fault.ok()) << fault.status();
    EXPECT_EQ(fault->action, action);
  }
  EXPECT_TRUE(Fault::Parse("stage=data,action=slow,bytes_per_s=1000").ok());
}

TEST(FaultText, IsRefusedWithTheReason) {
  for (const char* text : {
           "",
           "stage=rcpt",
           "reply=450 x",
           "stage=body,action=drop",
           "stage=rcpt,action=explode",
           "stage=rcpt,reply=250 ok",
           "stage=starttls,reply=220 go",
           "stage=starttls,reply=454 no,domain=x.example",
           "stage=rcpt,reply=354 go",
           "stage=rcpt,reply=45",
           "stage=rcpt,reply=450x",
           "stage=rcpt,reply=450 a\r\nb",
           "stage=rcpt,reply=450 x,probability=1.1",
           "stage=rcpt,reply=450 x,probability=-0.1",
           "stage=rcpt,reply=450 x,probability=nan",
           "stage=rcpt,reply=450 x,stage=dot",
           "stage=rcpt,reply=450 x,times=0",
           "stage=rcpt,reply=450 x,port=65536",
           "stage=rcpt,reply=450 x,domain=a..b",
           "stage=mail,reply=450 x,domain=x.example",
           "stage=rcpt,action=drop,reply=450 x",
           "stage=rcpt,action=delay",
           "stage=rcpt,action=delay,delay_ms=0",
           "stage=rcpt,action=drop,delay_ms=5",
           "stage=rcpt,action=slow",
           "stage=dot,action=slow,bytes_per_s=5",
           "stage=rcpt,action=accept_drop",
           "stage=rcpt,action=close421,reply=450 x",
           "stage=rcpt,color=blue,action=drop",
           "rcpt",
       }) {
    const auto fault = Fault::Parse(text);
    EXPECT_FALSE(fault.ok()) << text;
    EXPECT_NE(fault.status().message().find(text), absl::string_view::npos) << text;
  }
}

std::vector<Fault> All(std::initializer_list<const char*> texts) {
  std::vector<Fault> faults;
  for (const char* text : texts) faults.push_back(*Fault::Parse(text));
  return faults;
}

TEST(Faults, StrikeAtTheirStagePortAndDomainOnly) {
  Faults faults(All({"stage=rcpt,action=drop,port=26,domain=x.example"}), 1);
  EXPECT_EQ(faults.Next(FaultStage::kDot, 26, "x.example"), nullptr);
  EXPECT_EQ(faults.Next(FaultStage::kRcpt, 25, "x.example"), nullptr);
  EXPECT_EQ(faults.Next(FaultStage::kRcpt, 26, "y.example"), nullptr);
  EXPECT_NE(faults.Next(FaultStage::kRcpt, 26, "x.example"), nullptr);
  EXPECT_TRUE(faults.Any(FaultStage::kRcpt));
  EXPECT_FALSE(faults.Any(FaultStage::kDot));
}

TEST(Faults, StrikeSoOftenAndLeaveTheRestToTheNext) {
  Faults faults(All({"stage=mail,action=drop,times=2", "stage=mail,reply=450 x,times=1"}), 1);
  EXPECT_EQ(faults.Next(FaultStage::kMail, 25, "")->action, FaultAction::kDrop);
  EXPECT_EQ(faults.Next(FaultStage::kMail, 25, "")->action, FaultAction::kDrop);
  EXPECT_EQ(faults.Next(FaultStage::kMail, 25, "")->action, FaultAction::kReply);
  EXPECT_EQ(faults.Next(FaultStage::kMail, 25, ""), nullptr);
  EXPECT_EQ(faults.all()[0].times, 2u);
}

TEST(Faults, StrikeWithTheirProbabilityAndAlikeFromOneSeed) {
  Faults never(All({"stage=mail,action=drop,probability=0"}), 1);
  Faults one(All({"stage=mail,action=drop,probability=0.25"}), 5);
  Faults two(All({"stage=mail,action=drop,probability=0.25"}), 5);
  int struck = 0;
  for (int i = 0; i < 10'000; ++i) {
    EXPECT_EQ(never.Next(FaultStage::kMail, 25, ""), nullptr);
    const bool strikes = one.Next(FaultStage::kMail, 25, "") != nullptr;
    EXPECT_EQ(two.Next(FaultStage::kMail, 25, "") != nullptr, strikes);
    struck += strikes;
  }
  // 2,500 expected; the standard deviation is 43, and this is six of them.
  EXPECT_NEAR(struck, 2500, 260);
}

}  // namespace
}  // namespace sluice::tools
