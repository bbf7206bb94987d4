// BDAT (RFC 3030) where nothing is refused: what becomes of the octets, how the command may be
// written, and the session's states. What is handed out is held against the message as DATA would
// carry it, stuffed by the model below.

#include <cstdint>
#include <limits>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/smtp/server_chunks.h"

namespace sluice::smtp {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

// The model: as DATA carries it, without the end.
std::string AsDataCarriesIt(absl::string_view message) {
  std::string text;
  bool line_start = true;
  for (size_t i = 0; i < message.size(); ++i) {
    if (line_start && message[i] == '.') text += '.';
    text += message[i];
    line_start = absl::EndsWith(text, "\r\n");
  }
  if (!line_start) text += "\r\n";
  return text;
}

bool HasBareEnd(absl::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && (i + 1 == text.size() || text[i + 1] != '\n')) return true;
    if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r')) return true;
  }
  return false;
}

// --- The offer.

TEST(ServerChunking, IsOfferedWhereTheOptionsSaySo) {
  EXPECT_THAT(Talk("EHLO c\r\n").said, HasSubstr("250-CHUNKING\r\n"));
  EXPECT_THAT(Talk("HELO c\r\n").said, Not(HasSubstr("CHUNKING")));
  EXPECT_THAT(Talk("EHLO c\r\n", LocalClient()).said, Not(HasSubstr("CHUNKING")));
}

TEST(ServerChunking, IsNotImplementedWhereItIsNotOffered) {
  const Transcript transcript =
      Deliver("BDAT 6 LAST\r\nNOOP\r\nBDAT x\r\nBDAT \1\r\n", LocalClient());
  EXPECT_THAT(transcript.said,
              EndsWith("250 2.1.5 Ok\r\n502 5.5.1 Command not implemented\r\n250 2.0.0 Ok\r\n"
                       "502 5.5.1 Command not implemented\r\n"
                       "500 5.5.2 Syntax error: control character or invalid UTF-8\r\n"));
  EXPECT_FALSE(transcript.closed);
}

// --- What becomes of the octets.

TEST(ServerChunks, AreAMessage) {
  const Transcript transcript =
      Deliver(absl::StrCat(Chunk("Subject: x\r\n\r"), Chunk("\nabc"), LastChunk("d\r\n")));
  EXPECT_EQ(SaidAfter(transcript), absl::StrCat(Received(13), Received(4), kTaken));
  ASSERT_EQ(transcript.accepted.size(), 1u);
  EXPECT_EQ(transcript.accepted[0].body, "Subject: x\r\n\r\nabcd\r\n");
  EXPECT_EQ(transcript.accepted[0].message_bytes, 20u);
  EXPECT_EQ(transcript.accepted[0].envelope.recipients.size(), 1u);
  EXPECT_THAT(transcript.asked, ElementsAre(ServerEvent::kData, ServerEvent::kMessage));
}

TEST(ServerChunks, MayBeOne) {
  const Transcript transcript = Deliver(absl::StrCat(LastChunk("caf\xc3\xa9\r\n"), "NOOP\r\n"));
  EXPECT_EQ(SaidAfter(transcript), absl::StrCat(kTaken, kOk));
  ASSERT_EQ(transcript.accepted.size(), 1u);
  EXPECT_EQ(transcript.accepted[0].body, "caf\xc3\xa9\r\n");
  EXPECT_TRUE(transcript.accepted[0].eight_bit);
}

// C46.
TEST(ServerChunks, MayBeEmpty) {
  for (const absl::string_view last : {"BDAT 0 LAST\r\n", "BDAT 00 LAST\r\n"}) {
    const Transcript only = Deliver(last);
    EXPECT_EQ(SaidAfter(only), kTaken);
    ASSERT_EQ(only.accepted.size(), 1u);
    EXPECT_EQ(only.accepted[0].body, "");
    EXPECT_EQ(only.accepted[0].message_bytes, 0u);
  }
  const Transcript behind = Deliver(absl::StrCat("BDAT 0\r\n", Chunk("ab\r\n"), "BDAT 0 LAST\r\n"));
  EXPECT_EQ(SaidAfter(behind), absl::StrCat(Received(0), Received(4), kTaken));
  ASSERT_EQ(behind.accepted.size(), 1u);
  EXPECT_EQ(behind.accepted[0].body, "ab\r\n");
}

