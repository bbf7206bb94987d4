// ClientSession and STARTTLS (RFC 3207): when it is asked for, what each answer comes to, that
// nothing said in clear is believed under TLS, and that only the owner lets mail go on in clear.
// Every dialogue runs with the server's bytes in one piece and byte by byte; what may not be read
// is tried at every split.

#include <chrono>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client_peer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice::smtp {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::StartsWith;

std::string EhloReply(absl::string_view keywords) {
  std::string reply = "250-mx.example\r\n";
  for (absl::string_view keyword : absl::StrSplit(keywords, ',', absl::SkipEmpty())) {
    absl::StrAppend(&reply, "250-", keyword, "\r\n");
  }
  return absl::StrCat(reply, "250 HELP\r\n");
}

class ClientStartTlsTest : public testing::TestWithParam<Arrival> {
 protected:
  // A new session that wants TLS, up to the reply to EHLO.
  void Hears(absl::string_view keywords) {
    peer.BeginsWantingTls();
    peer.Replies("220 mx.example ESMTP\r\n");
    EXPECT_EQ(peer.Sent(), "EHLO client.example\r\n");
    peer.Replies(EhloReply(keywords));
  }
  void AsksForTls(absl::string_view keywords = "STARTTLS") {
    Hears(keywords);
    EXPECT_EQ(peer.Sent(), "STARTTLS\r\n");
    EXPECT_THAT(peer.Seen(), ElementsAre());
  }
  void BeginsHandshake(absl::string_view keywords = "STARTTLS") {
    AsksForTls(keywords);
    peer.Replies("220 go\r\n");
    EXPECT_THAT(peer.Seen(), ElementsAre("start tls"));
  }
  // And the second EHLO is there.
  void SpeaksTls(absl::string_view keywords_in_clear) {
    BeginsHandshake(keywords_in_clear);
    peer.EndsHandshake();
    EXPECT_EQ(peer.Sent(), "EHLO client.example\r\n");
  }
  // EHLO is refused and HELO is not.
  void FallsBackToHelo() {
    peer.BeginsWantingTls();
    peer.Replies("220 mx.example ESMTP\r\n");
    peer.Replies("502 5.5.1 what\r\n");
    EXPECT_EQ(peer.Sent(), "EHLO client.example\r\nHELO client.example\r\n");
    peer.Replies("250 mx.example\r\n");
  }

  TlsAnswer answer() { return peer.session().tls_answer(); }

  ClientPeer peer{GetParam()};
};

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

// --- Behind the 220. Whatever it is and however it is cut, it ends the session unread.

class ClientInjection : public testing::Test {
 protected:
  // The owner hears `pieces` at STARTTLS.
  void Hears(const std::vector<absl::string_view>& pieces) {
    peer.BeginsWantingTls();
    peer.Gives("220 mx\r\n");
    peer.Gives("250-mx\r\n250-PIPELINING\r\n250 STARTTLS\r\n");
    EXPECT_EQ(peer.Sent(), "EHLO client.example\r\nSTARTTLS\r\n");
    for (const absl::string_view piece : pieces) peer.Gives(piece);
  }

  void ExpectInjected(bool saw_the_go_ahead_alone) {
    std::vector<std::string> expected;
    if (saw_the_go_ahead_alone) expected.push_back("start tls");
    const absl::string_view state = saw_the_go_ahead_alone ? "the TLS handshake" : "STARTTLS";
    expected.push_back(absl::StrCat("close: ", state, ": bytes came in clear behind the 220"));
    EXPECT_EQ(peer.Seen(), expected);
    EXPECT_EQ(peer.Sent(), "");
    EXPECT_EQ(peer.session().tls_answer(), TlsAnswer::kInjected);
    EXPECT_EQ(peer.session().close_reply().code, 0);  // Nothing of it was read.
    EXPECT_FALSE(peer.session().tls());
    peer.EndsHandshake();  // Too late.
    EXPECT_EQ(peer.Sent(), "");
  }

  ClientPeer peer;
};

TEST_F(ClientInjection, EndsTheSessionAtEverySplit) {
  for (const absl::string_view go_ahead : {"220 ok\r\n", "220-more\r\n220 ok\r\n"}) {
    for (const absl::string_view injected :
         {"250-FAKE\r\n250 SIZE 1\r\n", "250 AUTH PLAIN\r\n", "220 ok\r\n", "421 bye\r\n", "2",
          "\r\n", "\n", "\r", " ", "rubbish", "\x16\x03\x01\x02"}) {
      const std::string all = absl::StrCat(go_ahead, injected);
      const absl::string_view text = all;
      for (size_t first = 0; first <= text.size(); ++first) {
        for (size_t second = first; second <= text.size(); ++second) {
          SCOPED_TRACE(absl::StrCat(text, " at ", first, " and ", second));
          Hears({text.substr(0, first), text.substr(first, second - first), text.substr(second)});
          ExpectInjected(first == go_ahead.size() || second == go_ahead.size());
        }
      }
    }
  }
}

