// ClientSession where a whole message leaves behind its commands, by BDAT (RFC 3030): which ones
// do, and what each reply comes to. Every dialogue runs with the replies in one piece and byte by
// byte.

#include <array>
#include <chrono>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client_chunks_dialogue.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice::smtp {
namespace {

using std::chrono::minutes;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

INSTANTIATE_TEST_SUITE_P(Arrivals, ClientChunksTest,
                         testing::Values(Arrival::kWhole, Arrival::kByteByByte));

// --- What leaves.

TEST_P(ClientChunksTest, TheWholeMessageLeavesAtOnce) {
  peer.Offers({"b@y"}, {.at_once = true});
  EXPECT_EQ(peer.session().output(), kByBdat);  // It waits for the body,
  EXPECT_TRUE(peer.session().chunk_waits());
  EXPECT_THAT(peer.Seen(), ElementsAre("send body"));
  EXPECT_EQ(peer.Sent(), "");
  peer.SendsBody();  // and leaves with it.
  EXPECT_EQ(peer.Sent(), kByBdat);
  EXPECT_FALSE(peer.session().chunk_waits());
  EXPECT_THAT(peer.Seen(), ElementsAre());
  EXPECT_FALSE(peer.session().all_answered());
  peer.Replies("250 ok\r\n250 ok\r\n250 taken\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message accepted: 250 taken", "ready"));
  EXPECT_EQ(peer.Sent(), "");  // No RSET.
  EXPECT_TRUE(peer.session().all_answered());
  EXPECT_EQ(peer.session().chunks_taken(), 1u);
  EXPECT_EQ(peer.session().transactions(), 2u);
  EXPECT_FALSE(peer.session().refuses_chunks());
  EXPECT_FALSE(peer.session().lost_chunk());
}

TEST_P(ClientChunksTest, OneAfterAnother) {
  TakesByBdat();
  TakesByBdat();
  EXPECT_EQ(peer.session().chunks_taken(), 2u);
  peer.Quits();
  EXPECT_EQ(peer.Sent(), "QUIT\r\n");
}

TEST_P(ClientChunksTest, NoneIsOnWhereTheSessionIsReady) {
  TakesByBdat();
  EXPECT_FALSE(peer.session().chunked());
  EXPECT_FALSE(peer.session().chunk_waits());
}

TEST_P(ClientChunksTest, SizeIsThatOfTheBody) {
  for (const uint64_t body_bytes : {uint64_t{0}, uint64_t{1}, uint64_t{5000000000}}) {
    Reuses();
    peer.Offers({"b@y"}, {.body_bytes = body_bytes, .at_once = true});
    peer.SendsBody();
    EXPECT_EQ(peer.Sent(),
              absl::StrCat("MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nBDAT ", body_bytes, " LAST\r\n"));
  }
}

TEST_P(ClientChunksTest, ParametersAreThoseOfAnyMessage) {
  Reuses("PIPELINING,CHUNKING,SIZE 5000,8BITMIME");
  peer.Offers({"b@y", "c@y"}, {.body_type = BodyType::kEightBitMime, .at_once = true});
  peer.SendsBody();
  EXPECT_EQ(peer.Sent(),
            "MAIL FROM:<a@x> SIZE=1000 BODY=8BITMIME\r\nRCPT TO:<b@y>\r\nRCPT TO:<c@y>\r\n"
            "BDAT 1000 LAST\r\n");
}

TEST_P(ClientChunksTest, DsnToo) {
  Reuses("PIPELINING,CHUNKING,DSN");
  const EnvelopeRecipient recipient = {.address = "b@y",
                                       .original_recipient = "rfc822;Bob+2Bx@y.example",
                                       .notify = kNotifySuccess | kNotifyDelay};
  const std::array<const EnvelopeRecipient*, 1> recipients = {&recipient};
  ClientSession& session = peer.session();
  session.Offer({.sender = "a@x",
                 .recipients = recipients,
                 .body_bytes = 100,
                 .at_once = true,
                 .ret = Return::kHeaders,
                 .envelope_id = "QQ314159+3D"},
                {Instant(std::chrono::hours(1)), WallTime()});
  EXPECT_EQ(session.output(),
            "MAIL FROM:<a@x> RET=HDRS ENVID=QQ314159+3D\r\n"
            "RCPT TO:<b@y> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob+2Bx@y.example\r\n"
            "BDAT 100 LAST\r\n");
  EXPECT_EQ(session.Next(), ClientAction::kSendBody);
  EXPECT_EQ(session.Next(), ClientAction::kNone);
  peer.Aborts();
}