TEST(ServerChunks, AreHandedOutAsDataWouldCarryThem) {
  const Transcript transcript =
      Deliver(absl::StrCat(Chunk("..\r\n.a\r\n"), Chunk("."), LastChunk("\r\n.\r\n.")));
  ASSERT_EQ(transcript.accepted.size(), 1u);
  const TakenMessage& message = transcript.accepted[0];
  EXPECT_EQ(message.body, "...\r\n..a\r\n..\r\n..\r\n..\r\n");
  EXPECT_EQ(message.stuffed_dots, 5u);
  EXPECT_EQ(message.message_bytes, message.body.size() - 5);
}

// Every message of up to five octets, parted into two chunks at every place.
TEST(ServerChunks, AreTheModelsForEveryShortMessage) {
  constexpr absl::string_view kAlphabet = "\r\n.a";
  for (size_t length = 0, count = 1; length <= 5; ++length, count *= kAlphabet.size()) {
    for (size_t number = 0; number < count; ++number) {
      std::string text;
      for (size_t i = 0, rest = number; i < length; ++i, rest /= kAlphabet.size()) {
        text += kAlphabet[rest % kAlphabet.size()];
      }
      for (size_t cut = 0; cut <= length; ++cut) {
        const std::string chunks =
            absl::StrCat(kEnvelope, Chunk(text.substr(0, cut)), LastChunk(text.substr(cut)));
        const Transcript transcript = ServerDialogue(WithChunks()).Talk(chunks);
        ASSERT_EQ(transcript.accepted.size(), HasBareEnd(text) ? 0u : 1u) << number << " " << cut;
        if (HasBareEnd(text)) continue;
        const TakenMessage& message = transcript.accepted[0];
        ASSERT_EQ(message.body, AsDataCarriesIt(text)) << number << " " << cut;
        ASSERT_EQ(message.message_bytes + message.stuffed_dots, message.body.size());
      }
    }
  }
}

TEST(ServerChunks, GetTheEndOfTheirLastLine) {
  const Transcript transcript = Deliver(LastChunk("abc"));
  ASSERT_EQ(transcript.accepted.size(), 1u);
  EXPECT_EQ(transcript.accepted[0].body, "abc\r\n");
  EXPECT_EQ(transcript.accepted[0].message_bytes, 5u);
}

// F01: nothing in a chunk ends it.
TEST(ServerChunks, HoldWhatLooksLikeCommands) {
  constexpr absl::string_view kSmuggled =
      "x\r\n.\r\nMAIL FROM:<evil@x.example>\r\nRCPT TO:<v@y.example>\r\nBDAT 3 LAST\r\nQUIT\r\n";
  for (const std::string& chunks :
       {LastChunk(kSmuggled), absl::StrCat(Chunk(kSmuggled), LastChunk("")),
        absl::StrCat(Chunk(kSmuggled.substr(0, 6)), LastChunk(kSmuggled.substr(6)))}) {
    const Transcript transcript = Deliver(absl::StrCat(chunks, "NOOP\r\n"));
    EXPECT_THAT(transcript.said, EndsWith(absl::StrCat(kTaken, kOk)));
    ASSERT_EQ(transcript.accepted.size(), 1u);
    EXPECT_EQ(transcript.accepted[0].body, AsDataCarriesIt(kSmuggled));
    EXPECT_EQ(transcript.accepted[0].envelope.sender, "a@x.example");
  }
}

TEST(ServerChunks, AreExactlyTheirOctets) {
  EXPECT_EQ(Replies("BDAT 4\r\nab\r\nBDAT 5 LAST\r\nNOOP\rNOOP\r\n"),
            absl::StrCat(Received(4), "550 5.6.0 Message holds a CR without LF\r\n", kOk));
}

TEST(ServerChunks, StartANewCountForEachMessage) {
  constexpr absl::string_view kSecond = "MAIL FROM:<>\r\nRCPT TO:<c@z.example>\r\n";
  const Transcript transcript =
      Deliver(absl::StrCat(Chunk("..\xff"), LastChunk("\r\n."), kSecond, LastChunk("plain\r\n"),
                           kSecond, "DATA\r\n", "..\r\n.\r\n"));
  ASSERT_EQ(transcript.accepted.size(), 3u);
  EXPECT_EQ(transcript.accepted[1].body, "plain\r\n");
  EXPECT_EQ(transcript.accepted[1].message_bytes, 7u);
  EXPECT_EQ(transcript.accepted[1].stuffed_dots, 0u);
  EXPECT_FALSE(transcript.accepted[1].eight_bit);
  EXPECT_EQ(transcript.accepted[2].body, "..\r\n");
}

