// One group commit's writes and syncs: what is merged, how it is cut into steps, what a short write
// does.

#include "engine/spool/batch.h"

#include <gtest/gtest.h>

#include "tests/engine/spool/spool_words.h"

namespace sluice::spool {
namespace {

constexpr SegmentId kFirst = {1};
constexpr SegmentId kSecond = {2};

void Encode(Batch& batch, absl::string_view text) {
  const Bytes bytes = AsBytes(text);
  batch.arena().insert(batch.arena().end(), bytes.begin(), bytes.end());
  batch.Take();
}

std::string TextOf(const Step& step) {
  std::string text;
  for (const Bytes part : step.parts) text += AsText(part);
  return text;
}

TEST(Batch, ArenaNeighboursAreOnePart) {
  Batch batch;
  batch.WriteTo(kFirst, 7, 100);
  Encode(batch, "aa");
  Encode(batch, "bb");
  const std::string body = "BODY";
  batch.Lend(AsBytes(body));
  Encode(batch, "cc");
  Encode(batch, "dd");
  batch.Seal();
  const Step step = batch.Next();
  ASSERT_EQ(step.kind, StepKind::kWrite);
  EXPECT_EQ(step.descriptor, 7);
  EXPECT_EQ(step.offset, 100u);
  ASSERT_EQ(step.parts.size(), 3u);
  EXPECT_EQ(TextOf(step), "aabbBODYccdd");
  EXPECT_EQ(step.parts[1].data(), AsBytes(body).data());  // Lent, not copied.
}

// The arena grows past any capacity it had: its first bytes have moved by then.
TEST(Batch, GrowingArenaTakesItsPartsAlong) {
  Batch batch;
  batch.WriteTo(kFirst, 7, 0);
  std::string expected;
  const std::string body = "-";
  for (int i = 0; i < 500; ++i) {
    const std::string text = "record " + std::to_string(i);
    Encode(batch, text);
    batch.Lend(AsBytes(body));
    expected += text + "-";
  }
  batch.Seal();
  EXPECT_EQ(TextOf(batch.Next()), expected);
}

TEST(Batch, DroppedBytesAreNotWritten) {
  Batch batch;
  batch.WriteTo(kFirst, 7, 0);
  Encode(batch, "kept");
  batch.arena().resize(batch.arena().size() + 5);
  batch.Drop();
  Encode(batch, "!");
  batch.Seal();
  EXPECT_EQ(TextOf(batch.Next()), "kept!");
}

TEST(Batch, AWriteHasAtMostItsBoundOfParts) {
  for (const size_t parts : {kStepPartsMax - 1, kStepPartsMax, kStepPartsMax + 1}) {
    Batch batch;
    const std::string body = "x";
    batch.WriteTo(kFirst, 7, 0);
    for (size_t i = 0; i < parts; ++i) batch.Lend(AsBytes(body));
    batch.Seal();
    const size_t first = batch.Next().parts.size();
    EXPECT_EQ(first, std::min(parts, kStepPartsMax));
    batch.Written(first);
    if (parts > kStepPartsMax) {
      EXPECT_EQ(batch.Next().offset, kStepPartsMax);
      EXPECT_EQ(batch.Next().parts.size(), 1u);
      batch.Written(1);
    }
    EXPECT_EQ(batch.Next().kind, StepKind::kSync);
  }
}

TEST(Batch, OlderSegmentIsSyncedBeforeTheNextIsWritten) {
  Batch batch;
  batch.WriteTo(kFirst, 7, 40);
  Encode(batch, "old");
  batch.WriteTo(kSecond, 8, 0);
  Encode(batch, "new");
  batch.Seal();
  EXPECT_EQ(TextOf(batch.Next()), "old");
  batch.Written(3);
  EXPECT_EQ(batch.Next().kind, StepKind::kSync);
  EXPECT_EQ(batch.Next().descriptor, 7);
  batch.Synced();
  EXPECT_EQ(TextOf(batch.Next()), "new");
  EXPECT_EQ(batch.Next().descriptor, 8);
  EXPECT_EQ(batch.Next().offset, 0u);
  batch.Written(3);
  EXPECT_FALSE(batch.done());
  batch.Synced();
  EXPECT_TRUE(batch.done());
}

TEST(Batch, AShortWriteGoesOnWhereItEnded) {
  const std::string body = "BODY";
  for (size_t cut = 1; cut < 8; ++cut) {
    Batch batch;
    batch.WriteTo(kFirst, 7, 10);
    Encode(batch, "aa");
    batch.Lend(AsBytes(body));
    Encode(batch, "cc");
    batch.Seal();
    batch.Written(cut);
    EXPECT_EQ(batch.Next().offset, 10 + cut);
    EXPECT_EQ(TextOf(batch.Next()), std::string("aaBODYcc").substr(cut));
  }
}

TEST(Batch, MoreThanWasAskedForCannotHaveBeenWritten) {
  Batch batch;
  batch.WriteTo(kFirst, 7, 0);
  Encode(batch, "abc");
  batch.Seal();
  EXPECT_DEATH(batch.Written(4), "CHECK");
  EXPECT_DEATH(batch.Synced(), "CHECK");
}

TEST(Batch, ClearedItIsUsedAgain) {
  Batch batch;
  for (const absl::string_view text : {"first", "second"}) {
    EXPECT_TRUE(batch.empty());
    batch.WriteTo(kFirst, 7, 0);
    Encode(batch, text);
    batch.Seal();
    EXPECT_EQ(TextOf(batch.Next()), text);
    batch.Written(text.size());
    batch.Synced();
    batch.Clear();
  }
}

}  // namespace
}  // namespace sluice::spool
