// Hosts that take a session and then drop it, before its first message or under it: which address
// is tried next and when, and what the mail is told. Expectations are the table of
// engine/delivery/README.md.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <vector>

#include "tests/engine/delivery/dispatcher_words.h"

namespace sluice::delivery {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::SizeIs;

class DroppingHosts : public DispatcherTest {};

TEST_F(DroppingHosts, ThatCloseAfterEhloAreTriedAtGrowingIntervals) {
  host().closes_after = "EHLO";
  SendSome(4);
  EXPECT_EQ(Connects(), 1u);
  EXPECT_EQ(AllVerdicts(), "d - - -");
  ExpectDeferred(mails_.front());
  Duration pause_before{};
  for (size_t connects = 1; connects <= 3; ++connects) {
    const Duration pause = lane().not_before - now_.instant;
    EXPECT_GE(pause, seconds(5));
    EXPECT_GT(pause, pause_before);
    PassUntil(lane().not_before - kTick);
    EXPECT_EQ(Connects(), connects);
    Pass(2 * kTick);
    EXPECT_EQ(Connects(), connects + 1);
    pause_before = pause;
  }
  EXPECT_EQ(AllVerdicts(), "d d d d");
}

TEST_F(DroppingHosts, ThatCloseAfterEhloLeaveTheMailToTheNextAddress) {
  UseTwoHosts();
  host(kFirst).closes_after = "EHLO";
  SendSome(3);
  EXPECT_EQ(AllVerdicts(), "D D D");
  EXPECT_EQ(mails_.front().parcel.peer_name, "mx2.example.com");
}

// Each time while the body is being read back, so that no transaction is ever offered.
TEST_F(DroppingHosts, ThatCloseWhenReadyAreTriedAtIntervals) {
  bodies_held_ = true;
  SendSome(4);
  for (int second = 0; second < 600; ++second) {
    for (const int peer : network_.All()) {
      if (!network_.Closed(peer)) network_.FinishesSending(peer);
    }
    Turn();
    bodies_held_ = false;
    GiveBodies();
    bodies_held_ = true;
    Pass(seconds(1));
  }
  EXPECT_GE(Connects(), 2u);
  EXPECT_LE(Connects(), 8u);  // 60 s, 120 s, 240 s apart, a quarter more or less.
  ExpectDeferred(mails_.front());
  EXPECT_EQ(CountVerdicts("d") + CountVerdicts("-"), 4u);
}

// The body comes when the connection is with the next host: it was asked for another session.
TEST_F(DroppingHosts, GiveUpNoBodyThatWasAskedForBefore) {
  UseTwoHosts();
  bodies_held_ = true;
  Mail& mail = Send();
  network_.FinishesSending(network_.All().back());
  Turn();
  ASSERT_EQ(network_.All().size(), 2u);
  bodies_held_ = false;
  GiveBodies();
  Turn();
  EXPECT_EQ(mail.Verdicts(), "D");
  EXPECT_EQ(network_.CountHeardByAll("MAIL"), 1u);
}

// A parcel that lost its session may be on its way home and back when the end of that session is
// judged, and the pause begins: it does not wait in the queue like one that was never tried.
TEST_F(DroppingHosts, HaveHadTheirAttemptAtAParcelThatComesBackIntoThePause) {
  host().closes_after = "EHLO";
  Send();
  ASSERT_LT(now_.instant, lane().not_before);
  Mail& lost = Make();
  lost.parcel.continues = true;
  Queue(lost);
  Mail& fresh = Send();
  ExpectDeferred(lost);
  EXPECT_EQ(lost.parcel.reply.ToString(), mails_.front().parcel.reply.ToString());
  EXPECT_EQ(fresh.Verdicts(), "-");
  EXPECT_EQ(Connects(), 1u);
}

TEST_F(DroppingHosts, ThatCloseAConnectionForWhichThereIsNoMailSayNothing) {
  host().answers_connects = false;
  SendSome(5);
  ASSERT_THAT(network_.All(), SizeIs(2));
  const std::vector<int> peers = network_.All();
  network_.Accept(peers[0]);
  Turn();
  EXPECT_EQ(CountVerdicts("D"), 5u);
  network_.Accept(peers[1]);
  Turn();
  network_.FinishesSending(peers[1]);
  network_.FinishesSending(peers[0]);
  Turn();
  EXPECT_EQ(network_.open(), 0u);
  host().answers_connects = true;
  EXPECT_EQ(Send().Verdicts(), "D");
}

TEST_F(DroppingHosts, ThatDropTheFirstMessageLeaveItToTheNextAddressAfterFiveSeconds) {
  UseTwoHosts();
  host(kFirst).closes_after = "MAIL";
  host(kFirst).closes_unanswered = true;
  Mail& mail = Send();
  Pass(seconds(5) - kTick);
  EXPECT_THAT(network_.All(), SizeIs(1));
  Pass(2 * kTick);
  EXPECT_EQ(mail.Verdicts(), "D");
  EXPECT_EQ(mail.parcel.peer_name, "mx2.example.com");
  EXPECT_EQ(Connects(kFirst), 1u);
}

TEST_F(DroppingHosts, ThatAllDropTheFirstMessageDeferIt) {
  UseTwoHosts();
  for (const absl::string_view ip : {kFirst, kSecond}) {
    host(ip).closes_after = "MAIL";
    host(ip).closes_unanswered = true;
  }
  Mail& mail = Send();
  Pass(seconds(10));
  ExpectDeferred(mail);
  EXPECT_THAT(mail.returns, ElementsAre(ParcelResult::kAgain, ParcelResult::kAttempted));
  EXPECT_EQ(Connects(kFirst), 1u);
  EXPECT_EQ(Connects(kSecond), 1u);
}

TEST_F(DroppingHosts, ThatDropTheFirstMessageAndAreTheLastDeferIt) {
  Start({.connections_max = 1});
  host().closes_after = "MAIL";
  host().closes_unanswered = true;
  SendSome(2);
  EXPECT_EQ(AllVerdicts(), "d -");
  ExpectDeferred(mails_.front());
  EXPECT_EQ(Connects(), 1u);
  EXPECT_GE(lane().not_before - now_.instant, seconds(5));
}

// The socket is closed only when the kernel has let go of the send, but the pause begins before.
TEST_F(DroppingHosts, ThatDropTheFirstMessageWhileWeSendItAreNotAskedAgainAtOnce) {
  Queue(Make());
  while (network_.CountHeardByAll("EHLO") == 0) ASSERT_TRUE(TurnOnce());
  network_.HoldSends();
  Turn();
  const int peer = network_.All()[0];
  ASSERT_TRUE(network_.Sending(peer));
  network_.FinishesSending(peer);
  SendSome(2);
  EXPECT_EQ(AllVerdicts(), "d - -");
  EXPECT_EQ(Connects(), 1u);
  EXPECT_GE(lane().not_before - now_.instant, seconds(5));
}

// A fresh connection is dropped under its first message while another one is up, and more mail
// comes at this moment.
class FreshConnectionIsDropped : public DroppingHosts {
 protected:
  void SetUp() override {
    host().answers["EHLO"] = "250 mx.example.com";  // No pipelining: each says MAIL, and waits.
    host().answers.erase("MAIL");
    SendSome(2);
    ASSERT_THAT(network_.All(), SizeIs(2));
    sibling_ = network_.All()[0];
    EXPECT_EQ(network_.CountHeardByAll("MAIL"), 2u);
    network_.FinishesSending(network_.All()[1]);
    SendSome(4);
  }

  int sibling_ = -1;
};

TEST_F(FreshConnectionIsDropped, NoneIsOpenedForFiveSeconds) {
  EXPECT_EQ(Connects(), 2u);
  Pass(seconds(5) - kTick);
  EXPECT_EQ(Connects(), 2u);
  EXPECT_EQ(network_.open(), 1u);
  Pass(minutes(2));
  EXPECT_GE(Connects(), 3u);
}

TEST_F(FreshConnectionIsDropped, TheSiblingGoesOnDelivering) {
  Pass(seconds(4));
  host() = FakeHost();
  network_.Says(sibling_, "250 2.1.0 sender ok\r\n");
  Turn();
  EXPECT_EQ(Connects(), 2u);
  EXPECT_EQ(network_.CountHeard(sibling_, "MAIL"), network_.CountHeard(sibling_, "DATA"));
  EXPECT_GE(CountVerdicts("D"), 5u);
  EXPECT_EQ(CountVerdicts("D") + CountVerdicts("d"), 6u);
}

}  // namespace
}  // namespace sluice::delivery