TEST_P(ClientChunksTest, WhatTheServerDoesNotTakeIsUnsendableStill) {
  Reuses("PIPELINING,CHUNKING,SIZE 5000");
  for (const Message& message : {Message{.body_bytes = 5001, .at_once = true},
                                 Message{.body_type = BodyType::kEightBitMime, .at_once = true}}) {
    peer.Offers({"b@y"}, message);
    EXPECT_THAT(peer.Seen(), ElementsAre(StartsWith("message unsendable"), "ready"));
    EXPECT_FALSE(peer.session().chunked());
    EXPECT_EQ(peer.Sent(), "");
  }
}

// --- What goes by DATA.

TEST_P(ClientChunksTest, NotWithoutBothExtensions) {
  struct Row {
    absl::string_view keywords;
    bool may_pipeline;
    absl::string_view sent;
  };
  for (const Row& row : {Row{"PIPELINING", true, kByData}, Row{"", true, "MAIL FROM:<a@x>\r\n"},
                         Row{"CHUNKING", true, "MAIL FROM:<a@x>\r\n"},
                         Row{kOffered, false, "MAIL FROM:<a@x>\r\n"}}) {
    Reuses(row.keywords, row.may_pipeline);
    OffersByData();
    EXPECT_EQ(peer.Sent(), row.sent) << row.keywords;
  }
}

