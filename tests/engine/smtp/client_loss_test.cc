// ClientSession when things go wrong: deadlines in every state, closed connections, 421, replies
// that nobody asked for. What matters is what it says of the message: nothing delivered (lost), or
// in doubt.

#include <chrono>

#include "client_peer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice::smtp {
namespace {

using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;

class ClientLossTest : public testing::TestWithParam<Arrival> {
 protected:
  // Up to the wait for `state`'s reply, on a fresh session; what led there is forgotten.
  void Awaits(ClientState state) {
    peer.Begins();
    if (state != ClientState::kGreeting) peer.Replies("220 mx\r\n");
    if (state == ClientState::kHelo) peer.Replies("500 what\r\n");
    if (state >= ClientState::kIdle) peer.Replies("250 mx\r\n");
    if (state == ClientState::kQuit) peer.Quits();
    if (state >= ClientState::kMail && state <= ClientState::kReset) peer.Offers({"b@y"});
    if (state == ClientState::kReset) peer.Replies("450 no\r\n");
    if (state >= ClientState::kRcpt && state <= ClientState::kDot) peer.Replies("250 ok\r\n");
    if (state >= ClientState::kData && state <= ClientState::kDot) peer.Replies("250 ok\r\n");
    if (state >= ClientState::kBody && state <= ClientState::kDot) peer.Replies("354 go\r\n");
    if (state == ClientState::kDot) peer.SendsBody();
    EXPECT_EQ(peer.session().state(), state);
    peer.Sent();
    peer.Seen();
  }

  // One message delivered, and the next offered: the session is a reused one.
  void AwaitsMailOnReusedSession() {
    Awaits(ClientState::kDot);
    peer.Replies("250 ok\r\n");
    peer.Offers({"c@y"});
    peer.Sent();
    peer.Seen();
  }

