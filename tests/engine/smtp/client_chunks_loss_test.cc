// ClientSession when the session is lost under a message by BDAT (RFC 3030): nothing delivered
// before it has left, in doubt from its first command on, and never an answer that was not its own.

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
using ::testing::ElementsAre;
using ::testing::StartsWith;

class ClientChunksLossTest : public ClientChunksTest {};

INSTANTIATE_TEST_SUITE_P(Arrivals, ClientChunksLossTest,
                         testing::Values(Arrival::kWhole, Arrival::kByteByByte));

// --- Loss before it has left: nothing was delivered.

TEST_P(ClientChunksLossTest, LostWhileItWaits) {
  const auto expect_lost = [this] {
    EXPECT_THAT(peer.Seen(), ElementsAre(StartsWith("message lost at "), StartsWith("close: ")));
    EXPECT_EQ(peer.Sent(), "");
    EXPECT_FALSE(peer.session().lost_chunk());
    EXPECT_FALSE(peer.session().refuses_chunks());  // It has not seen it.
  };
  Offers();
  peer.Closes();
  expect_lost();
  Reuses();
  Offers();
  peer.Aborts();
  expect_lost();
  Reuses();
  Offers();
  peer.Gives("HTTP/1.1 400 Bad Request\r\n");
  expect_lost();
  Reuses();
  Offers();
  peer.Passes(minutes(30));
  expect_lost();
}

TEST_P(ClientChunksLossTest, AnAnswerThatCameFirstIsNotToMail) {
  for (const absl::string_view bytes :
       {"250 ok\r\n", "550 no\r\n", "354 go\r\n", "421 4.4.2 idle\r\n",
        "250 ok\r\n250 ok\r\n250 taken\r\n", "250-half\r\n250 ok\r\n"}) {
    LosesUnsent(bytes);
  }
}

TEST_P(ClientChunksLossTest, NorIsOneThatBeganFirst) {
  Offers();
  peer.Replies("25");
  peer.SendsBody();
  EXPECT_EQ(peer.Sent(), kByBdat);
  peer.Replies("0 ok\r\n250 ok\r\n250 taken\r\n");
  EndsWith("in doubt", "MAIL FROM", "out of step: 250 ok");
}

TEST_P(ClientChunksLossTest, NorIsOneThatBeganWhileIdle) {
  peer.Replies("25");
  peer.Offers({"b@y"}, {.at_once = true});
  if (peer.session().chunk_waits()) peer.SendsBody();
  peer.Replies("0 ok\r\n250 ok\r\n250 taken\r\n");
  std::vector<std::string> seen = peer.Seen();
  std::erase(seen, "send body");
  EXPECT_THAT(seen, ElementsAre(testing::AnyOf(StartsWith("message lost at MAIL FROM"),
                                               StartsWith("message in doubt at MAIL FROM")),
                                "close: MAIL FROM: out of step: 250 ok"));
  EXPECT_EQ(peer.session().chunks_taken(), 0u);
}

// --- Loss after it has left: possibly delivered, whatever was answered by then.

TEST_P(ClientChunksLossTest, ClosedUnderIt) {
  for (const Step& step : kSteps) {
    for (const absl::string_view half : {"", "250 ta"}) {
      Reuses();
      Sends();
      peer.Replies(step.replies);
      peer.Replies(half);
      peer.Closes();
      EndsWith("in doubt", step.state, "the connection was lost");
      EXPECT_TRUE(peer.session().lost_chunk());
      EXPECT_FALSE(peer.session().refuses_chunks());
    }
  }
}

TEST_P(ClientChunksLossTest, AbortedUnderIt) {
  for (const Step& step : kSteps) {
    Reuses();
    Sends();
    peer.Replies(step.replies);
    peer.Aborts();
    EndsWith("in doubt", step.state, "closed by us");
  }
}

TEST_P(ClientChunksLossTest, NoReplyUnderIt) {
  for (const Step& step : kSteps) {
    Reuses();
    Sends();
    peer.Replies(step.replies);
    peer.Gives("HTTP/1.1 400 Bad Request\r\n");
    EndsWith("in doubt", step.state, "what the server sent is no reply");
    EXPECT_TRUE(peer.session().lost_chunk());
  }
}

