// Message ids: unique and rising whatever the clock does, and their text, which sorts as they do.

#include "engine/base/message_id.h"

#include <chrono>
#include <string>

#include "engine/base/random.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

WallTime AtMicrosecond(int64_t us) {
  return WallTime(std::chrono::microseconds(us));
}

TEST(MessageId, HoldsTheMicrosecondAndTheShard) {
  MessageIdSource source(7);
  EXPECT_EQ(source.Next(AtMicrosecond(1'700'000'000'000'000)).value,
            uint64_t{1'700'000'000'000'000} << 8 | 7);
}

TEST(MessageId, RisesWithinOneMicrosecond) {
  MessageIdSource source(255);
  const MessageId first = source.Next(AtMicrosecond(1000));
  EXPECT_EQ(source.Next(AtMicrosecond(1000)).value, first.value + 256);
  EXPECT_EQ(source.Next(AtMicrosecond(1000)).value, first.value + 512);
  EXPECT_EQ(source.Next(AtMicrosecond(1003)).value, first.value + 768);
}

TEST(MessageId, RisesWhenTheClockStepsBack) {
  MessageIdSource source(0);
  const MessageId before = source.Next(AtMicrosecond(1'000'000));
  EXPECT_GT(source.Next(AtMicrosecond(5)), before);
}

TEST(MessageId, RisesBeforeTheEpoch) {
  MessageIdSource source(0);
  const MessageId first = source.Next(AtMicrosecond(-5));
  EXPECT_TRUE(static_cast<bool>(first));
  EXPECT_GT(source.Next(AtMicrosecond(-5)), first);
}

TEST(MessageId, RisesAboveWhatRecoveryHasSeen) {
  MessageIdSource source(3);
  source.Seen(MessageId{uint64_t{1'000'000} << 8 | 255});
  source.Seen(MessageId{uint64_t{999} << 8});  // An older one changes nothing.
  EXPECT_EQ(source.Next(AtMicrosecond(10)).value, uint64_t{1'000'001} << 8 | 3);
}

TEST(MessageId, AsText) {
  EXPECT_EQ(MessageId{1}.ToString(), "0000000000001");
  EXPECT_EQ(MessageId{32}.ToString(), "0000000000010");
  EXPECT_EQ(MessageId{0x0123456789abcdef}.ToString(), "028T5CY4TQKFF");
  EXPECT_EQ(MessageId{UINT64_MAX}.ToString(), "FZZZZZZZZZZZZ");
}

TEST(MessageId, TextReadsBackAndSortsAsTheNumberDoes) {
  Random random(1);
  for (int i = 0; i < 1000; ++i) {
    const MessageId a{random.Next() >> random.Below(60) | 1};
    const MessageId b{random.Next() >> random.Below(60) | 1};
    EXPECT_EQ(MessageId::Parse(a.ToString()), a);
    EXPECT_EQ(a < b, a.ToString() < b.ToString());
  }
}

TEST(MessageId, WhatIsNotOneIsRefused) {
  for (const char* text : {"", "000000000000", "00000000000001", "G000000000000", "000000000000I",
                           "000000000000L", "000000000000O", "000000000000U", "000000000000a",
                           "00000 0000001", "-000000000001", "0000000000000"}) {
    EXPECT_FALSE(MessageId::Parse(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace sluice
