// Bodies on their way to a host: in pieces, at the host's pace, and until the kernel has let go of
// them. The slowest host that is borne is ClientSession's: 3 minutes a piece, and 500 bytes a
// second beside them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "tests/engine/delivery/dispatcher_words.h"

namespace sluice::delivery {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using testing::Each;
using testing::ElementsAre;
using testing::Le;
using testing::SizeIs;

constexpr size_t kPiece = 64 << 10;
constexpr size_t kMiB = 1 << 20;

class Bodies : public DispatcherTest {
 protected:
  // A message whose envelope has been taken; the first piece of its body is in flight.
  Mail& StartBody(size_t bytes) {
    Mail& mail = Queue(Make(1, bytes));
    while (network_.CountHeardByAll("DATA") == 0) EXPECT_TRUE(TurnOnce());
    network_.HoldSends();
    Turn();
    peer_ = network_.All()[0];
    EXPECT_TRUE(network_.Sending(peer_));
    return mail;
  }
  // The host takes what is in flight, at so much time for each 64 KiB.
  void TakesASend(Duration each) {
    const auto bytes = static_cast<Duration::rep>(network_.SendingBytes(peer_));
    Pass(each * bytes / static_cast<Duration::rep>(kPiece));
    if (!network_.Sending(peer_)) return;  // It has been cut off.
    network_.ReleaseSend(peer_);
    Turn();
  }

