// ClientSession one command at a time: the dialogue's order, its refusals, and what each comes to.
// The server is scripted (client_peer.h) and offers no PIPELINING. Every dialogue runs twice: with
// the server's bytes in one piece and byte by byte. Losses and deadlines: client_loss_test.cc.

#include "engine/smtp/client_session.h"

#include "client_peer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice::smtp {
namespace {

using ::testing::ElementsAre;

class ClientSessionTest : public testing::TestWithParam<Arrival> {
 protected:
  // From MAIL to the body's end, all accepted.
  void SendsMessage() {
    peer.Offers({"b@y"});
    peer.Replies("250 ok\r\n");
    peer.Replies("250 ok\r\n");
    peer.Replies("354 go\r\n");
    EXPECT_THAT(peer.Seen(), ElementsAre("send body"));
    peer.SendsBody();
    peer.Sent();
  }

  ClientPeer peer{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Arrivals, ClientSessionTest,
                         testing::Values(Arrival::kWhole, Arrival::kByteByByte));

// --- The opening.

TEST_P(ClientSessionTest, SaysNothingBeforeTheGreeting) {
  EXPECT_EQ(peer.Sent(), "");
  peer.Replies("220-mx.example\r\n220-no spam\r\n220 hello\n");
  EXPECT_EQ(peer.Sent(), "EHLO client.example\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre());
}

TEST_P(ClientSessionTest, EhloIsSentOnce) {
  peer.Greets("");  // No STARTTLS offered (S13).
  EXPECT_EQ(peer.Sent(), "");
  EXPECT_EQ(peer.session().state(), ClientState::kIdle);
}

TEST_P(ClientSessionTest, RefusingGreetingEndsIt) {
  for (const absl::string_view greeting :
       {"554 5.7.1 go away", "450 later", "421 4.3.2 closing", "354 what"}) {
    peer.Begins();
    peer.Replies(absl::StrCat(greeting, "\r\n"));
    EXPECT_EQ(peer.Sent(), "");
    const std::vector<std::string> seen = peer.Seen();
    ASSERT_EQ(seen.size(), 1u);
    EXPECT_EQ(seen[0].substr(0, 19), "close: the greeting");
    EXPECT_EQ(peer.session().close_reply().ToString(), greeting);
    EXPECT_EQ(peer.session().state(), ClientState::kClosed);
  }
}

TEST_P(ClientSessionTest, HeloOnlyAfterPermanentRefusalOfEhlo) {
  peer.Replies("220 mx\r\n");
  peer.Sent();
  peer.Replies("502 5.5.1 what\r\n");
  EXPECT_EQ(peer.Sent(), "HELO client.example\r\n");
  peer.Replies("250-mx\r\n250 PIPELINING\r\n");  // Not an offer: this is no EHLO.
  EXPECT_THAT(peer.Seen(), ElementsAre("ready"));
  EXPECT_FALSE(peer.session().extensions().pipelining);
  peer.Offers({"b@y"});
  EXPECT_EQ(peer.Sent(), "MAIL FROM:<a@x>\r\n");
}

TEST_P(ClientSessionTest, OtherRefusalsOfEhloAndHeloEndIt) {
  for (const absl::string_view reply : {"450 later", "421 closing", "354 go"}) {
    peer.Begins();
    peer.Replies("220 mx\r\n");
    peer.Replies(absl::StrCat(reply, "\r\n"));
    EXPECT_EQ(peer.Sent(), "EHLO client.example\r\n");
    EXPECT_EQ(peer.session().state(), ClientState::kClosed);
    EXPECT_EQ(peer.session().close_reply().ToString(), reply);
  }
  for (const absl::string_view reply : {"502 no", "450 later", "421 closing"}) {
    peer.Begins();
    peer.Replies("220 mx\r\n");
    peer.Replies("500 what\r\n");
    peer.Replies(absl::StrCat(reply, "\r\n"));
    EXPECT_EQ(peer.Sent(), "EHLO client.example\r\nHELO client.example\r\n");
    EXPECT_EQ(peer.session().state(), ClientState::kClosed);
    EXPECT_EQ(peer.session().close_reply().ToString(), reply);
  }
}

// --- A transaction.

TEST_P(ClientSessionTest, OneCommandAtATime) {
  peer.Greets("");
  peer.Offers({"b@y", "c@y"});
  EXPECT_EQ(peer.Sent(), "MAIL FROM:<a@x>\r\n");  // No RSET before the first (K22).
  peer.Replies("250 ok\r\n");
  EXPECT_EQ(peer.Sent(), "RCPT TO:<b@y>\r\n");
  peer.Replies("251 forwarded\r\n");  // R27
  EXPECT_EQ(peer.Sent(), "RCPT TO:<c@y>\r\n");
  peer.Replies("252-perhaps\r\n252 we shall see\r\n");
  EXPECT_EQ(peer.Sent(), "DATA\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre());
  peer.Replies("354 go\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("send body"));
  EXPECT_EQ(peer.session().state(), ClientState::kBody);
  peer.SendsBody();
  EXPECT_EQ(peer.session().state(), ClientState::kDot);
  peer.Replies("250 2.0.0 queued\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message accepted: 250 2.0.0 queued", "ready"));
  EXPECT_EQ(peer.Sent(), "");
  EXPECT_EQ(peer.session().transactions(), 1u);
}

TEST_P(ClientSessionTest, NextTransactionNeedsNoRsetAfterAnAcceptedOne) {
  peer.Greets("");
  SendsMessage();
  peer.Replies("250 ok\r\n");
  peer.Offers({"c@y"}, {.sender = ""});
  EXPECT_EQ(peer.Sent(), "MAIL FROM:<>\r\n");
  EXPECT_EQ(peer.session().transactions(), 2u);
}

TEST_P(ClientSessionTest, MayNotPipelineThoughOffered) {
  peer.Begins(false);
  peer.Greets("PIPELINING");
  peer.Offers({"b@y"});
  EXPECT_EQ(peer.Sent(), "MAIL FROM:<a@x>\r\n");
}

// --- Parameters, only as this EHLO offered them.

TEST_P(ClientSessionTest, SizeAndBodyAsOffered) {
  const Message eight = {.body_bytes = 500, .body_type = BodyType::kEightBitMime};
  peer.Greets("SIZE 500,8BITMIME");
  peer.Offers({"b@y"}, eight);
  EXPECT_EQ(peer.Sent(), "MAIL FROM:<a@x> SIZE=500 BODY=8BITMIME\r\n");
  peer.Begins();
  peer.Greets("SIZE,8BITMIME");
  peer.Offers({"b@y"}, {.body_bytes = 500});
  EXPECT_EQ(peer.Sent(), "MAIL FROM:<a@x> SIZE=500\r\n");
  peer.Begins();
  peer.Greets("8BITMIME");
  peer.Offers({"b@y"}, eight);
  EXPECT_EQ(peer.Sent(), "MAIL FROM:<a@x> BODY=8BITMIME\r\n");
}

TEST_P(ClientSessionTest, MessageOverTheServersSizeIsNotSent) {
  peer.Greets("SIZE 500");
  peer.Offers({"b@y"}, {.body_bytes = 501});
  EXPECT_EQ(peer.Sent(), "");
  EXPECT_THAT(peer.Seen(),
              ElementsAre("message unsendable at MAIL FROM (message): 552 5.3.4 Message of 501 "
                          "bytes is over the server's limit of 500",
                          "ready"));
  EXPECT_EQ(peer.session().transactions(), 0u);
  peer.Offers({"b@y"}, {.body_bytes = 500});  // The session is as good as before.
  EXPECT_EQ(peer.Sent(), "MAIL FROM:<a@x> SIZE=500\r\n");
}

TEST_P(ClientSessionTest, SizeWithoutLimitTakesAll) {
  for (const absl::string_view keywords : {"SIZE", "SIZE 0", ""}) {
    peer.Begins();
    peer.Greets(keywords);
    peer.Offers({"b@y"}, {.body_bytes = uint64_t{1} << 40});
    EXPECT_EQ(peer.Sent().substr(0, 15), "MAIL FROM:<a@x>");
  }
}

TEST_P(ClientSessionTest, EightBitMessageIsNotPassedSilently) {
  peer.Greets("SIZE");
  peer.Offers({"b@y"}, {.body_type = BodyType::kEightBitMime});
  EXPECT_EQ(peer.Sent(), "");
  EXPECT_THAT(peer.Seen(), ElementsAre("message unsendable at MAIL FROM (message): 554 5.6.3 8-bit "
                                       "message, and the server does not offer 8BITMIME",
                                       "ready"));
}

// --- Refusals.

TEST_P(ClientSessionTest, MailRefusedThenRset) {
  for (const absl::string_view reply : {"450 4.7.1 greylisted", "550 5.7.1 no"}) {
    peer.Begins();
    peer.Greets("");
    peer.Offers({"b@y"});
    peer.Sent();
    peer.Replies(absl::StrCat(reply, "\r\n"));
    EXPECT_EQ(peer.Sent(), "RSET\r\n");
    EXPECT_THAT(peer.Seen(),
                ElementsAre(absl::StrCat("message refused at MAIL FROM (message): ", reply)));
    peer.Replies("250 ok\r\n");
    EXPECT_THAT(peer.Seen(), ElementsAre("ready"));  // The session is good (R9).
  }
}

TEST_P(ClientSessionTest, OneOfFiveRecipientsRefused) {  // H11
  peer.Greets("");
  peer.Offers({"1@y", "2@y", "3@y", "4@y", "5@y"});
  peer.Replies("250 ok\r\n");
  peer.Replies("250 ok\r\n");
  peer.Replies("550 5.1.1 who\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("refused 1: 550 5.1.1 who"));
  for (int i = 0; i < 3; ++i) peer.Replies("250 ok\r\n");
  peer.Replies("354 go\r\n");
  peer.SendsBody();
  peer.Replies("250 taken\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("send body", "message accepted: 250 taken", "ready"));
}

TEST_P(ClientSessionTest, AllRecipientsRefusedNoData) {  // C13
  peer.Greets("");
  peer.Offers({"b@y", "c@y"});
  peer.Replies("250 ok\r\n");
  peer.Replies("550 5.1.1 no b\r\n");
  peer.Sent();
  peer.Replies("450 4.2.1 no c\r\n");
  EXPECT_EQ(peer.Sent(), "RSET\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("refused 0: 550 5.1.1 no b", "refused 1: 450 4.2.1 no c",
                                       "message refused at RCPT TO (recipient): 450 4.2.1 no c"));
}

TEST_P(ClientSessionTest, DataRefused) {
  peer.Greets("");
  peer.Offers({"b@y"});
  peer.Replies("250 ok\r\n");
  peer.Replies("250 ok\r\n");
  peer.Sent();
  peer.Replies("451 4.3.0 no disk\r\n");
  EXPECT_EQ(peer.Sent(), "RSET\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message refused at DATA (message): 451 4.3.0 no disk"));
}

TEST_P(ClientSessionTest, RefusedAfterTheDotThenRset) {  // X7
  peer.Greets("");
  SendsMessage();
  peer.Replies("554 5.7.1 spam\r\n");
  EXPECT_EQ(peer.Sent(), "RSET\r\n");
  EXPECT_THAT(peer.Seen(),
              ElementsAre("message refused at the final dot (message): 554 5.7.1 spam"));
  peer.Replies("250 ok\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("ready"));
}

// --- Too many recipients.

TEST_P(ClientSessionTest, TooManyRecipientsMoveTogether) {  // C10, R8
  for (const absl::string_view reply :
       {"452 4.5.3 too many", "452 too many", "552 5.5.3 too many", "552 too many"}) {
    peer.Begins();
    peer.Greets("");
    peer.Offers({"1@y", "2@y", "3@y", "4@y"});
    peer.Replies("250 ok\r\n");
    peer.Replies("250 ok\r\n");
    peer.Sent();
    peer.Replies(absl::StrCat(reply, "\r\n"));
    EXPECT_EQ(peer.Sent(), "DATA\r\n") << reply;
    EXPECT_THAT(peer.Seen(), ElementsAre("moved 1", "moved 2", "moved 3"));
    peer.Replies("354 go\r\n");
    peer.SendsBody();
    peer.Replies("250 taken\r\n");
    EXPECT_THAT(peer.Seen(), ElementsAre("send body", "message accepted: 250 taken", "ready"));
  }
}

TEST_P(ClientSessionTest, FirstRecipientIsNeverMoved) {
  peer.Greets("");
  peer.Offers({"1@y", "2@y"});
  peer.Replies("250 ok\r\n");
  peer.Replies("452 4.5.3 too many\r\n");
  peer.Replies("452 4.5.3 too many\r\n");
  EXPECT_THAT(peer.Seen(),
              ElementsAre("refused 0: 452 4.5.3 too many", "refused 1: 452 4.5.3 too many",
                          "message refused at RCPT TO (recipient): 452 4.5.3 too many"));
}

TEST_P(ClientSessionTest, FullMailboxIsOneRecipients) {  // K18
  peer.Greets("");
  peer.Offers({"1@y", "2@y", "3@y"});
  peer.Replies("250 ok\r\n");
  peer.Replies("250 ok\r\n");
  peer.Replies("552 5.2.2 mailbox full\r\n");
  peer.Replies("452 4.2.2 mailbox full\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("refused 1: 452 4.2.2 (was 552) mailbox full",
                                       "refused 2: 452 4.2.2 mailbox full"));
  EXPECT_EQ(peer.session().state(), ClientState::kData);
}

TEST_P(ClientSessionTest, ServersLimitOfRecipients) {  // R16
  peer.Greets("LIMITS RCPTMAX=2");
  peer.Offers({"1@y", "2@y", "3@y", "4@y"});
  peer.Replies("250 ok\r\n");
  peer.Replies("550 no\r\n");
  peer.Sent();
  peer.Replies("250 ok\r\n");
  EXPECT_EQ(peer.Sent(), "DATA\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("refused 0: 550 no", "moved 2", "moved 3"));
}

TEST_P(ClientSessionTest, ServersLimitOfRecipientsAllRefused) {
  peer.Greets("LIMITS RCPTMAX=1");
  peer.Offers({"1@y", "2@y"});
  peer.Replies("250 ok\r\n");
  peer.Replies("550 no\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("refused 0: 550 no", "moved 1",
                                       "message refused at RCPT TO (recipient): 550 no"));
}

TEST_P(ClientSessionTest, ServersLimitOfMessages) {
  peer.Greets("LIMITS MAILMAX=2");
  SendsMessage();
  peer.Replies("250 ok\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message accepted: 250 ok", "ready"));
  SendsMessage();
  peer.Replies("250 ok\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message accepted: 250 ok"));
  EXPECT_EQ(peer.Sent(), "QUIT\r\n");
}

// --- The end.

TEST_P(ClientSessionTest, QuitWaitsForItsReplyWhateverItIs) {  // C7, R27
  for (const absl::string_view reply :
       {"221 bye", "500 what", "421 closing", "354 go", "rubbish"}) {
    peer.Begins();
    peer.Greets("");
    peer.Quits();
    EXPECT_EQ(peer.Sent(), "QUIT\r\n");
    EXPECT_THAT(peer.Seen(), ElementsAre());
    peer.Gives(absl::StrCat(reply, "\r\n"));
    EXPECT_THAT(peer.Seen(), ElementsAre("close: "));
  }
}

TEST_P(ClientSessionTest, BeginsAnewInTheSameSlot) {
  peer.Greets("PIPELINING,SIZE 500,LIMITS MAILMAX=1 RCPTMAX=1");
  peer.Offers({"b@y", "c@y"});
  peer.Replies("250-half a re");
  peer.Begins();
  peer.Seen();
  peer.Sent();
  EXPECT_EQ(peer.session().transactions(), 0u);
  EXPECT_EQ(peer.session().state(), ClientState::kGreeting);
  peer.Greets("");
  EXPECT_FALSE(peer.session().extensions().size);
  peer.Offers({"d@y"});
  EXPECT_EQ(peer.Sent(), "MAIL FROM:<a@x>\r\n");
}

// --- Misuse by the owner.

using ClientSessionDeathTest = ClientSessionTest;
INSTANTIATE_TEST_SUITE_P(Arrivals, ClientSessionDeathTest, testing::Values(Arrival::kWhole));

TEST_P(ClientSessionDeathTest, OffersOutOfTurn) {
  EXPECT_DEATH(peer.Offers({"b@y"}), "CHECK");  // Before kReady,
  peer.Greets("");
  EXPECT_DEATH(peer.Offers({}), "CHECK");                                    // to nobody,
  EXPECT_DEATH(peer.Offers(std::vector<std::string>(101, "b@y")), "CHECK");  // to too many,
  EXPECT_DEATH(peer.Offers({"b@y>\r\nRCPT TO:<c@y"}); peer.Replies("250 ok\r\n"), "CHECK");
  EXPECT_DEATH(peer.SendsBody(), "CHECK");
  peer.Offers({"b@y"});
  EXPECT_DEATH(peer.Offers({"b@y"}), "CHECK");  // while one is on.
  EXPECT_DEATH(peer.Quits(), "CHECK");
}

}  // namespace
}  // namespace sluice::smtp
