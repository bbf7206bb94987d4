// Which disks are legal at a point: recordings of a few events, and what a crash there may leave,
// by the words of disk_past.h.

#include "tests/crash/disk_past.h"

#include <gtest/gtest.h>

#include <set>

namespace sluice::crash {
namespace {

using Kind = Event::Kind;
using spool::SegmentId;

constexpr uint64_t kFileBytes = 2048;  // Four sectors.
constexpr SegmentId kOne = {1};
constexpr SegmentId kTwo = {2};

std::vector<std::byte> Bytes(size_t count, char what) {
  return std::vector<std::byte>(count, static_cast<std::byte>(what));
}

Event Content() {
  return {.kind = Kind::kContent, .id = kOne, .bytes = Bytes(kFileBytes, '.'), .first = true};
}
Event Write(uint64_t offset, size_t bytes, char what) {
  return {.kind = Kind::kWrite, .offset = offset, .bytes = Bytes(bytes, what)};
}

// A letter for each sector's front and back: "a. .. bb cc".
std::string Sectors(const Image& image, size_t file = 0) {
  std::string text;
  const std::span<const std::byte> bytes = image.files.at(file).bytes;
  for (size_t at = 0; at < bytes.size(); at += 512) {
    if (!text.empty()) text += ' ';
    text += static_cast<char>(bytes[at]);
    text += static_cast<char>(bytes[at + 511]);
  }
  return text;
}

class DiskPastTest : public testing::Test {
 protected:
  // After all events.
  Image Show(const std::string& choice) {
    past_.emplace(recording_, broken_);
    while (past_->point() < recording_.size()) past_->Advance();
    return past_->Show(*Choice::Parse(choice));
  }
  std::string Shown(const std::string& choice) { return Sectors(Show(choice)); }

