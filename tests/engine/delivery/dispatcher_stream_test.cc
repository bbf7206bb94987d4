// Large bodies on their way to a host, out of the log: the host gets every byte, and never an end
// that was not checked; a parcel goes home only when nothing reads its body any more; and every
// stream that was taken is given back, whatever happens. The test is the log.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <string>
#include <vector>

#include "tests/engine/delivery/dispatcher_words.h"

namespace sluice::delivery {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using testing::Each;
using testing::Le;
using testing::SizeIs;

constexpr size_t kPiece = 64 << 10;
constexpr size_t kMiB = 1 << 20;
constexpr uint64_t kRead = BodyStream::kReadBytesMax;

class Streamed : public DispatcherTest {
 protected:
  Mail& SendLarge(size_t bytes = kLarge) {
    Mail& mail = Queue(MakeLarge(bytes));
    Turn();
    return mail;
  }
  // Until its body has begun, and what is being read and sent is as held as the test has said.
  Mail& StartLarge(size_t bytes = kLarge) {
    Mail& mail = Queue(MakeLarge(bytes));
    Turn();
    peer_ = network_.All().back();
    EXPECT_EQ(dispatcher_->streams(), 1u);
    return mail;
  }
  // Until the first piece of its body is being sent, which the host does not take yet.
  Mail& StartHeld(size_t bytes = kLarge) {
    const size_t before = network_.CountHeardByAll("DATA");
    Mail& mail = Queue(MakeLarge(bytes));
    while (network_.CountHeardByAll("DATA") == before) TurnOnce();
    network_.HoldSends();
    Turn();
    peer_ = network_.All().back();
    EXPECT_TRUE(network_.Sending(peer_));
    return mail;
  }
  // Flips a bit where a part of the body lies.
  void Damage(const Mail& mail, size_t place) {
    const BodyPlace& where = mail.parcel.body_places.at(place);
    network_.File(where.descriptor).at(where.offset + where.bytes / 2) ^= 1;
  }
  bool HeardItsEnd(int peer) const {
    const std::string& heard = network_.AllHeard(peer);
    return heard.find("\r\n.\r\n") != std::string::npos;
  }
  void ExpectUnreadable(const Mail& mail) {
    EXPECT_TRUE(mail.home);
    EXPECT_EQ(mail.Verdicts(), "d");
    EXPECT_EQ(mail.parcel.reply.ToString(),
              "451 4.3.0 the message cannot be read back from the spool");
    EXPECT_FALSE(mail.parcel.in_doubt);
    EXPECT_EQ(mail.parcel.body_check, BodyCheck::kDamaged);
    EXPECT_EQ(dispatcher_->streams(), 0u);
  }

  void TearDown() override {
    network_.ReleaseReads();
    DispatcherTest::TearDown();
    if (dispatcher_ == nullptr) return;
    EXPECT_EQ(dispatcher_->streams(), 0u);
  }

