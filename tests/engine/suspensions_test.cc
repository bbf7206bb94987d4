// The list of suspended destinations on the disk: what survives, what ends, what is refused, and
// that a damaged file is an error. Files are those of a temporary folder; the file's text is
// written by hand where it is read.

#include "engine/suspensions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace sluice {
namespace {

using policy::Suspension;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

const WallTime kNow(seconds(1764041281));

Suspension Of(const std::string& domain, const std::string& reason = "x") {
  return {.domain = domain, .since = kNow, .reason = reason};
}

class SuspensionListTest : public testing::Test {
 protected:
  SuspensionListTest() {
    std::string folder = testing::TempDir() + "sluice-suspensions-XXXXXX";
    folder_ = mkdtemp(folder.data());
    path_ = folder_ + "/suspensions.json";
  }
  ~SuspensionListTest() override { std::filesystem::remove_all(folder_); }

  // As after a restart.
  SuspensionList List() const {
    absl::StatusOr<SuspensionList> list = SuspensionList::Load(path_);
    EXPECT_TRUE(list.ok()) << list.status();
    return *std::move(list);
  }
  void Suspend(std::vector<Suspension> more) const {
    const absl::Status done = List().Suspend(std::move(more), kNow);
    ASSERT_TRUE(done.ok()) << done;
  }
  std::vector<std::string> Names(WallTime now = kNow) const {
    std::vector<std::string> names;
    for (const Suspension& one : List().Active(now)) names.push_back(SuspendedName(one));
    return names;
  }
  void Write(const std::string& text) const { std::ofstream(path_, std::ios::binary) << text; }
  std::string Read() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  std::string folder_;
  std::string path_;
};

TEST_F(SuspensionListTest, IsEmptyWithoutAFile) {
  EXPECT_THAT(Names(), IsEmpty());
  EXPECT_TRUE(List().ForShards(kNow)->empty());
}

TEST_F(SuspensionListTest, SurvivesWhole) {
  Suspension one = Of("a.example", "their disk is \"full\" \xC3\xA4");
  one.since = kNow + std::chrono::nanoseconds(123456789);
  one.until = kNow + seconds(3600);
  Suspend({one, Of(".example"), Of("")});
  EXPECT_THAT(List().Active(kNow), ElementsAre(Of(""), Of(".example"), one));
  EXPECT_EQ(*List().ForShards(kNow)->Find("a.example", kNow), one);
}

TEST_F(SuspensionListTest, ReplacesTheOneOfTheSameDomain) {
  Suspend({Of("a.example", "first"), Of("b.example")});
  Suspend({Of("a.example", "second")});
  EXPECT_THAT(List().Active(kNow), ElementsAre(Of("a.example", "second"), Of("b.example")));
}

TEST_F(SuspensionListTest, DropsWhatHasPassed) {
  Suspension one = Of("a.example");
  one.until = kNow + seconds(10);
  Suspend({one, Of("b.example")});
  EXPECT_THAT(Names(kNow + seconds(9)), ElementsAre("a.example", "b.example"));
  EXPECT_THAT(Names(kNow + seconds(10)), ElementsAre("b.example"));
  EXPECT_THAT(Read(), HasSubstr("a.example"));
  ASSERT_TRUE(List().Suspend({Of("c.example")}, kNow + seconds(10)).ok());
  EXPECT_THAT(Read(), testing::Not(HasSubstr("a.example")));
}

TEST_F(SuspensionListTest, ResumesAllOrNone) {
  Suspend({Of("a.example"), Of("b.example"), Of("")});
  const absl::Status refused = List().Resume({"a.example", "c.example"}, kNow);
  EXPECT_TRUE(absl::IsNotFound(refused));
  EXPECT_EQ(refused.message(), "c.example is suspended by ALL, and can only be resumed with it");
  EXPECT_THAT(Names(), ElementsAre("ALL", "a.example", "b.example"));
  ASSERT_TRUE(List().Resume({"a.example", ""}, kNow).ok());
  EXPECT_THAT(Names(), ElementsAre("b.example"));
  EXPECT_EQ(List().Resume({""}, kNow).message(), "ALL is not suspended");
  ASSERT_TRUE(List().Resume({}, kNow).ok());
  EXPECT_THAT(Names(), IsEmpty());
  ASSERT_TRUE(List().Resume({}, kNow).ok());  // Also where there is nothing.
}

TEST_F(SuspensionListTest, WhatHasPassedCannotBeResumed) {
  Suspension one = Of("a.example");
  one.until = kNow + seconds(10);
  Suspend({one});
  EXPECT_TRUE(absl::IsNotFound(List().Resume({"a.example"}, kNow + seconds(10))));
}

TEST_F(SuspensionListTest, HasABound) {
  std::vector<Suspension> many;
  for (size_t i = 0; i < SuspensionList::kSuspensionsMax; ++i) {
    many.push_back(Of(absl::StrCat("d", i, ".example")));
  }
  Suspend(many);
  EXPECT_TRUE(absl::IsResourceExhausted(List().Suspend({Of("one.more.example")}, kNow)));
  EXPECT_EQ(Names().size(), SuspensionList::kSuspensionsMax);
  Suspend({Of("d0.example", "again")});
}

TEST_F(SuspensionListTest, ChangesNothingThatCannotBeWritten) {
  SuspensionList list = List();
  std::filesystem::remove_all(folder_);
  EXPECT_FALSE(list.Suspend({Of("a.example")}, kNow).ok());
  EXPECT_THAT(list.Active(kNow), IsEmpty());
}

TEST_F(SuspensionListTest, ReadsWhatIsWrittenByHand) {
  Write(R"({"suspensions": [
      {"domain": "ALL", "since": "2025-11-25T03:28:01+00:00", "reason": "x"},
      {"domain": "a.example", "since": "2025-11-25T03:28:01Z",
       "until": "2025-11-25T04:28:01Z", "reason": "y"}]})");
  Suspension one = Of("a.example", "y");
  one.until = kNow + seconds(3600);
  EXPECT_THAT(List().Active(kNow), ElementsAre(Of(""), one));
}

