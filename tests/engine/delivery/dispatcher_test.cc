// Transactions: how a parcel goes over a connection and comes home, when the host says yes, no, too
// many, later, or nothing more. Expectations are RFC 5321's and RFC 2920's, and the rules of
// engine/delivery/README.md.

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
using testing::ElementsAre;
using testing::EndsWith;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

constexpr absl::string_view kPipelined =
    "MAIL FROM:<a@sender.example>\r\nRCPT TO:<r0@example.com>\r\nRCPT TO:<r1@example.com>\r\n"
    "DATA\r\n";

class Delivering : public DispatcherTest {
 protected:
  // A host that says only what the test says, has greeted, and has answered EHLO with this.
  int Ready(absl::string_view extensions) {
    const int peer = network_.All().back();
    Says(peer, "220 mx.example.com\r\n");
    EXPECT_EQ(network_.TakeHeard(peer), "EHLO mta.example.net\r\n");
    Says(peer, extensions);
    return peer;
  }
  void Says(int peer, absl::string_view text) {
    network_.Says(peer, text);
    Turn();
  }
  void HangsUp(int peer) {
    network_.FinishesSending(peer);
    Turn();
  }
  std::string Heard(int peer) { return network_.TakeHeard(peer); }
};

TEST_F(Delivering, GoesFromTheGreetingToTheQuit) {
  Mail& mail = Send();
  EXPECT_EQ(mail.Verdicts(), "D");
  EXPECT_THAT(mail.returns, ElementsAre(ParcelResult::kAttempted));
  EXPECT_EQ(mail.parcel.reply.ToString(), "250 2.0.0 taken");
  EXPECT_EQ(mail.parcel.command, "the final dot");
  EXPECT_EQ(mail.parcel.peer_name, "mx1.example.com");
  EXPECT_EQ(mail.parcel.peer_address.ToString(), "192.0.2.1:25");
  EXPECT_FALSE(mail.parcel.in_doubt);
  Pass(seconds(6));
  ASSERT_THAT(network_.All(), SizeIs(1));
  EXPECT_EQ(network_.AllHeard(network_.All()[0]),
            "EHLO mta.example.net\r\n"
            "MAIL FROM:<a@sender.example>\r\nRCPT TO:<r0@example.com>\r\nDATA\r\n"
            "Subject: x\r\n\r\nhello\r\n.\r\n"
            "QUIT\r\n");
  EXPECT_EQ(network_.open(), 0u);
}