  Recording recording_ = {Content()};
  Broken broken_ = Broken::kNothing;
  std::optional<DiskPast> past_;
};

TEST_F(DiskPastTest, EachSectorOfAWriteIsThereOrNot) {
  recording_.push_back(Write(512, 1536, 'a'));
  EXPECT_EQ(Shown("0,0:-"), ".. .. .. ..");
  EXPECT_EQ(Shown("0,0:+"), ".. aa aa aa");
  EXPECT_EQ(Shown("0,0:p1"), ".. aa .. ..");
  EXPECT_EQ(Shown("0,0:s1"), ".. .. aa aa");
  EXPECT_EQ(Shown("0,0:o1"), ".. .. aa ..");
  EXPECT_EQ(Shown("0,0:b1"), ".. aa .. aa");
}

TEST_F(DiskPastTest, ADrawnSubsetMayBeAny) {
  recording_.push_back(Write(512, 1536, 'a'));
  std::set<std::string> seen;
  for (int seed = 0; seed < 200; ++seed) seen.insert(Shown("0,0:x" + std::to_string(seed)));
  EXPECT_EQ(seen.size(), 8u);  // Of three sectors.
}

TEST_F(DiskPastTest, ASectorInPartWrittenKeepsItsRest) {
  recording_.push_back(Write(100, 500, 'a'));  // Into the second sector by 88 bytes.
  EXPECT_EQ(Shown("0,0:+"), ".a a. .. ..");
  EXPECT_EQ(Shown("0,0:o1"), ".. a. .. ..");
  EXPECT_EQ(Shown("0,0:o0"), ".a .. .. ..");
}

// The second write found the first one's bytes in the cache: its sector holds both.
TEST_F(DiskPastTest, ASectorThatTwoWritesTouchedHasOneOfItsVersions) {
  recording_.push_back(Write(0, 256, 'a'));
  recording_.push_back(Write(256, 256, 'b'));
  EXPECT_EQ(Shown("0,0:-,-"), ".. .. .. ..");
  EXPECT_EQ(Shown("0,0:+,-"), "a. .. .. ..");
  EXPECT_EQ(Shown("0,0:-,+"), "ab .. .. ..");
  EXPECT_EQ(Shown("0,0:+,+"), "ab .. .. ..");
}

TEST_F(DiskPastTest, WhatASyncCoversIsThere) {
  recording_.push_back(Write(0, 512, 'a'));
  recording_.push_back(Write(512, 512, 'b'));
  recording_.push_back({.kind = Kind::kSync, .writes = {1}});
  EXPECT_EQ(Shown("0,0:-"), "aa .. .. ..");  // One is left to choose about.
  EXPECT_EQ(Shown("0,0:+"), "aa bb .. ..");
  broken_ = Broken::kSync;
  EXPECT_EQ(Shown("0,0:-,-"), ".. .. .. ..");
}

TEST_F(DiskPastTest, AWriteThatNeverHappenedIsNot) {
  recording_.push_back(Write(0, 1024, 'a'));
  recording_.push_back({.kind = Kind::kDropped, .writes = {1}});
  recording_.push_back(Write(0, 512, 'a'));
  EXPECT_EQ(Shown("0,0:+"), "aa .. .. ..");
}

TEST_F(DiskPastTest, ACallThatIsUnderWayHasHappenedOrNot) {
  recording_.push_back({.kind = Kind::kRecycle, .id = kTwo});
  EXPECT_EQ(Show("0,0:").files[0].id, kOne);
  EXPECT_EQ(Show("1,0:").files[0].id, kTwo);
  recording_.back() = {.kind = Kind::kRemove, .id = kOne};
  EXPECT_EQ(Show("0,0:").files.size(), 1u);
  EXPECT_EQ(Show("1,0:").files.size(), 0u);
}

TEST_F(DiskPastTest, AFileThatIsBeingMadeIsThereInAnySize) {
  recording_.push_back({.kind = Kind::kCreate, .file = 1, .id = kTwo, .file_bytes = 64 << 10});
  EXPECT_EQ(Show("0,0:").files.size(), 1u);
  EXPECT_EQ(Show("1,0:").files[1].bytes.size(), 0u);
  EXPECT_EQ(Show("2,0:").files[1].bytes.size(), 32u << 10);
  EXPECT_EQ(Show("3,0:").files[1].bytes.size(), 64u << 10);
}

TEST_F(DiskPastTest, ACallThatCameBackHasHappened) {
  recording_.push_back({.kind = Kind::kRecycle, .id = kTwo});
  recording_.push_back({.kind = Kind::kRecycled, .id = kTwo});
  EXPECT_EQ(Show("0,0:").files[0].id, kTwo);
  EXPECT_EQ(past_->Systematic().size(), 1u);
  broken_ = Broken::kRecycle;
  EXPECT_EQ(Show("0,1:").files[0].id, kOne);
}

TEST_F(DiskPastTest, PlainChoicesAreNoneAllEachAndAllButEach) {
  for (int i = 0; i < 3; ++i) recording_.push_back(Write(512 * i, 512, 'a'));
  Show("0,0:-,-,-");
  std::set<std::string> plain;
  for (const Choice& choice : past_->Systematic()) plain.insert(choice.ToString());
  EXPECT_EQ(plain, (std::set<std::string>{"0,0:-,-,-", "0,0:+,+,+", "0,0:+,-,-", "0,0:-,+,-",
                                          "0,0:-,-,+", "0,0:-,+,+", "0,0:+,-,+", "0,0:+,+,-"}));
}

TEST(ChoiceTest, IsReadAsItIsWritten) {
  for (const std::string text : {"0,0:", "3,0:-,+", "0,2:x17,p3,s1,o0,b9"}) {
    ASSERT_TRUE(Choice::Parse(text)) << text;
    EXPECT_EQ(Choice::Parse(text)->ToString(), text);
  }
  for (const std::string text : {"", "0:-", "0,0", "a,0:-", "0,0:xy"}) {
    EXPECT_FALSE(Choice::Parse(text)) << text;
  }
}

}  // namespace
}  // namespace sluice::crash
