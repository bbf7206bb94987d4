// The table of destination controls on the disk: what is staged beside what is in use, when a
// commit is taken, and which versions are kept. Tables are files of a temporary folder; what is in
// them is written by hand.

#include "engine/controls_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;

policy::ControlsEntry Entry(const std::string& domain, uint32_t messages) {
  policy::ControlsEntry entry;
  entry.domain = domain;
  entry.messages_per_connection_max = messages;
  return entry;
}

// "domain=messages", in the order of the table.
std::vector<std::string> Said(const absl::StatusOr<ControlsStore::Table>& table) {
  if (!table.ok()) return {std::string(table.status().message())};
  std::vector<std::string> said;
  for (const policy::ControlsEntry& entry : **table) {
    if (entry == policy::ControlsEntry{.line = entry.line}) continue;  // An empty [DEFAULT].
    said.push_back(
        absl::StrFormat("%s=%d", entry.domain, entry.messages_per_connection_max.value_or(0)));
  }
  return said;
}

std::vector<uint32_t> Numbers(const std::vector<ControlsStore::Version>& versions) {
  std::vector<uint32_t> numbers;
  for (const ControlsStore::Version& version : versions) numbers.push_back(version.number);
  return numbers;
}

constexpr char kA1[] = "# by hand\n[a.example]\nmax_messages_per_connection = 1\n";
constexpr char kA2Committed[] = "[DEFAULT]\n\n[a.example]\nmax_messages_per_connection = 2\n";

class ControlsStoreTest : public testing::Test {
 protected:
  ControlsStoreTest() {
    std::string folder = testing::TempDir() + "sluice-controls-XXXXXX";
    folder_ = mkdtemp(folder.data());
  }
  ~ControlsStoreTest() override { std::filesystem::remove_all(folder_); }

  std::string Path(const std::string& name = "d.ini") const { return folder_ + "/" + name; }

  // A new one each time: nothing is kept but on the disk.
  ControlsStore Store(bool named = true) const {
    return ControlsStore({.path = Path(), .named = named});
  }

  void Write(const std::string& text, const std::string& name = "d.ini") const {
    std::ofstream(Path(name), std::ios::binary) << text;
  }