TEST_F(Delivering, SendsTheWholeEnvelopeAtOnceToAHostThatOffersPipelining) {
  host().answers.clear();
  Send(2);
  const int peer = Ready("250-mx\r\n250 PIPELINING\r\n");
  EXPECT_EQ(Heard(peer), kPipelined);
  Says(peer, "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
  EXPECT_EQ(Heard(peer), "Subject: x\r\n\r\nhello\r\n.\r\n");
  Says(peer, "250 ok\r\n");
  EXPECT_EQ(AllVerdicts(), "DD");
}

TEST_F(Delivering, SendsCommandByCommandToAHostThatDoesNot) {
  host().answers.clear();
  Send(2);
  const int peer = Ready("250 mx\r\n");
  EXPECT_EQ(Heard(peer), "MAIL FROM:<a@sender.example>\r\n");
  Says(peer, "250 ok\r\n");
  EXPECT_EQ(Heard(peer), "RCPT TO:<r0@example.com>\r\n");
  Says(peer, "250 ok\r\n");
  EXPECT_EQ(Heard(peer), "RCPT TO:<r1@example.com>\r\n");
  Says(peer, "250 ok\r\n");
  EXPECT_EQ(Heard(peer), "DATA\r\n");
  Says(peer, "354 go\r\n");
  EXPECT_EQ(Heard(peer), "Subject: x\r\n\r\nhello\r\n.\r\n");
  EXPECT_EQ(AllVerdicts(), "--");
  Says(peer, "250 ok\r\n");
  EXPECT_EQ(AllVerdicts(), "DD");
}

// --- Recipients.

// RFC 5321 4.5.3.1.10: what was taken is delivered, the rest goes in a further transaction.
TEST_F(Delivering, MovesTheRestOnWhenTheHostTakesNoMoreRecipients) {
  host().recipients_max = 3;
  Mail& mail = Send(5);
  EXPECT_EQ(mail.Verdicts(), "DDDDD");
  EXPECT_THAT(mail.returns, ElementsAre(ParcelResult::kAttempted, ParcelResult::kAttempted));
  ASSERT_THAT(network_.All(), SizeIs(1));
  EXPECT_THAT(network_.AllHeard(network_.All()[0]),
              EndsWith("MAIL FROM:<a@sender.example>\r\nRCPT TO:<r3@example.com>\r\n"
                       "RCPT TO:<r4@example.com>\r\nDATA\r\nSubject: x\r\n\r\nhello\r\n.\r\n"));
}

// The connection may have begun with the next message already.
TEST_F(Delivering, PutsTheRestOfAMessageBeforeWhatWaits) {
  Start({.connections_max = 1});
  host().recipients_max = 1;
  host().answers.erase(".");
  Queue(Make(2));
  SendSome(2);
  const int peer = network_.All()[0];
  for (const absl::string_view verdicts : {"D- - -", "D- D -", "DD D -", "DD D D"}) {
    Says(peer, "250 2.0.0 taken\r\n");
    EXPECT_EQ(AllVerdicts(), verdicts);
  }
}

// Without pipelining those that come after it are not even named.
TEST_F(Delivering, StopsAtTheFirstRecipientThatIsTooManyWithoutPipelining) {
  host().answers["EHLO"] = "250 mx.example.com";
  host().recipients_max = 2;
  EXPECT_EQ(Send(5).Verdicts(), "DDDDD");
  EXPECT_EQ(network_.CountHeardByAll("MAIL"), 3u);  // 2 + 2 + 1.
  EXPECT_EQ(network_.CountHeardByAll("RCPT"), 7u);  // r2 and r4 twice.
}

TEST_F(Delivering, DefersOneWhoseMailboxIsFull) {
  host().answers["RCPT TO:<r1@"] = "452 4.2.2 mailbox full";
  Mail& mail = Send(3);
  EXPECT_EQ(mail.Verdicts(), "DdD");
  EXPECT_EQ(mail.message.outcomes[1].reply.ToString(), "452 4.2.2 mailbox full");
  EXPECT_EQ(network_.CountHeardByAll("MAIL"), 1u);
}

TEST_F(Delivering, BouncesTheRecipientThatIsRefusedAndNoOther) {
  host().answers["RCPT TO:<r0@"] = "550 5.1.1 no such user";
  EXPECT_EQ(Send(3).Verdicts(), "BDD");
}

TEST_F(Delivering, TakesTheConnectionAgainAfterARefusedMessage) {
  host().answers["."] = "554 5.7.1 spam";
  EXPECT_EQ(Send(2).Verdicts(), "BB");
  host().answers["."] = "250 2.0.0 taken";
  EXPECT_EQ(Send().Verdicts(), "D");
  ASSERT_THAT(network_.All(), SizeIs(1));
  EXPECT_EQ(network_.CountHeard(network_.All()[0], "RSET"), 1u);
}

// --- Sessions that end.

// RFC 5321 3.8: a host that has had enough says 421 and closes. A session that worked says nothing
// of the message by that.
TEST_F(Delivering, GoesToAFreshConnectionAtOnceWhenAReusedOneSays421) {
  EXPECT_EQ(Send().Verdicts(), "D");
  host().answers["MAIL"] = "421 4.3.2 enough";
  host().closes_after = "MAIL";
  Mail& mail = Queue(Make());
  while (network_.CountHeardByAll("MAIL") < 2) ASSERT_TRUE(TurnOnce());
  host() = FakeHost();
  Turn();
  EXPECT_EQ(mail.Verdicts(), "D");
  EXPECT_THAT(mail.returns, ElementsAre(ParcelResult::kAgain, ParcelResult::kAttempted));
  ASSERT_THAT(network_.All(), SizeIs(2));
  EXPECT_EQ(network_.CountHeard(network_.All()[1], "MAIL"), 1u);
}

TEST_F(Delivering, GoesToAFreshConnectionAtOnceWhenAReusedOneIsLost) {
  EXPECT_EQ(Send().Verdicts(), "D");
  host().answers.clear();
  Mail& mail = Send();
  host() = FakeHost();
  network_.Resets(network_.All()[0]);
  Turn();
  EXPECT_EQ(mail.Verdicts(), "D");
  EXPECT_THAT(mail.returns, ElementsAre(ParcelResult::kAgain, ParcelResult::kAttempted));
}

TEST_F(Delivering, PutsWhatWasUnderALostSessionBeforeWhatWaits) {
  Start({.connections_max = 1});
  EXPECT_EQ(Send().Verdicts(), "D");
  host().answers.clear();
  SendSome(3);
  host() = FakeHost();
  host().answers.erase(".");
  network_.Resets(network_.All()[0]);
  Turn();
  for (const absl::string_view verdicts : {"D D - -", "D D D -", "D D D D"}) {
    Says(network_.All()[1], "250 2.0.0 taken\r\n");
    EXPECT_EQ(AllVerdicts(), verdicts);
  }
}

TEST_F(Delivering, DefersAMessageThatAFreshConnectionAnswersWith421) {
  host().answers["MAIL"] = "421 4.7.0 not from you now";
  host().closes_after = "MAIL";
  Mail& mail = Send();
  EXPECT_EQ(mail.Verdicts(), "d");
  EXPECT_THAT(mail.returns, ElementsAre(ParcelResult::kAttempted));
  EXPECT_EQ(mail.parcel.reply.ToString(), "421 4.7.0 not from you now");
  EXPECT_THAT(network_.All(), SizeIs(1));
}

// RFC 1047.
TEST_F(Delivering, IsInDoubtOfAMessageLostBetweenTheDotAndItsReply) {
  host().closes_after = ".";
  host().closes_unanswered = true;
  Mail& mail = Send();
  EXPECT_EQ(mail.Verdicts(), "d");
  EXPECT_TRUE(mail.parcel.in_doubt);
  EXPECT_EQ(mail.parcel.reply.code, 451);
  EXPECT_THAT(mail.returns, ElementsAre(ParcelResult::kAttempted));
}

TEST_F(Delivering, IsNotInDoubtOfAMessageLostBeforeItsBody) {
  host().closes_after = "DATA";
  host().closes_unanswered = true;
  Mail& mail = Send();
  EXPECT_EQ(mail.Verdicts(), "d");
  EXPECT_FALSE(mail.parcel.in_doubt);
  EXPECT_EQ(mail.parcel.reply.enhanced, (smtp::EnhancedCode{4, 4, 2}));
}

// --- Connections that wait.

TEST_F(Delivering, KeepsAnIdleConnectionFiveSeconds) {
  Send();
  const int peer = network_.All()[0];
  Pass(seconds(5) - kTick);
  EXPECT_EQ(network_.CountHeard(peer, "QUIT"), 0u);
  EXPECT_FALSE(network_.Closed(peer));
  Pass(2 * kTick);
  EXPECT_EQ(network_.CountHeard(peer, "QUIT"), 1u);
  EXPECT_TRUE(network_.Closed(peer));
}

TEST_F(Delivering, UsesAnIdleConnectionForTheNextMessage) {
  Send();
  Pass(seconds(4));
  Send();
  Pass(seconds(4));
  EXPECT_EQ(Send().Verdicts(), "D");
  EXPECT_THAT(network_.All(), SizeIs(1));
}

TEST_F(Delivering, OpensAnotherConnectionAfterTheIdleOneWasClosedByItsHost) {
  Send();
  HangsUp(network_.All()[0]);
  EXPECT_TRUE(network_.Closed(network_.All()[0]));
  EXPECT_EQ(Send().Verdicts(), "D");
  EXPECT_THAT(network_.All(), SizeIs(2));
}

TEST_F(Delivering, ForgetsADestinationWithoutMailAndConnections) {
  Send();
  EXPECT_EQ(dispatcher_->destinations(), 1u);
  Pass(minutes(2));
  EXPECT_EQ(dispatcher_->destinations(), 0u);
  EXPECT_EQ(dispatcher_->FindDestination(kDomain), nullptr);
  EXPECT_EQ(timers_.armed(), 0u);
}

// --- Bodies that the home cannot lend.

TEST_F(Delivering, GivesTheParcelBackUntouchedWhenThereIsNoRoomForItsBody) {
  body_answer_ = BodyState::kNoRoom;
  Mail& mail = Send();
  EXPECT_EQ(mail.Verdicts(), "-");
  EXPECT_THAT(mail.returns, ElementsAre(ParcelResult::kRecalled));
  body_answer_ = BodyState::kLent;
  EXPECT_EQ(Send().Verdicts(), "D");
  EXPECT_THAT(network_.All(), SizeIs(1));
}

TEST_F(Delivering, DefersAMessageWhoseBodyIsDamagedAndBouncesOneThatIsLost) {
  body_answer_ = BodyState::kDamaged;
  Mail& damaged = Send(2);
  EXPECT_EQ(damaged.Verdicts(), "dd");
  EXPECT_EQ(damaged.parcel.reply.enhanced, (smtp::EnhancedCode{4, 3, 0}));
  body_answer_ = BodyState::kLost;
  Mail& lost = Send(2);
  EXPECT_EQ(lost.Verdicts(), "BB");
  EXPECT_EQ(lost.parcel.reply.enhanced, (smtp::EnhancedCode{5, 3, 0}));
  EXPECT_EQ(network_.CountHeardByAll("MAIL"), 0u);
}

TEST_F(Delivering, GivesAParcelBackWhoseConnectionWasLostWhileItsBodyWasRead) {
  Send();
  bodies_held_ = true;
  Mail& mail = Send();
  HangsUp(network_.All()[0]);
  bodies_held_ = false;
  GiveBodies();
  Turn();
  EXPECT_EQ(mail.Verdicts(), "D");
  EXPECT_THAT(mail.returns, ElementsAre(ParcelResult::kAgain, ParcelResult::kAttempted));
}

// --- The end.

class Draining : public Delivering {
 protected:
  void BeginDrain() {
    dispatcher_->BeginDrain(now_);
    Turn();
  }
};

TEST_F(Draining, GivesBackWhatIsQueuedAndEndsWhatIsIdle) {
  Send();
  const int peer = network_.All()[0];
  for (int i = 0; i < 3; ++i) Queue(Make());
  BeginDrain();
  EXPECT_EQ(AllVerdicts(), "D - - -");
  for (const Mail& mail : mails_) EXPECT_TRUE(mail.home);
  EXPECT_THAT(mails_.back().returns, ElementsAre(ParcelResult::kRecalled));
  EXPECT_EQ(network_.CountHeard(peer, "MAIL"), 1u);
  EXPECT_EQ(network_.CountHeard(peer, "QUIT"), 1u);
  EXPECT_TRUE(dispatcher_->AtRest());
}

TEST_F(Draining, LetsATransactionEnd) {
  Start({.connections_max = 1});
  host().answers.erase(".");
  Mail& under_way = Send();
  Mail& queued = Send();
  const int peer = network_.All()[0];
  BeginDrain();
  EXPECT_FALSE(under_way.home);
  EXPECT_THAT(queued.returns, ElementsAre(ParcelResult::kRecalled));
  EXPECT_FALSE(dispatcher_->AtRest());
  Says(peer, "250 2.0.0 taken\r\n");
  EXPECT_EQ(under_way.Verdicts(), "D");
  EXPECT_EQ(network_.CountHeard(peer, "QUIT"), 1u);
  EXPECT_TRUE(dispatcher_->AtRest());
}

TEST_F(Draining, EndsConnectionsThatAreNotReadyYet) {
  host().answers_connects = false;
  Mail& mail = Send();
  BeginDrain();
  EXPECT_THAT(mail.returns, ElementsAre(ParcelResult::kRecalled));
  EXPECT_EQ(network_.open(), 0u);
  EXPECT_TRUE(dispatcher_->AtRest());
}

TEST_F(Draining, TakesNothingMore) {
  Send();
  BeginDrain();
  Mail& late = Send();
  EXPECT_THAT(late.returns, ElementsAre(ParcelResult::kRecalled));
  EXPECT_TRUE(dispatcher_->AtRest());
}

TEST_F(Draining, CutsOffATransactionThatTakesTooLong) {
  host().answers.erase(".");
  Mail& mail = Send();
  BeginDrain();
  dispatcher_->AbortAll(now_);
  Turn();
  EXPECT_EQ(mail.Verdicts(), "d");
  EXPECT_TRUE(mail.parcel.in_doubt);  // Its dot was sent.
  EXPECT_TRUE(dispatcher_->AtRest());
}

}  // namespace
}  // namespace sluice::delivery
