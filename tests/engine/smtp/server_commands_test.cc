// The server's replies to commands: their order, their codes, and what ends the session. The
// expected replies are RFC 5321 4.2 and 4.3.2's codes with RFC 3463's, written down here.

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/smtp/server_dialogue.h"

namespace sluice::smtp {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr absl::string_view kHello = "HELO client.example\r\n";
constexpr absl::string_view kHelloReply = "250 mx.example.net\r\n";
constexpr absl::string_view kEhlo = "EHLO client.example\r\n";

std::string AfterHello(absl::string_view sent, ServerSession::Options options = LocalClient()) {
  const std::string replies = ServerDialogue(options).Replies(absl::StrCat(kHello, sent));
  EXPECT_THAT(replies, StartsWith(std::string(kHelloReply)));
  return replies.substr(kHelloReply.size());
}

std::string AfterEhlo(absl::string_view sent, ServerSession::Options options = LocalClient()) {
  const std::string replies = ServerDialogue(options).Replies(absl::StrCat(kEhlo, sent));
  const size_t end = replies.find("250 HELP\r\n");
  EXPECT_NE(end, std::string::npos);
  return replies.substr(end + 10);
}

// --- Greeting and hello.

TEST(ServerGreeting, NamesTheHostAndTheSoftware) {
  ServerSession session;
  session.Begin(LocalClient());
  EXPECT_EQ(session.output(), "220 mx.example.net ESMTP Sluice\r\n");
}

TEST(ServerGreeting, OfAHostThatTakesNoMailCloses) {
  for (const absl::string_view greeting : {"554 No SMTP service here", "421 4.3.2 Busy"}) {
    ServerSession session;
    session.BeginWith(LocalClient(), greeting);
    absl::string_view input = "EHLO client.example\r\n";
    EXPECT_EQ(session.Next(input), ServerEvent::kClose);
    EXPECT_EQ(session.output(), absl::StrCat(greeting, "\r\n"));
  }
}

TEST(ServerGreeting, BeginsANewDialogueInAUsedSession) {
  ServerSession session;
  session.Begin(LocalClient());
  absl::string_view input = "EHLO client.example\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b";
  EXPECT_EQ(session.Next(input), ServerEvent::kNeedInput);
  EXPECT_TRUE(session.in_transaction());
  session.Begin(LocalClient());
  EXPECT_FALSE(session.in_transaction());
  EXPECT_EQ(session.helo(), "");
  EXPECT_EQ(session.output(), kGreeting);
}

TEST(ServerEhlo, OffersWhatTheOptionsSay) {
  EXPECT_EQ(ServerDialogue().Replies(kEhlo),
            "250-mx.example.net\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n"
            "250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n250 HELP\r\n");
  ServerSession::Options bare = LocalClient();
  bare.offer_pipelining = bare.offer_8bitmime = bare.offer_size = bare.offer_dsn = false;
  EXPECT_EQ(ServerDialogue(bare).Replies(kEhlo),
            "250-mx.example.net\r\n250-ENHANCEDSTATUSCODES\r\n250 HELP\r\n");
}

TEST(ServerEhlo, OffersSizeZeroForNoLimit) {
  ServerSession::Options options = LocalClient();
  options.message_bytes_max = 0;
  EXPECT_THAT(ServerDialogue(options).Replies(kEhlo), HasSubstr("250-SIZE 0\r\n"));
}

TEST(ServerHelo, IsAnsweredOnOneLineAndIsNoEsmtp) {
  ServerSession session;
  session.Begin(LocalClient());
  absl::string_view input = kHello;
  EXPECT_EQ(session.Next(input), ServerEvent::kNeedInput);
  EXPECT_EQ(session.helo(), "client.example");
  EXPECT_FALSE(session.esmtp());
  input = "ehlo [192.0.2.1]\r\n";
  EXPECT_EQ(session.Next(input), ServerEvent::kNeedInput);
  EXPECT_EQ(session.helo(), "[192.0.2.1]");
  EXPECT_TRUE(session.esmtp());
}

TEST(ServerHelo, NeedsANameThatCanBeKept) {
  EXPECT_EQ(ServerDialogue().Replies("HELO\r\nEHLO \r\n"),
            "501 Syntax: HELO hostname\r\n501 Syntax: EHLO hostname\r\n");
  EXPECT_EQ(ServerDialogue().Replies("HELO my_pc of (mine)\r\n"), kHelloReply);
  const std::string longest(255, 'a');
  EXPECT_EQ(ServerDialogue().Replies(absl::StrCat("HELO ", longest, "\r\n")), kHelloReply);
  EXPECT_EQ(ServerDialogue().Replies(absl::StrCat("HELO ", longest, "a\r\n")),
            "501 Syntax: HELO hostname\r\n");
}

// F13: every byte at every position of the name. Only printable ASCII is ever kept.
TEST(ServerHelo, KeepsNoByteThatCouldHarmALog) {
  for (int byte = 0; byte < 256; ++byte) {
    for (size_t position = 0; position <= 3; ++position) {
      std::string name = "abc";
      name.insert(position, 1, static_cast<char>(byte));
      ServerSession session;
      session.Begin(LocalClient());
      const std::string line = absl::StrCat("EHLO ", name, "\r\n");
      absl::string_view input = line;
      EXPECT_EQ(session.Next(input), ServerEvent::kNeedInput);
      for (const char c : session.helo()) {
        EXPECT_TRUE(c >= 0x20 && c <= 0x7e) << byte;
      }
      // A tab at the end of a line is taken off (RFC 5321 4.1.1).
      const bool bearable = (byte >= 0x20 && byte <= 0x7e) || (byte == '\t' && position == 3);
      EXPECT_EQ(session.helo().empty(), !bearable) << byte << " at " << position;
    }
  }
}

TEST(ServerHelo, EndsTheTransaction) {
  EXPECT_EQ(AfterHello("MAIL FROM:<>\r\nHELO again.example\r\nRCPT TO:<b@y.example>\r\n"),
            "250 2.1.0 Ok\r\n250 mx.example.net\r\n503 5.5.1 Bad sequence of commands\r\n");
}

// --- Order.

TEST(ServerOrder, AsksForHelloFirst) {
  EXPECT_EQ(
      ServerDialogue().Replies("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n"),
      "503 5.5.1 Send EHLO first\r\n503 5.5.1 Bad sequence of commands\r\n"
      "503 5.5.1 Bad sequence of commands\r\n");
}

TEST(ServerOrder, NeedsNoHelloForWhatTouchesNoMail) {
  EXPECT_EQ(ServerDialogue().Replies("NOOP\r\nRSET\r\nVRFY someone\r\nHELP\r\nQUIT\r\n"),
            "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n"
            "252 2.5.0 Cannot VRFY user, but will accept message and attempt delivery\r\n"
            "214 2.0.0 EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT\r\n"
            "221 2.0.0 mx.example.net closing connection\r\n");
}

TEST(ServerOrder, OfATransaction) {
  EXPECT_EQ(AfterHello("RCPT TO:<b@y.example>\r\n"), "503 5.5.1 Bad sequence of commands\r\n");
  EXPECT_EQ(AfterHello("DATA\r\n"), "503 5.5.1 Bad sequence of commands\r\n");
  EXPECT_EQ(AfterHello("MAIL FROM:<>\r\nMAIL FROM:<>\r\n"),
            "250 2.1.0 Ok\r\n503 5.5.1 Bad sequence of commands\r\n");
  EXPECT_EQ(AfterHello("MAIL FROM:<>\r\nRSET\r\nMAIL FROM:<>\r\n"),
            "250 2.1.0 Ok\r\n250 2.0.0 Ok\r\n250 2.1.0 Ok\r\n");
}

TEST(ServerOrder, IsJudgedBeforeSyntax) {
  EXPECT_EQ(AfterHello("RCPT nonsense\r\n"), "503 5.5.1 Bad sequence of commands\r\n");
}

TEST(ServerOrder, DataNeedsARecipientThatWasTaken) {
  EXPECT_EQ(AfterHello("MAIL FROM:<>\r\nRCPT TO:<>\r\nDATA\r\n"),
            "250 2.1.0 Ok\r\n501 5.1.3 Bad address: null address\r\n"
            "554 5.5.1 No valid recipients\r\n");
}

// --- Single commands.

TEST(ServerCommand, IsKnownInAnyCaseAndWithSpacesAtItsEnd) {
  EXPECT_EQ(AfterHello("noop\r\nNoOp  \r\nNOOP \t\r\nnoop anything\r\n"),
            "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n");
}

TEST(ServerCommand, ThatTakesNoArgumentRefusesOne) {
  for (const absl::string_view command : {"RSET x", "QUIT x", "STARTTLS x", "VRFY"}) {
    EXPECT_EQ(AfterHello(absl::StrCat(command, "\r\n")),
              "501 5.5.4 Syntax error in the argument\r\n");
  }
  EXPECT_EQ(AfterHello("MAIL FROM:<>\r\nRCPT TO:<b@y.example>\r\nDATA now\r\n"),
            "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n501 5.5.4 Syntax error in the argument\r\n");
}

TEST(ServerCommand, ThatIsNotOfferedIsNotImplemented) {
  for (const absl::string_view command :
       {"STARTTLS", "AUTH PLAIN AGEAYg==", "BDAT 9999999999 LAST", "EXPN list"}) {
    EXPECT_EQ(AfterHello(absl::StrCat(command, "\r\nNOOP\r\n")),
              "502 5.5.1 Command not implemented\r\n250 2.0.0 Ok\r\n");
  }
}

TEST(ServerCommand, ThatIsUnknownLeavesTheSessionAlive) {
  EXPECT_EQ(AfterHello("\r\nXYZZY\r\nNOOPS\r\nNOOP\r\n"),
            "500 5.5.2 Command not recognized\r\n500 5.5.2 Command not recognized\r\n"
            "500 5.5.2 Command not recognized\r\n250 2.0.0 Ok\r\n");
}

// K16.
TEST(ServerCommand, ThatIsNotUtf8LeavesTheSessionAlive) {
  for (const absl::string_view garbage :
       {"\xff\xfe", "MAIL FROM:<\xc3@x.example>", "NOOP \xc0\x80", "NOOP \xed\xa0\x80"}) {
    EXPECT_EQ(AfterHello(absl::StrCat(garbage, "\r\nNOOP\r\n")),
              "500 5.5.2 Syntax error: control character or invalid UTF-8\r\n250 2.0.0 Ok\r\n");
  }
}

// C3: CRLF ends a line, and nothing else does.
TEST(ServerCommand, IsNotEndedByABareLineFeed) {
  EXPECT_EQ(AfterHello("NOOP\nQUIT\r\nNOOP\r\n"),
            "500 5.5.2 Syntax error: control character or invalid UTF-8\r\n250 2.0.0 Ok\r\n");
  EXPECT_EQ(AfterHello("NOOP\rQUIT\r\nNOOP\r\n"),
            "500 5.5.2 Syntax error: control character or invalid UTF-8\r\n250 2.0.0 Ok\r\n");
}

TEST(ServerCommand, MayFillItsLineToTheBound) {
  const std::string filler(kCommandLineBytesMax - 7, 'x');  // "NOOP " and CRLF are the rest.
  EXPECT_EQ(AfterHello(absl::StrCat("NOOP ", filler, "\r\nNOOP\r\n")),
            "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n");
  EXPECT_EQ(AfterHello(absl::StrCat("NOOP ", filler, "x\r\nNOOP\r\n")),
            "500 5.5.6 Line too long\r\n250 2.0.0 Ok\r\n");
}

TEST(ServerCommand, OverTheBoundIsSwallowedToItsEnd) {
  const std::string endless(100'000, 'x');
  EXPECT_EQ(AfterHello(absl::StrCat("NOOP ", endless, "\nQUIT\n", endless, "\rQUIT\r\nNOOP\r\n")),
            "500 5.5.6 Line too long\r\n250 2.0.0 Ok\r\n");
}

// --- MAIL and RCPT.

TEST(ServerMail, KeepsTheEnvelopeAsItCame) {
  const Transcript transcript = ServerDialogue().Talk(
      "EHLO c\r\n"
      "MAIL FROM:<Sender@X.Example> SIZE=100 BODY=8BITMIME RET=HDRS ENVID=q+2B7\r\n"
      "RCPT TO:<Bob@Y.Example.> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob+2Bx@Y.Example\r\n"
      "RCPT TO:<@relay.example:carol@z.example> NOTIFY=NEVER\r\n"
      "DATA\r\nhello\r\n.\r\n");
  ASSERT_EQ(transcript.accepted.size(), 1u);
  const Envelope& envelope = transcript.accepted[0].envelope;
  EXPECT_EQ(envelope.sender, "Sender@X.Example");
  EXPECT_EQ(envelope.body_type, BodyType::kEightBitMime);
  EXPECT_EQ(envelope.ret, Return::kHeaders);
  EXPECT_EQ(envelope.envelope_id, "q+2B7");
  ASSERT_EQ(envelope.recipients.size(), 2u);
  EXPECT_EQ(envelope.recipients[0].address, "Bob@Y.Example");
  EXPECT_EQ(envelope.recipients[0].destination, "y.example");
  EXPECT_EQ(envelope.recipients[0].notify, kNotifySuccess | kNotifyDelay);
  EXPECT_EQ(envelope.recipients[0].original_recipient, "rfc822;Bob+2Bx@Y.Example");
  EXPECT_EQ(envelope.recipients[1].address, "carol@z.example");
  EXPECT_EQ(envelope.recipients[1].notify, kNotifyNever);
}

TEST(ServerMail, RefusesAnAnnouncedSizeOverTheLimit) {
  ServerSession::Options options = LocalClient();
  options.message_bytes_max = 1000;
  EXPECT_EQ(AfterEhlo("MAIL FROM:<> SIZE=1000\r\n", options), "250 2.1.0 Ok\r\n");
  EXPECT_EQ(AfterEhlo("MAIL FROM:<> SIZE=1001\r\n", options),
            "552 5.3.4 Message size exceeds the limit\r\n");
  EXPECT_EQ(AfterEhlo("MAIL FROM:<> SIZE=99999999999999999999\r\n", options),
            "552 5.3.4 Message size exceeds the limit\r\n");
  options.message_bytes_max = 0;
  EXPECT_EQ(AfterEhlo("MAIL FROM:<> SIZE=99999999999999999999\r\n", options), "250 2.1.0 Ok\r\n");
}

TEST(ServerMail, TakesParametersOnlyFromAClientThatSawThemOffered) {
  EXPECT_EQ(AfterHello("MAIL FROM:<> SIZE=1\r\n"),
            "555 5.5.4 Parameter not recognized or not offered\r\n");
  EXPECT_EQ(AfterEhlo("MAIL FROM:<> AUTH=<>\r\n"),
            "555 5.5.4 Parameter not recognized or not offered\r\n");
}

TEST(ServerMail, SaysThatSmtpUtf8IsNotOffered) {
  EXPECT_EQ(AfterEhlo("MAIL FROM:<\xc3\xa9@x.example>\r\n"),
            "553 5.6.7 8-bit address, and SMTPUTF8 is not offered\r\n");
  EXPECT_EQ(AfterEhlo("MAIL FROM:<>\r\nRCPT TO:<a@b\xc3\xbc"
                      "cher.example>\r\n"),
            "250 2.1.0 Ok\r\n553 5.6.7 8-bit address, and SMTPUTF8 is not offered\r\n");
}

TEST(ServerRcpt, GivesPostmasterAloneToThisHost) {
  const Transcript transcript =
      ServerDialogue().Talk("HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<Postmaster>\r\nDATA\r\n.\r\n");
  ASSERT_EQ(transcript.accepted.size(), 1u);
  EXPECT_EQ(transcript.accepted[0].envelope.recipients[0].address, "Postmaster@mx.example.net");
  EXPECT_EQ(transcript.accepted[0].envelope.recipients[0].destination, "mx.example.net");
}

TEST(ServerRcpt, HoldsTheLimitOfRecipients) {
  ServerSession::Options options = LocalClient();
  options.recipients_max = 2;
  options.bad_commands_max = 0;  // It is no bad command to have more.
  EXPECT_EQ(AfterHello("MAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nRCPT TO:<b@x.example>\r\n"
                       "RCPT TO:<c@x.example>\r\nRCPT TO:<d@x.example>\r\nDATA\r\n.\r\n",
                       options),
            "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n250 2.1.5 Ok\r\n452 4.5.3 Too many recipients\r\n"
            "452 4.5.3 Too many recipients\r\n354 End data with <CR><LF>.<CR><LF>\r\n"
            "250 2.0.0 Ok: queued as 17\r\n");
}

// --- The owner's verdicts.

TEST(ServerVerdict, OnMailAndRecipientsIsAskedOnlyIfWanted) {
  constexpr absl::string_view kMessage =
      "HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n.\r\n";
  EXPECT_THAT(ServerDialogue().Talk(kMessage).asked,
              ElementsAre(ServerEvent::kData, ServerEvent::kMessage));
  ServerSession::Options options = LocalClient();
  options.ask_mail = options.ask_recipients = true;
  EXPECT_THAT(ServerDialogue(options).Talk(kMessage).asked,
              ElementsAre(ServerEvent::kMail, ServerEvent::kRecipient, ServerEvent::kData,
                          ServerEvent::kMessage));
}

TEST(ServerVerdict, AgainstASenderStartsNoTransaction) {
  ServerSession::Options options = LocalClient();
  options.ask_mail = true;
  const std::string replies =
      ServerDialogue(options)
          .Answering([](ServerEvent event, ServerSession& session) {
            EXPECT_EQ(session.envelope().sender, "a@x.example");
            return std::string("451 4.7.1 Come back later");
          })
          .Replies("HELO c\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n");
  EXPECT_EQ(replies,
            "250 mx.example.net\r\n451 4.7.1 Come back later\r\n"
            "503 5.5.1 Bad sequence of commands\r\n");
}

TEST(ServerVerdict, AgainstARecipientTakesThatOneAway) {
  ServerSession::Options options = LocalClient();
  options.ask_recipients = true;
  const Transcript transcript =
      ServerDialogue(options)
          .Answering([](ServerEvent event, ServerSession& session) {
            const bool bad = event == ServerEvent::kRecipient &&
                             absl::StartsWith(session.envelope().recipients.back().address, "bad");
            return std::string(bad ? "550 5.1.1 No such user" : "");
          })
          .Talk(
              "HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<bad@x.example>\r\nRCPT TO:<good@x.example>\r\n"
              "RCPT TO:<bad2@x.example>\r\nDATA\r\n.\r\n");
  ASSERT_EQ(transcript.accepted.size(), 1u);
  ASSERT_EQ(transcript.accepted[0].envelope.recipients.size(), 1u);
  EXPECT_EQ(transcript.accepted[0].envelope.recipients[0].address, "good@x.example");
}

TEST(ServerVerdict, AgainstDataOrTheMessage) {
  constexpr absl::string_view kMessage =
      "HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n";
  ServerDialogue no_data;
  no_data.Answering([](ServerEvent, ServerSession&) { return "452 4.3.1 Full"; });
  EXPECT_THAT(no_data.Replies(absl::StrCat(kMessage, "RSET\r\nMAIL FROM:<>\r\n")),
              EndsWith("250 2.1.5 Ok\r\n452 4.3.1 Full\r\n250 2.0.0 Ok\r\n250 2.1.0 Ok\r\n"));
  ServerDialogue no_message;
  no_message.Answering([](ServerEvent event, ServerSession&) {
    return event == ServerEvent::kMessage ? "452 4.3.1 Full" : "";
  });
  EXPECT_THAT(no_message.Replies(absl::StrCat(kMessage, "hi\r\n.\r\nMAIL FROM:<>\r\n")),
              EndsWith("354 End data with <CR><LF>.<CR><LF>\r\n452 4.3.1 Full\r\n"
                       "250 2.1.0 Ok\r\n"));
}

TEST(ServerVerdict, Of421Closes) {
  const Transcript transcript =
      ServerDialogue()
          .Answering([](ServerEvent, ServerSession&) { return "421 4.3.2 Going down"; })
          .Talk("HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nDATA\r\nNOOP\r\n");
  EXPECT_TRUE(transcript.closed);
  EXPECT_THAT(transcript.said, EndsWith("421 4.3.2 Going down\r\n"));
  EXPECT_EQ(transcript.unread, "NOOP\r\n");
}

TEST(ServerVerdict, CannotWriteMoreThanOneLine) {
  ServerDialogue dialogue;
  dialogue.Answering([](ServerEvent, ServerSession&) {
    return absl::StrCat("452 4.3.1 a\r\n250 b\x1b\xff", std::string(600, 'x'));
  });
  const std::string replies =
      dialogue.Replies("HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n");
  const size_t begin = replies.find("452 4.3.1 a??250 b??xxx");
  ASSERT_NE(begin, std::string::npos);
  EXPECT_EQ(replies.size() - begin, 512u);  // RFC 5321 4.5.3.1.5
}

// --- The end of a session.

TEST(ServerEnd, QuitClosesAndReadsNoFurther) {
  const Transcript transcript = ServerDialogue().Talk("QUIT\r\nNOOP\r\n");
  EXPECT_TRUE(transcript.closed);
  EXPECT_EQ(transcript.unread, "NOOP\r\n");
}

TEST(ServerEnd, CloseIsSaidForEver) {
  ServerSession session;
  session.Begin(LocalClient());
  absl::string_view input = "QUIT\r\nNOOP\r\n";
  EXPECT_EQ(session.Next(input), ServerEvent::kClose);
  EXPECT_EQ(session.Next(input), ServerEvent::kClose);
  session.ClearOutput();
  session.Timeout();
  session.ShutDown();
  EXPECT_EQ(session.output(), "");
}

TEST(ServerEnd, TooManyBadCommandsClose) {
  ServerSession::Options options = LocalClient();
  options.bad_commands_max = 3;
  const std::string three = "X\r\nX\r\nX\r\n";
  Transcript transcript = ServerDialogue(options).Talk(three + "NOOP\r\n");
  EXPECT_FALSE(transcript.closed);
  EXPECT_THAT(transcript.said, EndsWith("250 2.0.0 Ok\r\n"));
  transcript = ServerDialogue(options).Talk(three + "NOOP\r\nX\r\nNOOP\r\n");
  EXPECT_TRUE(transcript.closed);
  EXPECT_THAT(transcript.said, EndsWith("421 4.7.0 mx.example.net Too many bad commands\r\n"));
}

TEST(ServerEnd, AnAcceptedMessageForgivesBadCommands) {
  ServerSession::Options options = LocalClient();
  options.bad_commands_max = 1;
  constexpr absl::string_view kRound =
      "X\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n.\r\n";
  const Transcript transcript =
      ServerDialogue(options).Talk(absl::StrCat(kHello, kRound, kRound, kRound));
  EXPECT_FALSE(transcript.closed);
  EXPECT_EQ(transcript.accepted.size(), 3u);
}

TEST(ServerEnd, BadAddressesAreNoBadCommands) {
  ServerSession::Options options = LocalClient();
  options.bad_commands_max = 0;
  EXPECT_EQ(AfterHello("MAIL FROM:<a>\r\nMAIL FROM:<>\r\nRCPT TO:<a..b@x.example>\r\n"
                       "RCPT TO:<\xc3\xa9@x.example>\r\n",
                       options),
            "501 5.1.7 Bad address: no domain\r\n250 2.1.0 Ok\r\n"
            "501 5.1.3 Bad address: bad local part\r\n"
            "553 5.6.7 8-bit address, and SMTPUTF8 is not offered\r\n");
}

TEST(ServerEnd, TimeoutAndShutDownSayWhy) {
  for (const bool timeout : {true, false}) {
    ServerSession session;
    session.Begin(LocalClient());
    session.ClearOutput();
    absl::string_view input = "EHLO c\r\n";
    EXPECT_EQ(session.Next(input), ServerEvent::kNeedInput);
    session.ClearOutput();
    timeout ? session.Timeout() : session.ShutDown();
    input = "NOOP\r\n";
    EXPECT_EQ(session.Next(input), ServerEvent::kClose);
    EXPECT_EQ(session.output(), timeout ? "421 4.4.2 mx.example.net Timeout, closing connection\r\n"
                                        : "421 4.3.2 mx.example.net Service shutting down\r\n");
  }
}

// A 421 in place of the verdict would have the client send again what may be on disk.
TEST(ServerEnd, WaitsForTheVerdictOnAMessage) {
  for (const bool accepted : {true, false}) {
    ServerSession session;
    session.Begin(LocalClient());
    absl::string_view input =
        "HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n.\r\nNOOP\r\n";
    EXPECT_EQ(session.Next(input), ServerEvent::kData);
    session.Accept();
    EXPECT_EQ(session.Next(input), ServerEvent::kMessage);
    session.ClearOutput();
    session.ShutDown();
    EXPECT_EQ(session.Next(input), ServerEvent::kWaiting);
    EXPECT_EQ(session.output(), "");
    accepted ? session.AcceptMessage("9") : session.Refuse("452 4.3.1 Full");
    EXPECT_EQ(session.Next(input), ServerEvent::kClose);
    EXPECT_EQ(session.output(),
              absl::StrCat(accepted ? "250 2.0.0 Ok: queued as 9" : "452 4.3.1 Full",
                           "\r\n421 4.3.2 mx.example.net Service shutting down\r\n"));
  }
}

}  // namespace
}  // namespace sluice::smtp