TEST(ServerChunks, AreLentFromTheInput) {
  ServerSession session;
  session.Begin(WithChunks());
  const std::string text = absl::StrCat(kEnvelope, "BDAT 8 LAST\r\nab\r\n.c\r\nNOOP\r\n");
  absl::string_view input = text;
  ASSERT_EQ(session.Next(input), ServerEvent::kData);
  session.Accept();
  EXPECT_EQ(session.Next(input), ServerEvent::kBody);
  EXPECT_EQ(session.body_bytes().data() + session.body_bytes().size(), input.data());
  EXPECT_EQ(input, ".c\r\nNOOP\r\n");
  EXPECT_EQ(session.Next(input), ServerEvent::kBody);
  EXPECT_EQ(session.body_bytes(), ".");
  EXPECT_EQ(input, ".c\r\nNOOP\r\n");
  EXPECT_EQ(session.Next(input), ServerEvent::kBody);
  EXPECT_EQ(session.body_bytes(), ".c\r\n");
  EXPECT_EQ(session.Next(input), ServerEvent::kMessage);
  EXPECT_TRUE(session.chunked());
  EXPECT_EQ(input, "NOOP\r\n");
}

// --- The command.

TEST(ServerBdat, IsKnownInAnyCaseAndWithAnySpaces) {
  for (const absl::string_view line :
       {"bdat 3 last\r\n", "BDAT   3     LAST  \r\n", "Bdat 0003 Last\r\n", "BDAT 3 LAST \t\r\n"}) {
    EXPECT_EQ(Replies(absl::StrCat(line, "abc")), kTaken);
  }
}

// Where its octets end cannot be known: the session must end in any state.
TEST(ServerBdat, EndsTheSessionWhereItCannotBeParsed) {
  for (const absl::string_view argument : {"",
                                           " ",
                                           " LAST",
                                           " x",
                                           " -1",
                                           " +1",
                                           " 0x10",
                                           " 1 2",
                                           " 3 FIRST",
                                           " 3 LAST x",
                                           " 3,LAST",
                                           " 3LAST",
                                           " 1e3",
                                           " 3.0",
                                           " 18446744073709551616",
                                           " 99999999999999999999999999 LAST",
                                           "\t3",
                                           " 3\tLAST",
                                           " 3\n",
                                           " 3\1",
                                           " \xff"}) {
    for (const absl::string_view before : {absl::string_view(), absl::string_view("HELO c\r\n"),
                                           absl::string_view("EHLO c\r\n"), kEnvelope}) {
      const Transcript transcript =
          Talk(absl::StrCat(before, "BDAT", argument, "\r\nMAIL FROM:<evil@x.example>\r\n"));
      EXPECT_THAT(transcript.said, EndsWith(kBadArgument)) << argument;
      EXPECT_TRUE(transcript.closed);
      EXPECT_EQ(transcript.unread, "MAIL FROM:<evil@x.example>\r\n");
    }
  }
  EXPECT_EQ(Replies(absl::StrCat(Chunk("a"), "BDAT\r\nNOOP\r\n")),
            absl::StrCat(Received(1), kBadArgument));
}

TEST(ServerBdat, EndsTheSessionWhereItsLineIsTooLong) {
  const std::string zeros(kCommandLineBytesMax, '0');
  const Transcript transcript =
      ServerDialogue(WithChunks()).Talk(absl::StrCat(kEnvelope, "BDAT ", zeros, "6\r\nNOOP\r\n"));
  EXPECT_EQ(SaidAfter(transcript), "500 5.5.6 Line too long\r\n");
  EXPECT_TRUE(transcript.closed);
}

TEST(ServerBdat, CountsUpTo64Bits) {
  const std::string most = absl::StrCat(std::numeric_limits<uint64_t>::max());
  const Transcript transcript =
      Deliver(absl::StrCat("BDAT ", most, "\r\nNOOP\r\n\r\n.\r\nQUIT\r\n"));
  EXPECT_EQ(SaidAfter(transcript), "");
  EXPECT_FALSE(transcript.closed);
  EXPECT_EQ(SaidAfter(Talk(absl::StrCat("EHLO c\r\nBDAT ", most, " LAST\r\nNOOP\r\nQUIT\r\n")),
                      "EHLO c\r\n"),
            "");
}

// --- Pipelining (RFC 2920).

