// The spool's folder on the file system under the test's temporary folder: names, the lock, what is
// left alone, and what an error says.

#include "engine/spool/posix_disk.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/engine/spool/spool_words.h"

namespace sluice::spool {
namespace {

namespace fs = std::filesystem;

class PosixDiskTest : public testing::Test {
 protected:
  PosixDiskTest() {
    std::string pattern = testing::TempDir() + "sluice-spool-XXXXXX";
    EXPECT_NE(mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    path_ = pattern + "/var/spool";
  }
  ~PosixDiskTest() override { fs::remove_all(root_); }

  std::unique_ptr<PosixDisk> Open() {
    absl::StatusOr<std::unique_ptr<PosixDisk>> disk = PosixDisk::Open(path_);
    EXPECT_TRUE(disk.ok()) << disk.status();
    return *std::move(disk);
  }
  std::string File(absl::string_view name) { return absl::StrCat(path_, "/", name); }

  std::string root_;
  std::string path_;
};

TEST_F(PosixDiskTest, MakesItsFolderAndNobodyElseReadsIt) {
  Open();
  struct stat status;
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
}

TEST_F(PosixDiskTest, SecondEngineIsToldWhoHoldsTheLock) {
  {
    const auto first = Open();
    const auto second = PosixDisk::Open(path_ + "/");
    EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
    EXPECT_NE(second.status().message().find(absl::StrCat("process ", getpid())), std::string::npos)
        << second.status();
    EXPECT_NE(second.status().message().find(File("lock")), std::string::npos);
  }
  Open();  // Given back.
}

TEST_F(PosixDiskTest, SegmentsHaveTheirNamesAndSizes) {
  {
    const auto disk = Open();
    ASSERT_TRUE(disk->Create(SegmentId::Of(0, 1), 65536).ok());
    ASSERT_TRUE(disk->Create(SegmentId::Of(12, 0xabc), 8192).ok());
  }
  EXPECT_EQ(fs::file_size(File("shard-000/0000000000000001.log")), 65536u);
  EXPECT_EQ(fs::file_size(File("shard-012/0000000000000abc.log")), 8192u);
  const auto disk = Open();
  const auto found = disk->OpenAll();
  ASSERT_TRUE(found.ok());
  ASSERT_EQ(found->size(), 2u);
  EXPECT_EQ((*found)[0].id, SegmentId::Of(0, 1));
  EXPECT_EQ((*found)[1].id, SegmentId::Of(12, 0xabc));
  EXPECT_EQ((*found)[1].bytes, 8192u);
}

TEST_F(PosixDiskTest, SegmentIsWrittenAndReadBack) {
  const auto disk = Open();
  const auto segment = disk->Create(SegmentId::Of(0, 1), 8192);
  ASSERT_TRUE(segment.ok());
  ASSERT_EQ(pwrite(segment->descriptor, "mail", 4, 8188), 4);
  std::vector<std::byte> bytes(16);
  EXPECT_EQ(*disk->ReadAt(*segment, bytes, 8186), 6u);
  EXPECT_EQ(AsText(Bytes(bytes).first(6)), std::string("\0\0mail", 6));
  EXPECT_EQ(*disk->ReadAt(*segment, bytes, 8192), 0u);
}

TEST_F(PosixDiskTest, RecycledSegmentKeepsItsBytesUnderItsNewName) {
  const auto disk = Open();
  const auto dead = disk->Create(SegmentId::Of(2, 5), 8192);
  ASSERT_EQ(pwrite(dead->descriptor, "old", 3, 0), 3);
  const auto reborn = disk->Recycle(*dead, SegmentId::Of(0, 6));
  ASSERT_TRUE(reborn.ok()) << reborn.status();
  EXPECT_EQ(reborn->descriptor, dead->descriptor);
  EXPECT_FALSE(fs::exists(File("shard-002/0000000000000005.log")));
  EXPECT_TRUE(fs::exists(File("shard-000/0000000000000006.log")));
  std::vector<std::byte> bytes(3);
  EXPECT_EQ(*disk->ReadAt(*reborn, bytes, 0), 3u);
  EXPECT_EQ(AsText(bytes), "old");
}

TEST_F(PosixDiskTest, ALivingSegmentIsNeverOverwritten) {
  const auto disk = Open();
  const auto dead = disk->Create(SegmentId::Of(0, 1), 8192);
  ASSERT_TRUE(disk->Create(SegmentId::Of(0, 2), 8192).ok());
  EXPECT_EQ(disk->Recycle(*dead, SegmentId::Of(0, 2)).status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(disk->Create(SegmentId::Of(0, 2), 8192).status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(fs::exists(File("shard-000/0000000000000001.log")));
}

TEST_F(PosixDiskTest, RemovedSegmentIsGone) {
  const auto disk = Open();
  const auto dead = disk->Create(SegmentId::Of(0, 1), 8192);
  EXPECT_TRUE(disk->Remove(*dead).ok());
  EXPECT_FALSE(fs::exists(File("shard-000/0000000000000001.log")));
  EXPECT_LT(pwrite(dead->descriptor, "x", 1, 0), 0);
}

TEST_F(PosixDiskTest, WhatIsNotASegmentIsLeftAlone) {
  {
    const auto disk = Open();
    ASSERT_TRUE(disk->Create(SegmentId::Of(0, 1), 8192).ok());
  }
  for (const absl::string_view name :
       {"README", "shard-000/1.log", "shard-000/0000000000000001.log.bak",
        "shard-000/000000000000000G.log", "shard-000/0000000000000ABC.log"}) {
    std::ofstream(File(name)) << "?";
  }
  for (const absl::string_view name : {"shard-0001", "shard-x", "shard-1", "shard-99999"}) {
    fs::create_directory(File(name));
  }
  const auto disk = Open();
  const auto found = disk->OpenAll();
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->size(), 1u);
}

TEST_F(PosixDiskTest, ErrorSaysWhatWhereAndWhatToDo) {
  const auto disk = Open();
  // No file may grow beyond this: the nearest to a full disk that needs no file system of its own.
  struct rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto ignored = signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small = {.rlim_cur = 4096, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto refused = disk->Create(SegmentId::Of(0, 1), 8192);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, ignored);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().message().find(File("shard-000/0000000000000001.log")),
            std::string::npos);
  EXPECT_FALSE(fs::exists(File("shard-000/0000000000000001.log")));  // Nothing is left behind.
}

TEST_F(PosixDiskTest, APathThatIsAFileIsRefused) {
  std::ofstream(root_ + "/var") << "?";
  EXPECT_FALSE(PosixDisk::Open(path_).ok());
  EXPECT_FALSE(PosixDisk::Open("").ok());
}

// Two shards at once: each makes, reads, reuses and removes segments of its own, one of them also
// ones of a log that nobody writes any more. Under the thread sanitizer this is a test of more than
// the outcome.
TEST_F(PosixDiskTest, TwoThreadsShareIt) {
  constexpr uint64_t kRounds = 50;
  {
    const auto disk = Open();
    for (uint64_t i = 1; i <= kRounds; ++i) {
      ASSERT_TRUE(disk->Create(SegmentId::Of(7, i), 4096).ok());
    }
  }
  const auto disk = Open();
  const auto found = disk->OpenAll();
  ASSERT_TRUE(found.ok());
  ASSERT_EQ(found->size(), kRounds);
  const auto shard = [&](uint16_t log) {
    for (uint64_t i = 0; i < kRounds; ++i) {
      absl::StatusOr<OpenSegment> made = disk->Create(SegmentId::Of(log, 1000 + 2 * i), 4096);
      ASSERT_TRUE(made.ok()) << made.status();
      const std::string text = absl::StrCat(log, ":", i);
      ASSERT_EQ(pwrite(made->descriptor, text.data(), text.size(), 0),
                static_cast<ssize_t>(text.size()));
      made = disk->Recycle(*made, SegmentId::Of(log, 1001 + 2 * i));
      ASSERT_TRUE(made.ok()) << made.status();
      std::vector<std::byte> bytes(text.size());
      ASSERT_TRUE(disk->ReadAt(*made, bytes, 0).ok());
      EXPECT_EQ(AsText(bytes), text);
      if (i % 2 == 0) {
        EXPECT_TRUE(disk->Remove(*made).ok());
      }
      if (log == 1) {
        EXPECT_TRUE(disk->Remove((*found)[i]).ok());
      }
    }
  };
  std::thread other(shard, uint16_t{1});
  shard(0);
  other.join();
  size_t files = 0;
  for (const char* folder : {"shard-000", "shard-001", "shard-007"}) {
    for ([[maybe_unused]] const auto& entry : fs::directory_iterator(File(folder))) ++files;
  }
  EXPECT_EQ(files, kRounds);  // Every other one of each of the two.
}

// The whole of it once: a log on real files, closed and recovered.
TEST_F(PosixDiskTest, MessageSurvivesARestart) {
  const std::string body = BodyOf(1, 3000);
  {
    const auto disk = Open();
    ASSERT_TRUE(Recover(*disk).ok());
    Log log({.segment_bytes = 16384, .outcome_reserve_bytes = 1024}, *disk, {}, 1);
    ASSERT_TRUE(log.Begin(At(0)).ok());
    const Bytes parts[] = {AsBytes(body)};
    AcceptedRecord promise = Accepted(1, body.size());
    promise.body = {log.AppendBody({1}, 0, parts, At(0))};
    log.AppendAccepted(promise, At(0));
    for (Step step = log.NextStep(); step.kind != StepKind::kNone; step = log.NextStep()) {
      uint64_t offset = step.offset;
      for (const Bytes part : step.parts) {
        ASSERT_EQ(pwrite(step.descriptor, part.data(), part.size(), static_cast<off_t>(offset)),
                  static_cast<ssize_t>(part.size()));
        offset += part.size();
      }
      log.OnDone(static_cast<int32_t>(offset - step.offset));
    }
  }
  const auto disk = Open();
  const auto recovered = Recover(*disk);
  ASSERT_TRUE(recovered.ok());
  ASSERT_EQ(recovered->messages.size(), 1u);
  const Extent& extent = recovered->messages[0].body.at(0);
  std::vector<std::byte> bytes(extent.bytes);
  EXPECT_EQ(*disk->ReadAt(recovered->segments[0].segment, bytes, extent.offset), body.size());
  EXPECT_EQ(AsText(bytes), body);
}

}  // namespace
}  // namespace sluice::spool
