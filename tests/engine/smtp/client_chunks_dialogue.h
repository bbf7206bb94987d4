// The words for tests of messages that leave by BDAT in ClientSession: dialogues that have come so
// far.

#pragma once

#include <array>
#include <chrono>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "client_peer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice::smtp {

inline constexpr absl::string_view kOffered = "PIPELINING,CHUNKING";
inline constexpr absl::string_view kByData = "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n";
inline constexpr absl::string_view kByBdat =
    "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nBDAT 1000 LAST\r\n";

// How far the server has answered a message to one recipient, and the state that it is in then.
struct Step {
  absl::string_view replies;
  absl::string_view state;
  Duration timeout;
};
inline constexpr Step kSteps[] = {{"", "MAIL FROM", std::chrono::minutes(5)},
                                  {"250 ok\r\n", "RCPT TO", std::chrono::minutes(5)},
                                  {"250 ok\r\n250 ok\r\n", "BDAT", std::chrono::minutes(10)}};

class ClientChunksTest : public testing::TestWithParam<Arrival> {
 protected:
  ClientChunksTest() { Reuses(); }

  // A new session that has had a message taken, by DATA.
  void Reuses(absl::string_view keywords = kOffered, bool may_pipeline = true) {
    peer.Sent();
    peer.Seen();
    peer.Begins(may_pipeline);
    peer.Greets(keywords);
    TakesByData();
  }
  // Though all of it could be sent at once.
  void TakesByData() {
    OffersByData();
    for (const absl::string_view reply : {"250 ok\r\n", "250 ok\r\n", "354 go\r\n"}) {
      peer.Replies(reply);
    }
    peer.SendsBody();
    peer.Replies("250 taken\r\n");
    EXPECT_THAT(peer.Seen(),
                testing::ElementsAre("send body", "message accepted: 250 taken", "ready"));
    peer.Sent();
  }
  void OffersByData() {
    peer.Offers({"b@y"}, {.at_once = true});
    EXPECT_FALSE(peer.session().chunked());
    EXPECT_FALSE(peer.session().chunk_waits());
    EXPECT_THAT(peer.Seen(), testing::ElementsAre());  // No body before 354.
  }
  // The next one is offered, and nothing of it has left.
  void Offers(const std::vector<std::string>& recipients = {"b@y"}) {
    peer.Offers(recipients, {.at_once = true});
    EXPECT_TRUE(peer.session().chunked());
    EXPECT_TRUE(peer.session().chunk_waits());
    EXPECT_THAT(peer.Seen(), testing::ElementsAre("send body"));
    EXPECT_EQ(peer.Sent(), "");
  }
  // And it has left.
  void Sends(const std::vector<std::string>& recipients = {"b@y"}) {
    Offers(recipients);
    peer.SendsBody();
    EXPECT_THAT(peer.Sent(), testing::AllOf(testing::StartsWith("MAIL "),
                                            testing::HasSubstr("\r\nBDAT 1000 LAST\r\n")));
    EXPECT_TRUE(peer.session().chunked());
    EXPECT_FALSE(peer.session().chunk_waits());
    EXPECT_THAT(peer.Seen(), testing::ElementsAre());
  }
  void TakesByBdat() {
    Sends();
    peer.Replies("250 ok\r\n250 ok\r\n250 taken\r\n");
    EXPECT_THAT(peer.Seen(), testing::ElementsAre("message accepted: 250 taken", "ready"));
    EXPECT_EQ(peer.Sent(), "");
  }
  // All that was said of the message is known: RSET, and the session is ready.
  void Resets() {
    EXPECT_EQ(peer.Sent(), "RSET\r\n");
    EXPECT_THAT(peer.Seen(), testing::ElementsAre());
    peer.Replies("250 reset\r\n");
    EXPECT_THAT(peer.Seen(), testing::ElementsAre("ready"));
  }
  // "message <outcome> at the state" and the close, which says `why`.
  void EndsWith(absl::string_view outcome, absl::string_view state, absl::string_view why) {
    EXPECT_THAT(peer.Seen(),
                testing::ElementsAre(absl::StrCat("message ", outcome, " at ", state, " (host)"),
                                     absl::StrCat("close: ", state, ": ", why)));
    EXPECT_EQ(peer.Sent(), "");
    EXPECT_EQ(peer.session().state(), ClientState::kClosed);
  }
  // What comes while nothing of the message has left is none of its answers.
  void LosesUnsent(absl::string_view bytes) {
    Reuses();
    Offers();
    peer.Replies(bytes);
    EXPECT_THAT(peer.Seen(), testing::ElementsAre(testing::StartsWith("message lost at "),
                                                  testing::StartsWith("close: ")))
        << bytes;
    EXPECT_EQ(peer.Sent(), "");
    EXPECT_EQ(peer.session().chunks_taken(), 0u);
    EXPECT_FALSE(peer.session().lost_chunk());
    peer.SendsBody();  // It was on its way to the kernel.
    EXPECT_THAT(peer.Seen(), testing::ElementsAre());
    EXPECT_EQ(peer.Sent(), "");
  }
  bool MayOfferAhead() {
    const EnvelopeRecipient recipient = {.address = "d@y"};
    const std::array<const EnvelopeRecipient*, 1> recipients = {&recipient};
    return peer.session().MayOfferAhead(
        {.sender = "n@x", .recipients = recipients, .body_bytes = 1000, .at_once = true});
  }

  ClientPeer peer{GetParam()};
};

}  // namespace sluice::smtp