TEST_F(ClientInjection, OfANulIsOneToo) {
  Hears({absl::string_view("220 ok\r\n\0", 9)});
  ExpectInjected(false);
}

TEST_F(ClientInjection, AfterADelayDuringTheHandshakeIsOneToo) {
  Hears({"220 ok\r\n"});
  peer.Passes(seconds(1));
  peer.Gives("250 FAKE\r\n");
  ExpectInjected(true);
}

// --- Ahead of the command: no answer to it.

TEST(ClientEarlyGoAhead, InOnePieceWithTheReplyToEhlo) {
  constexpr absl::string_view kEhlo = "250-mx\r\n250 STARTTLS\r\n";
  for (const absl::string_view early : {"220 go\r\n", "454 no\r\n", "250 what\r\n"}) {
    const std::string text = absl::StrCat(kEhlo, early);
    for (size_t split = kEhlo.size() + 1; split <= text.size(); ++split) {
      ClientPeer peer;
      peer.BeginsWantingTls();
      peer.Gives("220 mx\r\n");
      peer.Sent();
      peer.Gives(absl::string_view(text).substr(0, split));
      peer.Gives(absl::string_view(text).substr(split));
      EXPECT_THAT(peer.Seen(), ElementsAre(StartsWith("close: STARTTLS: out of step: ")));
      EXPECT_EQ(peer.session().tls_answer(), TlsAnswer::kGarbage);
      const bool whole = split == text.size();  // Then the command does not leave any more.
      EXPECT_EQ(peer.Sent(), whole ? "" : "STARTTLS\r\n");
    }
  }
}