TEST_P(ClientChunksTest, NotAfterHelo) {
  peer.Begins();
  peer.Replies("220 mx\r\n");
  peer.Replies("502 what\r\n");
  peer.Replies("250 mx\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("ready"));
  peer.Sent();
  TakesByData();
  OffersByData();
  EXPECT_EQ(peer.Sent(), "MAIL FROM:<a@x>\r\n");
}

TEST_P(ClientChunksTest, WhatWasOfferedInClearIsForgottenUnderTls) {
  peer.BeginsWantingTls();
  peer.Replies("220 mx\r\n");
  peer.Replies("250-mx\r\n250-STARTTLS\r\n250-PIPELINING\r\n250 CHUNKING\r\n");
  peer.Replies("220 go\r\n");
  peer.EndsHandshake();
  peer.Replies("250-mx\r\n250 PIPELINING\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("start tls", "ready"));
  peer.Sent();
  TakesByData();
  OffersByData();
}

TEST_P(ClientChunksTest, NotWhatCannotBeSentAtOnce) {
  peer.Offers({"b@y"});
  EXPECT_EQ(peer.Sent(), kByData);
  EXPECT_FALSE(peer.session().chunked());
  EXPECT_THAT(peer.Seen(), ElementsAre());
}

TEST_P(ClientChunksTest, NotTheFirstMessageOfASession) {
  peer.Begins();
  peer.Greets(kOffered);
  OffersByData();
  EXPECT_EQ(peer.Sent(), kByData);
  peer.Begins();
  peer.Seen();
  peer.Greets("PIPELINING,CHUNKING,SIZE 500");
  peer.Offers({"b@y"}, {.at_once = true});
  EXPECT_THAT(peer.Seen(), ElementsAre(StartsWith("message unsendable"), "ready"));
  peer.Offers({"b@y"}, {.body_bytes = 500, .at_once = true});  // The first that it sees.
  EXPECT_FALSE(peer.session().chunked());
  EXPECT_THAT(peer.Sent(), HasSubstr("DATA\r\n"));
}

TEST_P(ClientChunksTest, NotBehindOneThatWasRefused) {
  for (const absl::string_view replies : {"550 no\r\n503 no\r\n503 no\r\n",     // At MAIL,
                                          "250 ok\r\n550 no\r\n554 no\r\n",     // at RCPT,
                                          "250 ok\r\n250 ok\r\n451 no\r\n"}) {  // at its data.
    for (const bool chunk : {false, true}) {
      Reuses();
      peer.Offers({"b@y"}, {.at_once = chunk});
      EXPECT_EQ(peer.session().chunked(), chunk);
      if (chunk) peer.SendsBody();
      peer.Sent();
      peer.Replies(replies);
      peer.Seen();
      Resets();
      OffersByData();
      EXPECT_EQ(peer.Sent(), kByData) << replies;
      peer.Replies("250 ok\r\n250 ok\r\n354 go\r\n");
      peer.SendsBody();
      peer.Replies("250 taken\r\n");
      EXPECT_THAT(peer.Seen(), ElementsAre("send body", "message accepted: 250 taken", "ready"));
      TakesByBdat();  // Behind one that was accepted.
    }
  }
}

TEST_P(ClientChunksTest, NotBehindADotThatWasRefused) {
  peer.Offers({"b@y"});
  peer.Replies("250 ok\r\n250 ok\r\n354 go\r\n");
  peer.SendsBody();
  peer.Sent();
  peer.Replies("554 no\r\n");
  peer.Seen();
  Resets();
  OffersByData();
}

// The state of a message by BDAT ends with it.
TEST_P(ClientChunksTest, OneByDataBehindIt) {
  TakesByBdat();
  peer.Offers({"b@y"});
  EXPECT_EQ(peer.Sent(), kByData);
  EXPECT_FALSE(peer.session().chunked());
  peer.Replies("250 ok\r\n250 ok\r\n");
  EXPECT_EQ(peer.session().state(), ClientState::kData);
  peer.Closes();
  EndsWith("lost", "DATA", "the connection was lost");
  EXPECT_FALSE(peer.session().lost_chunk());
}

// --- Replies.

TEST_P(ClientChunksTest, RepliesMayComeInSeveralPieces) {
  Sends({"b@y", "c@y"});
  EXPECT_EQ(peer.session().state(), ClientState::kMail);
  peer.Replies("250 ok\r\n");
  EXPECT_EQ(peer.session().state(), ClientState::kRcpt);
  peer.Replies("250 ok\r\n250-o");
  peer.Replies("k\r\n250 ok\r\n");
  EXPECT_EQ(peer.session().state(), ClientState::kBdat);
  EXPECT_THAT(peer.Seen(), ElementsAre());
  peer.Replies("250 taken\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message accepted: 250 taken", "ready"));
}

TEST_P(ClientChunksTest, SomeRecipientsRefused) {
  Sends({"b@y", "c@y", "d@y"});
  peer.Replies("250 ok\r\n550 no b\r\n250 ok\r\n552 5.2.2 full\r\n250 taken\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("refused 0: 550 no b", "refused 2: 452 4.2.2 (was 552) full",
                                       "message accepted: 250 taken", "ready"));
  EXPECT_EQ(peer.Sent(), "");
  EXPECT_EQ(peer.session().chunks_taken(), 1u);
  TakesByBdat();
}

TEST_P(ClientChunksTest, AllRecipientsRefused) {
  for (const absl::string_view reply : {"503 5.5.1 RCPT first", "554 5.5.1 nobody"}) {
    Reuses();
    Sends({"b@y", "c@y"});
    peer.Replies("250 ok\r\n550 no b\r\n551 no c\r\n");
    EXPECT_THAT(peer.Seen(), ElementsAre("refused 0: 550 no b", "refused 1: 551 no c",
                                         "message refused at RCPT TO (recipient): 551 no c"));
    EXPECT_EQ(peer.Sent(), "");  // BDAT is not answered yet.
    peer.Replies(absl::StrCat(reply, "\r\n"));
    Resets();
    EXPECT_EQ(peer.session().chunks_taken(), 0u);
    EXPECT_FALSE(peer.session().refuses_chunks()) << reply;  // It is understood very well.
    EXPECT_FALSE(peer.session().lost_chunk());
  }
}

