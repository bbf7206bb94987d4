// The next message leaves with the end of the one before it, before the reply to its dot (RFC 2920
// 3.1): when it does and when it must not, what limits it counts against, and what may be decided
// meanwhile. What fails there is in dispatcher_ahead_failures_test.cc.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "policy/bounce_tag.h"
#include "tests/engine/delivery/dispatcher_ahead_words.h"

namespace sluice::delivery {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::SizeIs;

constexpr absl::string_view kOur1 = "198.51.100.1";
constexpr absl::string_view kOur2 = "198.51.100.2";

// -------------------------------------------------------------------------------------------------
// When it goes.

TEST_F(Ahead, TheEndOfABodyAndTheNextCommandsAreOneSend) {
  Start({.connections_max = 1});
  SendAll(3);
  EXPECT_EQ(AllVerdicts(), "D D D");
  ASSERT_THAT(network_.All(), SizeIs(1));
  EXPECT_EQ(network_.AllHeard(peer()), absl::StrCat(kEhlo, Whole(0), Whole(1), Whole(2)));
  EXPECT_THAT(network_.SendSizes(peer()),
              ElementsAre(kEhlo.size(), Commands(0).size(), (mail(0).wire + Commands(1)).size(),
                          (mail(1).wire + Commands(2)).size(), mail(2).wire.size()));
  for (const Mail& one : mails_) EXPECT_THAT(one.returns, ElementsAre(ParcelResult::kAttempted));
}

TEST_F(Ahead, ItIsSentBeforeTheDotIsAnswered) {
  StartTwo();
  EXPECT_EQ(network_.AllHeard(peer()), absl::StrCat(kEhlo, Whole(0), Commands(1)));
  EXPECT_EQ(AllVerdicts(), "- -");
  Answers();
  EXPECT_EQ(AllVerdicts(), "D -");
  EXPECT_TRUE(mail(0).home);
  EXPECT_FALSE(mail(1).home);
  GoesOn();
  EXPECT_EQ(AllVerdicts(), "D D");
  EXPECT_EQ(network_.AllHeard(peer()), absl::StrCat(kEhlo, Whole(0), Whole(1)));
}

TEST_F(Ahead, OneAtATime) {
  StartTwo(3);
  Pass(seconds(20));
  EXPECT_EQ(network_.CountHeard(peer(), "MAIL"), 2u);
  GoesOn();
  EXPECT_EQ(AllVerdicts(), "D D D");
}

// Its outcome tells where it went, though it was not begun on a connection that was ready.
TEST_F(Ahead, ItKnowsItsHost) {
  StartTwo();
  GoesOn();
  EXPECT_EQ(mail(1).parcel.peer_name, "mx1.example.com");
  EXPECT_EQ(mail(1).parcel.peer_address, mail(0).parcel.peer_address);
  EXPECT_EQ(mail(1).parcel.table_version, 1u);
  EXPECT_EQ(mail(1).parcel.stages.connect, Duration::zero());
}

TEST_F(Ahead, ItsSenderIsTaggedToo) {
  policy::BounceTagger tagger("Cisco_key");
  options_.tagger = &tagger;
  Start({.connections_max = 1, .tag_sender = true});
  SendAll(2);
  EXPECT_EQ(AheadOn(peer()), 1u);
  EXPECT_EQ(network_.CountHeard(peer(), "MAIL FROM:<prvs="), 2u);
}

// -------------------------------------------------------------------------------------------------
// When it does not.

TEST_F(Ahead, NeverWithoutPipelining) {
  host().answers["EHLO"] = "250-mx.example.com\r\n250 SIZE";
  Start({.connections_max = 1});
  SendAll(3);
  EXPECT_EQ(AllVerdicts(), "D D D");
  EXPECT_THAT(AheadOfEach(), ElementsAre(0));
}

TEST_F(Ahead, NotWithABodyThatMustBeAskedFor) {
  Start({.connections_max = 1});
  QueueSome(3);
  mail(1).parcel.body_state = BodyState::kNotAsked;
  Turn();
  EXPECT_EQ(AllVerdicts(), "D D D");
  EXPECT_EQ(AheadOn(peer()), 1u);  // The third behind it.
  EXPECT_EQ(network_.AllHeard(peer()), absl::StrCat(kEhlo, Whole(0), Whole(1), Whole(2)));
}

TEST_F(Ahead, NotWhereAnotherConnectionIsIdle) {
  host().answers.erase("DATA");
  Start({.connections_max = 2});
  SendAll(1);
  const int busy = peer();
  resolver_.Says(kDomain, RouteTo({kFirst, kSecond}));
  SendAll(1);  // Another connection, which ends up idle.
  host() = FakeHost();
  const int idle = peer();
  ASSERT_NE(busy, idle);
  network_.Says(idle, "354 go\r\n");
  Turn();
  ASSERT_EQ(AllVerdicts(), "- D");
  QueueSome(1);
  network_.Says(busy, "354 go\r\n");
  Turn();
  EXPECT_EQ(AllVerdicts(), "D D D");
  EXPECT_EQ(network_.CountHeard(idle, "MAIL FROM:<m2@"), 1u);
  EXPECT_EQ(AheadOn(busy), 0u);
}

// Case C50: it bounces as it would have.
TEST_F(Ahead, NotWhereTheHostTakesNoSuchMessage) {
  host().answers["EHLO"] = "250-mx.example.com\r\n250-SIZE 500\r\n250 PIPELINING";
  Start({.connections_max = 1});
  Queue(MakeNext());
  Queue(MakeNext(1, 501));
  Queue(MakeNext());
  Turn();
  EXPECT_EQ(AllVerdicts(), "D B D");
  EXPECT_THAT(AheadOfEach(), ElementsAre(0));
  EXPECT_THAT(MailsOfEach(), ElementsAre(2));
}

// -------------------------------------------------------------------------------------------------
// Limits.

TEST_F(Ahead, MessagesOnAConnectionAreExact) {
  Start({.connections_max = 1, .messages_per_connection_max = 3});
  SendAll(7);
  EXPECT_EQ(CountVerdicts("D"), 7u);
  EXPECT_THAT(MailsOfEach(), ElementsAre(3, 3, 1));
  EXPECT_THAT(AheadOfEach(), ElementsAre(2, 2, 0));
}

TEST_F(Ahead, MessagesThatTheHostTakesAreExact) {  // RFC 9422, case R16.
  host().answers["EHLO"] = "250-mx.example.com\r\n250-LIMITS MAILMAX=2\r\n250 PIPELINING";
  Start({.connections_max = 1});
  SendAll(5);
  EXPECT_EQ(CountVerdicts("D"), 5u);
  EXPECT_THAT(MailsOfEach(), ElementsAre(2, 2, 1));
  EXPECT_THAT(AheadOfEach(), ElementsAre(1, 1, 0));
}

TEST_F(Ahead, RecipientsAreExactInAPeriod) {
  Start({.connections_max = 1, .recipients_max = 5, .recipient_minutes = 1});
  for (int i = 0; i < 3; ++i) Queue(MakeNext(2));
  Turn();
  EXPECT_EQ(AllVerdicts(), "DD DD D-");
  EXPECT_EQ(AheadOn(peer()), 2u);
  EXPECT_EQ(network_.CountHeardByAll("RCPT"), 5u);
  Pass(minutes(1) - kTick);
  EXPECT_EQ(network_.CountHeardByAll("RCPT"), 5u);
  Pass(seconds(2));
  EXPECT_EQ(AllVerdicts(), "DD DD DD");
  EXPECT_EQ(network_.CountHeardByAll("RCPT"), 6u);
}

// Those of the one before it are still in flight, and so are its own.
TEST_F(Ahead, RecipientsCountFromWhenTheyAreSent) {
  policy::ControlsEntry controls = {
      .connections_max = 1, .recipients_max = 2, .recipient_minutes = 1};
  Start(controls);
  StartTwo();
  QueueSome(20);
  controls.connections_max = 2;
  Reload(controls);
  Pass(minutes(2));
  EXPECT_EQ(network_.CountHeardByAll("RCPT"), 2u);
  host().waits = false;
  Answers();  // The first is seen now: its minute begins.
  Pass(minutes(1) - kTick);
  EXPECT_EQ(network_.CountHeardByAll("RCPT"), 2u);
  Pass(seconds(2));
  EXPECT_EQ(network_.CountHeardByAll("RCPT"), 3u);  // The second is still in flight.
  EXPECT_EQ(AllVerdicts().substr(0, 5), "D - D");
}

// RCPT was sent: the host may have seen it. It counts for one period, and not for longer.
TEST_F(Ahead, RecipientsOfALostOneCountForOnePeriod) {
  Start({.connections_max = 1, .recipients_max = 3, .recipient_minutes = 1});
  SendAll(1);
  StartTwo();
  host() = FakeHost();
  network_.Resets(peer());
  Turn();
  EXPECT_EQ(AllVerdicts(), "D d -");
  QueueSome(9);
  Pass(minutes(1) - kTick);
  EXPECT_EQ(network_.CountHeardByAll("RCPT"), 3u);
  Pass(seconds(2));
  EXPECT_EQ(network_.CountHeardByAll("RCPT"), 6u);  // All of the limit is there again.
  EXPECT_EQ(mail(2).Verdicts(), "D");
}

TEST_F(Ahead, RecipientsOfOneThatCameTooSoonCountForOnePeriod) {
  host().answer_ahead = "503 5.5.1 busy";
  Start({.connections_max = 1, .recipients_max = 2, .recipient_minutes = 1});
  SendAll(2);
  EXPECT_EQ(AllVerdicts(), "D -");
  EXPECT_EQ(network_.CountHeardByAll("RCPT"), 2u);
  QueueSome(9);
  Pass(minutes(1) - kTick);
  EXPECT_EQ(network_.CountHeardByAll("RCPT"), 2u);
  Pass(seconds(2));
  EXPECT_EQ(network_.CountHeardByAll("RCPT"), 4u);
  EXPECT_EQ(mail(1).Verdicts(), "D");
}

// A host that takes two at a time: the third is the next transaction's.
TEST_F(Ahead, RecipientsBeyondTheHostsLimitGoInTheNext) {
  host().recipients_max = 2;
  Start({.connections_max = 1});
  Queue(MakeNext(2));
  Queue(MakeNext(3));
  Turn();
  EXPECT_EQ(AllVerdicts(), "DD DDD");
  EXPECT_EQ(AheadOn(peer()), 1u);
  EXPECT_THAT(MailsOfEach(), ElementsAre(3));
}

// Each address has limits of its own from now on: what is in flight on both counts there.
TEST_F(Ahead, ANewScopeCountsWhatIsAhead) {
  Start({.connections_max = 1, .recipients_max = 3, .recipient_minutes = 1});
  StartTwo(4);
  Reload({.connections_max = 1,
          .recipients_max = 3,
          .recipient_minutes = 1,
          .limits_each_address = true});
  GoesOn();
  EXPECT_EQ(network_.CountHeardByAll("RCPT"), 3u);
  EXPECT_EQ(AllVerdicts(), "D D D -");
  Pass(minutes(1) + seconds(2));
  EXPECT_EQ(AllVerdicts(), "D D D D");
}

// -------------------------------------------------------------------------------------------------
// What is decided while one is ahead.

TEST_F(Ahead, ADrainLetsBothEnd) {
  StartTwo(3);
  dispatcher_->BeginDrain(now_);
  Turn();
  EXPECT_EQ(network_.open(), 1u);
  EXPECT_THAT(mail(2).returns, ElementsAre(ParcelResult::kRecalled));
  GoesOn();
  EXPECT_EQ(AllVerdicts(), "D D -");
  EXPECT_EQ(network_.CountHeard(peer(), "QUIT"), 1u);
  EXPECT_TRUE(dispatcher_->AtRest());
}

TEST_F(Ahead, ADrainRecallsWhatCameTooSoon) {
  StartTwo();
  dispatcher_->BeginDrain(now_);
  host().answer_ahead = "503 5.5.1 busy";
  GoesOn();
  EXPECT_EQ(AllVerdicts(), "D -");
  EXPECT_THAT(mail(1).returns.front(), ParcelResult::kRecalled);
}

TEST_F(Ahead, AnAbortGivesBothBack) {
  StartTwo();
  dispatcher_->BeginDrain(now_);
  dispatcher_->AbortAll(now_);
  Turn();
  EXPECT_EQ(AllVerdicts(), "d -");
  EXPECT_TRUE(mail(0).parcel.in_doubt);
  EXPECT_THAT(mail(1).returns, ElementsAre(ParcelResult::kRecalled));
  EXPECT_TRUE(dispatcher_->AtRest());
}

// What was sent stays sent; the chain ends behind it.
TEST_F(Ahead, FewerMessagesOnAConnection) {
  StartTwo(4);
  Reload({.connections_max = 1, .messages_per_connection_max = 1});
  GoesOn();
  EXPECT_EQ(CountVerdicts("D"), 4u);
  EXPECT_THAT(MailsOfEach(), ElementsAre(2, 1, 1));
}

TEST_F(Ahead, FewerConnections) {
  Start({.connections_max = 2});
  host().answers_connects = false;
  QueueSome(8);
  Turn();
  const std::vector<int> peers = network_.All();
  ASSERT_THAT(peers, SizeIs(2));
  host().waits = true;
  for (const int one : peers) network_.Accept(one);
  for (const int one : peers) {
    while (network_.CountHeard(one, ".\r\n") == 0) {
      network_.AnswersAll(one);
      Turn();
    }
    ASSERT_EQ(AheadOn(one), 1u);
  }
  Reload({.connections_max = 1});
  host().waits = false;
  network_.AnswersAll(peers[0]);
  Turn();
  EXPECT_THAT(MailsOfEach(), ElementsAre(2, 2));
  EXPECT_TRUE(network_.Closed(peers[0]));
  network_.AnswersAll(peers[1]);
  Turn();
  EXPECT_EQ(CountVerdicts("D"), 8u);
  EXPECT_THAT(MailsOfEach(), ElementsAre(2, 6));
}

TEST_F(Ahead, AnotherLevelOfTls) {
  policy::ControlsEntry controls = At(policy::TlsLevel::kOff);
  controls.connections_max = 1;
  StartTls(controls);
  StartTwo(3);
  controls.tls.level = policy::TlsLevel::kRequired;
  ReloadTls(controls);
  const int before = peer();
  host().waits = false;
  network_.AnswersAll(before);
  Turn();
  EXPECT_EQ(network_.CountHeard(before, "MAIL"), 2u);
  EXPECT_EQ(network_.CountHeard(before, "QUIT"), 1u);
  EXPECT_EQ(network_.CountHeardByAll("MAIL"), 2u);  // This host offers no TLS.
  EXPECT_EQ(AllVerdicts(), "D D d");
}

TEST_F(Ahead, ASuspension) {
  StartTwo(4);
  dispatcher_->UseSuspensions(std::make_shared<const policy::Suspensions>(std::vector{
      policy::Suspension{.domain = std::string(kDomain), .since = now_.wall, .reason = "x"}}));
  Turn();
  GoesOn();
  EXPECT_EQ(AllVerdicts(), "D D - -");
  EXPECT_EQ(network_.CountHeard(peer(), "QUIT"), 1u);
  dispatcher_->UseSuspensions(nullptr);
  Turn();
  EXPECT_EQ(AllVerdicts(), "D D D D");
}

// A host that is no longer the domain's gets no more of its mail.
TEST_F(Ahead, AnotherRoute) {
  resolver_.Says(kDomain, RouteTo({kFirst}, seconds(10)));
  StartTwo(3);
  resolver_.Says(kDomain, RouteTo({kSecond}));
  Pass(seconds(11));
  QueueSome(1);  // The lane looks, and asks.
  Turn();
  const int before = peer();
  host().waits = false;
  network_.AnswersAll(before);
  Turn();
  EXPECT_EQ(AllVerdicts(), "D D D D");
  EXPECT_EQ(network_.CountHeard(before, "MAIL"), 2u);
  EXPECT_THAT(network_.To(kSecond), SizeIs(1));
}

// -------------------------------------------------------------------------------------------------
// Large bodies.

TEST_F(Ahead, BehindALargeBody) {
  Start({.connections_max = 1});
  Queue(Named(MakeLarge()));
  Queue(MakeNext());
  Turn();
  EXPECT_EQ(AllVerdicts(), "D D");
  EXPECT_EQ(network_.AllHeard(peer()), absl::StrCat(kEhlo, Whole(0), Whole(1)));
  EXPECT_EQ(AheadOn(peer()), 1u);
  EXPECT_EQ(mail(0).parcel.body_check, BodyCheck::kWhole);
  EXPECT_EQ(mail(1).parcel.body_check, BodyCheck::kNone);
  EXPECT_EQ(dispatcher_->streams(), 0u);
}

TEST_F(Ahead, NotALargeBodyItself) {
  Start({.connections_max = 1});
  Queue(MakeNext());
  Mail& large = Queue(Named(MakeLarge()));
  large.parcel.body_state = BodyState::kLent;
  Queue(MakeNext());
  Turn();
  EXPECT_EQ(AllVerdicts(), "D D D");
  EXPECT_EQ(network_.AllHeard(peer()), absl::StrCat(kEhlo, Whole(0), Whole(1), Whole(2)));
  EXPECT_EQ(AheadOn(peer()), 1u);  // The third.
}

TEST_F(Ahead, BehindABodyOfSeveralPiecesWithItsLast) {
  Start({.connections_max = 1});
  Queue(MakeNext(1, 200 << 10));
  Queue(MakeNext());
  Turn();
  EXPECT_EQ(AllVerdicts(), "D D");
  EXPECT_EQ(network_.AllHeard(peer()), absl::StrCat(kEhlo, Whole(0), Whole(1)));
  const size_t last_piece = mail(0).wire.size() % (64 << 10);
  EXPECT_EQ(network_.SendSizes(peer()).end()[-2], last_piece + Commands(1).size());
}

// -------------------------------------------------------------------------------------------------
// Two pools of sources.

class AheadLanes : public Ahead {
 protected:
  AheadLanes() {
    sources_.AddSource({.name = "one", .ipv4 = *IpAddress::Parse(kOur1)});
    sources_.AddSource({.name = "two", .ipv4 = *IpAddress::Parse(kOur2)});
    options_.sources = &sources_;
  }
  Mail& QueueBy(uint32_t pool) {
    Mail& mail = MakeNext();
    mail.message.pool = pool;
    return Queue(mail);
  }
  size_t DeliveredBy(uint32_t pool) const {
    return static_cast<size_t>(std::count_if(mails_.begin(), mails_.end(), [&](const Mail& mail) {
      return mail.message.pool == pool && mail.Verdicts() == "D";
    }));
  }

