// ServerSession and STARTTLS (RFC 3207): what is said to it, that nothing from before TLS is known
// after it, and that nothing put behind it in clear is ever obeyed. Every dialogue is held with the
// client's text whole, in pieces of seven bytes, and byte by byte; what may not be obeyed is tried
// at every split.

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/smtp/server_dialogue.h"

namespace sluice::smtp {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr absl::string_view kReady = "220 2.0.0 Ready to start TLS\r\n";
constexpr absl::string_view kInjected = "554 5.5.0 Input behind STARTTLS\r\n";
constexpr absl::string_view kOk = "250 2.0.0 Ok\r\n";

ServerSession::Options WithTls() {
  ServerSession::Options options = LocalClient();
  options.offer_starttls = true;
  return options;
}

// A session and its owner, who says yes to everything and sends each reply at once.
class Owner {
 public:
  explicit Owner(size_t piece_bytes = 1 << 20, const ServerSession::Options& options = WithTls())
      : piece_bytes_(piece_bytes) {
    session_.Begin(options);
    Take();
    said_.clear();
  }

  // What is said to `text`.
  std::string Replies(absl::string_view text) {
    for (; !text.empty(); text.remove_prefix(std::min(piece_bytes_, text.size()))) {
      Hear(text.substr(0, piece_bytes_));
    }
    return std::exchange(said_, "");
  }

  // Up to the 220, which is sent.
  void AnswersStartTls() {
    EXPECT_EQ(Replies("STARTTLS\r\n"), kReady);
    EXPECT_EQ(std::exchange(handshakes_, 0), 1);
  }
  void SpeaksTls() {
    AnswersStartTls();
    session_.OnTlsEstablished();
    EXPECT_TRUE(session_.tls());
  }

  // Leaves what is said in output(), as while another send is in flight.
  void HoldsOutput() { holds_output_ = true; }

  ServerSession& session() { return session_; }
  int handshakes() const { return handshakes_; }
  bool closed() const { return closed_; }
  int messages() const { return messages_; }

 private:
  void Hear(absl::string_view input) {
    while (!closed_) {
      switch (session_.Next(input)) {
        case ServerEvent::kNeedInput:
          return Take();
        case ServerEvent::kWaiting:  // During the handshake.
          EXPECT_TRUE(input.empty());
          return;
        case ServerEvent::kStartTls:
          EXPECT_TRUE(input.empty());
          ++handshakes_;
          if (!holds_output_) Take();
          break;
        case ServerEvent::kData:
          session_.Accept();
          break;
        case ServerEvent::kMessage:
          ++messages_;
          session_.AcceptMessage("17");
          break;
        case ServerEvent::kBody:
          break;
        case ServerEvent::kClose:
          closed_ = true;
          Take();
          break;
        case ServerEvent::kMail:
        case ServerEvent::kRecipient:
        case ServerEvent::kMessageDropped:
          ADD_FAILURE() << "nobody asked for it";
      }
    }
  }

  void Take() {
    said_.append(session_.output().data(), session_.output().size());
    session_.ClearOutput();
  }