  std::string Read(const std::string& name = "d.ini") const {
    std::ifstream file(Path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  void Stage(const ControlsStore::Entries& entries) const {
    const absl::Status staged = Store().Stage(entries);
    ASSERT_TRUE(staged.ok()) << staged;
  }

  void WriteVersions(uint32_t first, uint32_t last) const {
    std::filesystem::create_directory(Path("d.ini.history"));
    for (uint32_t number = first; number <= last; ++number) {
      Write("", absl::StrFormat("d.ini.history/%06d.ini", number));
    }
  }

  std::string folder_;
};

// --- What is in use.

TEST_F(ControlsStoreTest, MayBeMissingUnlessItIsNamed) {
  EXPECT_THAT(Said(Store(/*named=*/false).InUse()), IsEmpty());
  EXPECT_THAT(Said(Store(/*named=*/false).Working()), IsEmpty());
  EXPECT_THAT(Said(Store().InUse()), ElementsAre(Path() + ": No such file or directory"));
}

TEST_F(ControlsStoreTest, TellsAllErrorsWithFileAndLine) {
  Write("[a.example]\nnonsense = 1\n[b.example]\nmax_messages_per_connection = 0\n");
  const absl::StatusOr<ControlsStore::Table> entries = Store().InUse();
  ASSERT_FALSE(entries.ok());
  const std::string errors(entries.status().message());
  EXPECT_THAT(errors, StartsWith(Path() + ":2: "));
  EXPECT_THAT(errors, HasSubstr("\n" + Path() + ":4: "));
}

// --- Staging.

TEST_F(ControlsStoreTest, WhatIsStagedIsWorkedOnAndWhatIsInUseStays) {
  Write(kA1);
  EXPECT_FALSE(Store().staged());
  EXPECT_THAT(Said(Store().Working()), ElementsAre("a.example=1"));
  Stage({Entry("a.example", 2)});
  EXPECT_TRUE(Store().staged());
  EXPECT_THAT(Said(Store().Working()), ElementsAre("a.example=2"));
  EXPECT_THAT(Said(Store().InUse()), ElementsAre("a.example=1"));
  EXPECT_EQ(Read(), kA1);
}

TEST_F(ControlsStoreTest, WhatSaysTheSameAsInUseIsNotStaged) {
  Write(
      "# comments do not count, nor does the order\n"
      "[b.example]\nmax_messages_per_connection = 3\n"
      "[a.example]\nMAX_MESSAGES_PER_CONNECTION = 1 ; nor does a spelling\n");
  Stage({Entry("a.example", 1), Entry("b.example", 3)});
  EXPECT_FALSE(Store().staged());
  Stage({Entry("a.example", 1)});
  EXPECT_TRUE(Store().staged());
  Stage({Entry("a.example", 1), Entry("b.example", 3)});
  EXPECT_FALSE(Store().staged());
  EXPECT_FALSE(std::filesystem::exists(Path("d.ini.staged")));
}

TEST_F(ControlsStoreTest, IsAbandonedOrHasNothingToAbandon) {
  Write(kA1);
  Stage({Entry("a.example", 2)});
  EXPECT_TRUE(Store().Abandon().ok());
  EXPECT_FALSE(Store().staged());
  EXPECT_EQ(Read(), kA1);
  EXPECT_TRUE(Store().Abandon().ok());
}

TEST_F(ControlsStoreTest, CannotBeStagedInAMissingFolder) {
  ControlsStore store({.path = Path("missing/d.ini"), .named = false});
  EXPECT_THAT(std::string(store.Stage({Entry("a.example", 2)}).message()),
              HasSubstr(Path("missing/d.ini.staged")));
  EXPECT_FALSE(store.staged());
  EXPECT_FALSE(std::filesystem::exists(Path("missing")));
}

TEST_F(ControlsStoreTest, WhatWasStagedStaysWhenTheNextCannotBeWritten) {
  Write(kA1);
  Stage({Entry("a.example", 2)});
  std::filesystem::create_directory(Path("d.ini.staged.new"));
  EXPECT_FALSE(Store().Stage({Entry("a.example", 3)}).ok());
  EXPECT_THAT(Said(Store().Working()), ElementsAre("a.example=2"));
}

// --- Committing.

TEST_F(ControlsStoreTest, ACommitPutsInPlaceAndKeepsWhatItReplaced) {
  Write(kA1);
  ASSERT_EQ(chmod(Path().c_str(), 0640), 0);
  Stage({Entry("a.example", 2)});
  EXPECT_EQ(Store().TextToCommit().value(), kA2Committed);
  EXPECT_EQ(Store().Commit().value(), 1u);
  EXPECT_EQ(Read(), kA2Committed);
  EXPECT_FALSE(Store().staged());
  EXPECT_EQ(Read("d.ini.history/000001.ini"), kA1);
  EXPECT_THAT(Said(Store().EntriesOf(1)), ElementsAre("a.example=1"));
  struct stat status = {};
  ASSERT_EQ(stat(Path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0640u);
}

TEST_F(ControlsStoreTest, TheFirstCommitMakesAFileThatMayBeMissing) {
  ASSERT_TRUE(Store(/*named=*/false).Stage({Entry("a.example", 2)}).ok());
  EXPECT_EQ(Store(/*named=*/false).Commit().value(), 1u);
  EXPECT_EQ(Read(), kA2Committed);
  EXPECT_THAT(Said(Store().EntriesOf(1)), IsEmpty());
}

TEST_F(ControlsStoreTest, NothingStagedIsNothingToCommit) {
  Write(kA1);
  EXPECT_EQ(Store().TextToCommit().status(), absl::FailedPreconditionError("nothing is staged"));
  EXPECT_EQ(Store().Commit().status(), absl::FailedPreconditionError("nothing is staged"));
  EXPECT_THAT(Store().History(), IsEmpty());
}

TEST_F(ControlsStoreTest, WhatChangedSinceTheEditsBeganIsNotReplaced) {
  Write(kA1);
  Stage({Entry("a.example", 2)});
  const std::string staged = Read("d.ini.staged");
  const std::string by_hand = std::string(kA1) + "# a comment is a change\n";
  Write(by_hand);
  EXPECT_EQ(Store().TextToCommit().status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Store().Commit().status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Read(), by_hand);
  EXPECT_EQ(Read("d.ini.staged"), staged);
  EXPECT_THAT(Store().History(), IsEmpty());

  Write(kA1);  // As it was when they began.
  EXPECT_TRUE(Store().Commit().ok());
}

TEST_F(ControlsStoreTest, FurtherEditsDoNotHideThatTheFileHasChanged) {
  Write(kA1);
  Stage({Entry("a.example", 2)});
  Write("[a.example]\nmax_messages_per_connection = 9\n");
  Stage({Entry("a.example", 2), Entry("b.example", 3)});
  EXPECT_EQ(Store().Commit().status().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(Store().Abandon().ok());
  Stage({Entry("a.example", 2), Entry("b.example", 3)});
  EXPECT_TRUE(Store().Commit().ok());
}

TEST_F(ControlsStoreTest, WithoutRoomForItsHistoryACommitChangesNothing) {
  Write(kA1);
  Stage({Entry("a.example", 2)});
  const std::string staged = Read("d.ini.staged");
  Write("a file, where the folder should be", "d.ini.history");
  const absl::Status status = Store().Commit().status();
  EXPECT_THAT(std::string(status.message()), HasSubstr(Path("d.ini.history")));
  EXPECT_EQ(Read(), kA1);
  EXPECT_EQ(Read("d.ini.staged"), staged);
}

TEST_F(ControlsStoreTest, ATableThatCannotBeReplacedStays) {
  Write(kA1);
  Stage({Entry("a.example", 2)});
  std::filesystem::create_directory(Path("d.ini.new"));
  EXPECT_FALSE(Store().Commit().ok());
  EXPECT_EQ(Read(), kA1);
  EXPECT_TRUE(Store().staged());
  std::filesystem::remove(Path("d.ini.new"));
  EXPECT_TRUE(Store().Commit().ok());
  EXPECT_EQ(Read(), kA2Committed);
}

// --- The history.

TEST_F(ControlsStoreTest, VersionsAreCountedAndTheNewestIsFirst) {
  Write(kA1);
  EXPECT_THAT(Store().History(), IsEmpty());
  for (uint32_t messages = 2; messages <= 4; ++messages) {
    Stage({Entry("a.example", messages)});
    EXPECT_EQ(Store().Commit().value(), messages - 1);
  }
  EXPECT_THAT(Numbers(Store().History()), ElementsAre(3, 2, 1));
  for (uint32_t version = 1; version <= 3; ++version) {
    EXPECT_THAT(Said(Store().EntriesOf(version)),
                ElementsAre(absl::StrFormat("a.example=%d", version)));
  }
}

TEST_F(ControlsStoreTest, OrderIsThatOfNumbers) {
  Write(kA1);
  WriteVersions(999998, 999999);
  Stage({Entry("a.example", 2)});
  EXPECT_EQ(Store().Commit().value(), 1000000u);
  EXPECT_THAT(Numbers(Store().History()), ElementsAre(1000000, 999999, 999998));
  EXPECT_THAT(Said(Store().EntriesOf(1000000)), ElementsAre("a.example=1"));
}

TEST_F(ControlsStoreTest, TheOldestAreRemoved) {
  Write(kA1);
  WriteVersions(1, 99);
  Stage({Entry("a.example", 2)});
  EXPECT_EQ(Store().Commit().value(), 100u);
  EXPECT_THAT(Store().History(), SizeIs(100));
  Stage({Entry("a.example", 3)});
  EXPECT_EQ(Store().Commit().value(), 101u);
  EXPECT_THAT(Store().History(), SizeIs(100));
  EXPECT_EQ(Store().History().front().number, 101u);
  EXPECT_EQ(Store().History().back().number, 2u);
  EXPECT_EQ(Store().EntriesOf(1).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ControlsStoreTest, MoreThanTheBoundShrinkToIt) {
  Write(kA1);
  WriteVersions(1, 130);
  Stage({Entry("a.example", 2)});
  EXPECT_EQ(Store().Commit().value(), 131u);
  EXPECT_THAT(Store().History(), SizeIs(100));
  EXPECT_EQ(Store().History().back().number, 32u);
}

TEST_F(ControlsStoreTest, OtherFilesAreNoVersionsAndStay) {
  Write(kA1);
  WriteVersions(5, 5);
  for (const char* name : {"notes.txt", "notes.ini", "000007.ini.new", "-1.ini"}) {
    Write("", std::string("d.ini.history/") + name);
  }
  EXPECT_THAT(Numbers(Store().History()), ElementsAre(5));
  Stage({Entry("a.example", 2)});
  EXPECT_EQ(Store().Commit().value(), 6u);
  EXPECT_TRUE(std::filesystem::exists(Path("d.ini.history/notes.txt")));
}

TEST_F(ControlsStoreTest, AVersionThatIsMissingOrBrokenIsTold) {
  Write(kA1);
  WriteVersions(1, 1);
  Write("[a.example]\nnonsense = 1\n", "d.ini.history/000001.ini");
  EXPECT_THAT(std::string(Store().EntriesOf(1).status().message()),
              StartsWith(Path("d.ini.history/000001.ini") + ":2: "));
  const absl::Status missing = Store().EntriesOf(2).status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("version 2"));
}

// --- What a store keeps, which a new one reads.

TEST_F(ControlsStoreTest, KeepsWhatANewOneWouldRead) {
  Write("# by hand\n\n[b.example]\nmax_messages_per_connection = 2\n[a.example]\n");
  ControlsStore store({.path = Path(), .named = true});
  EXPECT_EQ(**store.InUse(), **Store().InUse());
  ControlsStore::Entries entries = **store.Working();
  entries.push_back(Entry(".c.example", 3));
  ASSERT_TRUE(store.Stage(entries).ok());
  EXPECT_EQ(**store.Working(), **Store().Working());
  EXPECT_EQ(**store.InUse(), **Store().InUse());
  ASSERT_TRUE(store.Commit().ok());
  EXPECT_EQ(**store.InUse(), **Store().InUse());
  EXPECT_EQ(**store.Working(), **Store().Working());
  EXPECT_FALSE(store.staged());
  entries = **store.Working();
  entries.pop_back();
  ASSERT_TRUE(store.Stage(entries).ok());
  EXPECT_EQ(**store.Working(), **Store().Working());
  ASSERT_TRUE(store.Abandon().ok());
  EXPECT_EQ(**store.Working(), **Store().Working());
}

// What is staged says of lines what a commit will make of them.
TEST_F(ControlsStoreTest, LinesAreThoseOfTheFileToBe) {
  Write("");
  Stage({Entry("a.example", 2)});
  const ControlsStore::Table staged = *Store().Working();
  ASSERT_TRUE(Store().Commit().ok());
  EXPECT_EQ(*staged, **Store().InUse());
  ASSERT_THAT(*staged, SizeIs(2));
  EXPECT_EQ(staged->back().line, 3);  // kA2Committed.
}

TEST_F(ControlsStoreTest, ReadsAgainOnlyWhatHasChanged) {
  Write(kA1);
  ControlsStore store({.path = Path(), .named = true});
  const ControlsStore::Table first = *store.InUse();
  EXPECT_EQ(*store.InUse(), first);
  ASSERT_TRUE(store.Stage({Entry("a.example", 2)}).ok());
  const ControlsStore::Table staged = *store.Working();
  ASSERT_TRUE(store.Commit().ok());
  EXPECT_EQ(*store.InUse(), staged);
}

TEST_F(ControlsStoreTest, NoticesEditsByHand) {
  Write(kA1);
  ControlsStore store({.path = Path(), .named = true});
  EXPECT_THAT(Said(store.InUse()), ElementsAre("a.example=1"));
  Write("[a.example]\nmax_messages_per_connection = 20\n");
  EXPECT_THAT(Said(store.InUse()), ElementsAre("a.example=20"));
  // Of the same length and time, but another file.
  const auto written = std::filesystem::last_write_time(Path());
  Write("[a.example]\nmax_messages_per_connection = 30\n", "other.ini");
  std::filesystem::last_write_time(Path("other.ini"), written);
  std::filesystem::rename(Path("other.ini"), Path());
  EXPECT_THAT(Said(store.InUse()), ElementsAre("a.example=30"));
  ASSERT_TRUE(store.Stage({Entry("a.example", 2)}).ok());
  Write("[a.example]\nmax_messages_per_connection = 4\n");
  EXPECT_EQ(store.Commit().status().code(), absl::StatusCode::kFailedPrecondition);
  Write("[a.example]\nmax_messages_per_connection = many\n");
  EXPECT_EQ(store.InUse().status().code(), absl::StatusCode::kInvalidArgument);
  std::filesystem::remove(Path());
  EXPECT_THAT(Said(store.InUse()), ElementsAre(Path() + ": No such file or directory"));
}

TEST_F(ControlsStoreTest, NoticesAnEditOfWhatIsStaged) {
  Write(kA1);
  ControlsStore store({.path = Path(), .named = true});
  ASSERT_TRUE(store.Stage({Entry("a.example", 2)}).ok());
  Write("[a.example]\nmax_messages_per_connection = 3\n", "d.ini.staged");
  EXPECT_THAT(Said(store.Working()), ElementsAre("a.example=3"));
  Write("# edited from 0\n[a.example]\nmax_messages_per_connection = many\n", "d.ini.staged");
  EXPECT_THAT(Said(store.Working()), ElementsAre(StartsWith(Path("d.ini.staged") + ":3: ")));
}

}  // namespace
}  // namespace sluice
