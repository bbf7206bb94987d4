// The limits of a destination, exactly: connections (half-open and closing ones too), messages on a
// connection, recipients in a period; lowered under what is under way; and what an expired parcel
// says held it. Expectations are policy/budget.h's and reference controls' meaning.

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
using testing::AnyOf;
using testing::Each;
using testing::ElementsAre;
using testing::SizeIs;

class Limits : public DispatcherTest {
 protected:
  // How many MAIL commands each connection had, in the order in which they were opened.
  std::vector<size_t> MailsOfEach() const {
    std::vector<size_t> mails;
    for (const int peer : network_.All()) mails.push_back(network_.CountHeard(peer, "MAIL"));
    return mails;
  }
};

// --- Connections.

TEST_F(Limits, OfConnectionsCountsHalfOpenOnes) {
  Start({.connections_max = 3});
  host().answers_connects = false;
  SendSome(100);
  EXPECT_EQ(network_.open(), 3u);
  EXPECT_EQ(lane().binding, "concurrency");
  network_.Refuse(network_.All()[0], ECONNREFUSED);
  Pass(seconds(20));
  EXPECT_THAT(network_.All(), SizeIs(4));
  EXPECT_EQ(network_.open(), 3u);
  host().answers_connects = true;
  for (const int peer : network_.All()) {
    if (!network_.Closed(peer)) network_.Accept(peer);
  }
  Turn();
  EXPECT_EQ(CountVerdicts("D"), 100u);
  EXPECT_EQ(network_.most_open(), 3u);
}

TEST_F(Limits, OfConnectionsCountsOneUntilItsSocketIsClosed) {
  Start({.connections_max = 1, .messages_per_connection_max = 1});
  host().answers.erase("QUIT");
  SendSome(2);
  EXPECT_EQ(network_.CountHeardByAll("QUIT"), 1u);
  EXPECT_EQ(AllVerdicts(), "D -");
  EXPECT_THAT(network_.All(), SizeIs(1));
  Pass(seconds(10) + kTick);  // That long QUIT may take.
  EXPECT_EQ(AllVerdicts(), "D D");
  EXPECT_EQ(network_.most_open(), 1u);
}

TEST_F(Limits, OfConnectionsAreReachedOnlyWithMailForThem) {
  host().answers_connects = false;
  SendSome(4);
  EXPECT_EQ(network_.open(), 1u);
  SendSome(1);
  EXPECT_EQ(network_.open(), 2u);  // Each may take four.
}

TEST_F(Limits, OfOneMessageAConnectionAskForOneForEach) {
  Start({.messages_per_connection_max = 1});
  host().answers_connects = false;
  SendSome(3);
  EXPECT_EQ(network_.open(), 3u);
}

TEST_F(Limits, OfTheEngineHoldWhatTheDestinationMay) {
  options_.connections_max = 2;
  host().answers_connects = false;
  SendSome(100);
  EXPECT_EQ(network_.open(), 2u);
  EXPECT_EQ(lane().binding, "engine_connections");
}

// A session that is kept for mail that may come gives its place to mail of others that has come, at
// once and politely; the longest idle one first.
TEST_F(Limits, OfTheEngineAreNotHeldByIdleSessions) {
  options_.connections_max = 2;
  resolver_.Says("example.org", RouteTo({kFirst}));
  resolver_.Says("example.net", RouteTo({kFirst}));
  resolver_.Says("example.edu", RouteTo({kFirst}));
  const Instant begun = now_.instant;
  for (const char* domain : {"example.org", "example.net", "example.edu", "example.net"}) {
    Mail& mail = Make();
    mail.message.envelope.recipients[0].destination = domain;
    Queue(mail);
    Turn();
    EXPECT_TRUE(mail.home) << domain;
    EXPECT_LE(network_.open(), 2u);
  }
  EXPECT_LT(now_.instant - begun, std::chrono::milliseconds(500));
  // That of example.net was in use again.
  EXPECT_EQ(network_.All().size(), 3u);
  EXPECT_EQ(network_.CountHeard(network_.All()[0], "QUIT"), 1u);
  EXPECT_EQ(network_.CountHeard(network_.All()[1], "QUIT"), 0u);
}