TEST(ServerBdatPipelining, AnswersInOrderAndInOnePiece) {
  ServerSession session;
  session.Begin(WithChunks());
  session.ClearOutput();
  const std::string text =
      absl::StrCat("EHLO c\r\n", "BDAT 3\r\nabc", "MAIL FROM:<>\r\nRCPT TO:<bad>\r\n",
                   "RCPT TO:<b@y.example>\r\n", Chunk("ab"), Chunk("cd"), "NOOP\r\n");
  absl::string_view input = text;
  EXPECT_EQ(session.Next(input), ServerEvent::kData);
  session.Accept();
  EXPECT_EQ(session.Next(input), ServerEvent::kBody);
  EXPECT_EQ(session.Next(input), ServerEvent::kBody);
  EXPECT_EQ(session.Next(input), ServerEvent::kNeedInput);
  EXPECT_THAT(std::string(session.output()),
              EndsWith(absl::StrCat("250 HELP\r\n", kOutOfOrder, "250 2.1.0 Ok\r\n",
                                    "501 5.1.3 Bad address: no domain\r\n250 2.1.5 Ok\r\n",
                                    Received(2), Received(2), kOk)));
}

TEST(ServerBdatPipelining, TakesTheNextTransactionBehindTheLastChunk) {
  const Transcript transcript =
      Deliver(absl::StrCat(LastChunk("one"), "MAIL FROM:<>\r\nRCPT TO:<c@z.example>\r\n",
                           LastChunk("two\r\n"), "QUIT\r\n"));
  EXPECT_EQ(SaidAfter(transcript),
            absl::StrCat(kTaken, "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n", kTaken, kBye));
  ASSERT_EQ(transcript.accepted.size(), 2u);
  EXPECT_EQ(transcript.accepted[0].body, "one\r\n");
  EXPECT_EQ(transcript.accepted[1].body, "two\r\n");
}

// --- States, and the end from outside.

// A session that has taken `text`, of which nothing was refused.
ServerSession SessionAfter(const std::string& text) {
  ServerSession session;
  session.Begin(WithChunks());
  absl::string_view input = text;
  for (;;) {
    const ServerEvent event = session.Next(input);
    if (event == ServerEvent::kData) session.Accept();
    if (event == ServerEvent::kNeedInput || event == ServerEvent::kMessage) break;
  }
  session.ClearOutput();
  return session;
}

TEST(ServerChunkState, IsDataWhileOctetsAreAwaited) {
  struct Case {
    std::string text;
    bool in_data;
    bool in_transaction;
  };
  for (const Case& each :
       {Case{absl::StrCat(kEnvelope, "BDAT 4\r\n"), true, true},
        {absl::StrCat(kEnvelope, "BDAT 4\r\nabc"), true, true},
        {absl::StrCat(kEnvelope, "BDAT 4\r\nabcd"), false, true},
        {absl::StrCat(kEnvelope, "BDAT 1\r\n\nBDAT 4\r\nabc"), true, true},
        {absl::StrCat(kEnvelope, "BDAT 1\r\n\n"), false, true},
        {absl::StrCat(kEnvelope, "BDAT 1\r\n\nRSET\r\n"), false, false},
        {absl::StrCat(kEnvelope, "BDAT 1 LAST\r\na"), true, true},  // The verdict is owed.
        {"BDAT 4\r\nabc", true, false},
        {"BDAT 4\r\nabcd", false, false}}) {
    const ServerSession session = SessionAfter(each.text);
    EXPECT_EQ(session.in_data(), each.in_data) << each.text;
    EXPECT_EQ(session.in_transaction(), each.in_transaction) << each.text;
  }
}

TEST(ServerChunkState, EndsWith421WhereverItIs) {
  for (const absl::string_view chunks :
       {"BDAT 4\r\nab", "BDAT 2\r\nab", "BDAT 1\r\n\nBDAT 4\r\nab", "BDAT 1\r\n\n"}) {
    for (const bool timeout : {true, false}) {
      ServerSession session = SessionAfter(absl::StrCat(kEnvelope, chunks));
      timeout ? session.Timeout() : session.ShutDown();
      absl::string_view input = "cd";
      EXPECT_EQ(session.Next(input), ServerEvent::kClose);
      EXPECT_EQ(input, "cd");
      EXPECT_EQ(session.output(), timeout
                                      ? "421 4.4.2 mx.example.net Timeout, closing connection\r\n"
                                      : "421 4.3.2 mx.example.net Service shutting down\r\n");
    }
  }
}

TEST(ServerChunkState, HasTheVerdictOnAMessageBeforeThe421) {
  ServerSession session = SessionAfter(absl::StrCat(kEnvelope, LastChunk("ab\r\n")));
  session.ShutDown();
  EXPECT_EQ(session.output(), "");
  session.AcceptMessage("17");
  absl::string_view input;
  EXPECT_EQ(session.Next(input), ServerEvent::kClose);
  EXPECT_EQ(session.output(),
            absl::StrCat(kTaken, "421 4.3.2 mx.example.net Service shutting down\r\n"));
}
}  // namespace
}  // namespace sluice::smtp