TEST_P(ClientChunksTest, MailRefused) {
  for (const absl::string_view reply : {"550 5.7.1 no", "451 4.3.0 later", "503 busy"}) {
    Reuses();
    Sends();
    peer.Replies(absl::StrCat(reply, "\r\n503 mail?\r\n503 mail?\r\n"));
    EXPECT_THAT(peer.Seen(),
                ElementsAre(absl::StrCat("message refused at MAIL FROM (message): ", reply)));
    Resets();
    EXPECT_FALSE(peer.session().refuses_chunks()) << reply;
    TakesByData();
    TakesByBdat();
  }
}

// A server that takes the data of nobody, or of a sender that it refused: the verdict stands.
TEST_P(ClientChunksTest, DataTakenOfNobodyIsNoMessageTaken) {
  for (const absl::string_view replies :
       {"250 ok\r\n550 no\r\n250 fine\r\n", "450 no\r\n250 ok\r\n250 fine\r\n"}) {
    Reuses();
    Sends();
    peer.Replies(replies);
    const std::vector<std::string> seen = peer.Seen();
    EXPECT_THAT(seen, testing::Contains(StartsWith("message refused")).Times(1));
    EXPECT_THAT(seen, testing::Contains(StartsWith("message ")).Times(1));
    EXPECT_EQ(peer.session().chunks_taken(), 0u);
    EXPECT_THAT(peer.Sent(), testing::AnyOf("RSET\r\n", ""));
  }
}

TEST_P(ClientChunksTest, BdatRefused) {
  for (const absl::string_view reply : {"452 4.3.1 full", "550 5.7.1 spam", "552 5.3.4 too big",
                                        "554 5.6.0 no", "451 4.3.0 later", "555 what"}) {
    Reuses();
    Sends({"b@y", "c@y"});
    peer.Replies(absl::StrCat("250 ok\r\n250 ok\r\n550 no\r\n", reply, "\r\n"));
    EXPECT_THAT(peer.Seen(),
                ElementsAre("refused 1: 550 no",
                            absl::StrCat("message refused at BDAT (message): ", reply)));
    Resets();
    EXPECT_FALSE(peer.session().refuses_chunks()) << reply;
    EXPECT_FALSE(peer.session().lost_chunk());
    EXPECT_EQ(peer.session().chunks_taken(), 0u);
  }
}

// Not the message's fault: it is to be sent again, by DATA.
TEST_P(ClientChunksTest, BdatNotUnderstood) {
  for (const absl::string_view code : {"500", "501", "502", "503", "504"}) {
    Reuses();
    TakesByBdat();
    Sends();
    peer.Replies(absl::StrCat("250 ok\r\n250 ok\r\n", code, " 5.5.1 what is it\r\n"));
    EXPECT_THAT(
        peer.Seen(),
        ElementsAre(AllOf(StartsWith("message refused at BDAT (message): 451 "), HasSubstr(code),
                          HasSubstr("what is it"), Not(HasSubstr("451 5."))),
                    StartsWith("close: ")));  // What it makes of the octets is not waited for.
    EXPECT_TRUE(peer.session().refuses_chunks());
    EXPECT_FALSE(peer.session().lost_chunk());
    EXPECT_EQ(peer.session().chunks_taken(), 1u);
    EXPECT_EQ(peer.session().state(), ClientState::kClosed);
  }
}

TEST_P(ClientChunksTest, DataNotUnderstoodSaysNothingOfBdat) {
  peer.Offers({"b@y"});
  peer.Sent();
  peer.Replies("250 ok\r\n250 ok\r\n502 what\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message refused at DATA (message): 502 what"));
  EXPECT_FALSE(peer.session().refuses_chunks());
  Resets();
  TakesByData();
  TakesByBdat();
}

// It reads the body as commands, and answers each line of it.
TEST_P(ClientChunksTest, BdatNotUnderstoodNorTheBody) {
  Sends();
  peer.Replies("250 ok\r\n250 ok\r\n502 what\r\n502 what\r\n502 what\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre(StartsWith("message refused at BDAT (message): 451 "),
                                       StartsWith("close: ")));
  EXPECT_TRUE(peer.session().refuses_chunks());
  EXPECT_EQ(peer.session().state(), ClientState::kClosed);
}

