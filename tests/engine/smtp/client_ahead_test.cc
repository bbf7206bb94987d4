// ClientSession where the next transaction is offered with the end of the data, before its reply
// (RFC 2920 3.1). Every dialogue runs with the replies in one piece and byte by byte.

#include <chrono>
#include <string>

#include "absl/strings/match.h"
#include "client_peer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice::smtp {
namespace {

using ::testing::ElementsAre;

constexpr absl::string_view kGroup = "MAIL FROM:<n@x>\r\nRCPT TO:<d@y>\r\nDATA\r\n";

class ClientAheadTest : public testing::TestWithParam<Arrival> {
 protected:
  ClientAheadTest() { peer.Greets("PIPELINING"); }

  void Offers() {
    peer.Offers({"b@y"});
    peer.Replies("250 ok\r\n250 ok\r\n354 go\r\n");
    EXPECT_THAT(peer.Seen(), ElementsAre("send body"));
    peer.Sent();
  }
  void BeginsAnew() {
    peer.Sent();
    peer.Seen();
    peer.Begins();
    peer.Greets("PIPELINING");
  }
  void OffersTwo() {
    Offers();
    EXPECT_TRUE(peer.SendsBodyAndOffers("d@y"));
    EXPECT_EQ(peer.Sent(), kGroup);
    EXPECT_EQ(peer.session().state(), ClientState::kDot);
  }

  ClientPeer peer{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Arrivals, ClientAheadTest,
                         testing::Values(Arrival::kWhole, Arrival::kByteByByte));

TEST_P(ClientAheadTest, RepliesGoToTheirMessages) {
  OffersTwo();
  peer.Replies("250 taken\r\n250 ok\r\n250 ok\r\n354 go\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message accepted: 250 taken", "send body"));
  EXPECT_EQ(peer.Sent(), "");
  EXPECT_TRUE(peer.SendsBodyAndOffers("d@y"));
  EXPECT_EQ(peer.Sent(), kGroup);
  peer.Replies("250 too\r\n250 ok\r\n550 no\r\n554 nobody\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message accepted: 250 too", "refused 0: 550 no",
                                       "message refused at RCPT TO (recipient): 550 no"));
  EXPECT_EQ(peer.Sent(), "RSET\r\n");
  peer.Replies("250 ok\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("ready"));
  EXPECT_EQ(peer.session().transactions(), 3u);
}

// Some may mean with it that MAIL came too soon. Offered in its turn, the message hears its own.
TEST_P(ClientAheadTest, ARefusedMailIsUntriedUntilItsTurn) {
  OffersTwo();
  peer.Replies("250 taken\r\n452 4.3.1 full\r\n503 mail?\r\n503 rcpt?\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message accepted: 250 taken",
                                       "message untried at MAIL FROM (message): 452 4.3.1 full"));
  EXPECT_EQ(peer.Sent(), "RSET\r\n");
  peer.Replies("250 ok\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("ready"));
  peer.Offers({"d@y"});
  peer.Replies("452 4.3.1 full\r\n503 mail?\r\n503 rcpt?\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message refused at MAIL FROM (message): 452 4.3.1 full"));
}

// Haraka 3.3.4, which forgets nothing of it: it answers 503 to all three.
TEST_P(ClientAheadTest, WhatCameTooSoonForTheServerIsUntried) {
  OffersTwo();
  peer.Replies("250 taken\r\n503 busy\r\n503 busy\r\n503 busy\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message accepted: 250 taken",
                                       "message untried at MAIL FROM (message): 503 busy"));
  EXPECT_EQ(peer.Sent(), "RSET\r\n");
  peer.Replies("250 ok\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("ready"));
  Offers();
  EXPECT_FALSE(peer.SendsBodyAndOffers("d@y"));  // Never again on this session.
}

TEST_P(ClientAheadTest, ARefusedDotLeavesTheNextOn) {
  OffersTwo();
  peer.Replies("554 5.6.0 no\r\n250 ok\r\n250 ok\r\n354 go\r\n");
  EXPECT_THAT(peer.Seen(),
              ElementsAre("message refused at the final dot (message): 554 5.6.0 no", "send body"));
  peer.SendsBody();
  peer.Replies("250 taken\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message accepted: 250 taken", "ready"));
}

// Cases K21, X7: a server that wants RSET first. Its 5xx says nothing of the message.
TEST_P(ClientAheadTest, WhatIsRefusedForWantOfResetIsUntried) {
  OffersTwo();
  peer.Replies("554 5.6.0 no\r\n503 nested MAIL\r\n503 no\r\n503 no\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message refused at the final dot (message): 554 5.6.0 no",
                                       "message untried at MAIL FROM (message): 503 nested MAIL"));
  EXPECT_EQ(peer.Sent(), "RSET\r\n");
  peer.Replies("250 ok\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("ready"));
  peer.Offers({"d@y"});
  peer.Replies("503 again\r\n503 no\r\n503 no\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message refused at MAIL FROM (message): 503 again"));
}

