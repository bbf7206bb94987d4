// Hosts that do not answer, refuse, or say too much: which address is tried next and when, whose
// attempt it is, and what the mail is told. Expectations are RFC 7504 (521, 556) and the
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

class Hosts : public DispatcherTest {};

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
  EXPECT_EQ(lane().binding, "hosts");
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

TEST_F(Hosts, ThatFailedTwiceButWorkedBetweenAreNotLeftOut) {
  UseTwoHosts();
  host(kSecond).answers.erase(".");  // Every connection to it stays busy.
  host(kFirst).refuses_with = ECONNREFUSED;
  Send();
  host(kFirst).refuses_with = 0;
  EXPECT_EQ(Send().Verdicts(), "D");
  network_.FinishesSending(network_.To(kFirst).back());
  host(kFirst).refuses_with = ECONNREFUSED;
  Send();
  EXPECT_EQ(Connects(kFirst), 3u);
  Send();
  EXPECT_EQ(Connects(kFirst), 4u);
}

// After a delivery the tries begin close together again.
TEST_F(Hosts, ThatWorkedAreAskedAgainSoonWhenTheyFail) {
  host().refuses_with = ECONNREFUSED;
  SendSome(4);
  for (int i = 0; i < 3; ++i) PassUntil(lane().not_before + kTick);
  EXPECT_EQ(lane().failures, 4u);
  host().refuses_with = 0;
  host().answers.erase(".");
  Mail& mail = Send();
  PassUntil(lane().not_before + kTick);
  network_.Says(network_.All().back(), "250 2.0.0 taken\r\n");
  network_.FinishesSending(network_.All().back());
  host().refuses_with = ECONNREFUSED;
  ExpectDeferred(Send());
  EXPECT_EQ(mail.Verdicts(), "D");
  EXPECT_EQ(lane().failures, 1u);
  EXPECT_LE(lane().not_before - now_.instant, seconds(75));  // 60, a quarter more.
}

TEST_F(Hosts, ThatFailedTwiceAreTriedWhenTheyAreTheLast) {
  host().refuses_with = ECONNREFUSED;
  SendSome(4);
  for (size_t connects = 1; connects <= 4; ++connects) {
    EXPECT_EQ(Connects(), connects);
    PassUntil(lane().not_before + kTick);
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

// The mail that waited has gone over another connection meanwhile.
TEST_F(Hosts, ThatRefuseWhenNoMailWaitsAreTheLastToBeTried) {
  UseTwoHosts();
  host(kFirst).answers_connects = false;
  SendSome(5);
  const std::vector<int> peers = network_.All();
  ASSERT_THAT(peers, SizeIs(2));
  network_.Accept(peers[0]);
  Turn();
  EXPECT_EQ(CountVerdicts("D"), 5u);
  network_.Refuse(peers[1], ECONNREFUSED);
  Turn();
  EXPECT_EQ(Connects(kSecond), 0u);
  EXPECT_EQ(network_.open(), 1u);
}

TEST_F(Hosts, AreNotBlamedWhenWeHaveNoSocket) {
  network_.NoMoreSockets(EMFILE);
  Mail& mail = Send();
  Pass(seconds(10));
  EXPECT_FALSE(mail.home);
  EXPECT_EQ(lane().failures, 0u);
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
  EXPECT_THAT(lane().failure.text.size(), kept);
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