TEST_P(ClientChunksLossTest, SilenceUnderIt) {  // X4
  for (const Step& step : kSteps) {
    Reuses();
    Sends();
    peer.Replies(step.replies);
    EXPECT_EQ(peer.Left(), step.timeout) << step.state;
    peer.Passes(step.timeout - Duration(1));
    EXPECT_THAT(peer.Seen(), ElementsAre());
    EXPECT_FALSE(peer.session().refuses_chunks());
    peer.Passes(Duration(1));
    EndsWith("in doubt", step.state, "no answer in time");
    EXPECT_TRUE(peer.session().lost_chunk());
    EXPECT_TRUE(peer.session().refuses_chunks()) << step.state;
  }
}

// RFC 5321 4.5.3.2.2: the server's five minutes begin when MAIL leaves.
TEST_P(ClientChunksLossTest, ItsTimeBeginsWhereItLeaves) {
  Offers();
  peer.Passes(minutes(4));
  peer.SendsBody();
  EXPECT_EQ(peer.Left(), minutes(5));
}

TEST_P(ClientChunksLossTest, SomeRecipientsRefusedAndThenLost) {
  Sends({"b@y", "c@y"});
  peer.Replies("250 ok\r\n550 no\r\n250 ok\r\n");
  peer.Closes();
  EXPECT_THAT(peer.Seen(), ElementsAre("refused 0: 550 no", "message in doubt at BDAT (host)",
                                       "close: BDAT: the connection was lost"));
}

// The first is refused and the second not answered: it may have been taken.
TEST_P(ClientChunksLossTest, LostAmidTheRecipients) {
  Sends({"b@y", "c@y"});
  peer.Replies("250 ok\r\n550 no\r\n");
  peer.Closes();
  EXPECT_THAT(peer.Seen(), ElementsAre("refused 0: 550 no", "message in doubt at RCPT TO (host)",
                                       "close: RCPT TO: the connection was lost"));
}

TEST_P(ClientChunksLossTest, LostAfterTheVerdictIsNotInDoubt) {
  Sends();
  peer.Replies("250 ok\r\n550 no\r\n");
  peer.Closes();
  EXPECT_THAT(peer.Seen(),
              ElementsAre("refused 0: 550 no", "message refused at RCPT TO (recipient): 550 no",
                          "close: BDAT: the connection was lost"));
  Reuses();
  Sends();
  peer.Replies("450 no\r\n503 no\r\n");
  peer.Passes(minutes(10));
  EXPECT_THAT(peer.Seen(), ElementsAre("message refused at MAIL FROM (message): 450 no",
                                       "close: BDAT: no answer in time"));
}

TEST_P(ClientChunksLossTest, LostInResetIsNoLossOfTheMessage) {
  Sends();
  peer.Replies("250 ok\r\n250 ok\r\n554 no\r\n");
  peer.Closes();
  EXPECT_THAT(peer.Seen(), ElementsAre("message refused at BDAT (message): 554 no",
                                       "close: RSET: the connection was lost"));
  EXPECT_FALSE(peer.session().lost_chunk());
}

// It has answered BDAT by then.
TEST_P(ClientChunksLossTest, SilenceBehindItSaysNothingOfIt) {
  Sends();
  peer.Replies("250 ok\r\n250 ok\r\n554 no\r\n");
  peer.Passes(minutes(10));  // In RSET.
  EXPECT_EQ(peer.session().state(), ClientState::kClosed);
  EXPECT_FALSE(peer.session().refuses_chunks());
  EXPECT_FALSE(peer.session().lost_chunk());
  Reuses();
  TakesByBdat();
  peer.Replies("25");
  peer.Passes(minutes(10));
  EXPECT_EQ(peer.session().state(), ClientState::kClosed);
  EXPECT_FALSE(peer.session().refuses_chunks());
  EXPECT_FALSE(peer.session().lost_chunk());
}

TEST_P(ClientChunksLossTest, NothingAfterTheEnd) {
  Sends();
  peer.Closes();
  peer.Seen();
  peer.Replies("250 ok\r\n250 ok\r\n250 taken\r\n");
  peer.SendsPiece();
  peer.SendsBody();
  peer.Passes(minutes(60));
  peer.Closes();
  peer.Aborts();
  EXPECT_THAT(peer.Seen(), ElementsAre());
  EXPECT_EQ(peer.Sent(), "");
  EXPECT_EQ(peer.session().chunks_taken(), 0u);
}

}  // namespace
}  // namespace sluice::smtp