// Mail that has a connection moves: what waits behind it ends no session of others, or sessions
// would be opened and closed for each message where many destinations have a queue.
TEST_F(Limits, OfTheEngineAreNotTakenFromOthersByWhoHasAConnection) {
  options_.connections_max = 2;
  resolver_.Says("example.org", RouteTo({kFirst}));
  Mail& other = Make();
  other.message.envelope.recipients[0].destination = "example.org";
  Queue(other);
  Turn();
  EXPECT_TRUE(other.home);
  bodies_held_ = true;
  SendSome(100);
  EXPECT_EQ(network_.open(), 2u);
  EXPECT_EQ(lane().binding, "engine_connections");
  EXPECT_EQ(network_.CountHeardByAll("QUIT"), 0u);
}

TEST_F(Limits, OfDestinationsGiveTheParcelBack) {
  options_.destinations_max = 1;
  host().answers_connects = false;
  Send();
  Mail& other = Make();
  other.message.envelope.recipients[0].destination = "example.org";
  Queue(other);
  Turn();
  EXPECT_THAT(other.returns, ElementsAre(ParcelResult::kRecalled));
  EXPECT_EQ(dispatcher_->destinations(), 1u);
}

// --- Messages on a connection.

TEST_F(Limits, OfMessagesOnAConnectionAreExact) {
  Start({.connections_max = 1, .messages_per_connection_max = 3});
  SendSome(7);
  EXPECT_EQ(CountVerdicts("D"), 7u);
  EXPECT_THAT(MailsOfEach(), ElementsAre(3, 3, 1));
  EXPECT_EQ(network_.CountHeard(network_.All()[0], "QUIT"), 1u);
  EXPECT_EQ(network_.CountHeard(network_.All()[1], "QUIT"), 1u);
  EXPECT_EQ(network_.CountHeard(network_.All()[2], "QUIT"), 0u);
}

TEST_F(Limits, OfMessagesOnAConnectionEndItAtOnce) {
  Start({.messages_per_connection_max = 1});
  EXPECT_EQ(Send().Verdicts(), "D");
  EXPECT_EQ(network_.CountHeardByAll("QUIT"), 1u);
  EXPECT_EQ(network_.open(), 0u);
}

// A refused message has had its MAIL as well.
TEST_F(Limits, OfMessagesOnAConnectionCountRefusedOnes) {
  Start({.connections_max = 1, .messages_per_connection_max = 2});
  host().answers["MAIL"] = "550 5.7.1 no";
  SendSome(4);
  EXPECT_THAT(MailsOfEach(), ElementsAre(2, 2));
}

// --- Recipients.

TEST_F(Limits, OfRecipientsAreExactInAPeriod) {
  Start({.connections_max = 1, .recipients_max = 5, .recipient_minutes = 1});
  for (int i = 0; i < 3; ++i) Queue(Make(2));
  Turn();
  EXPECT_EQ(AllVerdicts(), "DD DD D-");
  EXPECT_EQ(network_.CountHeardByAll("RCPT"), 5u);
  EXPECT_EQ(lane().binding, "recipients");
  Pass(minutes(1) - kTick);
  EXPECT_EQ(network_.CountHeardByAll("RCPT"), 5u);
  EXPECT_THAT(network_.All(), SizeIs(1));  // None is opened that could send nothing.
  Pass(seconds(2));  // The window gives room back up to a 64th of the period late.
  EXPECT_EQ(AllVerdicts(), "DD DD DD");
  EXPECT_EQ(network_.CountHeardByAll("RCPT"), 6u);
}

// Also over several connections, and while the host has not answered.
TEST_F(Limits, OfRecipientsCountThoseInFlight) {
  Start({.recipients_max = 5, .recipient_minutes = 60});
  host().answers.erase("MAIL");
  for (int i = 0; i < 20; ++i) Queue(Make(2));
  Turn();
  EXPECT_EQ(network_.CountHeardByAll("RCPT"), 5u);
}

