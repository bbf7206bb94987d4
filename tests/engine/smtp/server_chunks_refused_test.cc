// BDAT (RFC 3030) where it is refused: out of order, by the owner, or for what the chunks hold.
// Their octets are swallowed in every case, and none is ever read as a command.

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/smtp/server_chunks.h"

namespace sluice::smtp {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;

// --- The order of commands.

// RFC 3030 2: whatever is wrong with a chunk, its octets are discarded.
TEST(ServerBdatOrder, SwallowsTheOctetsOfAChunkThatIsOutOfOrder) {
  constexpr absl::string_view kOctets =
      "\r\n.\r\nMAIL FROM:<evil@x.example>\r\nRCPT TO:<v@y.example>\r\nDATA\r\nQUIT\r\n";
  struct Case {
    absl::string_view before;
    absl::string_view reply;
  };
  for (const Case& each :
       {Case{"", "503 5.5.1 Send EHLO first\r\n"},
        {"HELO c\r\n", "503 5.5.1 Send EHLO first\r\n"},
        {"HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@y.example>\r\n", "503 5.5.1 Send EHLO first\r\n"},
        {"EHLO c\r\n", kOutOfOrder},
        {"EHLO c\r\nMAIL FROM:<>\r\n", "554 5.5.1 No valid recipients\r\n"},
        {"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<bad>\r\n", "554 5.5.1 No valid recipients\r\n"}}) {
    for (const std::string& chunk : {Chunk(kOctets), LastChunk(kOctets)}) {
      const Transcript transcript = Talk(absl::StrCat(each.before, chunk, "NOOP\r\n"));
      EXPECT_EQ(SaidAfter(transcript, each.before), absl::StrCat(each.reply, kOk));
      EXPECT_TRUE(transcript.asked.empty());
    }
  }
}

// A message that lacks its first chunk must not be taken.
TEST(ServerBdatOrder, LeavesTheTransactionFailedWithoutARecipient) {
  constexpr absl::string_view kNobody = "EHLO c\r\nMAIL FROM:<>\r\n";
  const Transcript transcript =
      Talk(absl::StrCat(kNobody, Chunk("ab\r\n"), "RCPT TO:<b@y.example>\r\n", LastChunk("cd\r\n"),
                        "RSET\r\nMAIL FROM:<>\r\nRCPT TO:<b@y.example>\r\n", LastChunk("cd\r\n")));
  EXPECT_EQ(SaidAfter(transcript, kNobody),
            absl::StrCat("554 5.5.1 No valid recipients\r\n", kOutOfOrder, kOutOfOrder, kOk,
                         "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n", kTaken));
  ASSERT_EQ(transcript.accepted.size(), 1u);
  EXPECT_EQ(transcript.accepted[0].body, "cd\r\n");
}

// C48.
TEST(ServerBdatOrder, HasNothingElseOfATransactionBetweenChunks) {
  ServerSession::Options options = WithChunks();
  options.offer_starttls = true;
  const Transcript transcript = Deliver(
      absl::StrCat(Chunk("ab"), "RCPT TO:<c@y.example>\r\nDATA\r\nMAIL FROM:<>\r\nSTARTTLS\r\n",
                   "NOOP\r\nVRFY x\r\n", LastChunk("cd\r\n")),
      options);
  EXPECT_THAT(transcript.said,
              EndsWith(absl::StrCat(Received(2), kOutOfOrder, kOutOfOrder, kOutOfOrder, kOutOfOrder,
                                    kOk, "252 2.5.0 Cannot VRFY user, but will accept message and ",
                                    "attempt delivery\r\n", kTaken)));
  ASSERT_EQ(transcript.accepted.size(), 1u);
  EXPECT_EQ(transcript.accepted[0].body, "abcd\r\n");
  EXPECT_EQ(transcript.accepted[0].envelope.recipients.size(), 1u);
}

TEST(ServerBdatOrder, DropsWhatCameWhenTheTransactionIsGivenUp) {
  for (const absl::string_view end : {"RSET\r\n", "EHLO d\r\n", "HELO d\r\n"}) {
    const Transcript transcript =
        Deliver(absl::StrCat(Chunk(".ab"), end, LastChunk("NOOP\r\n"), "EHLO c\r\nMAIL FROM:<>\r\n",
                             "RCPT TO:<c@y.example>\r\n", LastChunk("cd\r\n")));
    EXPECT_THAT(transcript.dropped_bodies, ElementsAre("..ab"));
    ASSERT_EQ(transcript.accepted.size(), 1u);
    EXPECT_EQ(transcript.accepted[0].body, "cd\r\n");
    EXPECT_EQ(transcript.accepted[0].envelope.sender, "");
  }
  const Transcript nothing = Deliver("RSET\r\n");
  EXPECT_TRUE(nothing.dropped_bodies.empty());
}

TEST(ServerBdatOrder, MayEndBetweenChunks) {
  const Transcript transcript = Deliver(absl::StrCat(Chunk("ab"), "QUIT\r\n"));
  EXPECT_EQ(SaidAfter(transcript), absl::StrCat(Received(2), kBye));
  EXPECT_TRUE(transcript.closed);
  EXPECT_TRUE(transcript.accepted.empty());
}

TEST(ServerBdatOrder, HasNoChunkBehindTheLast) {
  EXPECT_EQ(Replies(absl::StrCat(LastChunk("ab\r\n"), LastChunk("QUIT\r\n"), "NOOP\r\n")),
            absl::StrCat(kTaken, kOutOfOrder, kOk));
}

TEST(ServerBdatOrder, MayFollowARefusedData) {
  ServerSession session;
  session.Begin(WithChunks());
  const std::string text = absl::StrCat(kEnvelope, "DATA\r\n", LastChunk("ab"));
  absl::string_view input = text;
  EXPECT_EQ(session.Next(input), ServerEvent::kData);
  session.Refuse("451 4.3.0 later");
  EXPECT_EQ(session.Next(input), ServerEvent::kData);
}

// --- Refused by the owner.

Transcript DeliverToRefuser(ServerEvent refused, absl::string_view reply,
                            absl::string_view chunks) {
  return ServerDialogue(WithChunks())
      .InPiecesOfEverySize()
      .Answering([&](ServerEvent event, ServerSession& session) {
        const bool first = session.envelope().sender == "a@x.example";
        return event == refused && first ? std::string(reply) : std::string();
      })
      .Talk(absl::StrCat(kEnvelope, chunks));
}

TEST(ServerBdatRefused, FailsTheTransactionUntilRset) {
  const std::string chunks =
      absl::StrCat(Chunk("QUIT\r\n"), Chunk("QUIT\r\n"), LastChunk("QUIT\r\n"), "DATA\r\n",
                   "RCPT TO:<c@y.example>\r\nMAIL FROM:<>\r\nNOOP\r\nRSET\r\n");
  const Transcript transcript = DeliverToRefuser(
      ServerEvent::kData, "452 4.3.1 Full",
      absl::StrCat(chunks, "MAIL FROM:<>\r\nRCPT TO:<c@y.example>\r\n", LastChunk("ab\r\n")));
  EXPECT_EQ(SaidAfter(transcript),
            absl::StrCat("452 4.3.1 Full\r\n", kOutOfOrder, kOutOfOrder, kOutOfOrder, kOutOfOrder,
                         kOutOfOrder, kOk, kOk, "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n", kTaken));
  EXPECT_TRUE(transcript.dropped_bodies.empty());
  ASSERT_EQ(transcript.accepted.size(), 1u);
  EXPECT_EQ(transcript.accepted[0].body, "ab\r\n");
}

// RFC 3030 2: "before sending the appropriate 5XX or 4XX code".
TEST(ServerBdatRefused, IsToldWhenTheOctetsHaveCome) {
  ServerSession session;
  session.Begin(WithChunks());
  const std::string text = absl::StrCat(kEnvelope, "BDAT 4 LAST\r\n");
  absl::string_view input = text;
  ASSERT_EQ(session.Next(input), ServerEvent::kData);
  session.ClearOutput();
  session.Refuse("452 4.3.1 Full");
  input = "abc";
  EXPECT_EQ(session.Next(input), ServerEvent::kNeedInput);
  EXPECT_TRUE(session.in_data());
  EXPECT_EQ(session.output(), "");
  input = "d";
  EXPECT_EQ(session.Next(input), ServerEvent::kNeedInput);
  EXPECT_FALSE(session.in_data());
  EXPECT_EQ(session.output(), "452 4.3.1 Full\r\n");
}

TEST(ServerBdatRefused, MayBeEmpty) {
  EXPECT_EQ(SaidAfter(DeliverToRefuser(ServerEvent::kData, "452 4.3.1 Full",
                                       "BDAT 0 LAST\r\nBDAT 0\r\n")),
            absl::StrCat("452 4.3.1 Full\r\n", kOutOfOrder));
}

TEST(ServerBdatRefused, ClosesWith421) {
  const Transcript transcript =
      DeliverToRefuser(ServerEvent::kData, "421 4.3.2 Down", Chunk("NOOP\r\n"));
  EXPECT_EQ(SaidAfter(transcript), "421 4.3.2 Down\r\n");
  EXPECT_TRUE(transcript.closed);
  EXPECT_EQ(transcript.unread, "NOOP\r\n");
}

TEST(ServerBdatRefused, AtTheEndEndsTheTransaction) {
  const Transcript transcript = DeliverToRefuser(
      ServerEvent::kMessage, "554 5.6.0 no",
      absl::StrCat(Chunk("ab"), LastChunk("QUIT\r\n"), LastChunk("QUIT\r\n"), "MAIL FROM:<>\r\n"));
  EXPECT_EQ(SaidAfter(transcript),
            absl::StrCat(Received(2), "554 5.6.0 no\r\n", kOutOfOrder, "250 2.1.0 Ok\r\n"));
}

// --- Refused by the session.

struct BadContent {
  std::string octets;
  absl::string_view reply;
};

std::vector<BadContent> BadContents() {
  return {{"a\nb\r\n", "550 5.6.0 Message holds a LF without CR\r\n"},
          {"\n", "550 5.6.0 Message holds a LF without CR\r\n"},
          {"\n.\r\n", "550 5.6.0 Message holds a LF without CR\r\n"},
          {"a\rb\r\n", "550 5.6.0 Message holds a CR without LF\r\n"},
          {std::string("a\0b\r\n", 5), "550 5.6.0 Message holds a NUL\r\n"},
          {std::string(999, 'x'), "550 5.6.0 Message holds a line that is too long\r\n"},
          {"Received: a\r\nReceived: b\r\nReceived: c\r\n",
           "554 5.4.6 Too many hops: the message loops\r\n"},
          {std::string(2000, '.'), "552 5.3.4 Message size exceeds the limit\r\n"}};
}

ServerSession::Options Strict() {
  ServerSession::Options options = WithChunks();
  options.received_hops_max = 2;
  options.message_bytes_max = 1500;
  return options;
}

TEST(ServerChunkContent, IsRefusedInTheLastChunk) {
  for (const BadContent& bad : BadContents()) {
    const Transcript transcript = ServerDialogue(Strict()).Talk(
        absl::StrCat(kEnvelope, LastChunk(bad.octets), "NOOP\r\n", "MAIL FROM:<>\r\n"));
    EXPECT_THAT(transcript.said,
                EndsWith(absl::StrCat("2.1.5 Ok\r\n", bad.reply, kOk, "250 2.1.0 Ok\r\n")));
    EXPECT_EQ(transcript.dropped_bodies.size(), 1u);
    EXPECT_TRUE(transcript.accepted.empty());
  }
}

// C45.
TEST(ServerChunkContent, IsRefusedInAnEarlierChunkAndFailsTheTransaction) {
  for (const BadContent& bad : BadContents()) {
    const Transcript transcript = ServerDialogue(Strict()).Talk(absl::StrCat(
        kEnvelope, Chunk(bad.octets), Chunk("QUIT\r\n"), LastChunk("QUIT\r\n"),
        "DATA\r\nRSET\r\nMAIL FROM:<>\r\nRCPT TO:<c@y.example>\r\n", LastChunk("ab\r\n")));
    EXPECT_THAT(
        transcript.said,
        EndsWith(absl::StrCat("2.1.5 Ok\r\n", bad.reply, kOutOfOrder, kOutOfOrder, kOutOfOrder, kOk,
                              "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n", kTaken)));
    EXPECT_EQ(transcript.dropped_bodies.size(), 1u);
    ASSERT_EQ(transcript.accepted.size(), 1u);
    EXPECT_EQ(transcript.accepted[0].body, "ab\r\n");
  }
}

TEST(ServerChunkContent, MayHaveItsLineEndsPartedByChunks) {
  const Transcript transcript =
      Deliver(absl::StrCat(Chunk("ab\r"), Chunk("\n.c\r\n"), Chunk("."), LastChunk("\r\n")));
  ASSERT_EQ(transcript.accepted.size(), 1u);
  EXPECT_EQ(transcript.accepted[0].body, "ab\r\n..c\r\n..\r\n");
  EXPECT_THAT(Replies(absl::StrCat(Chunk("ab\r"), LastChunk("c\r\n"))),
              EndsWith("550 5.6.0 Message holds a CR without LF\r\n"));
  EXPECT_EQ(Replies(LastChunk("ab\r")), "550 5.6.0 Message holds a CR without LF\r\n");
}

TEST(ServerChunkContent, IsCountedOverAllChunks) {
  ServerSession::Options options = WithChunks();
  options.message_bytes_max = 10;
  EXPECT_EQ(Deliver(absl::StrCat(Chunk("..34"), LastChunk("5678\r\n")), options).accepted.size(),
            1u);
  const Transcript over =
      Deliver(absl::StrCat(Chunk("..34"), Chunk("56789"), LastChunk("\r\n")), options);
  EXPECT_THAT(over.said, EndsWith(absl::StrCat(Received(4), Received(5),
                                               "552 5.3.4 Message size exceeds the limit\r\n")));
  EXPECT_TRUE(over.accepted.empty());
  EXPECT_THAT(Deliver(absl::StrCat(Chunk("1234567890"), Chunk("1")), options).said,
              EndsWith(absl::StrCat(Received(10), "552 5.3.4 Message size exceeds the limit\r\n")));
}

TEST(ServerChunkContent, IsNotHandedOutBeyondTheLimit) {
  ServerSession::Options options = WithChunks();
  options.message_bytes_max = 10;
  const std::string lines = absl::StrCat("ab\r\n.c\r\n", std::string(10'000, 'x'));
  const Transcript transcript =
      ServerDialogue(options).Talk(absl::StrCat(kEnvelope, Chunk(lines), "NOOP\r\n"));
  EXPECT_THAT(transcript.said,
              EndsWith(absl::StrCat("552 5.3.4 Message size exceeds the limit\r\n", kOk)));
  ASSERT_EQ(transcript.dropped_bodies.size(), 1u);
  EXPECT_LE(transcript.dropped_bodies[0].size(), 11u);  // With a stuffed dot.
}

// RFC 3030 2: the server is prepared to discard what was in the pipeline.
TEST(ServerChunkContent, FailedMayHaveAnyNumberOfChunksBehindIt) {
  std::string chunks = Chunk("\n");
  std::string replies = "550 5.6.0 Message holds a LF without CR\r\n";
  for (int i = 0; i < 50; ++i) {
    absl::StrAppend(&chunks, Chunk("QUIT\r\n"));
    absl::StrAppend(&replies, kOutOfOrder);
  }
  const Transcript transcript = ServerDialogue(WithChunks()).Talk(absl::StrCat(kEnvelope, chunks));
  EXPECT_EQ(SaidAfter(transcript), replies);
  EXPECT_FALSE(transcript.closed);
}

TEST(ServerChunkContent, WithoutMailIsABadCommandEachTime) {
  std::string chunks = "EHLO c\r\n";
  for (int i = 0; i < 21; ++i) absl::StrAppend(&chunks, Chunk("NOOP\r\n"));
  const Transcript transcript = ServerDialogue(WithChunks()).Talk(chunks);
  EXPECT_THAT(transcript.said, EndsWith("421 4.7.0 mx.example.net Too many bad commands\r\n"));
  EXPECT_TRUE(transcript.closed);
}
}  // namespace
}  // namespace sluice::smtp