// A reply too many shifts all that follow, and no 354 tells, as it does by DATA (R11): here the
// last 250 is RCPT's, and what is behind it is the word on the message.
TEST_P(ClientChunksTest, AReplyTooManyIsNoAcceptance) {
  for (const absl::string_view last : {"554 5.6.0 no", "250 2.0.0 taken"}) {
    Reuses();
    Sends();
    peer.Replies(absl::StrCat("250 2.0.0 again\r\n250 2.1.0 ok\r\n250 2.1.5 ok\r\n", last, "\r\n"));
    EndsWith("in doubt", "BDAT", "out of step: 250 2.1.5 ok");
    EXPECT_EQ(peer.session().chunks_taken(), 0u);
  }
}

// Replies that have all come by the time that the session is ready.
class ClientChunksWholeTest : public ClientChunksTest {};
INSTANTIATE_TEST_SUITE_P(Arrivals, ClientChunksWholeTest, testing::Values(Arrival::kWhole));

// Where replies have no enhanced codes, only one that has come already tells.
TEST_P(ClientChunksWholeTest, AReplyTooManyIsNoAcceptanceWithoutEnhancedCodes) {
  Sends();
  peer.Replies("250 again\r\n250 ok\r\n250 ok\r\n554 no\r\n");
  EndsWith("in doubt", "BDAT", "out of step: 250 ok");
}

TEST_P(ClientChunksWholeTest, TheServerMayCloseBehindItsAcceptance) {
  Sends();
  peer.Replies("250 ok\r\n250 ok\r\n250 2.0.0 taken\r\n421 4.3.2 closing\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message accepted: 250 2.0.0 taken", StartsWith("close: ")));
}

TEST_P(ClientChunksTest, GoAheadIsOutOfStep) {
  for (const Step& step : kSteps) {
    Reuses();
    Sends();
    peer.Replies(absl::StrCat(step.replies, "354 go\r\n"));
    EndsWith("in doubt", step.state, "out of step: 354 go");
    EXPECT_TRUE(peer.session().lost_chunk());
  }
}

TEST_P(ClientChunksTest, GoAheadToBdatOfNobody) {
  Sends();
  peer.Replies("250 ok\r\n550 no\r\n354 go\r\n");
  EXPECT_THAT(peer.Seen(),
              ElementsAre("refused 0: 550 no", "message refused at RCPT TO (recipient): 550 no",
                          "close: BDAT: out of step: 354 go"));
  EXPECT_EQ(peer.Sent(), "");  // No lone dot.
}

TEST_P(ClientChunksTest, ClosingReplyToMailOrRcptLosesTheSession) {  // X2
  for (const Step& step : {kSteps[0], kSteps[1]}) {
    Reuses();
    Sends();
    peer.Replies(absl::StrCat(step.replies, "421 4.3.2 closing\r\n"));
    EXPECT_THAT(
        peer.Seen(),
        ElementsAre(absl::StrCat("message lost at ", step.state, " (host): 421 4.3.2 closing"),
                    absl::StrCat("close: ", step.state, ": 421 4.3.2 closing")));
    EXPECT_EQ(peer.session().chunks_taken(), 0u);
    EXPECT_FALSE(peer.session().refuses_chunks());
  }
}

TEST_P(ClientChunksTest, ClosingReplyToBdatRefuses) {
  Sends();
  peer.Replies("250 ok\r\n250 ok\r\n421 4.3.2 closing\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message refused at BDAT (host): 421 4.3.2 closing",
                                       "close: BDAT: 421 4.3.2 closing"));
  EXPECT_FALSE(peer.session().refuses_chunks());
}

TEST_P(ClientChunksTest, ClosingReplyToBdatOfNobodyIsNoSecondVerdict) {
  Sends();
  peer.Replies("250 ok\r\n550 no\r\n421 4.3.2 closing\r\n");
  EXPECT_THAT(peer.Seen(),
              ElementsAre("refused 0: 550 no", "message refused at RCPT TO (recipient): 550 no",
                          "close: BDAT: 421 4.3.2 closing"));
}

// --- Limits.