// What was granted and never sent does not count.
TEST_F(Limits, OfRecipientsDoNotCountThoseThatWereNotSent) {
  Start({.recipients_max = 1, .recipient_minutes = 60});
  body_answer_ = BodyState::kNoRoom;
  Send();
  body_answer_ = BodyState::kLent;
  EXPECT_EQ(AllVerdicts(), "-");
  EXPECT_EQ(Send().Verdicts(), "D");
}

// The host sees the RCPT of a refused group when it answers it: from then on the period runs.
TEST_F(Limits, OfRecipientsCountAGroupUntilTheHostHasAnsweredAllOfIt) {
  Start({.connections_max = 1, .recipients_max = 1, .recipient_minutes = 1});
  host().answers["MAIL"] = "550 5.7.1 no";
  host().answers.erase("RCPT");
  host().answers.erase("DATA");
  EXPECT_EQ(Send().Verdicts(), "B");
  Pass(seconds(30));
  network_.Says(network_.All()[0], "503 5.5.1 no MAIL\r\n503 5.5.1 no MAIL\r\n");
  Turn();
  host() = FakeHost();
  Mail& next = Send();
  Pass(minutes(1) - kTick);
  EXPECT_EQ(next.Verdicts(), "-");
  Pass(seconds(2));
  EXPECT_EQ(next.Verdicts(), "D");
}

TEST_F(Limits, OfNoRecipientsHoldTheMail) {
  Start({.recipients_max = 0, .recipient_minutes = 60});
  Mail& mail = Send();
  Pass(std::chrono::hours(2));
  EXPECT_THAT(network_.All(), SizeIs(0));
  EXPECT_FALSE(mail.home);
  EXPECT_EQ(lane().binding, "recipients");
  Reload();
  EXPECT_EQ(mail.Verdicts(), "D");
}

// --- Limits that are lowered.

class LoweredLimit : public Limits {
 protected:
  // Five connections, half-open, and 25 messages.
  void OpenFive() {
    Start({.connections_max = 5});
    host().answers_connects = false;
    SendSome(25);
    ASSERT_THAT(network_.All(), SizeIs(5));
  }
  void AcceptAll() {
    for (const int peer : network_.All()) network_.Accept(peer);
    Turn();
  }
  size_t Quits() const { return network_.CountHeardByAll("QUIT"); }
};

TEST_F(LoweredLimit, EndsIdleConnectionsAboveIt) {
  OpenFive();
  AcceptAll();
  EXPECT_EQ(CountVerdicts("D"), 25u);
  Reload({.connections_max = 2});
  EXPECT_EQ(Quits(), 3u);
  EXPECT_EQ(network_.open(), 2u);
  SendSome(10);
  EXPECT_EQ(CountVerdicts("D"), 35u);
  EXPECT_THAT(network_.All(), SizeIs(5));
}

TEST_F(LoweredLimit, EndsNoneWhenItIsNotLower) {
  OpenFive();
  AcceptAll();
  Reload({.connections_max = 5});
  Reload({.connections_max = 50});
  EXPECT_EQ(Quits(), 0u);
  EXPECT_EQ(network_.open(), 5u);
}

TEST_F(LoweredLimit, EndsBusyConnectionsAboveItAfterTheirTransaction) {
  OpenFive();
  host().answers.erase(".");
  AcceptAll();
  EXPECT_THAT(MailsOfEach(), ElementsAre(1, 1, 1, 1, 1));
  Reload({.connections_max = 2});
  EXPECT_EQ(Quits(), 0u);
  EXPECT_EQ(network_.open(), 5u);
  const std::vector<int> peers = network_.All();
  for (size_t i = 0; i < 3; ++i) {
    network_.Says(peers[i], "250 2.0.0 taken\r\n");
    Turn();
    EXPECT_EQ(network_.open(), 4 - i);
    EXPECT_EQ(network_.CountHeard(peers[i], "QUIT"), 1u);
  }
  host() = FakeHost();
  network_.Says(peers[3], "250 2.0.0 taken\r\n");
  network_.Says(peers[4], "250 2.0.0 taken\r\n");
  Turn();
  EXPECT_EQ(CountVerdicts("D"), 25u);
  EXPECT_EQ(network_.open(), 2u);
  EXPECT_THAT(network_.All(), SizeIs(5));
  EXPECT_EQ(Quits(), 3u);
}

