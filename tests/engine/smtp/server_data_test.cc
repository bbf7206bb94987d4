// Messages as the server takes them: where the data ends, what is handed out, what is refused at
// its end, and pipelined groups. Bodies are written out here, or counted from what was sent.

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/smtp/server_dialogue.h"

namespace sluice::smtp {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

constexpr absl::string_view kEnvelope =
    "EHLO c\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n";

Transcript Deliver(absl::string_view data, ServerSession::Options options = LocalClient()) {
  return ServerDialogue(options).Talk(absl::StrCat(kEnvelope, data));
}

void ExpectRefused(absl::string_view data, absl::string_view reply,
                   ServerSession::Options options = LocalClient()) {
  const Transcript transcript = Deliver(absl::StrCat(data, "\r\n.\r\nNOOP\r\n"), options);
  EXPECT_EQ(transcript.accepted.size(), 0u);
  EXPECT_EQ(transcript.dropped_bodies.size(), 1u);
  EXPECT_THAT(transcript.said, EndsWith(absl::StrCat("354 End data with <CR><LF>.<CR><LF>\r\n",
                                                     reply, "\r\n250 2.0.0 Ok\r\n")));
}

TEST(ServerData, HandsTheBodyOutAsItCame) {
  const Transcript transcript = Deliver("Subject: x\r\n\r\n..\r\n.a\r\nb\r\n.\r\n");
  ASSERT_EQ(transcript.accepted.size(), 1u);
  const TakenMessage& message = transcript.accepted[0];
  EXPECT_EQ(message.body, "Subject: x\r\n\r\n..\r\n.a\r\nb\r\n");
  EXPECT_EQ(message.stuffed_dots, 2u);
  EXPECT_EQ(message.message_bytes, message.body.size() - 2);  // C49
  EXPECT_FALSE(message.eight_bit);
  EXPECT_THAT(transcript.said, EndsWith("250 2.0.0 Ok: queued as 17\r\n"));
}

TEST(ServerData, MayBeEmpty) {
  const Transcript transcript = Deliver(".\r\n");
  ASSERT_EQ(transcript.accepted.size(), 1u);
  EXPECT_EQ(transcript.accepted[0].body, "");
  EXPECT_EQ(transcript.accepted[0].message_bytes, 0u);
}

TEST(ServerData, MayBeEightBitWithoutSayingSo) {
  const Transcript transcript = Deliver("caf\xc3\xa9\r\n.\r\n");
  ASSERT_EQ(transcript.accepted.size(), 1u);
  EXPECT_TRUE(transcript.accepted[0].eight_bit);
  EXPECT_EQ(transcript.accepted[0].envelope.body_type, BodyType::kSevenBit);
}

TEST(ServerData, StartsANewCountForEachMessage) {
  constexpr absl::string_view kSecond =
      "MAIL FROM:<>\r\nRCPT TO:<c@z.example>\r\nDATA\r\nplain\r\n.\r\n";
  const Transcript transcript = Deliver(absl::StrCat("..\xff\r\n.\r\n", kSecond));
  ASSERT_EQ(transcript.accepted.size(), 2u);
  EXPECT_EQ(transcript.accepted[1].envelope.sender, "");
  EXPECT_EQ(transcript.accepted[1].envelope.recipients.size(), 1u);
  EXPECT_EQ(transcript.accepted[1].body, "plain\r\n");
  EXPECT_EQ(transcript.accepted[1].message_bytes, 7u);
  EXPECT_EQ(transcript.accepted[1].stuffed_dots, 0u);
  EXPECT_FALSE(transcript.accepted[1].eight_bit);
}

// C43: the replies to a group leave together.
TEST(ServerPipelining, AnswersAGroupInOrderAndInOnePiece) {
  ServerSession session;
  session.Begin(LocalClient());
  session.ClearOutput();
  absl::string_view input =
      "HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<bad>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n";
  EXPECT_EQ(session.Next(input), ServerEvent::kData);
  session.Accept();
  EXPECT_EQ(session.Next(input), ServerEvent::kNeedInput);
  EXPECT_EQ(session.output(),
            "250 mx.example.net\r\n250 2.1.0 Ok\r\n501 5.1.3 Bad address: no domain\r\n"
            "250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n");
  EXPECT_TRUE(session.in_data());
}

TEST(ServerPipelining, TakesTheNextTransactionBehindTheDot) {
  const Transcript transcript =
      Deliver("one\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<c@z.example>\r\nDATA\r\ntwo\r\n.\r\nQUIT\r\n");
  ASSERT_EQ(transcript.accepted.size(), 2u);
  EXPECT_EQ(transcript.accepted[0].body, "one\r\n");
  EXPECT_EQ(transcript.accepted[1].body, "two\r\n");
  EXPECT_TRUE(transcript.closed);
}

// --- Refused at the end of the data.

// F01. Whatever a lax receiver would take for an end is read through, and refused.
TEST(ServerRefusal, OfEverySmugglingForm) {
  for (const absl::string_view form :
       {"\n.\n", "\n.\r\n", "\r.\r", "\r\n.\n", "\r\n.\r", "\n.\r", "\r.\n", "\r.\r\n"}) {
    const bool carriage_return = absl::StrContains(form, "\r.") || absl::EndsWith(form, "\r");
    ExpectRefused(absl::StrCat("a", form, "xMAIL FROM:<evil@x.example>\r\nRCPT TO:<v@y.example>"),
                  carriage_return && form != "\r\n.\n" ? "550 5.6.0 Message holds a CR without LF"
                                                       : "550 5.6.0 Message holds a LF without CR");
  }
}

TEST(ServerRefusal, OfANulAtAnyPosition) {
  for (size_t position = 0; position <= 6; ++position) {
    std::string body = "a\r\nbcd";
    if (position == 2) continue;  // Would part CR from LF.
    body.insert(position, 1, '\0');
    ExpectRefused(body, "550 5.6.0 Message holds a NUL");
  }
}

// F19, O9.
TEST(ServerRefusal, OfALineOver998Bytes) {
  const std::string longest(998, 'x');
  for (const size_t bytes : {997, 998}) {
    EXPECT_EQ(Deliver(absl::StrCat(longest.substr(0, bytes), "\r\n.\r\n")).accepted.size(), 1u);
  }
  EXPECT_EQ(Deliver(absl::StrCat(".", longest.substr(0, 997), "\r\n.\r\n")).accepted.size(), 1u);
  EXPECT_EQ(Deliver(absl::StrCat("..", longest.substr(0, 997), "\r\n.\r\n")).accepted.size(), 1u);
  for (const size_t bytes : {999, 1 << 16}) {
    ExpectRefused(std::string(bytes, 'x'), "550 5.6.0 Message holds a line that is too long");
  }
  ServerSession::Options any = LocalClient();
  any.line_bytes_max = 0;
  EXPECT_EQ(Deliver(absl::StrCat(longest, longest, "\r\n.\r\n"), any).accepted.size(), 1u);
}

TEST(ServerRefusal, OfAMessageThatBecameTooLarge) {
  ServerSession::Options options = LocalClient();
  options.message_bytes_max = 10;
  EXPECT_EQ(Deliver("12345678\r\n.\r\n", options).accepted.size(), 1u);
  EXPECT_EQ(Deliver("..2345678\r\n.\r\n", options).accepted.size(), 1u);  // Stuffing is no size.
  ExpectRefused("123456789", "552 5.3.4 Message size exceeds the limit", options);
}

TEST(ServerRefusal, HandsOutNoMoreThanTheLimit) {
  ServerSession::Options options = LocalClient();
  options.message_bytes_max = 10;
  const Transcript transcript =
      Deliver(absl::StrCat(std::string(100'000, 'x'), "\r\n.\r\n"), options);
  ASSERT_EQ(transcript.dropped_bodies.size(), 1u);
  EXPECT_LE(transcript.dropped_bodies[0].size(), 10u);
}

TEST(ServerRefusal, OfAMessageThatLoops) {
  std::string hops;
  for (int i = 0; i < 100; ++i)
    absl::StrAppend(&hops, i % 2 ? "Received: x\r\n" : "received :\r\n");
  EXPECT_EQ(Deliver(absl::StrCat(hops, "\r\nReceived: in the text\r\n.\r\n")).accepted.size(), 1u);
  ExpectRefused(absl::StrCat(hops, "RECEIVED: y\r\n"),
                "554 5.4.6 Too many hops: the message loops");
}

TEST(ServerRefusal, EndsTheTransaction) {
  const Transcript transcript = Deliver("a\nb\r\n.\r\nDATA\r\n");
  EXPECT_THAT(transcript.said, EndsWith("503 5.5.1 Bad sequence of commands\r\n"));
}

// The session's verdict against a model: every string up to five bytes within a message.
TEST(ServerRefusal, IsTheModelsForEveryShortString) {
  constexpr absl::string_view kAlphabet("\r\n.a\0", 5);
  for (size_t length = 0, count = 1; length <= 5; ++length, count *= kAlphabet.size()) {
    for (size_t number = 0; number < count; ++number) {
      std::string text = "x\r\n";
      for (size_t i = 0, rest = number; i < length; ++i, rest /= kAlphabet.size()) {
        text += kAlphabet[rest % kAlphabet.size()];
      }
      text += "z\r\n.\r\n";
      const std::string body = text.substr(0, text.find("\r\n.\r\n") + 2);
      bool clean = body.find('\0') == std::string::npos;
      for (size_t i = 0; i < body.size(); ++i) {
        if (body[i] == '\r' && body[i + 1] != '\n') clean = false;
        if (body[i] == '\n' && body[i - 1] != '\r') clean = false;
      }
      ServerSession session;
      session.Begin(LocalClient());
      absl::string_view input = kEnvelope;
      ASSERT_EQ(session.Next(input), ServerEvent::kData);
      session.Accept();
      input = text;
      ServerEvent event = session.Next(input);
      std::string taken;
      while (event == ServerEvent::kBody) {
        taken += std::string(session.body_bytes());
        event = session.Next(input);
      }
      ASSERT_EQ(event, clean ? ServerEvent::kMessage : ServerEvent::kMessageDropped) << number;
      ASSERT_EQ(input.size(), text.size() - body.size() - 3) << number;
      if (clean) {
        ASSERT_EQ(taken, body);
      }
    }
  }
}

}  // namespace
}  // namespace sluice::smtp