TEST_F(SuspensionListTest, RefusesADamagedFileAndNamesIt) {
  const std::string since = R"("since": "2025-11-25T03:28:01Z")";
  const auto list = [](const std::string& members) {
    return R"({"suspensions": [{)" + members + "}]}";
  };
  const std::string texts[] = {
      "",
      "{}",
      "[]",
      R"({"suspensions": {}})",
      R"({"suspensions": [], "more": 1})",
      R"({"suspensions": ["a.example"]})",
      R"({"suspensions": [)",
      list(R"("domain": "a.example", "reason": "x")"),
      list(R"("domain": "a.example", )" + since),
      list(R"("domain": "a.example", "since": "today", "reason": "x")"),
      list(R"("domain": "a.example", "since": 1, "reason": "x")"),
      list(R"("domain": "no..domain", "reason": "x", )" + since),
      list(R"("domain": "", "reason": "x", )" + since),
      list(R"("domain": "A.example", "reason": "x", )" + since),
      list(R"("domain": "a.example", "reason": "x", "until": null, )" + since),
      list(R"("domain": "a.example", "reason": "x", "untill": "2025-11-25T03:28:01Z", )" + since),
      list(R"("domain": "a.example", "reason": "x", )" + since + R"(}, {"domain": "a.example", )" +
           R"("reason": "y", )" + since),
  };
  for (const std::string& text : texts) {
    Write(text);
    const absl::StatusOr<SuspensionList> read = SuspensionList::Load(path_);
    EXPECT_FALSE(read.ok()) << text;
    EXPECT_THAT(std::string(read.status().message()), StartsWith(path_ + ": ")) << text;
  }
}

TEST_F(SuspensionListTest, RefusesWhatIsNoFile) {
  std::filesystem::create_directory(path_);
  const absl::StatusOr<SuspensionList> read = SuspensionList::Load(path_);
  EXPECT_FALSE(read.ok());
  EXPECT_THAT(std::string(read.status().message()), HasSubstr(path_));
}

}  // namespace
}  // namespace sluice