  policy::Sources sources_;
};

TEST_F(AheadLanes, TakeTurnsWithTheOneConnection) {
  Start({.connections_max = 1, .messages_per_connection_max = 2});
  for (int i = 0; i < 10; ++i) QueueBy(1);
  for (int i = 0; i < 10; ++i) QueueBy(2);
  for (size_t total = 4; total <= 20; total += 4) {
    for (int i = 0; i < 100 && DeliveredBy(1) + DeliveredBy(2) < total; ++i) TurnOnce();
    EXPECT_EQ(DeliveredBy(1), total / 2);
  }
  EXPECT_EQ(network_.most_open(), 1u);
  for (const size_t ahead : AheadOfEach()) EXPECT_EQ(ahead, 1u);
}

// The last recipient of the limit is for the lane that has waited, not for the chain.
TEST_F(AheadLanes, ThatIsNotPassedOver) {
  Start({.recipients_max = 3, .recipient_minutes = 60});
  QueueBy(2);  // Its connection is idle then.
  Turn();
  host().answers.erase("DATA");
  QueueBy(1);
  Turn();
  const int chain = peer();
  host() = FakeHost();
  Mail& next = MakeNext();
  next.message.pool = 1;
  Queue(next);
  QueueBy(2);
  network_.Says(chain, "354 go\r\n");
  Turn();
  EXPECT_EQ(AllVerdicts(), "D D - D");
  EXPECT_EQ(AheadOn(chain), 0u);
}

// -------------------------------------------------------------------------------------------------
// Under TLS.

TEST_F(Ahead, UnderTlsTheyAreSealedInTheirOrder) {
  EstablishesFor(3, std::make_unique<ClearStream>());
  EXPECT_EQ(AllVerdicts(), "D D D");
  EXPECT_EQ(AheadOn(peer()), 2u);
  EXPECT_EQ(network_.AllHeard(peer()),
            absl::StrCat(kEhlo, "STARTTLS\r\n", kEhlo, Whole(0), Whole(1), Whole(2)));
}

}  // namespace
}  // namespace sluice::delivery
