// The sink's dialogue with STARTTLS, and its faults: a TLS client of the library's own speaks with
// it, without sockets.

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "tls/demo_certificate.h"
#include "tls/stream.h"
#include "tools/sink/dialogue.h"

namespace sluice::tools {
namespace {

using Wish = Dialogue::Wish;

constexpr WallTime kNow{std::chrono::seconds(1'800'000'000)};
constexpr absl::string_view kReady = "220 2.0.0 Ready to start TLS\r\n";
constexpr absl::string_view kEnvelope =
    "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n";
constexpr absl::string_view kText = "Subject: x\r\n\r\nhello\r\n.\r\n";

std::shared_ptr<const tls::Context> ServerContext(bool tickets) {
  const auto demo = tls::MakeDemoCertificate("sink.example", kNow);
  EXPECT_TRUE(demo.ok()) << demo.status();
  const auto context = tls::Context::ForServers(
      {.certificate = demo->certificate_pem, .key = demo->key_pem, .tickets = tickets});
  EXPECT_TRUE(context.ok()) << context.status();
  return *context;
}

class SinkDialogueTls : public ::testing::Test {
 protected:
  void Connect(std::initializer_list<const char*> fault_texts) {
    for (const char* text : fault_texts) options_.faults.push_back(*Fault::Parse(text));
    if (with_certificate_) options_.tls = ServerContext(options_.tickets > 0);
    faults_ = std::make_unique<Faults>(options_.faults, 1);
    sinking_ = std::make_unique<Sinking>(
        Sinking{.options = options_, .faults = *faults_, .tally = tally_, .received = received_});
    BeginDialogue();
  }

  // Another connection to the same sink, if the one before is lost.
  void BeginDialogue() {
    dialogue_.Begin(*sinking_, {.port_index = 0, .port = 25, .client = {}});
    Heard();
  }

  // In clear: what the sink says to it.
  std::string Say(absl::string_view bytes) {
    dialogue_.Take(bytes, Instant());
    return Heard();
  }
  std::string Heard() { return std::exchange(dialogue_.output(), {}); }

  // From the 220 on, in pieces of so many bytes, with the session that is to be resumed.
  void Secure(size_t piece_bytes = SIZE_MAX, std::unique_ptr<tls::Session> session = nullptr) {
    client_ = tls::Stream::Client(*tls::Context::ForClients({}), "", std::move(session));
    tls::Step step = client_->Handshake();
    for (int flights = 0; flights < 4; ++flights) {
      client_->Feed(Carried(piece_bytes));
      if (step == tls::Step::kNeedsInput) step = client_->Handshake();
    }
    ASSERT_EQ(step, tls::Step::kEstablished);
  }

  // Under TLS: what the sink says to it.
  std::string SaySecure(absl::string_view text, size_t piece_bytes = SIZE_MAX) {
    EXPECT_TRUE(client_->Seal(text));
    client_->Feed(Carried(piece_bytes));
    std::string opened;
    client_end_ = client_->Open(opened);
    return opened;
  }

  // What the client has to say goes to the sink; the answer.
  std::string Carried(size_t piece_bytes) {
    std::string output;
    client_->TakeOutput(output);
    std::string heard;
    for (size_t at = 0; at < output.size(); at += std::min(piece_bytes, output.size() - at)) {
      heard += Say(absl::string_view(output).substr(at, piece_bytes));
    }
    return heard;
  }

  // Connections one after the other, with a message each; each comes with the session that the one
  // before was given, if any. How many were given one.
  uint64_t Visit(int times) {
    uint64_t given = 0;
    std::unique_ptr<tls::Session> session;
    for (int i = 0; i < times; ++i) {
      if (i > 0) BeginDialogue();
      Say("STARTTLS\r\n");
      const bool offered = session != nullptr;
      Secure(SIZE_MAX, std::move(session));
      if (HasFatalFailure()) break;
      EXPECT_EQ(client_->facts().resumed, offered);
      SaySecure("EHLO c.example\r\n");
      SaySecure(kEnvelope);
      SaySecure(kText);
      session = client_->TakeSession();
      given += session != nullptr;
      dialogue_.Lost();
    }
    return given;
  }

  const Counts& total() const { return tally_.total(); }

  bool with_certificate_ = true;
  SinkOptions options_;
  LineFile received_;
  Tally tally_{{.windows = {std::chrono::seconds(60)}, .ports = {"a:25"}}};
  std::unique_ptr<Faults> faults_;
  std::unique_ptr<Sinking> sinking_;
  Dialogue dialogue_;
  std::unique_ptr<tls::Stream> client_;
  tls::Stream::Opened client_end_ = tls::Stream::Opened::kNeedsInput;
};

TEST_F(SinkDialogueTls, IsOfferedWithACertificate) {
  Connect({});
  EXPECT_TRUE(absl::StrContains(Say("EHLO c.example\r\n"), "250-STARTTLS\r\n"));
}

TEST_F(SinkDialogueTls, IsNeitherOfferedNorKnownWithoutOne) {
  with_certificate_ = false;
  Connect({});
  EXPECT_FALSE(absl::StrContains(Say("EHLO c.example\r\n"), "STARTTLS"));
  EXPECT_TRUE(absl::StartsWith(Say("STARTTLS\r\n"), "502 "));
}

TEST_F(SinkDialogueTls, TakesMailUnderIt) {
  for (const size_t piece_bytes : {SIZE_MAX, size_t{7}, size_t{1}}) {
    const uint64_t before = total().messages;
    Connect({});
    EXPECT_EQ(Say("STARTTLS\r\n"), kReady);
    ASSERT_NO_FATAL_FAILURE(Secure(piece_bytes));
    EXPECT_FALSE(absl::StrContains(SaySecure("EHLO c.example\r\n", piece_bytes), "STARTTLS"));
    EXPECT_TRUE(absl::StrContains(SaySecure(kEnvelope, piece_bytes), "354 "));
    EXPECT_TRUE(absl::StartsWith(SaySecure(kText, piece_bytes), "250 "));
    EXPECT_TRUE(absl::StartsWith(SaySecure("QUIT\r\n", piece_bytes), "221 "));
    EXPECT_EQ(client_end_, tls::Stream::Opened::kClosed);  // The end was said (RFC 8446 6.1).
    EXPECT_EQ(dialogue_.wish(), Wish::kEnd);
    dialogue_.Lost();
    EXPECT_EQ(total().messages, before + 1);
  }
  EXPECT_EQ(total().messages_under_tls, 3u);
  EXPECT_EQ(total().connections, 3u);
  EXPECT_EQ(total().tls_connections, 3u);
  EXPECT_EQ(total().handshakes_failed, 0u);
  EXPECT_EQ(tally_.ports().front().messages_under_tls, 3u);
  EXPECT_EQ(tally_.domains().front().tls_connections, 3u);
  ASSERT_EQ(tally_.ciphers().size(), 1u);
  EXPECT_EQ(tally_.ciphers().begin()->second, 3u);
}

TEST_F(SinkDialogueTls, ResumesNoneWithoutTickets) {
  Connect({});
  EXPECT_EQ(Visit(5), 0u);
  EXPECT_EQ(total().tls_connections, 5u);
  EXPECT_EQ(total().tls_resumed, 0u);
}

TEST_F(SinkDialogueTls, ResumesAllButTheFirstWithATicketEach) {
  options_.tickets = 1;
  Connect({});
  EXPECT_EQ(Visit(5), 5u);
  EXPECT_EQ(total().tls_connections, 5u);
  EXPECT_EQ(total().tls_resumed, 4u);
  EXPECT_EQ(tally_.ports().front().tls_resumed, 4u);
  EXPECT_EQ(tally_.domains().front().tls_resumed, 4u);
  EXPECT_EQ(total().messages_under_tls, 5u);
}

// A handshake that gives none still takes the ticket of the one before: so many are resumed as were
// given, but for the last.
TEST_F(SinkDialogueTls, ResumesTheShareThatTicketsAreGivenFor) {
  constexpr int kVisits = 400;
  options_.tickets = 0.5;
  Connect({});
  const uint64_t given = Visit(kVisits);
  const uint64_t resumed = total().tls_resumed;
  EXPECT_TRUE(resumed == given || resumed + 1 == given) << resumed << " of " << given;
  EXPECT_NEAR(static_cast<double>(given), 200, 60);  // Six standard deviations of 10.
}

TEST_F(SinkDialogueTls, TellsClearMailFromTheOtherOnOneConnection) {
  Connect({});
  Say("EHLO c.example\r\n");
  Say(kEnvelope);
  EXPECT_TRUE(absl::StartsWith(Say(kText), "250 "));
  EXPECT_EQ(total().messages_under_tls, 0u);
  EXPECT_EQ(tally_.domains().front().tls_connections, 0u);
  Say("STARTTLS\r\n");
  ASSERT_NO_FATAL_FAILURE(Secure());
  SaySecure("EHLO c.example\r\n");
  SaySecure(kEnvelope);
  SaySecure(kText);
  EXPECT_EQ(total().messages, 2u);
  EXPECT_EQ(total().messages_under_tls, 1u);
  EXPECT_EQ(tally_.domains().front().tls_connections, 1u);
  dialogue_.Lost();
}

TEST_F(SinkDialogueTls, ObeysNothingThatWasPutBehindStartTls) {
  Connect({});
  EXPECT_EQ(Say("STARTTLS\r\nHELO c.example\r\n"), "554 5.5.0 Input behind STARTTLS\r\n");
  EXPECT_EQ(dialogue_.wish(), Wish::kEnd);
  EXPECT_EQ(total().handshakes_failed, 0u);  // None was begun.
}

TEST_F(SinkDialogueTls, CountsAHandshakeThatIsNone) {
  Connect({});
  EXPECT_EQ(Say("STARTTLS\r\n"), kReady);
  const std::string heard = Say("HELO c.example\r\n");
  EXPECT_FALSE(absl::StrContains(heard, "250"));  // An alert at most.
  EXPECT_EQ(dialogue_.wish(), Wish::kEnd);
  EXPECT_EQ(total().handshakes_failed, 1u);
  EXPECT_EQ(total().tls_connections, 0u);
  EXPECT_EQ(total().connections_now, 0u);
  dialogue_.Lost();
  EXPECT_EQ(total().handshakes_failed, 1u);
}

TEST_F(SinkDialogueTls, CountsAClientThatLeavesInTheHandshake) {
  Connect({});
  Say("STARTTLS\r\n");
  dialogue_.Lost();
  EXPECT_EQ(total().handshakes_failed, 1u);
}

TEST_F(SinkDialogueTls, SaysNothingInClearWhenTheHandshakeTakesTooLong) {
  Connect({});
  Say("STARTTLS\r\n");
  dialogue_.TimedOut(Instant());
  EXPECT_EQ(Heard(), "");
  EXPECT_EQ(dialogue_.wish(), Wish::kEnd);
  EXPECT_EQ(total().handshakes_failed, 1u);
}

TEST_F(SinkDialogueTls, DropsAClientThatSpeaksInClearAfterIt) {
  Connect({});
  Say("STARTTLS\r\n");
  ASSERT_NO_FATAL_FAILURE(Secure());
  const std::string heard = Say("HELO c.example\r\n");
  EXPECT_FALSE(absl::StrContains(heard, "250"));
  EXPECT_EQ(dialogue_.wish(), Wish::kEnd);
  EXPECT_EQ(total().handshakes_failed, 0u);
  EXPECT_EQ(total().tls_connections, 1u);
}

TEST_F(SinkDialogueTls, DropsAClientThatEndsWithoutQuit) {
  Connect({});
  Say("STARTTLS\r\n");
  ASSERT_NO_FATAL_FAILURE(Secure());
  client_->Close();
  Carried(SIZE_MAX);
  EXPECT_EQ(dialogue_.wish(), Wish::kDrop);
}

TEST_F(SinkDialogueTls, RefusesStartTlsByFault) {
  Connect({"stage=starttls,reply=454 4.7.0 not now,times=1"});
  EXPECT_EQ(Say("STARTTLS\r\n"), "454 4.7.0 not now\r\n");
  EXPECT_TRUE(absl::StartsWith(Say("HELO c.example\r\n"), "250 "));
  EXPECT_EQ(Say("STARTTLS\r\n"), kReady);
  ASSERT_NO_FATAL_FAILURE(Secure());
}

TEST_F(SinkDialogueTls, DropsAtStartTlsByFault) {
  Connect({"stage=starttls,action=drop"});
  EXPECT_EQ(Say("STARTTLS\r\n"), "");
  EXPECT_EQ(dialogue_.wish(), Wish::kDrop);
  EXPECT_EQ(total().handshakes_failed, 0u);
}

TEST_F(SinkDialogueTls, DelaysTheGoAheadByFault) {
  Connect({"stage=starttls,action=delay,delay_ms=50"});
  EXPECT_EQ(Say("STARTTLS\r\n"), "");
  EXPECT_EQ(dialogue_.wish(), Wish::kPause);
  dialogue_.Resume(Instant());
  EXPECT_EQ(Heard(), kReady);
  ASSERT_NO_FATAL_FAILURE(Secure());
}

TEST_F(SinkDialogueTls, SealsTheFaultsOfHeloToo) {
  Connect({"stage=helo,reply=450 4.3.2 later"});
  EXPECT_EQ(Say("STARTTLS\r\n"), kReady);
  ASSERT_NO_FATAL_FAILURE(Secure());
  EXPECT_EQ(SaySecure("EHLO c.example\r\n"), "450 4.3.2 later\r\n");
}

}  // namespace
}  // namespace sluice::tools
