// ClientSession and STARTTLS (RFC 3207): when it is asked for, what is known once TLS is up, and
// that only the owner lets mail go on in clear. Every dialogue runs with the server's bytes in one
// piece and byte by byte. What goes wrong: client_starttls_loss_test.cc.

#include <chrono>
#include <string>

#include "absl/strings/str_cat.h"
#include "client_starttls_dialogue.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice::smtp {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::StartsWith;

INSTANTIATE_TEST_SUITE_P(Arrivals, ClientStartTlsTest,
                         testing::Values(Arrival::kWhole, Arrival::kByteByByte));

// --- Asking.

TEST_P(ClientStartTlsTest, IsAskedForWhereItIsOfferedAndNothingFollowsInItsGroup) {
  Hears("PIPELINING,STARTTLS,SIZE");
  EXPECT_EQ(peer.Sent(), "STARTTLS\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre());
  EXPECT_EQ(peer.session().state(), ClientState::kStartTls);
  EXPECT_EQ(peer.Left(), minutes(2));
  EXPECT_FALSE(peer.session().tls());
}

TEST_P(ClientStartTlsTest, IsKnownInAnyFormOfTheOffer) {
  for (const absl::string_view keyword :
       {"starttls", "StartTls", "STARTTLS ", "STARTTLS  \t ", "starttls\r", "STARTTLS WHATEVER"}) {
    Hears(keyword);
    EXPECT_EQ(peer.Sent(), "STARTTLS\r\n") << keyword;
  }
  for (const absl::string_view keyword : {"XSTARTTLS", "STARTTLSX", "START TLS", "AUTH STARTTLS"}) {
    Hears(keyword);
    EXPECT_EQ(peer.Sent(), "") << keyword;
    EXPECT_THAT(peer.Seen(), ElementsAre("no tls: not offered")) << keyword;
  }
}

TEST_P(ClientStartTlsTest, IsNotAskedForUnlessWanted) {
  peer.Greets("STARTTLS");  // Ends in kReady.
  EXPECT_EQ(peer.Sent(), "");
  EXPECT_EQ(answer(), TlsAnswer::kNone);
}

// --- 220.

TEST_P(ClientStartTlsTest, HandsTheConnectionToTheHandshake) {
  AsksForTls();
  peer.Replies("220 2.0.0 go\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("start tls"));
  EXPECT_EQ(peer.Sent(), "");
  EXPECT_EQ(peer.session().state(), ClientState::kTlsHandshake);
  EXPECT_FALSE(peer.session().tls());
  EXPECT_EQ(answer(), TlsAnswer::kNone);
}

TEST_P(ClientStartTlsTest, OfTheGoAheadOnlyTheCodeCounts) {
  for (const absl::string_view reply :
       {"220\r\n", "220 \n", "220 5.7.1 no\r\n", "220-one\r\n220-two\r\n220 three\r\n"}) {
    AsksForTls();
    peer.Replies(reply);
    EXPECT_THAT(peer.Seen(), ElementsAre("start tls")) << reply;
  }
}

TEST_P(ClientStartTlsTest, SaysEhloAnewUnderTlsAndIsReady) {
  BeginsHandshake();
  peer.EndsHandshake();
  EXPECT_TRUE(peer.session().tls());
  EXPECT_EQ(peer.Sent(), "EHLO client.example\r\n");
  EXPECT_EQ(peer.Left(), minutes(5));
  EXPECT_THAT(peer.Seen(), ElementsAre());
  peer.Replies(EhloReply(""));
  EXPECT_THAT(peer.Seen(), ElementsAre("ready"));
  peer.Offers({"b@y"});
  EXPECT_EQ(peer.Sent(), "MAIL FROM:<a@x>\r\n");
}

TEST_P(ClientStartTlsTest, IsNotAskedForTwice) {  // RFC 3207 4.2
  SpeaksTls("STARTTLS");
  peer.Replies(EhloReply("STARTTLS"));
  EXPECT_EQ(peer.Sent(), "");
  EXPECT_THAT(peer.Seen(), ElementsAre("ready"));
}

TEST_P(ClientStartTlsTest, ForgetsWhatWasOfferedInClear) {
  SpeaksTls("STARTTLS,PIPELINING,SIZE 500,8BITMIME,DSN,LIMITS RCPTMAX=1 MAILMAX=1");
  const Extensions& known = peer.session().extensions();
  EXPECT_FALSE(known.pipelining || known.size || known.eight_bit_mime || known.dsn);
  EXPECT_FALSE(known.starttls);
  EXPECT_EQ(known.size_max + known.mail_max + known.recipients_max, 0u);
  peer.Replies(EhloReply(""));
  peer.Offers({"b@y", "c@y"}, {.body_bytes = 501});
  EXPECT_EQ(peer.Sent(), "MAIL FROM:<a@x>\r\n");  // Not pipelined, not refused for its size.
  peer.Replies("250 ok\r\n");
  peer.Replies("250 ok\r\n");
  EXPECT_EQ(peer.Sent(), "RCPT TO:<b@y>\r\nRCPT TO:<c@y>\r\n");
  peer.Replies("250 ok\r\n");
  peer.Replies("354 go\r\n");
  peer.SendsBody();
  peer.Replies("250 taken\r\n");
  EXPECT_THAT(peer.Seen(),
              ElementsAre("ready", "send body", "message accepted: 250 taken", "ready"));
  peer.Offers({"b@y"}, {.body_type = BodyType::kEightBitMime});
  EXPECT_THAT(peer.Seen(), ElementsAre(StartsWith("message unsendable"), "ready"));
}

TEST_P(ClientStartTlsTest, UsesWhatIsOfferedUnderTls) {
  SpeaksTls("STARTTLS");
  peer.Replies(EhloReply("PIPELINING,SIZE 500"));
  peer.Offers({"b@y"}, {.body_bytes = 500});
  EXPECT_EQ(peer.Sent(), "MAIL FROM:<a@x> SIZE=500\r\nRCPT TO:<b@y>\r\nDATA\r\n");
}

TEST_P(ClientStartTlsTest, MayFallBackToHeloUnderTls) {
  SpeaksTls("STARTTLS,PIPELINING,SIZE");
  peer.Replies("502 5.5.1 what\r\n");
  EXPECT_EQ(peer.Sent(), "HELO client.example\r\n");
  peer.Replies("250 mx\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("ready"));
  EXPECT_TRUE(peer.session().tls());
  EXPECT_EQ(answer(), TlsAnswer::kNone);
  peer.Offers({"b@y"});
  EXPECT_EQ(peer.Sent(), "MAIL FROM:<a@x>\r\n");
}

TEST_P(ClientStartTlsTest, RefusalOfEhloUnderTlsEndsItAsEver) {
  for (const absl::string_view reply : {"450 later", "421 closing", "354 go"}) {
    SpeaksTls("STARTTLS");
    peer.Replies(absl::StrCat(reply, "\r\n"));
    EXPECT_THAT(peer.Seen(), ElementsAre(StartsWith("close: EHLO: ")));
    EXPECT_EQ(answer(), TlsAnswer::kNone);
  }
}

// --- The handshake is the owner's.

TEST_P(ClientStartTlsTest, KeepsNoTimeWhileTheHandshakeIsOn) {
  BeginsHandshake();
  EXPECT_EQ(peer.Left(), Duration(-1));
  peer.Passes(hours(24));
  EXPECT_THAT(peer.Seen(), ElementsAre());
  peer.EndsHandshake();
  EXPECT_EQ(peer.Left(), minutes(5));
}

// Not `closed`, which is for what came before the 220.
TEST_P(ClientStartTlsTest, HandshakeThatFailsIsNoAnswer) {
  BeginsHandshake();
  peer.Closes();
  EXPECT_THAT(peer.Seen(), ElementsAre("close: the TLS handshake: the connection was lost"));
  EXPECT_EQ(answer(), TlsAnswer::kNone);
  BeginsHandshake();
  peer.Aborts();
  EXPECT_THAT(peer.Seen(), ElementsAre("close: the TLS handshake: closed by us"));
  EXPECT_EQ(answer(), TlsAnswer::kNone);
}

TEST_P(ClientStartTlsTest, HandshakeThatEndsAfterTheSessionChangesNothing) {
  BeginsHandshake();
  peer.Closes();
  peer.Seen();
  peer.EndsHandshake();
  EXPECT_THAT(peer.Seen(), ElementsAre());
  EXPECT_EQ(peer.Sent(), "");
  EXPECT_FALSE(peer.session().tls());
}

TEST_P(ClientStartTlsTest, NoBytesAreNoInjection) {
  BeginsHandshake();
  peer.Gives("");
  EXPECT_THAT(peer.Seen(), ElementsAre());
  EXPECT_EQ(peer.session().state(), ClientState::kTlsHandshake);
}

// --- No TLS: the owner decides.

TEST_P(ClientStartTlsTest, NotOfferedGoesOnOnlyIfTheOwnerSaysSo) {
  Hears("SIZE,PIPELINING");
  EXPECT_THAT(peer.Seen(), ElementsAre("no tls: not offered"));
  EXPECT_EQ(peer.Sent(), "");
  EXPECT_EQ(peer.Left(), Duration(-1));
  EXPECT_EQ(peer.session().reply().code, 0);
  peer.ContinuesInClear();
  EXPECT_THAT(peer.Seen(), ElementsAre("ready"));
  EXPECT_EQ(peer.Sent(), "");  // No second EHLO: this one's offers hold.
  EXPECT_FALSE(peer.session().tls());
  peer.Offers({"b@y"}, {.body_bytes = 500});
  EXPECT_EQ(peer.Sent(), "MAIL FROM:<a@x> SIZE=500\r\nRCPT TO:<b@y>\r\nDATA\r\n");
}

TEST_P(ClientStartTlsTest, NotOfferedAndRefusedQuits) {
  Hears("SIZE");
  peer.Seen();
  peer.RefusesTls();
  EXPECT_EQ(peer.Sent(), "QUIT\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre());
  EXPECT_EQ(peer.Left(), seconds(10));
  peer.Replies("221 bye\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("close: EHLO: no TLS: STARTTLS was not offered"));
  EXPECT_EQ(answer(), TlsAnswer::kNotOffered);
  EXPECT_EQ(peer.session().close_reply().code, 0);
}

TEST_P(ClientStartTlsTest, HeloHasNoTls) {
  FallsBackToHelo();
  EXPECT_THAT(peer.Seen(), ElementsAre("no tls: EHLO refused"));
  EXPECT_EQ(peer.Sent(), "");
  EXPECT_EQ(peer.session().reply().ToString(), "502 5.5.1 what");
  peer.ContinuesInClear();
  EXPECT_THAT(peer.Seen(), ElementsAre("ready"));
  peer.Offers({"b@y"});
  EXPECT_EQ(peer.Sent(), "MAIL FROM:<a@x>\r\n");

  FallsBackToHelo();
  peer.Seen();
  peer.RefusesTls();
  EXPECT_EQ(peer.Sent(), "QUIT\r\n");
  peer.Replies("221 bye\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("close: EHLO: no TLS: 502 5.5.1 what"));
  EXPECT_EQ(peer.session().close_reply().ToString(), "502 5.5.1 what");
}

TEST_P(ClientStartTlsTest, RefusalIsTheOwnersToJudge) {
  for (const absl::string_view reply :
       {"454 4.7.0 TLS not available", "450 later", "501 5.5.4 Syntax", "554 5.7.1 no"}) {
    AsksForTls("STARTTLS,PIPELINING");
    peer.Replies(absl::StrCat(reply, "\r\n"));
    EXPECT_THAT(peer.Seen(), ElementsAre("no tls: refused")) << reply;
    EXPECT_EQ(peer.session().reply().ToString(), reply);
    EXPECT_EQ(peer.Sent(), "");
    EXPECT_EQ(peer.Left(), Duration(-1));
    peer.ContinuesInClear();
    EXPECT_THAT(peer.Seen(), ElementsAre("ready"));
    EXPECT_EQ(peer.Sent(), "");
    peer.Offers({"b@y"});
    EXPECT_EQ(peer.Sent(), "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n");

    AsksForTls();
    peer.Replies(absl::StrCat(reply, "\r\n"));
    peer.Seen();
    peer.RefusesTls();
    EXPECT_EQ(peer.Sent(), "QUIT\r\n");
    peer.Replies("221 bye\r\n");
    EXPECT_THAT(peer.Seen(), ElementsAre(absl::StrCat("close: STARTTLS: no TLS: ", reply)));
    EXPECT_EQ(peer.session().close_reply().ToString(), reply);
    EXPECT_EQ(answer(), TlsAnswer::kRefused);
  }
}

TEST_P(ClientStartTlsTest, QuitForWantOfTlsKeepsItsReasonHoweverItEnds) {
  const auto quits = [&] {
    Hears("");
    peer.RefusesTls();
    peer.Sent();
    peer.Seen();
  };
  constexpr absl::string_view kReason = "close: EHLO: no TLS: STARTTLS was not offered";
  for (const absl::string_view reply :
       {"500 what\r\n", "421 bye\r\n", "354 go\r\n", "rubbish\r\n"}) {
    quits();
    peer.Gives(reply);
    EXPECT_THAT(peer.Seen(), ElementsAre(kReason)) << reply;
    EXPECT_EQ(peer.session().close_reply().code, 0);
  }
  quits();
  peer.Closes();
  EXPECT_THAT(peer.Seen(), ElementsAre(kReason));
  quits();
  peer.Passes(seconds(10));
  EXPECT_THAT(peer.Seen(), ElementsAre(kReason));
  quits();
  peer.Aborts();
  EXPECT_THAT(peer.Seen(), ElementsAre(kReason));
}

// --- The slot.

TEST_P(ClientStartTlsTest, NothingOfItIsLeftInTheNextDialogue) {
  SpeaksTls("STARTTLS");
  peer.Begins();
  EXPECT_FALSE(peer.session().tls());
  peer.Greets("STARTTLS");
  EXPECT_EQ(peer.Sent(), "");

  AsksForTls();
  peer.Replies("220 ok");
  peer.Closes();
  EXPECT_EQ(answer(), TlsAnswer::kClosed);
  peer.Begins();
  EXPECT_EQ(answer(), TlsAnswer::kNone);
}

// --- Misuse by the owner.

using ClientStartTlsDeathTest = ClientStartTlsTest;
INSTANTIATE_TEST_SUITE_P(Arrivals, ClientStartTlsDeathTest, testing::Values(Arrival::kWhole));

TEST_P(ClientStartTlsDeathTest, MovesOutOfTurn) {
  AsksForTls();
  EXPECT_DEATH(peer.ContinuesInClear(), "CHECK");  // Before the answer,
  EXPECT_DEATH(peer.RefusesTls(), "CHECK");
  EXPECT_DEATH(peer.EndsHandshake(), "CHECK");
  peer.Replies("454 no\r\n");
  EXPECT_DEATH(peer.EndsHandshake(), "CHECK");  // after a refusal,
  EXPECT_DEATH(peer.Offers({"b@y"}), "CHECK");  // without having decided,
  EXPECT_DEATH(peer.Quits(), "CHECK");
  peer.ContinuesInClear();
  EXPECT_DEATH(peer.ContinuesInClear(), "CHECK");  // twice.
  EXPECT_DEATH(peer.RefusesTls(), "CHECK");
  peer.Seen();
  BeginsHandshake();
  EXPECT_DEATH(peer.ContinuesInClear(), "CHECK");  // Behind a 220 nothing goes on in clear,
  EXPECT_DEATH(peer.RefusesTls(), "CHECK");
  EXPECT_DEATH(peer.Offers({"b@y"}), "CHECK");  // and no mail goes before TLS is up.
  peer.EndsHandshake();
  EXPECT_DEATH(peer.EndsHandshake(), "CHECK");
}

}  // namespace
}  // namespace sluice::smtp