// The one before may be on there still, though it was taken: a lone dot would send an empty one.
TEST_P(ClientAheadTest, NoDotBehindAMailThatCameTooSoon) {
  OffersTwo();
  peer.Replies("250 taken\r\n503 sender already specified\r\n250 ok\r\n354 go\r\n");
  EXPECT_THAT(peer.Seen(),
              ElementsAre("message accepted: 250 taken",
                          "message untried at MAIL FROM (message): 503 sender already specified",
                          "close: DATA: the data of a refused transaction is wanted"));
  EXPECT_EQ(peer.Sent(), "");
}

TEST_P(ClientAheadTest, TheSessionLostBeforeItsMailIsAnswered) {
  OffersTwo();
  peer.Replies("250 taken\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message accepted: 250 taken"));
  peer.Replies("421 4.3.2 closing\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message untried at MAIL FROM (host): 421 4.3.2 closing",
                                       "close: MAIL FROM: 421 4.3.2 closing"));
}

// The refused message may still be on there: a lone dot would send it, and to more recipients.
TEST_P(ClientAheadTest, NoDotWhereTheServerMayHoldTheRefusedTransaction) {
  OffersTwo();
  peer.Replies("451 4.3.0 no\r\n503 nested MAIL\r\n250 ok\r\n354 go\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message refused at the final dot (message): 451 4.3.0 no",
                                       "message untried at MAIL FROM (message): 503 nested MAIL",
                                       "close: DATA: the data of a refused transaction is wanted"));
  EXPECT_EQ(peer.Sent(), "");
}

TEST_P(ClientAheadTest, ALostSessionLosesBothInTheirOrder) {
  OffersTwo();
  peer.Closes();
  EXPECT_THAT(peer.Seen(), ElementsAre("message in doubt at the final dot (host)",
                                       "message untried at MAIL FROM (host)",
                                       "close: the final dot: the connection was lost"));
}

TEST_P(ClientAheadTest, Reply421ToTheDotRefusesOneAndLosesTheOther) {
  OffersTwo();
  peer.Replies("421 4.3.2 closing\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message refused at the final dot (host): 421 4.3.2 closing",
                                       "message untried at MAIL FROM (host)",
                                       "close: the final dot: 421 4.3.2 closing"));
}

TEST_P(ClientAheadTest, LostAfterTheDotsReplyLosesTheNextAlone) {
  OffersTwo();
  peer.Replies("250 taken\r\n250 ok\r\n");
  peer.Closes();
  EXPECT_THAT(peer.Seen(),
              ElementsAre("message accepted: 250 taken", "message lost at RCPT TO (host)",
                          "close: RCPT TO: the connection was lost"));
}

TEST_P(ClientAheadTest, TimeIsTheDotsUntilItsReply) {
  OffersTwo();
  EXPECT_EQ(peer.Left(), std::chrono::minutes(10));
  peer.Replies("250 taken\r\n");
  EXPECT_EQ(peer.Left(), std::chrono::minutes(5));
}

TEST_P(ClientAheadTest, OnlyWhatTheServerCanTake) {
  peer.Begins();
  peer.Greets("PIPELINING,SIZE 5000");
  Offers();
  EXPECT_FALSE(peer.SendsBodyAndOffers("d@y", 5001));
  peer.Replies("250 taken\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message accepted: 250 taken", "ready"));
}

TEST_P(ClientAheadTest, NotPastTheServersLimitOfMessages) {  // R16
  peer.Begins();
  peer.Greets("PIPELINING,LIMITS MAILMAX=1");
  Offers();
  EXPECT_FALSE(peer.SendsBodyAndOffers("d@y"));
}

// --- Whether others are to be offered so, here and on later sessions.

TEST_P(ClientAheadTest, ItTakesThemAheadAsFarAsIsKnown) {
  EXPECT_TRUE(peer.session().TakesAhead());
  EXPECT_FALSE(peer.session().refuses_ahead());
  OffersTwo();
  peer.Replies("250 taken\r\n250 ok\r\n250 ok\r\n354 go\r\n");
  EXPECT_TRUE(peer.session().TakesAhead());
  EXPECT_FALSE(peer.session().refuses_ahead());
}

TEST_P(ClientAheadTest, A503ToMailAheadRefusesThem) {
  OffersTwo();
  peer.Replies("250 taken\r\n503 busy\r\n");
  EXPECT_FALSE(peer.session().TakesAhead());
  EXPECT_TRUE(peer.session().refuses_ahead());
  peer.Replies("503 busy\r\n503 busy\r\n");
  peer.Replies("250 reset\r\n");
  EXPECT_TRUE(peer.session().refuses_ahead());
  BeginsAnew();
  EXPECT_TRUE(peer.session().TakesAhead());
  EXPECT_FALSE(peer.session().refuses_ahead());
}