  ClientPeer peer{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Arrivals, ClientLossTest,
                         testing::Values(Arrival::kWhole, Arrival::kByteByByte));

TEST(ClientStates, NamesAndTimeouts) {
  struct Row {
    ClientState state;
    absl::string_view name;
    Duration timeout;
  };
  for (const Row& row :
       {Row{ClientState::kGreeting, "the greeting", minutes(5)},  // RFC 5321 4.5.3.2
        Row{ClientState::kEhlo, "EHLO", minutes(5)}, Row{ClientState::kHelo, "HELO", minutes(5)},
        Row{ClientState::kStartTls, "STARTTLS", minutes(2)},
        Row{ClientState::kTlsDecision, "the decision on TLS", seconds(30)},
        Row{ClientState::kTlsHandshake, "the TLS handshake", seconds(0)},
        Row{ClientState::kIdle, "idle", seconds(30)},
        Row{ClientState::kMail, "MAIL FROM", minutes(5)},
        Row{ClientState::kRcpt, "RCPT TO", minutes(5)}, Row{ClientState::kData, "DATA", minutes(2)},
        Row{ClientState::kBody, "the message body", minutes(3)},
        Row{ClientState::kDot, "the final dot", minutes(10)},
        Row{ClientState::kReset, "RSET", seconds(30)}, Row{ClientState::kQuit, "QUIT", seconds(10)},
        Row{ClientState::kClosed, "closed", seconds(0)}}) {
    EXPECT_EQ(SpecOf(row.state).name, row.name);
    EXPECT_EQ(SpecOf(row.state).timeout, row.timeout) << row.name;
  }
}

// --- Loss in each state: by deadline, by close, by our own end.

struct Loss {
  ClientState state;
  absl::string_view outcome;  // Of the message; "" where none is on.
};

constexpr Loss kLosses[] = {
    {ClientState::kGreeting, ""},
    {ClientState::kEhlo, ""},
    {ClientState::kHelo, ""},
    {ClientState::kMail, "message lost at MAIL FROM (host)"},
    {ClientState::kRcpt, "message lost at RCPT TO (host)"},
    {ClientState::kData, "message lost at DATA (host)"},
    {ClientState::kBody, "message lost at the message body (host)"},
    {ClientState::kDot, "message in doubt at the final dot (host)"},  // F08, P27
    {ClientState::kReset, ""},                                        // P5: no harm to the message.
};

std::vector<std::string> Expected(const Loss& loss, absl::string_view reason) {
  std::vector<std::string> seen;
  if (!loss.outcome.empty()) seen.push_back(std::string(loss.outcome));
  seen.push_back(absl::StrCat("close: ", SpecOf(loss.state).name, ": ", reason));
  return seen;
}

TEST_P(ClientLossTest, DeadlineOfEachState) {
  for (const Loss& loss : kLosses) {
    Awaits(loss.state);
    const Duration timeout = SpecOf(loss.state).timeout;
    EXPECT_EQ(peer.Left(), timeout);
    peer.Passes(timeout - nanoseconds(1));
    EXPECT_THAT(peer.Seen(), ElementsAre());
    peer.Passes(nanoseconds(1));
    EXPECT_EQ(peer.Seen(), Expected(loss, "no answer in time"));
    EXPECT_EQ(peer.Sent(), "");
    EXPECT_EQ(peer.Left(), Duration(-1));
  }
}

TEST_P(ClientLossTest, HalfAReplyDoesNotExtendTheDeadline) {  // F06
  Awaits(ClientState::kMail);
  peer.Passes(minutes(4));
  peer.Replies("250-wait\r\n250-wai");
  EXPECT_EQ(peer.Left(), minutes(1));
  peer.Passes(minutes(1));
  EXPECT_EQ(peer.session().state(), ClientState::kClosed);
}

TEST_P(ClientLossTest, ClosedInEachState) {
  for (const Loss& loss : kLosses) {
    Awaits(loss.state);
    peer.Closes();
    EXPECT_EQ(peer.Seen(), Expected(loss, "the connection was lost"));
  }
}

TEST_P(ClientLossTest, ClosedAmidAReply) {
  for (const Loss& loss : kLosses) {
    if (loss.state == ClientState::kBody) continue;
    Awaits(loss.state);
    peer.Replies("250 o");
    peer.Closes();
    EXPECT_EQ(peer.Seen(), Expected(loss, "the connection was lost"));
  }
}

TEST_P(ClientLossTest, AbortedInEachState) {
  for (const Loss& loss : kLosses) {
    Awaits(loss.state);
    peer.Aborts();
    EXPECT_EQ(peer.Seen(), Expected(loss, "closed by us"));
    EXPECT_EQ(peer.Sent(), "");
  }
}

TEST_P(ClientLossTest, NoReplyAtAllInEachState) {
  for (const Loss& loss : kLosses) {
    Awaits(loss.state);
    peer.Gives("HTTP/1.1 400 Bad Request\r\n");
    EXPECT_EQ(peer.Seen(), Expected(loss, "what the server sent is no reply"));
  }
}

TEST_P(ClientLossTest, NothingAfterTheEnd) {
  Awaits(ClientState::kBody);
  peer.Closes();
  peer.Seen();
  // What was in flight comes home.
  peer.Replies("250 ok\r\n");
  peer.SendsPiece();
  peer.SendsBody();
  peer.Passes(minutes(60));
  peer.Closes();
  peer.Aborts();
  EXPECT_THAT(peer.Seen(), ElementsAre());
  EXPECT_EQ(peer.Sent(), "");
}

TEST_P(ClientLossTest, IdleWaitsForEverAndClosesQuietly) {  // K4
  Awaits(ClientState::kIdle);
  EXPECT_EQ(peer.Left(), Duration(-1));
  peer.Passes(minutes(600));
  EXPECT_THAT(peer.Seen(), ElementsAre());
  peer.Closes();
  EXPECT_THAT(peer.Seen(), ElementsAre("close: idle: the server closed the connection"));
}

TEST_P(ClientLossTest, QuitEndsInAnyCase) {
  Awaits(ClientState::kQuit);
  peer.Passes(seconds(10));
  EXPECT_THAT(peer.Seen(), ElementsAre("close: "));
  Awaits(ClientState::kQuit);
  peer.Closes();
  EXPECT_THAT(peer.Seen(), ElementsAre("close: "));
}

TEST_P(ClientLossTest, ResetRefusedLosesTheSessionOnly) {  // H3
  for (const absl::string_view reply : {"503 no", "421 no", "450 no"}) {
    Awaits(ClientState::kReset);
    peer.Replies(absl::StrCat(reply, "\r\n"));
    EXPECT_THAT(peer.Seen(), ElementsAre(absl::StrCat("close: RSET: ", reply)));
  }
}

// --- The body.

TEST_P(ClientLossTest, PiecesOfTheBodyExtendItsDeadline) {
  Awaits(ClientState::kIdle);
  peer.Offers({"b@y"}, {.body_bytes = 600 * ClientSession::kBodyBytesPerSecondMin});
  peer.Replies("250 ok\r\n");
  peer.Replies("250 ok\r\n");
  peer.Replies("354 go\r\n");
  for (int i = 0; i < 5; ++i) {
    peer.Passes(minutes(2));
    peer.SendsPiece();
    EXPECT_EQ(peer.Left(), minutes(3)) << i;
  }
  // 13 minutes are what the slowest body of this size may take (F06).
  peer.Passes(minutes(2));
  peer.SendsPiece();
  EXPECT_EQ(peer.Left(), minutes(1));
  peer.SendsBody();
  EXPECT_EQ(peer.Left(), minutes(10));
}

TEST_P(ClientLossTest, RefusalAmidTheBodyIsTheResult) {  // P6
  for (const absl::string_view reply : {"552 5.3.4 too big", "451 4.3.0 no disk"}) {
    Awaits(ClientState::kBody);
    peer.Replies(absl::StrCat(reply, "\r\n"));
    EXPECT_THAT(peer.Seen(),
                ElementsAre(absl::StrCat("message refused at the message body (message): ", reply),
                            "close: the message body: refused the message before its end"));
  }
}

TEST_P(ClientLossTest, RefusalBegunAmidTheBody) {
  Awaits(ClientState::kBody);
  peer.Replies("552 5.3.4 to");
  peer.SendsBody();
  peer.Replies("o big\r\n");
  EXPECT_THAT(peer.Seen(),
              ElementsAre("message refused at the final dot (message): 552 5.3.4 too big",
                          "close: the final dot: refused the message before its end"));
}

TEST_P(ClientLossTest, AcceptedBeforeItsEndIsOutOfStep) {
  Awaits(ClientState::kBody);
  peer.Replies("250 taken\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message lost at the message body (host)",
                                       "close: the message body: out of step: 250 taken"));
}

TEST_P(ClientLossTest, AcceptanceBegunAmidTheBodyIsInDoubt) {
  Awaits(ClientState::kBody);
  peer.Replies("250 ta");
  peer.SendsBody();
  peer.Replies("ken\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message in doubt at the final dot (host)",
                                       "close: the final dot: out of step: 250 taken"));
}

