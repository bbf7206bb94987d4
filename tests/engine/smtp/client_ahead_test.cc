// ClientSession where the next transaction is offered with the end of the data, before its reply
// (RFC 2920 3.1). Every dialogue runs with the replies in one piece and byte by byte.

#include <string>

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

TEST(ClientAhead, NotWithoutPipelining) {
  ClientPeer peer;
  peer.Greets("SIZE");
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