TEST_P(ClientChunksTest, ServersLimitOfRecipients) {  // R16
  Reuses("PIPELINING,CHUNKING,LIMITS RCPTMAX=1");
  peer.Offers({"b@y", "c@y", "d@y"}, {.at_once = true});
  peer.SendsBody();
  EXPECT_EQ(peer.Sent(), kByBdat);
  peer.Replies("250 ok\r\n250 ok\r\n250 taken\r\n");
  std::vector<std::string> seen = peer.Seen();
  // The body's turn may come before or behind them.
  EXPECT_EQ(std::erase(seen, "send body"), 1u);
  EXPECT_THAT(seen, ElementsAre("moved 1", "moved 2", "message accepted: 250 taken", "ready"));
}

TEST_P(ClientChunksTest, ServersLimitOfRecipientsAllRefused) {
  Reuses("PIPELINING,CHUNKING,LIMITS RCPTMAX=1");
  peer.Offers({"b@y", "c@y"}, {.at_once = true});
  peer.SendsBody();
  peer.Sent();
  peer.Replies("250 ok\r\n550 no\r\n503 nobody\r\n");
  std::vector<std::string> seen = peer.Seen();
  EXPECT_EQ(std::erase(seen, "send body"), 1u);
  EXPECT_THAT(seen, ElementsAre("refused 0: 550 no", "moved 1",
                                "message refused at RCPT TO (recipient): 550 no"));
  Resets();
}

TEST_P(ClientChunksTest, TooManyRecipientsMove) {  // C10, R8
  Sends({"1@y", "2@y", "3@y", "4@y"});
  peer.Replies("250 ok\r\n250 ok\r\n452 4.5.3 too many\r\n250 ok\r\n552 too many\r\n250 taken\r\n");
  EXPECT_THAT(peer.Seen(),
              ElementsAre("moved 1", "moved 3", "message accepted: 250 taken", "ready"));
}

TEST_P(ClientChunksTest, TooManyRecipientsMoveWhereTheDataIsRefused) {
  Sends({"1@y", "2@y"});
  peer.Replies("250 ok\r\n250 ok\r\n452 4.5.3 too many\r\n554 no\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("moved 1", "message refused at BDAT (message): 554 no"));
  Resets();
}

TEST_P(ClientChunksTest, ServersLimitOfMessages) {  // R16
  Reuses("PIPELINING,CHUNKING,LIMITS MAILMAX=2");
  Sends();
  peer.Replies("250 ok\r\n250 ok\r\n250 taken\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message accepted: 250 taken"));
  EXPECT_EQ(peer.Sent(), "QUIT\r\n");
}

// --- Beside what is offered ahead.

TEST_P(ClientChunksTest, NothingIsOfferedAheadBehindIt) {
  Offers();
  EXPECT_FALSE(MayOfferAhead());
  EXPECT_FALSE(peer.SendsBodyAndOffers("d@y"));
  EXPECT_EQ(peer.Sent(), kByBdat);
  for (const absl::string_view reply : {"250 ok\r\n", "250 ok\r\n"}) {
    EXPECT_FALSE(MayOfferAhead());
    peer.Replies(reply);
  }
  EXPECT_FALSE(MayOfferAhead());
  peer.Replies("250 taken\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message accepted: 250 taken", "ready"));
}

class ClientChunksAheadTest : public ClientChunksTest {
 protected:
  // The next is offered with the end of the data of one by DATA.
  void OffersAhead() {
    peer.Offers({"b@y"});
    peer.Replies("250 ok\r\n250 ok\r\n354 go\r\n");
    EXPECT_THAT(peer.Seen(), ElementsAre("send body"));
    peer.Sent();
    EXPECT_TRUE(peer.SendsBodyAndOffers("d@y", 1000, /*at_once=*/true));
    EXPECT_EQ(peer.Sent(), "MAIL FROM:<n@x>\r\nRCPT TO:<d@y>\r\nDATA\r\n");
    EXPECT_FALSE(peer.session().chunked());
    EXPECT_THAT(peer.Seen(), ElementsAre());
  }
};

INSTANTIATE_TEST_SUITE_P(Arrivals, ClientChunksAheadTest,
                         testing::Values(Arrival::kWhole, Arrival::kByteByByte));