  size_t piece_bytes_;
  ServerSession session_;
  std::string said_;
  bool holds_output_ = false;
  int handshakes_ = 0;
  int messages_ = 0;
  bool closed_ = false;
};

class ServerStartTlsTest : public testing::TestWithParam<size_t> {
 protected:
  Owner owner{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Pieces, ServerStartTlsTest,
                         testing::Values(size_t{1} << 20, size_t{7}, size_t{1}));

// --- The offer.

TEST_P(ServerStartTlsTest, IsOfferedInClearOnly) {
  EXPECT_EQ(owner.Replies("EHLO c\r\n"),
            "250-mx.example.net\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n"
            "250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n250-STARTTLS\r\n250 HELP\r\n");
  owner.SpeaksTls();
  EXPECT_EQ(owner.Replies("EHLO c\r\n"),  // RFC 3207 4.2
            "250-mx.example.net\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n"
            "250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n250 HELP\r\n");
}

TEST_P(ServerStartTlsTest, IsNotOfferedUnlessTheOptionsSaySo) {
  Owner plain(GetParam(), LocalClient());
  EXPECT_THAT(plain.Replies("EHLO c\r\n"), Not(HasSubstr("STARTTLS")));
  EXPECT_EQ(plain.Replies("STARTTLS\r\nNOOP\r\n"),
            absl::StrCat("502 5.5.1 Command not implemented\r\n", kOk));
  EXPECT_EQ(plain.handshakes(), 0);
}

// --- The command.

TEST_P(ServerStartTlsTest, IsAnsweredAndTheHandshakeIsAwaited) {
  owner.Replies("EHLO c\r\n");
  owner.AnswersStartTls();
  absl::string_view nothing;
  EXPECT_EQ(owner.session().Next(nothing), ServerEvent::kWaiting);
  EXPECT_EQ(owner.session().Next(nothing), ServerEvent::kWaiting);
  EXPECT_EQ(owner.session().output(), "");
  EXPECT_FALSE(owner.session().tls());
}

TEST_P(ServerStartTlsTest, IsKnownInAnyCaseAndWithSpacesAtItsEnd) {
  for (const absl::string_view line : {"starttls\r\n", "StartTLS  \r\n", "STARTTLS \t\r\n"}) {
    Owner other(GetParam());
    EXPECT_EQ(other.Replies(line), kReady);
    EXPECT_EQ(other.handshakes(), 1);
  }
}

TEST_P(ServerStartTlsTest, TakesNoArgument) {
  constexpr absl::string_view kBad = "501 5.5.4 Syntax error in the argument\r\n";
  EXPECT_EQ(owner.Replies("STARTTLS now\r\nNOOP\r\n"), absl::StrCat(kBad, kOk));
  EXPECT_EQ(owner.handshakes(), 0);
  owner.SpeaksTls();
  EXPECT_EQ(owner.Replies("STARTTLS now\r\nNOOP\r\n"), absl::StrCat(kBad, kOk));
}

TEST_P(ServerStartTlsTest, EndsInCarriageReturnAndLineFeedOnly) {
  for (const absl::string_view line : {"STARTTLS\n\r\n", "STARTTLS\r\r\n", "STARTTLS\nNOOP\r\n"}) {
    EXPECT_EQ(owner.Replies(line),
              "500 5.5.2 Syntax error: control character or invalid UTF-8\r\n");
  }
  EXPECT_EQ(owner.handshakes(), 0);
}

TEST_P(ServerStartTlsTest, IsRefusedWhileThereIsNoRoomForAHandshake) {
  owner.session().SetTlsAvailable(false);
  EXPECT_THAT(owner.Replies("EHLO c\r\n"), HasSubstr("250-STARTTLS\r\n"));
  // The session lives on in clear.
  EXPECT_EQ(owner.Replies("STARTTLS\r\nNOOP\r\n"),
            absl::StrCat("454 4.7.0 TLS not available\r\n", kOk));
  EXPECT_EQ(owner.handshakes(), 0);
  owner.session().SetTlsAvailable(true);
  owner.AnswersStartTls();
}

TEST_P(ServerStartTlsTest, NeedsNoEhlo) {
  owner.AnswersStartTls();
  Owner greeted(GetParam());
  greeted.Replies("HELO c\r\n");
  greeted.AnswersStartTls();
}

TEST_P(ServerStartTlsTest, MayEndAGroup) {
  const std::string said = owner.Replies("EHLO c\r\nNOOP\r\nSTARTTLS\r\n");
  EXPECT_THAT(said, EndsWith(absl::StrCat("250 HELP\r\n", kOk, kReady)));
  EXPECT_EQ(owner.handshakes(), 1);
}

TEST_P(ServerStartTlsTest, IsBodyWithinData) {
  EXPECT_THAT(owner.Replies("HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n"
                            "STARTTLS\r\n.\r\n"),
              EndsWith("250 2.0.0 Ok: queued as 17\r\n"));
  EXPECT_EQ(owner.handshakes(), 0);
}

TEST_P(ServerStartTlsTest, IsOutOfOrderUnderTls) {
  owner.SpeaksTls();
  EXPECT_EQ(owner.Replies("STARTTLS\r\nNOOP\r\n"),
            absl::StrCat("503 5.5.1 TLS is already active\r\n", kOk));
  EXPECT_EQ(owner.handshakes(), 0);
}

// --- What is known after it: nothing.

TEST_P(ServerStartTlsTest, MakesTheClientUnknown) {
  owner.Replies("EHLO client.example\r\n");
  owner.SpeaksTls();
  EXPECT_EQ(owner.session().helo(), "");
  EXPECT_FALSE(owner.session().esmtp());
  EXPECT_EQ(owner.Replies("MAIL FROM:<a@x.example>\r\n"), "503 5.5.1 Send EHLO first\r\n");
  EXPECT_EQ(owner.Replies("HELO other.example\r\nMAIL FROM:<> SIZE=1\r\n"),
            "250 mx.example.net\r\n555 5.5.4 Parameter not recognized or not offered\r\n");
  EXPECT_EQ(owner.session().helo(), "other.example");
}

TEST_P(ServerStartTlsTest, EndsTheTransaction) {
  owner.Replies("EHLO c\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n");
  EXPECT_TRUE(owner.session().in_transaction());
  owner.AnswersStartTls();
  EXPECT_FALSE(owner.session().in_transaction());
  EXPECT_TRUE(owner.session().envelope().recipients.empty());
  owner.session().OnTlsEstablished();
  EXPECT_EQ(owner.Replies("DATA\r\n"), "503 5.5.1 Bad sequence of commands\r\n");
  owner.Replies("EHLO c\r\n");
  EXPECT_EQ(owner.Replies("RCPT TO:<c@y.example>\r\nDATA\r\nMAIL FROM:<>\r\n"),
            "503 5.5.1 Bad sequence of commands\r\n503 5.5.1 Bad sequence of commands\r\n"
            "250 2.1.0 Ok\r\n");
  EXPECT_TRUE(owner.session().envelope().recipients.empty());
}

TEST_P(ServerStartTlsTest, DoesNotCountBadCommandsFromBefore) {
  ServerSession::Options options = WithTls();
  options.bad_commands_max = 2;
  Owner strict(GetParam(), options);
  strict.Replies("X\r\nX\r\n");
  strict.SpeaksTls();
  strict.Replies("X\r\nX\r\n");
  EXPECT_FALSE(strict.closed());
  EXPECT_EQ(strict.Replies("X\r\n"), "421 4.7.0 mx.example.net Too many bad commands\r\n");
}

TEST_P(ServerStartTlsTest, MailGoesOnUnderTls) {
  owner.Replies("EHLO c\r\n");
  owner.SpeaksTls();
  EXPECT_THAT(owner.Replies("EHLO c\r\nMAIL FROM:<> SIZE=4\r\nRCPT TO:<b@y.example>\r\nDATA\r\n"
                            "hi\r\n.\r\nQUIT\r\n"),
              EndsWith("250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n"
                       "250 2.0.0 Ok: queued as 17\r\n"
                       "221 2.0.0 mx.example.net closing connection\r\n"));
  EXPECT_EQ(owner.messages(), 1);
}

TEST_P(ServerStartTlsTest, IsForgottenInTheNextDialogue) {
  owner.SpeaksTls();
  owner.session().SetTlsAvailable(false);
  owner.session().Begin(WithTls());
  owner.session().ClearOutput();
  EXPECT_FALSE(owner.session().tls());
  owner.AnswersStartTls();
}

// --- Behind it. Whatever it is and however it is cut, nobody obeys it.

constexpr absl::string_view kBehind[] = {"MAIL FROM:<a@x.example>\r\n",
                                         "EHLO evil\r\nMAIL FROM:<>\r\nRCPT TO:<b@y.example>\r\n",
                                         "STARTTLS\r\n",
                                         "QUIT\r\n",
                                         "M",
                                         "\r\n",
                                         "\n",
                                         "\r",
                                         " ",
                                         "\x16\x03\x01\x02"};

// The owner has not sent the 220 yet: it is taken back.
TEST(ServerInjection, ClosesAtEverySplitWhileTheGoAheadHasNotLeft) {
  constexpr absl::string_view kLine = "STARTTLS\r\n";
  for (const absl::string_view behind : kBehind) {
    const std::string all = absl::StrCat(kLine, behind);
    const absl::string_view text = all;
    for (size_t first = 0; first <= text.size(); ++first) {
      for (size_t second = first; second <= text.size(); ++second) {
        SCOPED_TRACE(absl::StrCat(text, " at ", first, " and ", second));
        Owner owner;
        owner.Replies("EHLO client.example\r\n");
        owner.HoldsOutput();
        std::string said = owner.Replies(text.substr(0, first));
        said += owner.Replies(text.substr(first, second - first));
        said += owner.Replies(text.substr(second));
        EXPECT_EQ(said, kInjected);
        EXPECT_TRUE(owner.closed());
        EXPECT_EQ(owner.session().helo(), "client.example");
        EXPECT_FALSE(owner.session().in_transaction());
        owner.session().OnTlsEstablished();  // Too late.
        EXPECT_FALSE(owner.session().tls());
      }
    }
  }
}

TEST(ServerInjection, LeavesTheRepliesBeforeTheGoAhead) {
  Owner owner;
  EXPECT_EQ(owner.Replies("NOOP\r\nSTARTTLS\r\nNOOP\r\n"), absl::StrCat(kOk, kInjected));
  EXPECT_TRUE(owner.closed());
  EXPECT_EQ(owner.handshakes(), 0);
}

// The 220 has left, and the owner gives us what should have been the handshake's: no word in clear.
TEST(ServerInjection, ClosesWithoutAWordWhenTheGoAheadHasLeft) {
  for (const absl::string_view behind : kBehind) {
    Owner owner;
    owner.AnswersStartTls();
    EXPECT_EQ(owner.Replies(behind), "");
    EXPECT_TRUE(owner.closed());
    EXPECT_FALSE(owner.session().in_transaction());
  }
}

TEST(ServerInjection, IsNoneWhereNoHandshakeFollows) {
  Owner plain(1 << 20, LocalClient());
  EXPECT_EQ(plain.Replies("STARTTLS\r\nNOOP\r\n"),
            absl::StrCat("502 5.5.1 Command not implemented\r\n", kOk));
  EXPECT_FALSE(plain.closed());
}

// --- Where the owner gives a verdict.

class ServerAskedTest : public testing::Test {
 protected:
  ServerAskedTest() {
    ServerSession::Options options = WithTls();
    options.ask_starttls = true;
    session_.Begin(options);
    session_.ClearOutput();
  }