TEST_P(ClientLossTest, GoAheadToTheDotIsInDoubt) {
  Awaits(ClientState::kDot);
  peer.Replies("354 go\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message in doubt at the final dot (host)",
                                       "close: the final dot: out of step: 354 go"));
}

// --- 421.

TEST_P(ClientLossTest, ClosingReplyOnAFreshSessionIsTheHosts) {
  for (const ClientState state : {ClientState::kMail, ClientState::kRcpt, ClientState::kData,
                                  ClientState::kBody, ClientState::kDot}) {  // H1
    Awaits(state);
    peer.Replies("421 4.3.2 closing\r\n");
    const absl::string_view name = SpecOf(state).name;
    EXPECT_THAT(peer.Seen(),
                ElementsAre(absl::StrCat("message refused at ", name, " (host): 421 4.3.2 closing"),
                            absl::StrCat("close: ", name, ": 421 4.3.2 closing")));
    EXPECT_EQ(peer.session().close_reply().code, 421);
    peer.Closes();
    EXPECT_THAT(peer.Seen(), ElementsAre());
  }
}

TEST_P(ClientLossTest, ClosingReplyOnAReusedSessionLosesIt) {  // X2
  for (int answered = 0; answered < 3; ++answered) {
    AwaitsMailOnReusedSession();
    for (int i = 0; i < answered; ++i) peer.Replies("250 ok\r\n");
    const absl::string_view name = SpecOf(peer.session().state()).name;
    peer.Replies("421 idle too long\r\n");
    EXPECT_THAT(peer.Seen(),
                ElementsAre(absl::StrCat("message lost at ", name, " (host): 421 idle too long"),
                            absl::StrCat("close: ", name, ": 421 idle too long")));
  }
}

TEST_P(ClientLossTest, ClosingReplyToTheDotOfAReusedSessionIsARefusal) {
  AwaitsMailOnReusedSession();
  for (const absl::string_view reply : {"250 ok\r\n", "250 ok\r\n", "354 go\r\n"}) {
    peer.Replies(reply);
  }
  peer.SendsBody();
  peer.Replies("421 closing\r\n");
  EXPECT_THAT(peer.Seen(),
              ElementsAre("send body", "message refused at the final dot (host): 421 closing",
                          "close: the final dot: 421 closing"));
}