TEST_P(ClientChunksAheadTest, WhatIsOfferedAheadGoesByData) {
  OffersAhead();
  peer.Replies("250 taken\r\n250 ok\r\n250 ok\r\n354 go\r\n");
  EXPECT_FALSE(peer.session().chunked());
  EXPECT_THAT(peer.Seen(), ElementsAre("message accepted: 250 taken", "send body"));
  peer.SendsBody();
  EXPECT_EQ(peer.Sent(), "");
  peer.Replies("250 too\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message accepted: 250 too", "ready"));
  EXPECT_EQ(peer.session().chunks_taken(), 0u);
  TakesByBdat();
}

TEST_P(ClientChunksAheadTest, ItIsLostAsAnyByData) {
  OffersAhead();
  peer.Replies("250 taken\r\n250 ok\r\n");
  peer.Closes();
  EXPECT_THAT(peer.Seen(),
              ElementsAre("message accepted: 250 taken", "message lost at RCPT TO (host)",
                          "close: RCPT TO: the connection was lost"));
  EXPECT_FALSE(peer.session().lost_chunk());
}

TEST_P(ClientChunksAheadTest, TheLastOneDecidesOfTheNext) {
  struct Row {
    absl::string_view first;
    absl::string_view second;
    bool accepted;
  };
  for (const Row& row :
       {Row{"554 no\r\n", "250 taken\r\n", true}, Row{"250 taken\r\n", "554 no\r\n", false}}) {
    Reuses();
    OffersAhead();
    peer.Replies(absl::StrCat(row.first, "250 ok\r\n250 ok\r\n354 go\r\n"));
    peer.SendsBody();
    peer.Replies(row.second);
    peer.Seen();
    if (row.accepted) {
      TakesByBdat();
    } else {
      Resets();
      TakesByData();
    }
  }
}

TEST_P(ClientChunksAheadTest, OneThatCameTooSoonWasNotAccepted) {
  OffersAhead();
  peer.Replies("250 taken\r\n503 busy\r\n503 busy\r\n503 busy\r\n");
  peer.Seen();
  Resets();
  EXPECT_FALSE(peer.session().refuses_chunks());
  TakesByData();
  TakesByBdat();
}

// --- Misuse by the owner.

using ClientChunksDeathTest = ClientChunksTest;
INSTANTIATE_TEST_SUITE_P(Arrivals, ClientChunksDeathTest, testing::Values(Arrival::kWhole));

TEST_P(ClientChunksDeathTest, OutOfTurn) {
  Sends();
  EXPECT_DEATH(peer.SendsBody(), "CHECK");      // Twice,
  EXPECT_DEATH(peer.Offers({"b@y"}), "CHECK");  // and the next while it is on.
}

// --- In another's slot.

TEST_P(ClientChunksTest, BeginsAnew) {
  TakesByBdat();
  Sends();
  peer.Replies("250 ok\r\n250 ok\r\n");
  peer.Passes(minutes(10));
  EXPECT_TRUE(peer.session().refuses_chunks());
  EXPECT_TRUE(peer.session().lost_chunk());
  peer.Seen();
  peer.Begins();
  EXPECT_FALSE(peer.session().refuses_chunks());
  EXPECT_FALSE(peer.session().lost_chunk());
  EXPECT_FALSE(peer.session().chunked());
  EXPECT_EQ(peer.session().chunks_taken(), 0u);
  peer.Greets(kOffered);
  TakesByData();
  TakesByBdat();
}

TEST_P(ClientChunksTest, BeginsAnewAmidOne) {
  for (const bool left : {false, true}) {
    Reuses();
    Offers();
    if (left) peer.SendsBody();
    peer.Sent();
    peer.Begins();
    EXPECT_FALSE(peer.session().chunked());
    EXPECT_FALSE(peer.session().chunk_waits());
    EXPECT_EQ(peer.session().output(), "");
    peer.Greets(kOffered);
    OffersByData();
    EXPECT_EQ(peer.Sent(), kByData);
    peer.Closes();
    EndsWith("lost", "MAIL FROM", "the connection was lost");
    EXPECT_FALSE(peer.session().lost_chunk());
  }
}

}  // namespace
}  // namespace sluice::smtp
