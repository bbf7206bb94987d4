// ClientSession with PIPELINING (RFC 2920): MAIL, every RCPT and DATA leave together, and each
// reply is matched to its command, whatever the earlier ones said. Every dialogue runs with the
// replies in one piece and byte by byte.

#include <string>
#include <vector>

#include "client_peer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice::smtp {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;

class ClientPipeliningTest : public testing::TestWithParam<Arrival> {
 protected:
  ClientPipeliningTest() { peer.Greets("PIPELINING"); }

  // Offers to two recipients; the group leaves.
  void OffersTwo() {
    peer.Offers({"b@y", "c@y"});
    EXPECT_EQ(peer.Sent(), "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nRCPT TO:<c@y>\r\nDATA\r\n");
  }

  ClientPeer peer{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Arrivals, ClientPipeliningTest,
                         testing::Values(Arrival::kWhole, Arrival::kByteByByte));

TEST_P(ClientPipeliningTest, GroupLeavesInOnePiece) {
  OffersTwo();
  EXPECT_EQ(peer.session().state(), ClientState::kMail);
  peer.Replies("250 ok\r\n250 ok\r\n250 ok\r\n");
  EXPECT_EQ(peer.session().state(), ClientState::kData);
  EXPECT_THAT(peer.Seen(), ElementsAre());  // No body before 354.
  peer.Replies("354 go\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("send body"));
  peer.SendsBody();
  peer.Replies("250 taken\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message accepted: 250 taken", "ready"));
  EXPECT_EQ(peer.Sent(), "");
  OffersTwo();
}

TEST_P(ClientPipeliningTest, HundredRecipients) {  // C11
  std::vector<std::string> recipients;
  std::string replies = "250 ok\r\n";
  for (int i = 0; i < 100; ++i) {
    recipients.push_back(absl::StrCat(i, "@y"));
    absl::StrAppend(&replies, i == 42 || i == 99 ? "550 no\r\n" : "250 ok\r\n");
  }
  peer.Offers(recipients);
  const std::string sent = peer.Sent();
  EXPECT_THAT(sent, EndsWith("RCPT TO:<98@y>\r\nRCPT TO:<99@y>\r\nDATA\r\n"));
  peer.Replies(replies + "354 go\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("refused 42: 550 no", "refused 99: 550 no", "send body"));
}

TEST_P(ClientPipeliningTest, RefusalNamesTheRightRecipient) {  // H12
  OffersTwo();
  peer.Replies("250 ok\r\n250-for b\r\n250 ok\r\n550 5.1.1 no c\r\n354 go\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("refused 1: 550 5.1.1 no c", "send body"));
}

TEST_P(ClientPipeliningTest, MailRefusedAndDataToo) {
  OffersTwo();
  peer.Replies("550 5.7.1 no\r\n503 mail?\r\n503 mail?\r\n503 rcpt?\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message refused at MAIL FROM (message): 550 5.7.1 no"));
  EXPECT_EQ(peer.Sent(), "RSET\r\n");
  peer.Replies("250 ok\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("ready"));
}

TEST_P(ClientPipeliningTest, MailRefusedButDataTaken) {  // C41
  OffersTwo();
  peer.Replies("450 4.3.0 no\r\n250 ok\r\n250 ok\r\n354 go\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message refused at MAIL FROM (message): 450 4.3.0 no"));
  EXPECT_EQ(peer.Sent(), ".\r\n");
  EXPECT_EQ(peer.session().state(), ClientState::kDot);
  peer.Replies("250 queued, they say\r\n");  // Discarded: it is nobody's mail.
  EXPECT_THAT(peer.Seen(), ElementsAre());
  EXPECT_EQ(peer.Sent(), "RSET\r\n");
  peer.Replies("250 ok\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("ready"));
}

TEST_P(ClientPipeliningTest, AllRecipientsRefusedAndDataToo) {
  OffersTwo();
  peer.Replies("250 ok\r\n550 no b\r\n551 no c\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("refused 0: 550 no b", "refused 1: 551 no c",
                                       "message refused at RCPT TO (recipient): 551 no c"));
  EXPECT_EQ(peer.Sent(), "");  // DATA is not answered yet.
  peer.Replies("554 5.5.1 no valid recipients\r\n");
  EXPECT_EQ(peer.Sent(), "RSET\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre());
}

TEST_P(ClientPipeliningTest, AllRecipientsRefusedButDataTaken) {  // C41
  OffersTwo();
  peer.Replies("250 ok\r\n550 no b\r\n450 no c\r\n354 go\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("refused 0: 550 no b", "refused 1: 450 no c",
                                       "message refused at RCPT TO (recipient): 450 no c"));
  EXPECT_EQ(peer.Sent(), ".\r\n");
  peer.Replies("554 no recipients\r\n");
  EXPECT_EQ(peer.Sent(), "RSET\r\n");
}

TEST_P(ClientPipeliningTest, DataRefusedThoughRecipientsTaken) {
  OffersTwo();
  peer.Replies("250 ok\r\n250 ok\r\n550 no c\r\n451 4.3.0 no disk\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("refused 1: 550 no c",
                                       "message refused at DATA (message): 451 4.3.0 no disk"));
  EXPECT_EQ(peer.Sent(), "RSET\r\n");
}

TEST_P(ClientPipeliningTest, EachReplyStandsForItselfAfterTooMany) {
  peer.Offers({"1@y", "2@y", "3@y", "4@y", "5@y"});
  peer.Replies(
      "250 ok\r\n250 ok\r\n452 4.5.3 too many\r\n250 ok\r\n550 no\r\n552 too many\r\n354 go\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("moved 1", "refused 3: 550 no", "moved 4", "send body"));
  peer.SendsBody();
  peer.Replies("250 taken\r\n");  // For 1@y and 3@y.
  EXPECT_THAT(peer.Seen(), ElementsAre("message accepted: 250 taken", "ready"));
}

TEST_P(ClientPipeliningTest, TooManyFromTheFirstOnIsARefusal) {
  OffersTwo();
  peer.Replies("250 ok\r\n452 4.5.3 too many\r\n250 ok\r\n354 go\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("refused 0: 452 4.5.3 too many", "send body"));
}

TEST_P(ClientPipeliningTest, ServersLimitOfRecipients) {  // R16
  peer.Begins();
  peer.Greets("PIPELINING,LIMITS RCPTMAX=1");
  peer.Offers({"b@y", "c@y"});
  EXPECT_EQ(peer.Sent(), "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n");
  peer.Replies("250 ok\r\n250 ok\r\n354 go\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("moved 1", "send body"));
}

// --- Out of step: never may one reply stand for another command's.

TEST_P(ClientPipeliningTest, GoAheadToMail) {
  OffersTwo();
  peer.Replies("354 go\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message lost at MAIL FROM (host)",
                                       "close: MAIL FROM: out of step: 354 go"));
}

TEST_P(ClientPipeliningTest, GoAheadToRecipient) {
  OffersTwo();
  peer.Replies("250 ok\r\n550 no\r\n354 go\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("refused 0: 550 no", "message lost at RCPT TO (host)",
                                       "close: RCPT TO: out of step: 354 go"));
}

TEST_P(ClientPipeliningTest, PositiveReplyToData) {  // F07, R11
  OffersTwo();
  peer.Replies("250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n");
  EXPECT_THAT(peer.Seen(),
              ElementsAre("message lost at DATA (host)", "close: DATA: out of step: 250 ok"));
  EXPECT_EQ(peer.Sent(), "");
}

TEST_P(ClientPipeliningTest, PositiveReplyToDataOfNobody) {
  OffersTwo();
  peer.Replies("450 no\r\n250 ok\r\n250 ok\r\n250 ok\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message refused at MAIL FROM (message): 450 no",
                                       "close: DATA: out of step: 250 ok"));
}

TEST_P(ClientPipeliningTest, UnparsableReplyStopsThereAndNoFurther) {
  OffersTwo();
  peer.Replies("250 ok\r\n550 no b\r\n");
  peer.Gives("ok\r\n354 go\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("refused 0: 550 no b", "message lost at RCPT TO (host)",
                                       "close: RCPT TO: what the server sent is no reply"));
}

TEST_P(ClientPipeliningTest, LostAfterTheVerdictIsNoSecondVerdict) {
  OffersTwo();
  peer.Replies("450 no\r\n250 ok\r\n");
  peer.Closes();
  EXPECT_THAT(peer.Seen(), ElementsAre("message refused at MAIL FROM (message): 450 no",
                                       "close: RCPT TO: the connection was lost"));
}

TEST_P(ClientPipeliningTest, LostWithTheLoneDotIsNotInDoubt) {
  OffersTwo();
  peer.Replies("450 no\r\n250 ok\r\n250 ok\r\n354 go\r\n");
  peer.Passes(std::chrono::minutes(10));
  EXPECT_THAT(peer.Seen(), ElementsAre("message refused at MAIL FROM (message): 450 no",
                                       "close: the final dot: no answer in time"));
}

}  // namespace
}  // namespace sluice::smtp
