// Where a body is when a parcel asks for it: lent out of memory, read back from the log, or not to
// be had. What is lent is byte for byte what arrived.

#include <cerrno>

#include "tests/engine/delivery/home_words.h"

namespace sluice::delivery {
namespace {

using limits::kBodyBlockBytes;

class HomeBodyTest : public HomeTest {
 protected:
  // A message whose body is in the log only: it has been deferred once, and is out again.
  Parcel& OutFromTheLog(absl::string_view wire, const std::string& recipient = "a@one.example") {
    const std::string destination = recipient.substr(recipient.find('@') + 1);
    Accept(wire, {recipient});
    Deferred(Out(destination));
    Pass(minutes(2));
    return Out(destination);
  }
  void Damage(const Message& message, size_t extent = 0) {
    const spool::Extent& where = message.extents.at(extent);
    disk_.BytesOf(where.segment).at(where.offset + where.bytes - 1) ^= std::byte{1};
  }
  // A try that could not be made, and the wait for the next.
  Parcel& TryAgain(Parcel& parcel) {
    Deferred(parcel, "451 4.3.0 the message cannot be read back from the spool");
    Pass(hours(2));
    return Out("one.example");
  }
};

TEST_F(HomeBodyTest, IsLentOutOfMemoryAtOnce) {
  Start();
  const std::string wire = WireOf(1, 3 * kBodyBlockBytes + 100);
  Accept(wire, {"a@one.example"});
  io_.Hold(Kind::kRead);
  Parcel& parcel = Out("one.example");
  EXPECT_TRUE(BodyOf(parcel) == wire);
  EXPECT_EQ(io_.in_flight(Kind::kRead), 0u);
  Delivered(parcel);
  EXPECT_EQ(home_->blocks_taken(), 0u);
}

// To another shard, with the parcel.
TEST_F(HomeBodyTest, IsLentAheadOutOfMemory) {
  Start();
  const std::string wire = WireOf(1, 1000);
  Accept(wire, {"a@one.example"});
  Parcel& parcel = Out("one.example");
  home_->LendAhead(parcel);
  ASSERT_EQ(parcel.body_state, BodyState::kLent);
  EXPECT_TRUE(TextOf(parcel.message->body) == wire);
  Returns(parcel, ParcelResult::kAgain);  // Its session was lost. It is given back,
  EXPECT_EQ(parcel.body_state, BodyState::kNotAsked);
  home_->LendAhead(Out("one.example"));
  Delivered(parcel);
  EXPECT_EQ(home_->blocks_taken(), 0u);  // and gone with its message.
}

TEST_F(HomeBodyTest, IsNotLentAheadWhereItWouldHaveToBeRead) {
  Start();
  Parcel& parcel = OutFromTheLog(WireOf(1, 1000));
  home_->LendAhead(parcel);
  EXPECT_EQ(parcel.body_state, BodyState::kNotAsked);
  Delivered(parcel);
}

// What waits at other shards keeps a quarter of the memory at most, and one more.
TEST_F(HomeBodyTest, IsNotLentAheadOutOfScarceMemory) {
  options_.body_blocks = 8;
  Start();
  std::vector<BodyState> states;
  for (int i = 1; i <= 4; ++i) {
    const std::string destination = absl::StrCat("d", i, ".example");
    Accept(WireOf(static_cast<uint64_t>(i), 1000), {"a@" + destination});
    Parcel& parcel = Out(destination);
    home_->LendAhead(parcel);
    states.push_back(parcel.body_state);
  }
  EXPECT_EQ(states, (std::vector<BodyState>{BodyState::kLent, BodyState::kLent,
                                            BodyState::kNotAsked, BodyState::kNotAsked}));
}

TEST_F(HomeBodyTest, OfADeferredMessageIsNotKeptInMemory) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example"});
  EXPECT_EQ(home_->blocks_taken(), 1u);
  Deferred(Out("one.example"));
  EXPECT_EQ(home_->blocks_taken(), 0u);
}

TEST_F(HomeBodyTest, IsReadBackByteForByte) {
  Start();
  // Around a block, and in several pieces of the log.
  for (const size_t bytes : {size_t{10}, kBodyBlockBytes - 1, kBodyBlockBytes, kBodyBlockBytes + 1,
                             16 * kBodyBlockBytes, 40 * kBodyBlockBytes + 7}) {
    const std::string wire = WireOf(bytes, bytes);
    Parcel& parcel = OutFromTheLog(wire);
    EXPECT_EQ(home_->blocks_taken(), 0u);
    EXPECT_TRUE(BodyOf(parcel) == wire) << bytes;
    Delivered(parcel);
    EXPECT_EQ(home_->blocks_taken(), 0u);
    EXPECT_EQ(home_->messages(), 0u);
  }
}

// A piece in the log is at most a quarter of a segment.
TEST_F(HomeBodyTest, IsReadBackFromShortSegments) {
  log_options_.segment_bytes = 16 * kBodyBlockBytes;
  Start();
  const std::string wire = WireOf(1, 9 * kBodyBlockBytes + 1);
  Parcel& parcel = OutFromTheLog(wire);
  EXPECT_EQ(parcel.message->extents.size(), 3u);
  EXPECT_TRUE(BodyOf(parcel) == wire);
  Delivered(parcel);
}

// A large one is in the log before its end, and its memory is free again.
TEST_F(HomeBodyTest, OfALargeMessageIsReadBackForItsFirstTry) {
  Start();
  const std::string wire = WireOf(1, 50 * kBodyBlockBytes);
  Incoming* incoming = Begin();
  Sends(*incoming, absl::string_view(wire).substr(0, 40 * kBodyBlockBytes));
  Settle();
  EXPECT_LE(home_->blocks_taken(), limits::kBodyBlocksBeforeLog);
  Sends(*incoming, absl::string_view(wire).substr(40 * kBodyBlockBytes));
  const Handle session = Ends(*incoming, {"a@one.example"});
  Settle();
  ASSERT_EQ(Kept(session), true);
  EXPECT_EQ(home_->blocks_taken(), 0u);
  Parcel& parcel = Out("one.example");
  EXPECT_TRUE(BodyOf(parcel) == wire);
  Delivered(parcel);
  EXPECT_EQ(home_->messages(), 0u);
}

TEST_F(HomeBodyTest, IsReadOnceForAllWhoAsk) {
  Start();
  const std::string wire = WireOf(1, 1000);
  Accept(wire, {"a@one.example", "b@two.example"});
  Kill();
  Start();
  io_.Hold(Kind::kRead);
  Parcel& one = Out("one.example");
  Parcel& two = Out("two.example");
  Asks(one);
  Asks(two);
  Settle();
  ASSERT_EQ(io_.in_flight(Kind::kRead), 1u);
  EXPECT_EQ(Decided(one), BodyState::kAsked);
  Step();
  EXPECT_EQ(Decided(one), BodyState::kLent);
  EXPECT_EQ(Decided(two), BodyState::kLent);
  Delivered(one);
  EXPECT_TRUE(TextOf(two.message->body) == wire);  // Its neighbour's return does not take it away.
  Delivered(two);
  EXPECT_EQ(home_->blocks_taken(), 0u);
}

TEST_F(HomeBodyTest, ThatIsLentStaysWhenTheOtherDestinationDefers) {
  Start();
  const std::string wire = WireOf(1, 1000);
  Accept(wire, {"a@one.example", "b@two.example"});
  Parcel& one = Out("one.example");
  ASSERT_TRUE(BodyOf(one) == wire);
  Deferred(Out("two.example"));
  EXPECT_TRUE(TextOf(one.message->body) == wire);
  Delivered(one);
}

// --- Memory.

TEST_F(HomeBodyTest, WithoutMemoryIsNotLentAndComesLater) {
  options_.body_blocks = 8;
  Start();
  const std::string wire = WireOf(1, 5 * kBodyBlockBytes);
  Parcel& parcel = OutFromTheLog(wire);
  Incoming* arriving = Begin();
  Sends(*arriving, WireOf(2, 4 * kBodyBlockBytes));
  EXPECT_EQ(Ask(parcel), BodyState::kNoRoom);
  Returns(parcel, ParcelResult::kRecalled);
  home_->Abandon(*arriving);
  Pass(seconds(5));
  Parcel& again = Out("one.example");
  EXPECT_TRUE(BodyOf(again) == wire);
  EXPECT_EQ(again.attempts, 1u);  // The one before.
}

// Bodies that nobody holds make room for those that are wanted now; a lent one never does.
TEST_F(HomeBodyTest, OthersThatNobodyHoldsMakeRoom) {
  options_.body_blocks = 8;
  Start();
  const std::string lent = WireOf(1, 1000);
  const std::string kept = WireOf(2, 2000);
  Accept(lent, {"a@lent.example"});
  Accept(kept, {"a@kept.example"});
  Parcel& holder = Out("lent.example");
  ASSERT_TRUE(BodyOf(holder) == lent);
  Incoming* arriving = Begin();
  Sends(*arriving, WireOf(3, 6 * kBodyBlockBytes));
  ASSERT_EQ(home_->blocks_taken(), 8u);

  Pass(seconds(5));
  EXPECT_NE(Begin(), nullptr);
  EXPECT_EQ(home_->blocks_taken(), 7u);
  EXPECT_TRUE(TextOf(holder.message->body) == lent);
  EXPECT_TRUE(BodyOf(Out("kept.example")) == kept);  // Read back.
}

TEST_F(HomeBodyTest, WhereAllAreHeldNoMessageIsBegun) {
  options_.body_blocks = 4;
  Start();
  for (int i = 0; i < 3; ++i) {
    Accept(WireOf(1, 1000), {absl::StrCat("a@d", i, ".example")});
    ASSERT_EQ(Ask(Out(absl::StrCat("d", i, ".example"))), BodyState::kLent);
  }
  Incoming* arriving = Begin();
  Sends(*arriving, WireOf(2, 1000));
  Pass(seconds(5));
  EXPECT_EQ(home_->blocks_taken(), 4u);
  EXPECT_EQ(Begin(), nullptr);
}

// The log has borrowed it until it is written.
TEST_F(HomeBodyTest, ThatWaitsForItsPromiseDoesNotMakeRoom) {
  options_.body_blocks = 4;
  Start();
  io_.Hold(Kind::kWrite);
  const std::string wire = WireOf(1, 3 * kBodyBlockBytes);
  Incoming* incoming = Begin();
  Sends(*incoming, wire);
  const Handle session = Ends(*incoming, {"a@one.example"});
  Incoming* arriving = Begin();
  Sends(*arriving, std::string(100, '#'));
  Pass(seconds(5));
  EXPECT_EQ(Begin(), nullptr);
  Sends(*arriving, std::string(2 * kBodyBlockBytes, '#'));  // Would overwrite what is free.
  io_.Free(Kind::kWrite);
  Settle();
  ASSERT_EQ(Kept(session), true);
  Kill();
  Start();
  EXPECT_TRUE(BodyOf(Out("one.example")) == wire);
}

TEST_F(HomeBodyTest, PastThreeQuartersOfTheMemoryNewOnesAreNotKept) {
  options_.body_blocks = 8;
  Start();
  for (int i = 0; i < 20; ++i) {
    Accept(WireOf(i, 1000), {absl::StrCat("a@d", i, ".example")});
    EXPECT_LE(home_->blocks_taken(), 6u);
  }
  for (int i = 0; i < 20; ++i) {
    Parcel& parcel = Out(absl::StrCat("d", i, ".example"));
    EXPECT_TRUE(BodyOf(parcel) == WireOf(i, 1000)) << i;
    Delivered(parcel);
  }
  EXPECT_EQ(home_->blocks_taken(), 0u);
}

// What waits at home for its destination gives its room to what is on its way to another, not to
// more of the same.
TEST_F(HomeBodyTest, MailThatDoesNotMoveDoesNotSendOthersThroughTheDisk) {
  options_.body_blocks = 8;
  options_.out_max = 16;  // A destination's share is an eighth: one is out, the others wait.
  Start();
  for (int i = 0; i < 6; ++i) Accept(WireOf(i, 1000), {"a@slow.example"});
  ASSERT_EQ(home_->blocks_taken(), 6u);  // Three quarters.
  Parcel& slow = Out("slow.example");
  for (int i = 0; i < 4; ++i) {
    Accept(WireOf(10 + i, 1000), {"a@quick.example"});
    Parcel& parcel = Out("quick.example");
    EXPECT_FALSE(parcel.message->body.empty()) << i;
    EXPECT_EQ(home_->blocks_taken(), 6u);
    Delivered(parcel);
    Accept(WireOf(6 + i, 1000), {"a@slow.example"});
    EXPECT_EQ(home_->blocks_taken(), 6u);
  }
  EXPECT_FALSE(slow.message->body.empty());  // It is out.
  EXPECT_TRUE(BodyOf(slow) == WireOf(0, 1000));
  Delivered(slow);
  for (int i = 1; i < 10; ++i) {
    Parcel& parcel = Out("slow.example");
    EXPECT_TRUE(BodyOf(parcel) == WireOf(i, 1000)) << i;
    Delivered(parcel);
  }
}

// --- Damage.

TEST_F(HomeBodyTest, ThatDoesNotCheckIsNeverLentAndIsLostTheThirdTime) {
  Start();
  Parcel* parcel = &OutFromTheLog(WireOf(1, 2 * kBodyBlockBytes));
  Damage(*parcel->message);
  EXPECT_EQ(Ask(*parcel), BodyState::kDamaged);
  EXPECT_EQ(home_->blocks_taken(), 0u);
  parcel = &TryAgain(*parcel);
  EXPECT_EQ(Ask(*parcel), BodyState::kDamaged);
  parcel = &TryAgain(*parcel);
  EXPECT_EQ(Ask(*parcel), BodyState::kLost);
  Refused(*parcel, "554 5.3.0 the message was damaged in the spool");
  EXPECT_TRUE(IsOut("sender.example"));
  EXPECT_EQ(events_.Count(EventType::kBounce, "a@one.example"), 1u);
}

TEST_F(HomeBodyTest, OneBadPieceOfSeveralIsDamage) {
  Start();
  Parcel& parcel = OutFromTheLog(WireOf(1, 40 * kBodyBlockBytes));
  ASSERT_EQ(parcel.message->extents.size(), 3u);
  Damage(*parcel.message, 1);
  EXPECT_EQ(Ask(parcel), BodyState::kDamaged);
}

TEST_F(HomeBodyTest, AFaultThatPassesIsForgotten) {
  Start();
  const std::string wire = WireOf(1, 1000);
  Parcel* parcel = &OutFromTheLog(wire);
  for (int round = 0; round < 2; ++round) {
    disk_.faults.read_error = EIO;
    EXPECT_EQ(Ask(*parcel), BodyState::kDamaged);
    parcel = &TryAgain(*parcel);
    EXPECT_EQ(Ask(*parcel), BodyState::kDamaged);
    disk_.faults.read_error = 0;
    parcel = &TryAgain(*parcel);
    EXPECT_TRUE(BodyOf(*parcel) == wire);
    parcel = &TryAgain(*parcel);
  }
}

// The destinations of one message that ask for one read are one try.
TEST_F(HomeBodyTest, AFailedReadCountsOnceForAllWhoWaitForIt) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example", "b@two.example", "c@three.example"});
  Kill();
  Start();
  disk_.faults.read_error = EIO;
  Parcel* parcels[] = {&Out("one.example"), &Out("two.example"), &Out("three.example")};
  for (Parcel* parcel : parcels) Asks(*parcel);
  Settle();
  for (Parcel* parcel : parcels) EXPECT_EQ(Decided(*parcel), BodyState::kDamaged);
}

// --- One destination ends while another waits for the body.

TEST_F(HomeBodyTest, IsReadOnForThoseWhoWaitWhenAnotherDestinationEnds) {
  sender_ = "";
  Start();
  const std::string wire = WireOf(1, 1000);
  Accept(wire, {"a@one.example", "b@two.example"});
  Kill();
  Start();
  io_.Hold(Kind::kRead);
  Parcel& one = Out("one.example");
  Asks(one);
  Refused(Out("two.example"));  // At RCPT: the body was never asked for.
  EXPECT_EQ(home_->blocks_taken(), 1u);
  Step();
  ASSERT_EQ(Decided(one), BodyState::kLent);
  EXPECT_TRUE(TextOf(one.message->body) == wire);
  Delivered(one);
  EXPECT_EQ(home_->messages(), 0u);
  EXPECT_EQ(home_->blocks_taken(), 0u);
}

}  // namespace
}  // namespace sluice::delivery
