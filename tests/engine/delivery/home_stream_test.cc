// A body that is too large for memory is lent by its places in the log. What lies there is byte for
// byte what arrived, for as long as it is lent.

#include <cerrno>

#include "tests/engine/delivery/home_words.h"

namespace sluice::delivery {
namespace {

class HomeStreamTest : public HomeTest {
 protected:
  static constexpr uint64_t kBound = limits::kBodyBytesInMemoryMax;

  // What is at the places that a parcel was lent.
  std::string Streamed(const Parcel& parcel) {
    std::string text;
    for (const BodyPlace& place : parcel.body_places) {
      std::string piece(place.bytes, '\0');
      EXPECT_EQ(
          disk_.Read(place.descriptor, std::as_writable_bytes(std::span(piece)), place.offset),
          static_cast<int32_t>(place.bytes));
      text += piece;
    }
    return text;
  }
  Parcel& OutLarge(absl::string_view wire, const std::string& recipient = "a@one.example") {
    Accept(wire, {recipient});
    return Out(recipient.substr(recipient.find('@') + 1));
  }
  // As the connection's shard says it, having found the body so.
  void ReturnsUnreadable(Parcel& parcel) {
    parcel.body_check = BodyCheck::kDamaged;
    Deferred(parcel, "451 4.3.0 the message cannot be read back from the spool");
  }
};

TEST_F(HomeStreamTest, IsLentByItsPlacesBeyondTheBoundAndOnlyThere) {
  Start();
  for (const uint64_t bytes : {kBound - 1, kBound, kBound + 1}) {
    const std::string wire = WireOf(1, bytes);
    Parcel& parcel = OutLarge(wire);
    ASSERT_EQ(Ask(parcel), BodyState::kLent);
    if (bytes <= kBound) {
      EXPECT_TRUE(parcel.body_places.empty());
      EXPECT_TRUE(TextOf(parcel.message->body) == wire);
    } else {
      EXPECT_TRUE(parcel.message->body.empty());
      EXPECT_EQ(home_->blocks_taken(), 0u);
      EXPECT_TRUE(Streamed(parcel) == wire);
    }
    Delivered(parcel);
    EXPECT_EQ(home_->blocks_taken(), 0u);
    EXPECT_EQ(home_->messages(), 0u);
  }
}

TEST_F(HomeStreamTest, TakesNoReadOfTheHomeAndNoMemory) {
  options_.body_blocks = 2 * limits::kBodyBlocksBeforeLog + 1;
  Start();
  const std::string wire = WireOf(1, 8 * kBound);
  Incoming* incoming = Begin();
  for (size_t at = 0; at < wire.size(); at += kReceived) {
    Sends(*incoming, absl::string_view(wire).substr(at, kReceived));
    Settle();
  }
  const Handle session = Ends(*incoming, {"a@one.example", "b@two.example"});
  Settle();
  ASSERT_EQ(Kept(session), true);
  Parcel& one = Out("one.example");
  Parcel& two = Out("two.example");
  EXPECT_EQ(Ask(one), BodyState::kLent);
  EXPECT_EQ(Ask(two), BodyState::kLent);
  EXPECT_EQ(io_.reads_begun(), 0u);
  EXPECT_EQ(home_->blocks_taken(), 0u);
  // Over several segments: no segment holds 8 MiB.
  EXPECT_NE(one.body_places.front().descriptor, one.body_places.back().descriptor);
  EXPECT_TRUE(Streamed(one) == wire);
  Delivered(one);
  EXPECT_TRUE(Streamed(two) == wire);
  Delivered(two);
  EXPECT_EQ(home_->messages(), 0u);
}

TEST_F(HomeStreamTest, AfterARestartToo) {
  Start();
  const std::string wire = WireOf(1, 3 * kBound);
  OutLarge(wire);
  PowerCut();
  Start();
  Parcel& parcel = Out("one.example");
  ASSERT_EQ(Ask(parcel), BodyState::kLent);
  EXPECT_TRUE(Streamed(parcel) == wire);
  Delivered(parcel);
}

TEST_F(HomeStreamTest, StaysWhereItIsWhileItIsLent) {
  Start();
  const std::string wire = WireOf(1, 2 * kBound);
  Parcel& parcel = OutLarge(wire);
  ASSERT_EQ(Ask(parcel), BodyState::kLent);
  PassThrough(60, 200000);  // Six segments.
  ASSERT_NE(log_->MoveWanted(), std::nullopt);
  EXPECT_TRUE(Streamed(parcel) == wire);
  Deferred(parcel);
  EXPECT_TRUE(parcel.body_places.empty());
  EXPECT_EQ(parcel.body_places.capacity(), 0u);  // Memory of a few alone.
}

TEST_F(HomeStreamTest, ThatDoesNotCheckThreeTimesInARowIsLost) {
  Start();
  Parcel* parcel = &OutLarge(WireOf(1, 2 * kBound));
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(Ask(*parcel), BodyState::kLent);
    ReturnsUnreadable(*parcel);
    Pass(hours(2));
    parcel = &Out("one.example");
  }
  ASSERT_EQ(Ask(*parcel), BodyState::kLent);
  parcel->body_check = BodyCheck::kWhole;  // A fault that passed.
  Deferred(*parcel);
  for (int i = 0; i < 3; ++i) {
    Pass(hours(2));
    parcel = &Out("one.example");
    ASSERT_EQ(Ask(*parcel), BodyState::kLent) << i;
    ReturnsUnreadable(*parcel);
  }
  Pass(hours(2));
  parcel = &Out("one.example");
  EXPECT_EQ(Ask(*parcel), BodyState::kLost);
  Refused(*parcel, "554 5.3.0 the message was damaged in the spool");
  EXPECT_TRUE(IsOut("sender.example"));
  EXPECT_EQ(home_->messages(), 1u);  // The bounce.
}

// Each destination reads for itself.
TEST_F(HomeStreamTest, DestinationsOfOneMessageCountTheirOwnReads) {
  Start();
  Accept(WireOf(1, 2 * kBound), {"a@one.example", "b@two.example", "c@three.example"});
  for (const char* destination : {"one.example", "two.example", "three.example"}) {
    Parcel& parcel = Out(destination);
    ASSERT_EQ(Ask(parcel), BodyState::kLent);
    ReturnsUnreadable(parcel);
  }
  Pass(hours(2));
  for (const char* destination : {"one.example", "two.example", "three.example"}) {
    EXPECT_EQ(Ask(Out(destination)), BodyState::kLent);
  }
}

// A bound below what stays in memory until its sync: then it does not stay longer.
TEST_F(HomeStreamTest, IsNotKeptInMemoryOnceItIsPromised) {
  options_.body_bytes_in_memory_max = 5000;
  Start();
  Accept(WireOf(1, 5000), {"a@small.example"});
  EXPECT_EQ(home_->blocks_taken(), 1u);
  const std::string wire = WireOf(2, 5001);
  Parcel& parcel = OutLarge(wire);
  EXPECT_EQ(home_->blocks_taken(), 1u);
  ASSERT_EQ(Ask(parcel), BodyState::kLent);
  EXPECT_TRUE(Streamed(parcel) == wire);
}

}  // namespace
}  // namespace sluice::delivery
