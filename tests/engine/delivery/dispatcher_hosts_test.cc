// Hosts that do not answer, refuse, drop, or say too much: which address is tried next and when,
// whose attempt it is, and what the mail is told. Expectations are RFC 7504 (521, 556) and the
// table of engine/delivery/README.md.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <ostream>
#include <string>
#include <vector>

#include "tests/engine/delivery/dispatcher_words.h"

namespace sluice::delivery {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using testing::AllOf;
using testing::ElementsAre;
using testing::Ge;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Le;
using testing::Not;
using testing::SizeIs;

class Hosts : public DispatcherTest {
 protected:
  void UseTwoHosts() { resolver_.Says(kDomain, RouteTo({kFirst, kSecond})); }
  size_t Connects(absl::string_view ip = kFirst) { return network_.To(ip).size(); }

  // A deferral for its session's sake, with a reason.
  static void ExpectDeferred(const Mail& mail) {
    EXPECT_EQ(mail.Verdicts(), "d");
    EXPECT_THAT(mail.parcel.reply.code, AllOf(Ge(400), Le(499)));
    EXPECT_EQ(mail.parcel.reply.enhanced.status_class, 4);
    EXPECT_THAT(mail.parcel.reply.text, Not(IsEmpty()));
  }
};

// --- Addresses that give no session.

TEST_F(Hosts, ThatRefuseLeaveTheMailToTheNextAddress) {
  UseTwoHosts();
  host(kFirst).refuses_with = ECONNREFUSED;
  Mail& mail = Send();
  EXPECT_EQ(mail.Verdicts(), "D");
  EXPECT_EQ(mail.parcel.peer_name, "mx2.example.com");
  EXPECT_EQ(network_.most_open(), 1u);
}

TEST_F(Hosts, ThatDoNotAnswerAreGivenUpAfterThirtySeconds) {
  UseTwoHosts();
  host(kFirst).answers_connects = false;
  Mail& mail = Send();
  Pass(seconds(30) - kTick);
  EXPECT_EQ(Connects(kSecond), 0u);
  Pass(2 * kTick);
  EXPECT_EQ(mail.Verdicts(), "D");
  EXPECT_EQ(network_.most_open(), 1u);
}

TEST_F(Hosts, ThatRefuseForNowLeaveTheMailToTheNextAddress) {
  UseTwoHosts();
  host(kFirst).answers["greeting"] = "421 4.3.2 busy";
  EXPECT_EQ(Send().Verdicts(), "D");
  EXPECT_EQ(network_.CountHeardByAll("MAIL"), 1u);
}

TEST_F(Hosts, AllUnreachableDeferTheMailInFrontAndHoldTheRest) {
  UseTwoHosts();
  host(kFirst).refuses_with = ECONNREFUSED;
  host(kSecond).refuses_with = ECONNREFUSED;
  SendSome(3);
  EXPECT_EQ(AllVerdicts(), "d - -");
  ExpectDeferred(mails_.front());
  EXPECT_THAT(mails_.front().parcel.reply.ToString(), HasSubstr("451 4.4.1 "));
  EXPECT_THAT(mails_.front().parcel.reply.text, HasSubstr("192.0.2.2"));
  EXPECT_EQ(Connects(kFirst), 1u);
  EXPECT_EQ(Connects(kSecond), 1u);
  EXPECT_EQ(destination().binding, "hosts");
}

// Two failures in a row, and a minute from the second: then it is tried before the other again.
TEST_F(Hosts, ThatFailedTwiceAreLeftOutForAMinute) {
  UseTwoHosts();
  host(kFirst).refuses_with = ECONNREFUSED;
  host(kSecond).answers.erase(".");  // Every connection stays busy.
  Send();
  Send();
  EXPECT_EQ(Connects(kFirst), 2u);
  Pass(seconds(60) - kTick);
  Send();
  EXPECT_EQ(Connects(kFirst), 2u);
  EXPECT_EQ(Connects(kSecond), 3u);
  Pass(kTick);
  Send();
  EXPECT_EQ(Connects(kFirst), 3u);
  EXPECT_EQ(Connects(kSecond), 4u);
}

TEST_F(Hosts, ThatFailedTwiceAreTriedWhenTheyAreTheLast) {
  host().refuses_with = ECONNREFUSED;
  SendSome(4);
  for (size_t connects = 1; connects <= 4; ++connects) {
    EXPECT_EQ(Connects(), connects);
    PassUntil(destination().not_before + kTick);
  }
}

// No way there from here says nothing of the host: it is tried first every time.
TEST_F(Hosts, ThatWeHaveNoWayToAreNotLeftOut) {
  UseTwoHosts();
  host(kFirst).refuses_with = ENETUNREACH;
  for (size_t times = 1; times <= 4; ++times) {
    EXPECT_EQ(Send().Verdicts(), "D");
    EXPECT_EQ(Connects(kFirst), times);
    Pass(seconds(6));
  }
}

TEST_F(Hosts, AreNotBlamedWhenWeHaveNoSocket) {
  network_.NoMoreSockets(EMFILE);
  Mail& mail = Send();
  Pass(seconds(10));
  EXPECT_FALSE(mail.home);
  EXPECT_EQ(destination().failures, 0u);
  network_.NoMoreSockets(0);
  Pass(seconds(1) + kTick);
  EXPECT_EQ(mail.Verdicts(), "D");
  EXPECT_THAT(mail.returns, ElementsAre(ParcelResult::kAttempted));
}

// --- Hosts that take no mail (RFC 7504).

TEST_F(Hosts, ThatAllTakeNoMailBounceIt) {
  UseTwoHosts();
  host(kFirst).answers["greeting"] = "521 mx1 takes no mail";
  host(kSecond).answers["greeting"] = "556 5.1.10 nor does mx2";
  Mail& mail = Send();
  EXPECT_EQ(mail.Verdicts(), "B");
  EXPECT_EQ(mail.parcel.reply.ToString(), "556 5.1.10 nor does mx2");
}

TEST_F(Hosts, OfWhichOneTakesNoMailAndOneRefusesDeferIt) {
  UseTwoHosts();
  host(kFirst).answers["greeting"] = "521 mx1 takes no mail";
  for (const absl::string_view refusal : {"554 5.7.1 not from you", "450 later"}) {
    host(kSecond).answers["greeting"] = std::string(refusal);
    EXPECT_EQ(Send().Verdicts(), "d");
    Pass(minutes(10));
  }
  host(kSecond).refuses_with = ECONNREFUSED;
  ExpectDeferred(Send());
}

TEST_F(Hosts, OfWhichOneTakesNoMailAndOneClosesAfterEhloDeferIt) {
  UseTwoHosts();
  host(kFirst).answers["greeting"] = "521 mx1 takes no mail";
  host(kSecond).closes_after = "EHLO";
  Mail& mail = Send();
  ExpectDeferred(mail);
  EXPECT_EQ(mail.parcel.reply.enhanced, (smtp::EnhancedCode{4, 4, 2}));
  EXPECT_EQ(Connects(kFirst), 1u);
  EXPECT_EQ(Connects(kSecond), 1u);
}

// It is ready, the body is being read back, and it closes: as above, as soon as there is a body.
TEST_F(Hosts, OfWhichOneTakesNoMailAndOneClosesWhenReadyDeferIt) {
  UseTwoHosts();
  host(kFirst).answers["greeting"] = "521 mx1 takes no mail";
  bodies_held_ = true;
  Mail& mail = Send();
  ASSERT_THAT(network_.To(kSecond), SizeIs(1));
  network_.FinishesSending(network_.To(kSecond)[0]);
  host(kSecond).closes_after = "EHLO";
  Turn();
  bodies_held_ = false;
  GiveBodies();
  Pass(minutes(10));
  ExpectDeferred(mail);
  EXPECT_EQ(mail.parcel.reply.enhanced, (smtp::EnhancedCode{4, 4, 2}));
}

// The one left out was not asked: it may take the mail.
TEST_F(Hosts, OfWhichOneTakesNoMailAndOneIsLeftOutDeferIt) {
  UseTwoHosts();
  host(kFirst).refuses_with = ECONNREFUSED;
  host(kSecond).answers_connects = false;
  host(kSecond).answers["greeting"] = "521 mx2 takes no mail";
  SendSome(5);
  EXPECT_EQ(Connects(kFirst), 2u);
  SendSome(4);
  EXPECT_EQ(Connects(kFirst), 2u);
  const std::vector<int> peers = network_.To(kSecond);
  ASSERT_THAT(peers, SizeIs(3));
  for (const int peer : peers) {
    EXPECT_EQ(CountVerdicts("-"), 9u);
    network_.Accept(peer);
    Turn();
  }
  EXPECT_EQ(CountVerdicts("d"), 1u);
  EXPECT_EQ(CountVerdicts("B"), 0u);
}

// --- Hosts that take sessions and drop them.

TEST_F(Hosts, ThatCloseAfterEhloAreTriedAtGrowingIntervals) {
  host().closes_after = "EHLO";
  SendSome(4);
  EXPECT_EQ(Connects(), 1u);
  EXPECT_EQ(AllVerdicts(), "d - - -");
  ExpectDeferred(mails_.front());
  Duration pause_before{};
  for (size_t connects = 1; connects <= 3; ++connects) {
    const Duration pause = destination().not_before - now_.instant;
    EXPECT_GE(pause, seconds(5));
    EXPECT_GT(pause, pause_before);
    PassUntil(destination().not_before - kTick);
    EXPECT_EQ(Connects(), connects);
    Pass(2 * kTick);
    EXPECT_EQ(Connects(), connects + 1);
    pause_before = pause;
  }
  EXPECT_EQ(AllVerdicts(), "d d d d");
}

TEST_F(Hosts, ThatCloseAfterEhloLeaveTheMailToTheNextAddress) {
  UseTwoHosts();
  host(kFirst).closes_after = "EHLO";
  SendSome(3);
  EXPECT_EQ(AllVerdicts(), "D D D");
  EXPECT_EQ(mails_.front().parcel.peer_name, "mx2.example.com");
}

// Each time while the body is being read back, so that no transaction is ever offered.
TEST_F(Hosts, ThatCloseWhenReadyAreTriedAtIntervals) {
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

TEST_F(Hosts, ThatCloseAConnectionForWhichThereIsNoMailSayNothing) {
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

TEST_F(Hosts, ThatDropTheFirstMessageLeaveItToTheNextAddressAfterFiveSeconds) {
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

TEST_F(Hosts, ThatDropTheFirstMessageAndAreTheLastDeferIt) {
  Start({.connections_max = 1});
  host().closes_after = "MAIL";
  host().closes_unanswered = true;
  SendSome(2);
  EXPECT_EQ(AllVerdicts(), "d -");
  ExpectDeferred(mails_.front());
  EXPECT_EQ(Connects(), 1u);
  EXPECT_GE(destination().not_before - now_.instant, seconds(5));
}

// The socket is closed only when the kernel has let go of the send, but the pause begins before.
TEST_F(Hosts, ThatDropTheFirstMessageWhileWeSendItAreNotAskedAgainAtOnce) {
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
  EXPECT_GE(destination().not_before - now_.instant, seconds(5));
}

// A fresh connection is dropped under its first message while another one is up, and more mail
// comes at this moment.
class FreshConnectionIsDropped : public Hosts {
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

// --- Hosts that say too much.

// A reply of nearly as much as the parser takes (64 KiB, lines of 2,048).
std::string LongReply(absl::string_view code) {
  std::string reply;
  for (int i = 0; i < 31; ++i) absl::StrAppend(&reply, code, "-", std::string(2000, 'x'), "\r\n");
  absl::StrAppend(&reply, code, " the end");
  return reply;
}

struct LongCase {
  absl::string_view command;
  absl::string_view code;
};
void PrintTo(const LongCase& c, std::ostream* out) {
  *out << c.code << " to " << c.command;
}

class LongAnswer : public Hosts, public testing::WithParamInterface<LongCase> {};

TEST_P(LongAnswer, IsKeptInPart) {
  Start({.connections_max = 1});
  host().answers[std::string(GetParam().command)] = LongReply(GetParam().code);
  Mail& queued = Make();
  queued.parcel.expires = now_.instant + seconds(20);
  Mail& front = Queue(Make());
  Queue(queued);
  Turn();
  EXPECT_EQ(front.Verdicts(), "d");
  const auto kept = AllOf(Ge(1u), Le(limits::kReplyTextBytesMax));
  EXPECT_THAT(front.parcel.reply.text.size(), kept);
  EXPECT_THAT(destination().failure.text.size(), kept);
  Pass(seconds(21));
  EXPECT_THAT(queued.returns, ElementsAre(ParcelResult::kExpired));
  EXPECT_THAT(queued.parcel.reply.text.size(), kept);
}

INSTANTIATE_TEST_SUITE_P(ToEachCommand, LongAnswer,
                         testing::Values(LongCase{"greeting", "554"}, LongCase{"greeting", "421"},
                                         LongCase{"EHLO", "451"}, LongCase{"MAIL", "421"}));

TEST_F(Hosts, ThatSayMuchToARecipientAreKeptInPart) {
  host().answers["RCPT TO:<r0@"] = LongReply("550");
  Mail& mail = Send(2);
  EXPECT_EQ(mail.Verdicts(), "BD");
  EXPECT_LE(mail.message.outcomes[0].reply.text.size(), limits::kReplyTextBytesMax);
}

}  // namespace
}  // namespace sluice::delivery
