// Which messages are suspected of a crash: counted over runs in a row, by hand on paper.

#include "engine/suspects.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace sluice {
namespace {

constexpr MessageId kA = {1 << 8};
constexpr MessageId kB = {2 << 8};

// A row of runs, each of which ended in some way.
struct Runs {
  void Crash(std::vector<MessageId> active, std::vector<MessageId> tried = {}) {
    after = Count(after, {.run = ++run, .crashed = true, .active = active, .tried = tried});
  }
  void End(std::vector<MessageId> tried = {}) {
    after = Count(after, {.run = ++run, .tried = tried});
  }
  uint32_t CrashesOf(MessageId id) const {
    for (const Suspect& suspect : after.list) {
      if (suspect.id == id) return suspect.crashes;
    }
    return 0;
  }
  Suspects after;
  uint64_t run = 0;
};

TEST(Suspects, ThreeCrashesInARowAreQuarantine) {
  Runs runs;
  runs.Crash({kA});
  runs.Crash({kA}, {kA});
  EXPECT_EQ(runs.after.list, (std::vector<Suspect>{{kA, 2}}));
  EXPECT_FALSE(runs.after.list[0].quarantined());
  runs.Crash({kA, kB}, {kA});
  EXPECT_EQ(runs.after.list, (std::vector<Suspect>{{kA, 3}, {kB, 1}}));
  EXPECT_TRUE(runs.after.list[0].quarantined());
  EXPECT_FALSE(runs.after.list[1].quarantined());
}

TEST(Suspects, ATryThatTheEngineSurvivesClears) {
  Runs runs;
  runs.Crash({kA});
  runs.Crash({kA}, {kA});
  runs.Crash({kB}, {kA});  // It died of something else.
  EXPECT_EQ(runs.CrashesOf(kA), 0u);
  EXPECT_EQ(runs.CrashesOf(kB), 1u);
  runs.End({kB});
  EXPECT_TRUE(runs.after.list.empty());
}

TEST(Suspects, ARunThatDidNotComeToItChangesNothing) {
  Runs runs;
  runs.Crash({kA});
  runs.End();
  runs.Crash({kB});
  EXPECT_EQ(runs.CrashesOf(kA), 1u);
  runs.Crash({kA}, {kA});
  EXPECT_EQ(runs.CrashesOf(kA), 2u);
}

TEST(Suspects, QuarantineStays) {
  Runs runs;
  for (int i = 0; i < 3; ++i) runs.Crash({kA}, {kA});
  for (int i = 0; i < 5; ++i) runs.End();
  EXPECT_EQ(runs.CrashesOf(kA), 3u);
}

TEST(Suspects, WhatWasAtWorkWhenTheRunEndedByItselfIsNotCounted) {
  Runs runs;
  runs.after = Count(runs.after, {.run = 1, .crashed = false, .active = {kA}});
  EXPECT_TRUE(runs.after.list.empty());
}

TEST(Suspects, ARunIsCountedOnce) {
  const RunEnd end = {.run = 9, .crashed = true, .active = {kA}};
  const Suspects once = Count({}, end);
  EXPECT_EQ(Count(once, end).list, once.list);
}

TEST(Suspects, MoreThanTheBoundGoTheFewestCrashesFirst) {
  RunEnd end = {.run = 1, .crashed = true};
  for (uint64_t i = 0; i < kSuspectsMax + 10; ++i) end.active.push_back({(i + 1) << 8});
  Suspects before;
  before.list.push_back({.id = {(kSuspectsMax + 5) << 8}, .crashes = 2});
  const Suspects after = Count(before, end);
  EXPECT_EQ(after.list.size(), kSuspectsMax);
  EXPECT_EQ(after.list.back(), (Suspect{{(kSuspectsMax + 5) << 8}, 3}));
}

class SuspectsFile : public testing::Test {
 protected:
  SuspectsFile() { std::filesystem::create_directories(folder_); }
  ~SuspectsFile() override { std::filesystem::remove_all(folder_); }
  const std::string folder_ = testing::TempDir() + "/suspects-" + std::to_string(getpid());
};

TEST_F(SuspectsFile, KeepsWhatItIsGiven) {
  EXPECT_TRUE(LoadSuspects(folder_)->list.empty());
  ASSERT_TRUE(SaveSuspects(folder_, {.list = {{kA, 2}, {kB, 3}}, .counted_run = 77}).ok());
  const absl::StatusOr<Suspects> loaded = LoadSuspects(folder_);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->list, (std::vector<Suspect>{{kA, 2}, {kB, 3}}));
  EXPECT_EQ(loaded->counted_run, 77u);
}

TEST_F(SuspectsFile, ReleaseForgetsOne) {
  ASSERT_TRUE(SaveSuspects(folder_, {.list = {{kA, 3}, {kB, 3}}, .counted_run = 77}).ok());
  EXPECT_TRUE(*ReleaseSuspect(folder_, kA));
  EXPECT_FALSE(*ReleaseSuspect(folder_, kA));
  EXPECT_EQ(LoadSuspects(folder_)->list, (std::vector<Suspect>{{kB, 3}}));
  EXPECT_EQ(LoadSuspects(folder_)->counted_run, 77u);
}

TEST_F(SuspectsFile, ADamagedOneIsAnError) {
  for (const char* text : {"", "{}", "{\"suspects\": [{\"id\": \"x\", \"crashes\": 1}]}", "[1"}) {
    std::ofstream(folder_ + "/suspects.json", std::ios::trunc) << text;
    EXPECT_FALSE(LoadSuspects(folder_).ok()) << text;
  }
}

}  // namespace
}  // namespace sluice