  int peer_ = -1;
};

TEST_F(Streamed, BodiesArriveWholeAndInPiecesOfAtMost64KiB) {
  for (const size_t bytes : {kMiB - 1, kMiB, kMiB + 1, kPiece, 2 * kRead, 2 * kRead + 1}) {
    Mail& mail = SendLarge(bytes);
    EXPECT_EQ(mail.Verdicts(), "D");
    EXPECT_EQ(mail.parcel.body_check, BodyCheck::kWhole);
    EXPECT_EQ(dispatcher_->streams(), 0u);
    const std::string& heard = network_.AllHeard(network_.All()[0]);
    EXPECT_TRUE(heard.ends_with("DATA\r\n" + mail.wire)) << bytes;
    EXPECT_THAT(network_.SendSizes(network_.All()[0]), Each(Le(kPiece)));
  }
  EXPECT_THAT(network_.All(), SizeIs(1));  // One connection for all.
}

TEST_F(Streamed, BodiesGoToEachTransactionOfTheirRecipients) {
  host().recipients_max = 2;
  Mail& mail = Queue(MakeLarge(2 * kMiB, 5));
  Turn();
  EXPECT_EQ(mail.Verdicts(), "DDDDD");
  EXPECT_EQ(network_.CountHeard(network_.All()[0], "."), 3u);
}

TEST_F(Streamed, NothingIsReadOfABodyWhoseRecipientsAreAllRefused) {
  host().answers["RCPT"] = "550 5.1.1 no such user";
  Mail& mail = SendLarge();
  EXPECT_EQ(mail.Verdicts(), "B");
  EXPECT_EQ(network_.reads(), 0);
  EXPECT_EQ(mail.parcel.body_check, BodyCheck::kNone);
  EXPECT_EQ(dispatcher_->streams(), 0u);
}

// --- Pace.

TEST_F(Streamed, ASlowHostHasNoMoreReadForItThanTheRing) {
  Mail& mail = StartHeld();
  ASSERT_TRUE(network_.Sending(peer_));
  EXPECT_LE(network_.reads(), 2);
  for (int i = 0; i < 3; ++i) {
    network_.ReleaseSend(peer_);
    Turn();
  }
  EXPECT_LE(network_.reads(), 3);
  network_.ReleaseSends();
  Turn();
  EXPECT_EQ(mail.Verdicts(), "D");
}

// As from memory: 65,536 bytes in 120 seconds are 546 a second, in 150 they are 437.
TEST_F(Streamed, TheSlowestRateIsAsFromMemory) {
  for (const seconds each : {seconds(120), seconds(150)}) {
    Mail& mail = StartHeld(2 * kMiB);
    ASSERT_TRUE(network_.Sending(peer_));
    while (network_.Sending(peer_)) {
      Pass(each * static_cast<int64_t>(network_.SendingBytes(peer_)) /
           static_cast<int64_t>(kPiece));
      if (!network_.Sending(peer_)) break;
      network_.ReleaseSend(peer_);
      Turn();
    }
    EXPECT_EQ(mail.Verdicts(), each == seconds(120) ? "D" : "d");
    network_.ReleaseSends();
    Pass(seconds(10));  // The next one has a connection of its own.
  }
}

TEST_F(Streamed, AHostThatTakesNothingForThreeMinutesIsCutOff) {
  Mail& mail = StartHeld();
  Pass(minutes(3) - 2 * kTick);
  EXPECT_FALSE(network_.Closed(peer_));
  Pass(4 * kTick);
  EXPECT_TRUE(network_.Closed(peer_));
  ExpectDeferred(mail);
  EXPECT_EQ(mail.parcel.body_check, BodyCheck::kNone);  // It was the host.
}

// It waits for us, so that its time begins when there is something for it to take.
TEST_F(Streamed, AHostIsNotBlamedForASlowDisk) {
  network_.HoldReads();
  Mail& mail = StartLarge(kMiB);
  while (!mail.home) {
    ASSERT_EQ(network_.reading(), 1u);
    Pass(minutes(2));
    network_.ReleaseRead();
    Turn();
  }
  EXPECT_EQ(mail.Verdicts(), "D");
}

TEST_F(Streamed, ADiskThatDoesNotAnswerForThreeMinutesEndsTheAttempt) {
  network_.HoldReads();
  Mail& mail = StartLarge();
  Pass(minutes(3) + kTick);
  EXPECT_FALSE(mail.home);  // The read may still come.
  EXPECT_FALSE(network_.Closed(peer_));
  network_.ReleaseReads();
  Turn();
  ExpectUnreadable(mail);
  EXPECT_TRUE(network_.Closed(peer_));
}

// The send has failed, and the host says nothing more: the read that is in flight is not why.
TEST_F(Streamed, ASendThatFailedIsNotTheDisksFault) {
  Mail& mail = StartHeld();
  network_.HoldReads();
  while (network_.reading() == 0) {
    ASSERT_TRUE(network_.Sending(peer_));
    network_.ReleaseSend(peer_);
    Turn();
  }
  network_.BreakSends(peer_);
  network_.ReleaseSend(peer_);
  Turn();
  Pass(minutes(3) + kTick);
  network_.ReleaseReads();
  Turn();
  ExpectDeferred(mail);
  EXPECT_EQ(mail.parcel.body_check, BodyCheck::kNone);
}

// --- What the log does not give back whole.

TEST_F(Streamed, ADamagedBodyHasNoEndWhereverTheDamageIs) {
  const size_t places = MakeLarge().parcel.body_places.size();
  ASSERT_GT(places, 4u);
  for (size_t place = 0; place < places; ++place) {
    Mail& mail = Queue(MakeLarge());
    Damage(mail, place);
    Turn();
    ExpectUnreadable(mail);
    const int peer = network_.All().back();
    EXPECT_FALSE(HeardItsEnd(peer));
    EXPECT_TRUE(network_.Closed(peer));
    EXPECT_EQ(network_.CountHeard(peer, "QUIT"),
              0u);  // In the midst of a body it would be part of it.
  }
  EXPECT_THAT(network_.All(), SizeIs(places));
}

TEST_F(Streamed, NorHasOneOfWhichAnyReadFails) {
  SendLarge();
  const int all = network_.reads();
  for (int fails = 1; fails <= all; ++fails) {
    network_.bad_reads = {{network_.reads() + fails, EIO}};
    Mail& mail = SendLarge();
    ExpectUnreadable(mail);
    EXPECT_TRUE(network_.Closed(network_.All().back()));
    network_.bad_reads.clear();
    EXPECT_EQ(Retry(mail).Verdicts(), "D");  // On a new connection, and the host is not blamed.
  }
}

TEST_F(Streamed, ADamagedBodySaysNothingOfTheHost) {
  UseTwoHosts();
  Mail& mail = Queue(MakeLarge());
  Damage(mail, 3);
  Turn();
  ExpectUnreadable(mail);
  EXPECT_EQ(Connects(kSecond), 0u);
  EXPECT_EQ(Send().Verdicts(), "D");  // At once, to the same.
  EXPECT_EQ(Connects(kFirst), 2u);
  EXPECT_EQ(Connects(kSecond), 0u);
}

TEST_F(Streamed, RecipientsThatWereRefusedBeforeStayRefused) {
  host().answers["RCPT TO:<r1"] = "550 5.1.1 no such user";
  Mail& mail = Queue(MakeLarge(2 * kMiB, 3));
  Damage(mail, 3);
  Turn();
  EXPECT_EQ(mail.Verdicts(), "dBd");
}

// --- The session ends under it.

TEST_F(Streamed, AConnectionLostInTheMiddleGivesItsStreamBack) {
  Mail& mail = StartHeld();
  network_.Resets(peer_);
  Turn();
  EXPECT_TRUE(network_.Closed(peer_));
  EXPECT_TRUE(mail.home);
  EXPECT_EQ(mail.Verdicts(), "d");
  EXPECT_FALSE(mail.parcel.in_doubt);
  EXPECT_EQ(dispatcher_->streams(), 0u);
}

TEST_F(Streamed, AConnectionThatIsLostWaitsForItsRead) {
  network_.HoldReads();
  Mail& mail = StartLarge();
  network_.Resets(peer_);
  Turn();
  EXPECT_EQ(network_.reading(), 1u);
  EXPECT_FALSE(mail.home);  // Who has the body home may give its place away.
  EXPECT_FALSE(network_.Closed(peer_));
  EXPECT_EQ(dispatcher_->streams(), 1u);
  network_.ReleaseReads();
  Turn();
  EXPECT_TRUE(mail.home);
  EXPECT_EQ(mail.Verdicts(), "d");
  EXPECT_TRUE(network_.Closed(peer_));
  EXPECT_EQ(dispatcher_->streams(), 0u);
}

TEST_F(Streamed, AHostThatRefusesItHalfwayIsHeard) {
  network_.HoldReads();
  Mail& mail = StartLarge();
  network_.ReleaseRead();
  Turn();
  ASSERT_EQ(network_.reading(), 1u);
  host().answers.clear();
  network_.Says(peer_, "552 5.3.4 too big\r\n");
  Turn();
  EXPECT_FALSE(mail.home);
  network_.ReleaseReads();
  Turn();
  EXPECT_TRUE(mail.home);
  EXPECT_EQ(mail.Verdicts(), "B");
  EXPECT_EQ(mail.parcel.reply.ToString(), "552 5.3.4 too big");
  EXPECT_EQ(dispatcher_->streams(), 0u);
}

// A read that fails when all is decided changes nothing.
TEST_F(Streamed, AReadThatFailsAfterTheRefusalIsNotTold) {
  network_.HoldReads();
  Mail& mail = StartLarge();
  network_.bad_reads = {{1, EIO}};
  host().answers.clear();
  network_.Says(peer_, "552 5.3.4 too big\r\n");
  Turn();
  network_.ReleaseReads();
  Turn();
  EXPECT_EQ(mail.Verdicts(), "B");
  EXPECT_EQ(mail.parcel.body_check, BodyCheck::kNone);
}

TEST_F(Streamed, ItIsInDoubtOnceItsEndIsInTheKernelsHands) {
  Mail& mail = StartHeld(kMiB);
  while (!mail.home && network_.AllHeard(peer_).size() < mail.wire.size() - kPiece) {
    network_.ReleaseSend(peer_);
    Turn();
  }
  while (network_.SendingBytes(peer_) == kPiece) {
    network_.ReleaseSend(peer_);
    Turn();
  }
  network_.Resets(peer_);
  Turn();
  EXPECT_EQ(mail.Verdicts(), "d");
  EXPECT_TRUE(mail.parcel.in_doubt);
  EXPECT_EQ(dispatcher_->streams(), 0u);
}

TEST_F(Streamed, AnAbortWaitsForTheReadAndGivesAllBack) {
  network_.HoldReads();
  Mail& mail = StartLarge();
  dispatcher_->BeginDrain(now_);
  Turn();
  EXPECT_EQ(network_.reading(), 1u);  // A drain lets it go on.
  network_.ReleaseRead();
  Turn();
  EXPECT_EQ(network_.reading(), 1u);
  dispatcher_->AbortAll(now_);
  Turn();
  EXPECT_FALSE(mail.home);
  EXPECT_FALSE(dispatcher_->AtRest());
  network_.ReleaseReads();
  Turn();
  EXPECT_TRUE(mail.home);
  EXPECT_TRUE(dispatcher_->AtRest());
}

TEST_F(Streamed, ADrainLetsItEnd) {
  network_.HoldReads();
  Mail& mail = StartLarge();
  dispatcher_->BeginDrain(now_);
  network_.ReleaseReads();
  Turn();
  EXPECT_EQ(mail.Verdicts(), "D");
  EXPECT_TRUE(dispatcher_->AtRest());
}

// --- No stream is free.

TEST_F(Streamed, BodiesBeyondTheStreamsGoHomeUntouchedAndComeAgain) {
  options_.streams_max = 2;
  network_.HoldReads();
  std::vector<Mail*> mails;
  for (int i = 0; i < 5; ++i) mails.push_back(&Queue(MakeLarge()));
  Turn();
  EXPECT_EQ(dispatcher_->streams(), 2u);
  std::vector<Mail*> back;
  for (Mail* mail : mails) {
    if (!mail->home) continue;
    back.push_back(mail);
    EXPECT_EQ(mail->Verdicts(), "-");
    EXPECT_EQ(mail->returns, (std::vector<ParcelResult>{ParcelResult::kRecalled}));
  }
  EXPECT_THAT(back, SizeIs(3));
  network_.ReleaseReads();
  Turn();
  EXPECT_EQ(dispatcher_->streams(), 0u);
  for (Mail* mail : back) Retry(*mail);
  for (Mail* mail : mails) EXPECT_EQ(mail->Verdicts(), "D");
}

TEST_F(Streamed, ASmallBodyNeedsNoStream) {
  options_.streams_max = 1;
  network_.HoldReads();
  StartLarge();
  EXPECT_EQ(Send().Verdicts(), "D");
}

}  // namespace
}  // namespace sluice::delivery
