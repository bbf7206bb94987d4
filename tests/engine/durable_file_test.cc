// A small file that is replaced: the new one whole, or the old one as it was, with nothing left
// beside it. That it outlives a crash is not tested here; that it is another file, which readers of
// the old one do not see, is.

#include "engine/durable_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string Content(std::istream& file) {
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

class DurableFileTest : public testing::Test {
 protected:
  DurableFileTest() {
    std::string folder = testing::TempDir() + "sluice-durable-XXXXXX";
    folder_ = mkdtemp(folder.data());
  }
  ~DurableFileTest() override { std::filesystem::remove_all(folder_); }

  std::string Path(const std::string& name) const { return folder_ + "/" + name; }

  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(Path(name), std::ios::binary) << text;
  }

  std::string Read(const std::string& name) const {
    std::ifstream file(Path(name), std::ios::binary);
    return Content(file);
  }

  mode_t ModeOf(const std::string& name) const {
    struct stat status = {};
    EXPECT_EQ(stat(Path(name).c_str(), &status), 0);
    return status.st_mode & 07777;
  }

  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& each : std::filesystem::directory_iterator(folder_)) {
      names.push_back(each.path().filename().string());
    }
    return names;
  }

  std::string folder_;
};

TEST_F(DurableFileTest, ANewFileIsReadableByAllWhateverTheUmask) {
  const mode_t umask_before = umask(077);
  const absl::Status made = ReplaceFile(Path("table"), "new\n");
  umask(umask_before);
  ASSERT_TRUE(made.ok()) << made;
  EXPECT_EQ(Read("table"), "new\n");
  EXPECT_EQ(ModeOf("table"), 0644u);
  EXPECT_THAT(Names(), ElementsAre("table"));
}

TEST_F(DurableFileTest, AReplacedFileKeepsItsMode) {
  for (const mode_t mode : {0600u, 0640u, 0666u, 0444u}) {
    Write("table", "old\n");
    ASSERT_EQ(chmod(Path("table").c_str(), mode), 0);
    ASSERT_TRUE(ReplaceFile(Path("table"), "new\n").ok());
    EXPECT_EQ(Read("table"), "new\n");
    EXPECT_EQ(ModeOf("table"), mode);
    EXPECT_THAT(Names(), ElementsAre("table"));
    ASSERT_EQ(chmod(Path("table").c_str(), 0644), 0);
  }
}

TEST_F(DurableFileTest, TakesAnyBytes) {
  std::string large(3 << 20, 'x');
  large[1] = '\0';
  ASSERT_TRUE(ReplaceFile(Path("table"), large).ok());
  EXPECT_TRUE(Read("table") == large);
  ASSERT_TRUE(ReplaceFile(Path("table"), "").ok());
  EXPECT_EQ(Read("table"), "");
}

TEST_F(DurableFileTest, WhoReadsTheOldOneReadsItToItsEnd) {
  Write("table", "the old one, which is longer\n");
  std::ifstream reader(Path("table"));
  EXPECT_EQ(reader.get(), 't');
  ASSERT_TRUE(ReplaceFile(Path("table"), "new\n").ok());
  EXPECT_EQ(Content(reader), "he old one, which is longer\n");
}

TEST_F(DurableFileTest, WhatACrashLeftIsWrittenOver) {
  Write("table", "old\n");
  Write("table.new", "half of something that was longer than the next one");
  ASSERT_TRUE(ReplaceFile(Path("table"), "new\n").ok());
  EXPECT_EQ(Read("table"), "new\n");
  EXPECT_THAT(Names(), ElementsAre("table"));
}

TEST_F(DurableFileTest, InAMissingFolderIsAnErrorThatNamesIt) {
  const absl::Status status = ReplaceFile(Path("missing/table"), "new\n");
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr(Path("missing/table")));
  EXPECT_THAT(std::string(status.message()), HasSubstr("No such file or directory"));
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(DurableFileTest, TheOldOneStaysWhenTheNewOneCannotBeWritten) {
  Write("table", "old\n");
  std::filesystem::create_directory(Path("table.new"));
  const absl::Status status = ReplaceFile(Path("table"), "new\n");
  EXPECT_THAT(std::string(status.message()), HasSubstr("File exists"));
  EXPECT_EQ(Read("table"), "old\n");
}

TEST_F(DurableFileTest, WhatCannotBeReplacedStaysAndNothingIsLeftBeside) {
  std::filesystem::create_directories(Path("table/inside"));
  const absl::Status status = ReplaceFile(Path("table"), "new\n");
  EXPECT_THAT(std::string(status.message()), HasSubstr(Path("table") + ": "));
  EXPECT_TRUE(std::filesystem::is_directory(Path("table/inside")));
  EXPECT_THAT(Names(), ElementsAre("table"));
}

TEST_F(DurableFileTest, IsRemovedIfItIsThere) {
  Write("table", "old\n");
  EXPECT_TRUE(RemoveFile(Path("table")).ok());
  EXPECT_THAT(Names(), IsEmpty());
  EXPECT_TRUE(RemoveFile(Path("table")).ok());
  EXPECT_TRUE(RemoveFile(Path("missing/table")).ok());
}

TEST_F(DurableFileTest, WhatCannotBeRemovedStays) {
  std::filesystem::create_directory(Path("table"));
  const absl::Status status = RemoveFile(Path("table"));
  EXPECT_THAT(std::string(status.message()), HasSubstr(Path("table") + ": "));
  EXPECT_THAT(Names(), ElementsAre("table"));
}

}  // namespace
}  // namespace sluice