// It is about this message, or about this moment: the session takes no more so, others may.
TEST_P(ClientAheadTest, NoOtherReplyToMailAheadDoes) {
  for (const char* reply : {"250 ok", "451 later", "452 full", "502 what", "550 no"}) {
    BeginsAnew();
    OffersTwo();
    peer.Replies(absl::StrCat("250 taken\r\n", reply, "\r\n"));
    EXPECT_EQ(peer.session().TakesAhead(), absl::StartsWith(reply, "250")) << reply;
    EXPECT_FALSE(peer.session().refuses_ahead()) << reply;
  }
}

// It may want RSET after a refusal, and take others: no more of them here, and later ones may.
TEST_P(ClientAheadTest, A503BehindARefusedDotIsOfThisSessionAlone) {
  OffersTwo();
  peer.Replies("554 5.6.0 no\r\n503 nested MAIL\r\n503 no\r\n503 no\r\n");
  EXPECT_FALSE(peer.session().TakesAhead());
  EXPECT_FALSE(peer.session().refuses_ahead());
}

TEST_P(ClientAheadTest, A503ToAnOrdinaryMailSaysNothingOfThem) {
  peer.Offers({"b@y"});
  peer.Replies("503 no\r\n503 no\r\n503 no\r\n");
  peer.Replies("250 reset\r\n");
  EXPECT_TRUE(peer.session().TakesAhead());
  EXPECT_FALSE(peer.session().refuses_ahead());
  peer.Seen();
  peer.Sent();
  OffersTwo();
  peer.Replies("250 taken\r\n250 ok\r\n250 ok\r\n354 go\r\n");
  peer.SendsBody();
  peer.Replies("250 taken\r\n");
  peer.Offers({"b@y"});  // What came before was ahead, and this is not.
  peer.Replies("503 no\r\n");
  EXPECT_FALSE(peer.session().refuses_ahead());
}

// RFC 5321 4.5.3.2.2: MAIL has five minutes, from the reply to the dot on.
TEST_P(ClientAheadTest, SilenceToMailAheadRefusesThem) {
  OffersTwo();
  peer.Replies("250 taken\r\n");
  peer.Passes(std::chrono::minutes(5) - Duration(1));
  EXPECT_FALSE(peer.session().refuses_ahead());
  peer.Passes(Duration(1));
  EXPECT_EQ(peer.session().state(), ClientState::kClosed);
  EXPECT_TRUE(peer.session().refuses_ahead());
}

TEST_P(ClientAheadTest, NoOtherSilenceDoes) {
  peer.Offers({"b@y"});  // To a MAIL that was not ahead.
  peer.Passes(std::chrono::minutes(5));
  EXPECT_EQ(peer.session().state(), ClientState::kClosed);
  EXPECT_FALSE(peer.session().refuses_ahead());
  for (const char* replies : {"", "250 taken\r\n250 ok\r\n"}) {  // To the dot, to RCPT.
    BeginsAnew();
    OffersTwo();
    peer.Replies(replies);
    peer.Passes(std::chrono::minutes(10));
    EXPECT_EQ(peer.session().state(), ClientState::kClosed);
    EXPECT_FALSE(peer.session().refuses_ahead()) << replies;
  }
}

TEST_P(ClientAheadTest, NorDoesASessionThatIsLost) {
  OffersTwo();
  peer.Replies("250 taken\r\n");
  peer.Closes();
  EXPECT_FALSE(peer.session().refuses_ahead());
}

TEST_P(ClientAheadTest, TheServersLimitOfMessagesEndsThem) {  // R16
  peer.Begins();
  peer.Greets("PIPELINING,LIMITS MAILMAX=2");
  EXPECT_TRUE(peer.session().TakesAhead());
  OffersTwo();
  EXPECT_FALSE(peer.session().TakesAhead());
  EXPECT_FALSE(peer.session().refuses_ahead());
}

TEST(ClientAhead, NotWithoutPipelining) {
  ClientPeer peer;
  peer.Greets("SIZE");
  EXPECT_FALSE(peer.session().TakesAhead());
  peer.Offers({"b@y"});
  peer.Replies("250 ok\r\n");
  peer.Replies("250 ok\r\n");
  peer.Replies("354 go\r\n");
  peer.Sent();
  EXPECT_FALSE(peer.SendsBodyAndOffers("d@y"));
  EXPECT_EQ(peer.Sent(), "");
}

}  // namespace
}  // namespace sluice::smtp