// The EHLO is still being sent when its reply comes, so that STARTTLS waits in output().
TEST(ClientEarlyGoAhead, WhileTheCommandWaitsToLeave) {
  for (const absl::string_view early : {"220 go\r\n", "454 no\r\n"}) {
    ClientSession session;
    session.Begin({.ehlo_name = "client.example", .start_tls = true}, Now{});
    for (const absl::string_view reply : {"220 mx\r\n", "250-mx\r\n250 STARTTLS\r\n"}) {
      session.ClearOutput();
      session.OnBytes(reply, Now{});
      while (session.Next() != ClientAction::kNone) {
      }
    }
    EXPECT_EQ(session.output(), "STARTTLS\r\n");
    session.OnBytes(early, Now{});
    EXPECT_EQ(session.Next(), ClientAction::kClose);
    EXPECT_EQ(session.tls_answer(), TlsAnswer::kGarbage);
    EXPECT_EQ(session.output(), "");
  }
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

// --- The dialogue lost before the decision.

TEST_P(ClientStartTlsTest, LossWhileTheOwnerDecides) {
  Hears("");
  peer.Seen();
  peer.Closes();
  EXPECT_THAT(peer.Seen(),
              ElementsAre("close: the decision on TLS: the server closed the connection"));
  EXPECT_EQ(answer(), TlsAnswer::kNotOffered);  // What was told stands.
  AsksForTls();
  peer.Replies("454 no\r\n");
  peer.Seen();
  peer.Replies("421 bye\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("close: the decision on TLS: 421 bye"));
  EXPECT_EQ(answer(), TlsAnswer::kRefused);
  AsksForTls();
  peer.Replies("454 no\r\n");
  peer.Seen();
  peer.Replies("250 yes\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("close: the decision on TLS: out of step: 250 yes"));
  EXPECT_EQ(answer(), TlsAnswer::kRefused);
}

TEST(ClientSurplusAtEhlo, IsNoDecisionAndNothingAboutTls) {
  for (const absl::string_view surplus : {"250 more\r\n", "rubbish\r\n", "421 bye\r\n"}) {
    ClientPeer peer;
    peer.BeginsWantingTls();
    peer.Gives("220 mx\r\n");
    peer.Gives(absl::StrCat("250 mx\r\n", surplus));
    EXPECT_THAT(peer.Seen(), ElementsAre(StartsWith("close: the decision on TLS: ")));
    EXPECT_EQ(peer.session().tls_answer(), TlsAnswer::kNone);
  }
}

TEST(ClientSurplusAtEhlo, OfHalfALineIsNotWaitedForLong) {
  ClientPeer peer;
  peer.BeginsWantingTls();
  peer.Gives("220 mx\r\n");
  peer.Gives("250 mx\r\n2");
  EXPECT_THAT(peer.Seen(), ElementsAre());
  EXPECT_EQ(peer.Left(), seconds(30));
  peer.Passes(seconds(30));
  EXPECT_THAT(peer.Seen(), ElementsAre("close: the decision on TLS: sent half a line unasked"));
  EXPECT_EQ(peer.session().tls_answer(), TlsAnswer::kNone);
}

// --- No whole answer: the session ends, and says what it was.

TEST_P(ClientStartTlsTest, Silence) {
  AsksForTls();
  peer.Passes(minutes(1));
  peer.Replies("220-wait\r\n22");
  EXPECT_EQ(peer.Left(), minutes(1));  // Half an answer does not extend it.
  peer.Passes(minutes(1) - nanoseconds(1));
  EXPECT_THAT(peer.Seen(), ElementsAre());
  peer.Passes(nanoseconds(1));
  EXPECT_THAT(peer.Seen(), ElementsAre("close: STARTTLS: no answer in time"));
  EXPECT_EQ(answer(), TlsAnswer::kSilence);
}

TEST_P(ClientStartTlsTest, Closed) {
  for (const absl::string_view before : {"", "2", "220 g", "220 go\r", "220-go\r\n", "454 n"}) {
    AsksForTls();
    peer.Replies(before);
    peer.Closes();
    EXPECT_THAT(peer.Seen(), ElementsAre("close: STARTTLS: the connection was lost")) << before;
    EXPECT_EQ(answer(), TlsAnswer::kClosed);
  }
  AsksForTls();
  peer.Replies("421 4.3.2 closing\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("close: STARTTLS: 421 4.3.2 closing"));
  EXPECT_EQ(answer(), TlsAnswer::kClosed);
  EXPECT_EQ(peer.session().close_reply().code, 421);
}

TEST_P(ClientStartTlsTest, ClosedByUs) {
  AsksForTls();
  peer.Aborts();
  EXPECT_THAT(peer.Seen(), ElementsAre("close: STARTTLS: closed by us"));
  EXPECT_EQ(answer(), TlsAnswer::kNone);
}

TEST_P(ClientStartTlsTest, Garbage) {
  for (const absl::string_view reply : {"HTTP/1.1 400 Bad Request", "", "22", "2200 go", "220x",
                                        "120 go", "620 go", "220-a\r\n221 b", "\x15\x03\x01"}) {
    AsksForTls();
    peer.Gives(absl::StrCat(reply, "\r\n"));
    EXPECT_THAT(peer.Seen(), ElementsAre("close: STARTTLS: what the server sent is no reply"))
        << reply;
    EXPECT_EQ(answer(), TlsAnswer::kGarbage);
  }
  // Replies, and neither go-ahead nor refusal.
  for (const absl::string_view reply : {"200 x", "221 x", "250 ok", "299 x", "334 x", "354 go"}) {
    AsksForTls();
    peer.Replies(absl::StrCat(reply, "\r\n"));
    EXPECT_THAT(peer.Seen(), ElementsAre(absl::StrCat("close: STARTTLS: out of step: ", reply)));
    EXPECT_EQ(answer(), TlsAnswer::kGarbage);
    EXPECT_EQ(peer.session().close_reply().ToString(), reply);
  }
}

// In one piece with the first, so that the owner is never told of a refusal.
TEST(ClientTwoAnswers, AreGarbage) {
  for (const absl::string_view second : {"454 no\r\n", "220 go\r\n", "354 go\r\n", "rubbish\r\n"}) {
    ClientPeer peer;
    peer.BeginsWantingTls();
    peer.Gives("220 mx\r\n");
    peer.Gives("250-mx\r\n250 STARTTLS\r\n");
    peer.Gives(absl::StrCat("454 no\r\n", second));
    EXPECT_THAT(peer.Seen(), ElementsAre(StartsWith("close: the decision on TLS: "))) << second;
    EXPECT_EQ(peer.session().tls_answer(), TlsAnswer::kGarbage);
  }
}

TEST(ClientTwoAnswers, OfWhichTheSecondEndsLateOrNeverAreGarbage) {
  for (const bool ends : {true, false}) {
    ClientPeer peer;
    peer.BeginsWantingTls();
    peer.Gives("220 mx\r\n");
    peer.Gives("250-mx\r\n250 STARTTLS\r\n");
    peer.Gives("454 no\r\n22");
    EXPECT_THAT(peer.Seen(), ElementsAre());
    EXPECT_EQ(peer.Left(), seconds(30));
    if (ends) {
      peer.Gives("0 go\r\n");
    } else {
      peer.Passes(seconds(30));
    }
    EXPECT_THAT(peer.Seen(), ElementsAre(StartsWith("close: the decision on TLS: ")));
    EXPECT_EQ(peer.session().tls_answer(), TlsAnswer::kGarbage);
  }
}

TEST(ClientTwoAnswers, OfWhichTheSecondClosesAreAClose) {
  ClientPeer peer;
  peer.BeginsWantingTls();
  peer.Gives("220 mx\r\n");
  peer.Gives("250-mx\r\n250 STARTTLS\r\n");
  peer.Gives("454 no\r\n421 bye\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("close: the decision on TLS: 421 bye"));
  EXPECT_EQ(peer.session().tls_answer(), TlsAnswer::kClosed);
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
