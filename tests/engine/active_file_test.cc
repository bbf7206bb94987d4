// The file that outlives the process: what a run was at work on is found by the next one. A crash
// is a child process that is killed.

#include "engine/active_file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>

namespace sluice {
namespace {

using delivery::ActiveMessages;

constexpr MessageId kA = {1 << 8};
constexpr MessageId kB = {2 << 8};
constexpr MessageId kC = {3 << 8};

class ActiveFileTest : public testing::Test {
 protected:
  ActiveFileTest() { std::filesystem::create_directories(folder_); }
  ~ActiveFileTest() override { std::filesystem::remove_all(folder_); }

  // A run in a process of its own, which is killed at the end of `work`.
  void Crash(const std::function<void(ActiveFile&)>& work, const std::string& boot = "boot-1",
             uint32_t shards = 2) {
    const pid_t child = fork();
    if (child == 0) {
      const auto file = ActiveFile::Open(folder_, shards, boot);
      if (!file.ok()) _exit(1);
      work(**file);
      kill(getpid(), SIGKILL);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
  }
  std::unique_ptr<ActiveFile> Open(const std::string& boot = "boot-1", uint32_t shards = 2) {
    absl::StatusOr<std::unique_ptr<ActiveFile>> file = ActiveFile::Open(folder_, shards, boot);
    EXPECT_TRUE(file.ok()) << file.status();
    EXPECT_TRUE((*file)->saved().ok());
    return *std::move(file);
  }
  const std::string folder_ = testing::TempDir() + "/active-" + std::to_string(getpid());
};

TEST_F(ActiveFileTest, WhatWasAtWorkIsCountedAndWhatHadEndedIsNot) {
  Crash([](ActiveFile& file) {
    file.Of(0).Begin(0, kA);
    file.Of(1).Begin(ActiveMessages::kHomeSlot, kB);
    file.Of(1).Begin(7, kC);
    file.Of(1).End(7);
  });
  const auto file = Open();
  EXPECT_TRUE(file->crashed());
  EXPECT_EQ(file->suspects(), (std::vector<Suspect>{{kA, 1}, {kB, 1}}));
}

TEST_F(ActiveFileTest, ThreeCrashesAreQuarantine) {
  const auto tries = [](ActiveFile& file) { file.Of(0).Begin(3, kA); };
  for (int i = 0; i < 2; ++i) Crash(tries);
  EXPECT_FALSE(Open()->Of(0).Quarantined(kA));  // And ends by itself, without having tried it.
  Crash(tries);
  const auto file = Open();
  EXPECT_TRUE(file->Of(0).Quarantined(kA));
  EXPECT_TRUE(file->Of(1).Quarantined(kA));
  EXPECT_FALSE(file->Of(0).Quarantined(kB));
}

TEST_F(ActiveFileTest, ASuspectThatIsTriedAndSurvivedIsNone) {
  Crash([](ActiveFile& file) { file.Of(0).Begin(3, kA); });
  Crash([](ActiveFile& file) {
    file.Of(1).Begin(5, kA);
    file.Of(1).End(5);
  });
  EXPECT_TRUE(Open()->suspects().empty());
}

TEST_F(ActiveFileTest, ASuspectThatIsDoneIsNone) {
  Crash([](ActiveFile& file) { file.Of(0).Begin(3, kA); });
  Open()->Of(0).OnDone(kA);
  EXPECT_TRUE(Open()->suspects().empty());
}

TEST_F(ActiveFileTest, AnEndByItselfCountsNothing) {
  Open()->Of(0).Begin(3, kA);
  const auto file = Open();
  EXPECT_FALSE(file->crashed());
  EXPECT_TRUE(file->suspects().empty());
}

TEST_F(ActiveFileTest, AnEndWithTheMachineCountsNothing) {
  Crash([](ActiveFile& file) { file.Of(0).Begin(3, kA); });
  const auto file = Open("boot-2");
  EXPECT_FALSE(file->crashed());
  EXPECT_TRUE(file->suspects().empty());
}

TEST_F(ActiveFileTest, WithoutABootIdNothingIsCounted) {
  Crash([](ActiveFile& file) { file.Of(0).Begin(3, kA); }, "");
  EXPECT_TRUE(Open("")->suspects().empty());
}

TEST_F(ActiveFileTest, AnotherNumberOfShardsReadsWhatWasLeft) {
  Crash([](ActiveFile& file) { file.Of(3).Begin(3, kA); }, "boot-1", 4);
  EXPECT_EQ(Open("boot-1", 1)->suspects(), (std::vector<Suspect>{{kA, 1}}));
}

TEST_F(ActiveFileTest, AFileThatIsNotOursIsWrittenAnew) {
  {
    std::ofstream junk(folder_ + "/active");
    for (int i = 0; i < 100000; ++i) junk << "not a table of messages ";
  }
  EXPECT_TRUE(Open()->suspects().empty());
  Crash([](ActiveFile& file) { file.Of(0).Begin(3, kA); });
  EXPECT_EQ(Open()->suspects(), (std::vector<Suspect>{{kA, 1}}));
}

}  // namespace
}  // namespace sluice