TEST_P(ClientLossTest, ClosingReplyWhileIdleIsQuiet) {
  Awaits(ClientState::kIdle);
  peer.Replies("421 4.4.2 idle\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("close: idle: 421 4.4.2 idle"));
  EXPECT_EQ(peer.session().close_reply().code, 421);
}

// --- Unasked (P4).

TEST_P(ClientLossTest, UnaskedWhileIdle) {
  for (const absl::string_view reply : {"250 ok", "550 no", "354 go"}) {
    Awaits(ClientState::kIdle);
    peer.Replies(absl::StrCat(reply, "\r\n"));
    EXPECT_THAT(peer.Seen(), ElementsAre(absl::StrCat("close: idle: out of step: ", reply)));
  }
}

TEST_P(ClientLossTest, HalfALineUnaskedIsNotWaitedForLong) {
  Awaits(ClientState::kIdle);
  peer.Replies("25");
  EXPECT_EQ(peer.Left(), seconds(30));
  peer.Passes(seconds(30));
  EXPECT_THAT(peer.Seen(), ElementsAre("close: idle: sent half a line unasked"));
}

TEST_P(ClientLossTest, HalfALineUnaskedIsNoAnswerToMail) {
  Awaits(ClientState::kIdle);
  peer.Replies("25");
  peer.Offers({"b@y"});
  peer.Replies("0 ok\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("message lost at MAIL FROM (host)",
                                       "close: MAIL FROM: out of step: 250 ok"));
}

// --- What came with the last reply owed, in one piece.

TEST(ClientSurplus, AfterTheAnswerToTheDot) {
  for (const absl::string_view surplus : {"250 more\r\n", "rubbish\r\n"}) {
    ClientPeer peer;
    peer.Greets("PIPELINING");
    peer.Offers({"b@y"});
    peer.Replies("250 ok\r\n250 ok\r\n354 go\r\n");
    peer.SendsBody();
    peer.Seen();
    peer.Gives(absl::StrCat("250 taken\r\n", surplus));
    const std::vector<std::string> seen = peer.Seen();
    ASSERT_EQ(seen.size(), 2u);  // What was said stands; the session is not used again.
    EXPECT_EQ(seen[0], "message accepted: 250 taken");
    EXPECT_EQ(seen[1].substr(0, 11), "close: idle");
  }
}

TEST(ClientSurplus, HalfALineAfterTheAnswerIsNotReady) {
  ClientPeer peer;
  peer.Replies("220 mx\r\n");
  peer.Gives("250 mx\r\n2");
  EXPECT_THAT(peer.Seen(), ElementsAre());
  EXPECT_EQ(peer.Left(), seconds(30));
}

TEST(ClientSurplus, AnswersBeforeTheCommandLeft) {  // F07
  ClientPeer peer;
  peer.Gives("220 mx\r\n250 mx\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("close: EHLO: out of step: 250 mx"));
  EXPECT_EQ(peer.Sent(), "");
}

TEST(ClientSurplus, HalfAnAnswerBeforeTheCommandLeft) {
  ClientPeer peer;
  peer.Gives("220 mx\r\n250 m");
  EXPECT_EQ(peer.Sent(), "EHLO client.example\r\n");
  peer.Gives("x\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("close: EHLO: out of step: 250 mx"));
}

TEST(ClientSurplus, RefusalRightAfterTheGoAhead) {  // P6, in one piece with 354.
  ClientPeer peer;
  peer.Greets("PIPELINING");
  peer.Offers({"b@y"});
  peer.Gives("250 ok\r\n250 ok\r\n354 go\r\n550 changed my mind\r\n");
  EXPECT_THAT(peer.Seen(),
              ElementsAre("message refused at the message body (message): 550 changed my mind",
                          "close: the message body: refused the message before its end"));
}

TEST(ClientSurplus, ClosingReplyRightAfterTheGreeting) {
  ClientPeer peer;
  peer.Gives("220 mx\r\n421 too many connections\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("close: EHLO: 421 too many connections"));
}

// --- Bounded (F05).

TEST(ClientFlood, EndlessReplyEndsIt) {
  ClientPeer peer;
  for (int i = 0; i < 200; ++i) peer.Replies("220-hello\r\n");
  EXPECT_THAT(peer.Seen(), ElementsAre("close: the greeting: what the server sent is no reply"));
}

}  // namespace
}  // namespace sluice::smtp