  int peer_ = -1;
};

TEST_F(Bodies, GoInPiecesOfAtMost64KiBAndInOrder) {
  Mail& mail = Queue(Make(1, 3 * kMiB));
  Turn();
  EXPECT_EQ(mail.Verdicts(), "D");
  const int peer = network_.All()[0];
  EXPECT_THAT(network_.SendSizes(peer), Each(Le(kPiece)));
  const std::string& heard = network_.AllHeard(peer);
  EXPECT_TRUE(heard.ends_with("DATA\r\n" + mail.wire));
}

// One that came with its parcel from another shard.
TEST_F(Bodies, ThatAreLentAlreadyAreNotAskedFor) {
  bodies_held_ = true;
  Mail& lent = Queue(Make());
  lent.parcel.body_state = BodyState::kLent;
  Turn();
  EXPECT_EQ(lent.Verdicts(), "D");
  Mail& asked = Queue(Make());
  Turn();
  EXPECT_EQ(asked.Verdicts(), "-");
}

// 65,536 bytes in 120 seconds are 546 a second.
TEST_F(Bodies, GoOnAtThePaceOfASlowHost) {
  Mail& mail = StartBody(2 * kMiB);
  while (network_.Sending(peer_)) TakesASend(minutes(2));
  EXPECT_EQ(mail.Verdicts(), "D");
}

// In 150 seconds they are 437: under 500, though each piece is in time.
TEST_F(Bodies, AreCutOffFromAHostBelowTheSlowestRate) {
  Mail& mail = StartBody(2 * kMiB);
  const auto slowest_s = static_cast<int64_t>(mail.message.message_bytes / 500);
  const Instant deadline = now_.instant + minutes(3) + seconds(slowest_s);
  while (network_.Sending(peer_) && now_.instant + seconds(150) < deadline) {
    TakesASend(seconds(150));
  }
  ASSERT_TRUE(network_.Sending(peer_));
  PassUntil(deadline - kTick);
  EXPECT_FALSE(network_.Closed(peer_));
  Pass(2 * kTick);
  EXPECT_TRUE(network_.Closed(peer_));
  EXPECT_EQ(mail.Verdicts(), "d");
  EXPECT_FALSE(mail.parcel.in_doubt);
  EXPECT_EQ(mail.parcel.reply.enhanced, (smtp::EnhancedCode{4, 4, 2}));
}

TEST_F(Bodies, AreCutOffFromAHostThatTakesNothingForThreeMinutes) {
  Mail& mail = StartBody(kMiB);
  TakesASend(minutes(1));
  Pass(minutes(3) - kTick);
  EXPECT_FALSE(network_.Closed(peer_));
  Pass(2 * kTick);
  EXPECT_TRUE(network_.Closed(peer_));
  EXPECT_EQ(mail.Verdicts(), "d");
  EXPECT_FALSE(mail.parcel.in_doubt);
}

// --- How much of it the host may have had.

TEST_F(Bodies, AreInDoubtOnceTheirLastPieceIsInTheKernelsHands) {
  Mail& mail = StartBody(kPiece + 1000);
  TakesASend(seconds(1));
  ASSERT_LT(network_.SendingBytes(peer_), kPiece);  // The last piece.
  network_.Resets(peer_);
  Turn();
  EXPECT_EQ(mail.Verdicts(), "d");
  EXPECT_TRUE(mail.parcel.in_doubt);
}

TEST_F(Bodies, AreNotInDoubtBeforeThat) {
  Mail& mail = StartBody(kPiece + 1000);
  network_.Resets(peer_);
  Turn();
  EXPECT_EQ(mail.Verdicts(), "d");
  EXPECT_FALSE(mail.parcel.in_doubt);
}

// --- The memory of a body goes home only when the kernel has let go of it.

TEST_F(Bodies, StayUntilTheirSendIsOverWhenTheHostRefusesThemHalfway) {
  Mail& mail = StartBody(kMiB);
  host().answers.clear();
  network_.Says(peer_, "552 5.3.4 too big\r\n");
  while (!mail.home) {
    ASSERT_TRUE(TurnOnce());
    EXPECT_FALSE(mail.home && network_.Sending(peer_));
  }
  EXPECT_EQ(mail.Verdicts(), "B");
  EXPECT_EQ(mail.parcel.reply.ToString(), "552 5.3.4 too big");
}

// A host that has seen enough says why, and closes: the send fails before its words are read.
TEST_F(Bodies, ThatCannotBeSentOnAreWhatTheHostStillSaysOfThem) {
  Mail& mail = StartBody(kMiB);
  host().answers.clear();
  network_.BreakSends(peer_);
  network_.ReleaseSend(peer_);
  Turn();
  EXPECT_FALSE(mail.home);
  network_.Says(peer_, "552-5.3.4 too\r\n");
  Turn();
  EXPECT_FALSE(network_.Sending(peer_));
  network_.Says(peer_, "552 5.3.4 big\r\n");
  network_.FinishesSending(peer_);
  Turn();
  EXPECT_EQ(mail.Verdicts(), "B");
  EXPECT_EQ(mail.parcel.reply.ToString(), "552 5.3.4 too / big");
}

TEST_F(Bodies, ThatCannotBeSentOnAreDeferredWhenTheHostSaysNothing) {
  Mail& mail = StartBody(kMiB);
  network_.BreakSends(peer_);
  network_.ReleaseSend(peer_);
  network_.FinishesSending(peer_);
  Turn();
  ExpectDeferred(mail);
  EXPECT_FALSE(mail.parcel.in_doubt);
}

// The kernel had no memory for the send, say: the host knows nothing of it, and would wait for as
// long as its timeouts are.
TEST_F(Bodies, ThatCannotBeSentOnEndTheSessionOfAHostThatIsStillThere) {
  Mail& mail = StartBody(kMiB);
  EXPECT_FALSE(network_.ToldTheEnd(peer_));
  network_.BreakSends(peer_);
  network_.ReleaseSend(peer_);
  Turn();
  EXPECT_TRUE(network_.ToldTheEnd(peer_));
  EXPECT_FALSE(network_.Closed(peer_));  // It may have something to say.
  network_.FinishesSending(peer_);
  Turn();
  EXPECT_TRUE(network_.Closed(peer_));
  ExpectDeferred(mail);
}

TEST_F(Bodies, StayUntilTheirSendIsOverWhenTheHostHasAnsweredBefore) {
  Mail& mail = StartBody(1000);
  host().answers.clear();
  network_.Says(peer_, "250 2.0.0 taken\r\n");
  Turn();
  EXPECT_FALSE(mail.home);
  Pass(seconds(30) - kTick);
  EXPECT_FALSE(mail.home);
  network_.ReleaseSends();
  Turn();
  EXPECT_EQ(mail.Verdicts(), "D");
  EXPECT_TRUE(mail.home);
  host() = FakeHost();
  EXPECT_EQ(Send().Verdicts(), "D");  // The connection is as good as before.
  EXPECT_THAT(network_.All(), SizeIs(1));
}

TEST_F(Bodies, AreTakenFromAKernelThatDoesNotLetGo) {
  Mail& mail = StartBody(1000);
  host().answers.clear();
  network_.Says(peer_, "250 2.0.0 taken\r\n");
  Pass(seconds(30) + kTick);
  EXPECT_TRUE(mail.home);
  EXPECT_EQ(mail.Verdicts(), "D");
  EXPECT_TRUE(network_.Closed(peer_));
}

TEST_F(Bodies, ComeHomeFromAnAbortWhenTheirSendIsOver) {
  Mail& mail = StartBody(kMiB);
  dispatcher_->BeginDrain(now_);
  dispatcher_->AbortAll(now_);
  while (!mail.home) {
    ASSERT_TRUE(TurnOnce());
    EXPECT_FALSE(mail.home && network_.Sending(peer_));
  }
  EXPECT_EQ(mail.Verdicts(), "d");
}

}  // namespace
}  // namespace sluice::delivery