TEST_F(LoweredLimit, EndsHalfOpenConnectionsAboveIt) {
  OpenFive();
  Reload({.connections_max = 2});
  for (const int peer : network_.All()) {
    if (!network_.Closed(peer)) network_.Accept(peer);
    Turn();
  }
  EXPECT_EQ(CountVerdicts("D"), 25u);
  EXPECT_EQ(network_.open(), 2u);
  EXPECT_THAT(network_.All(), SizeIs(5));
}

TEST_F(LoweredLimit, OpensNoneForAnAddressThatFailsAboveIt) {
  resolver_.Says(kDomain, RouteTo({kFirst, kSecond}));
  OpenFive();
  Reload({.connections_max = 2});
  for (const int peer : network_.All()) network_.Refuse(peer, ECONNREFUSED);
  Turn();
  EXPECT_LE(network_.open(), 2u);
  EXPECT_LE(network_.To(kSecond).size(), 2u);
}

TEST_F(LoweredLimit, OfMessagesEndsAConnectionThatHasHadMore) {
  for (int i = 0; i < 3; ++i) Send();
  Reload({.messages_per_connection_max = 2});
  EXPECT_EQ(Send().Verdicts(), "D");
  EXPECT_THAT(MailsOfEach(), ElementsAre(3, 1));
  EXPECT_EQ(network_.CountHeard(network_.All()[0], "QUIT"), 1u);
}

TEST_F(LoweredLimit, IsForgottenWhenItIsRaised) {
  Start({.connections_max = 1});
  host().answers_connects = false;
  SendSome(25);
  EXPECT_EQ(network_.open(), 1u);
  Reload({.connections_max = 3});
  EXPECT_EQ(network_.open(), 3u);
}

// --- Mail whose time is up in the queue says what held it.

class Expiring : public Limits {
 protected:
  // It waits for 20 seconds behind another one.
  Mail& SendTwo() {
    Send();
    Mail& mail = Make();
    mail.parcel.expires = now_.instant + seconds(20);
    Queue(mail);
    Turn();
    return mail;
  }
  void ExpectExpired(const Mail& mail, absl::string_view binding) {
    Pass(seconds(20) - kTick);
    EXPECT_FALSE(mail.home);
    Pass(2 * kTick);
    EXPECT_THAT(mail.returns, ElementsAre(ParcelResult::kExpired));
    EXPECT_EQ(mail.parcel.binding_limit, binding);
    EXPECT_EQ(mail.Verdicts(), "-");
  }
};

TEST_F(Expiring, BehindTheConnections) {
  Start({.connections_max = 1});
  host().answers.erase(".");
  ExpectExpired(SendTwo(), "concurrency");
}

TEST_F(Expiring, BehindTheRecipients) {
  Start({.recipients_max = 1, .recipient_minutes = 60});
  ExpectExpired(SendTwo(), "recipients");
}

TEST_F(Expiring, BehindTheRoute) {
  resolver_.Hold();
  ExpectExpired(SendTwo(), "route");
}

TEST_F(Expiring, BehindHostsThatRefuse) {
  host().answers["greeting"] = "450 4.3.2 later";
  Mail& mail = SendTwo();
  ExpectExpired(mail, "hosts");
  EXPECT_EQ(mail.parcel.reply.ToString(), "450 4.3.2 later");
}

TEST_F(Expiring, BehindTheEngine) {
  options_.connections_max = 1;
  host().answers.erase(".");
  ExpectExpired(SendTwo(), "engine_connections");
}

TEST_F(Expiring, NeverInATransaction) {
  host().answers.erase(".");
  Mail& mail = Make();
  mail.parcel.expires = now_.instant + seconds(20);
  Queue(mail);
  Pass(minutes(1));
  EXPECT_FALSE(mail.home);
  network_.Says(network_.All()[0], "250 2.0.0 taken\r\n");
  Turn();
  EXPECT_EQ(mail.Verdicts(), "D");
}

}  // namespace
}  // namespace sluice::delivery
