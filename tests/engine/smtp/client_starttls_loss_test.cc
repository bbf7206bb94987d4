// ClientSession when STARTTLS has no whole answer, or one with something behind it: what it says
// that it was, and that nothing sent in clear is read as if TLS had carried it, at every split.

#include <chrono>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client_starttls_dialogue.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice::smtp {
namespace {

using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::StartsWith;

using ClientStartTlsLossTest = ClientStartTlsTest;
INSTANTIATE_TEST_SUITE_P(Arrivals, ClientStartTlsLossTest,
                         testing::Values(Arrival::kWhole, Arrival::kByteByByte));

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

// --- The dialogue lost before the decision.

TEST_P(ClientStartTlsLossTest, LossWhileTheOwnerDecides) {
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

TEST_P(ClientStartTlsLossTest, Silence) {
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

TEST_P(ClientStartTlsLossTest, Closed) {
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

TEST_P(ClientStartTlsLossTest, ClosedByUs) {
  AsksForTls();
  peer.Aborts();
  EXPECT_THAT(peer.Seen(), ElementsAre("close: STARTTLS: closed by us"));
  EXPECT_EQ(answer(), TlsAnswer::kNone);
}

TEST_P(ClientStartTlsLossTest, Garbage) {
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

}  // namespace
}  // namespace sluice::smtp