  ServerEvent Next(absl::string_view input) { return session_.Next(input); }
  std::string Said() {
    std::string said(session_.output());
    session_.ClearOutput();
    return said;
  }

  ServerSession session_;
};

TEST_F(ServerAskedTest, SaysNothingBeforeTheVerdictAndTheGoAheadAfterIt) {
  EXPECT_EQ(Next("STARTTLS\r\n"), ServerEvent::kStartTls);
  EXPECT_EQ(Said(), "");
  EXPECT_EQ(Next(""), ServerEvent::kWaiting);
  session_.Accept();
  EXPECT_EQ(Next(""), ServerEvent::kWaiting);
  EXPECT_EQ(Said(), kReady);
  session_.OnTlsEstablished();
  EXPECT_TRUE(session_.tls());
}

TEST_F(ServerAskedTest, GoesOnInClearAfterARefusal) {
  EXPECT_EQ(Next("HELO c\r\nMAIL FROM:<a@x>\r\nSTARTTLS\r\n"), ServerEvent::kStartTls);
  Said();
  session_.Refuse("454 4.7.0 not now");
  EXPECT_EQ(Said(), "454 4.7.0 not now\r\n");
  EXPECT_TRUE(session_.in_transaction());
  EXPECT_FALSE(session_.tls());
  EXPECT_EQ(Next("NOOP\r\n"), ServerEvent::kNeedInput);
  EXPECT_EQ(Said(), kOk);
}

TEST_F(ServerAskedTest, ClosesOverWhatWasPutBehindAnAcceptedOne) {
  absl::string_view input = "STARTTLS\r\nNOOP\r\n";
  EXPECT_EQ(session_.Next(input), ServerEvent::kStartTls);
  session_.Accept();
  EXPECT_EQ(session_.Next(input), ServerEvent::kClose);
  EXPECT_EQ(Said(), kInjected);
}

TEST_F(ServerAskedTest, IsNotAskedWhatItRefusesByItself) {
  EXPECT_EQ(Next("STARTTLS now\r\n"), ServerEvent::kNeedInput);
  EXPECT_EQ(Said().substr(0, 3), "501");
}

// --- The end during the handshake.

TEST(ServerHandshake, IsNotInterruptedInClear) {
  for (const bool timeout : {true, false}) {
    Owner owner;
    owner.AnswersStartTls();
    timeout ? owner.session().Timeout() : owner.session().ShutDown();
    absl::string_view nothing;
    EXPECT_EQ(owner.session().Next(nothing), ServerEvent::kClose);
    EXPECT_EQ(owner.session().output(), "");
    owner.session().OnTlsEstablished();  // It was on its way.
    EXPECT_EQ(owner.session().Next(nothing), ServerEvent::kClose);
    EXPECT_FALSE(owner.session().tls());
  }
}

TEST(ServerHandshake, DoesNotBeginWhereTheGoAheadHasNotLeft) {
  Owner owner;
  owner.HoldsOutput();
  EXPECT_EQ(owner.Replies("STARTTLS\r\n"), "");
  owner.session().ShutDown();
  absl::string_view nothing;
  EXPECT_EQ(owner.session().Next(nothing), ServerEvent::kClose);
  EXPECT_EQ(owner.session().output(), "421 4.3.2 mx.example.net Service shutting down\r\n");
}

TEST(ServerHandshakeDeathTest, EndsOnlyWhereItWasBegunAndTheGoAheadHasLeft) {
  Owner owner;
  EXPECT_DEATH(owner.session().OnTlsEstablished(), "CHECK");
  owner.SpeaksTls();
  EXPECT_DEATH(owner.session().OnTlsEstablished(), "CHECK");
  Owner other;
  other.HoldsOutput();
  other.Replies("STARTTLS\r\n");
  EXPECT_DEATH(other.session().OnTlsEstablished(), "CHECK");
}

}  // namespace
}  // namespace sluice::smtp
