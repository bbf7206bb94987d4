// The sink's dialogue with faults at every stage: bytes in, replies and wishes out, without
// sockets.

#include "tools/sink/dialogue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace sluice::tools {
namespace {

using Wish = Dialogue::Wish;

class SinkDialogue : public ::testing::Test {
 protected:
  void Connect(std::initializer_list<const char*> fault_texts) {
    for (const char* text : fault_texts) options_.faults.push_back(*Fault::Parse(text));
    faults_ = std::make_unique<Faults>(options_.faults, 1);
    sinking_ = std::make_unique<Sinking>(
        Sinking{.options = options_, .faults = *faults_, .tally = tally_, .received = received_});
    dialogue_.Begin(*sinking_, {.port_index = 0, .port = 25, .client = {}});
  }

  // What the sink says to it.
  std::string Say(absl::string_view bytes) {
    dialogue_.Take(bytes, Instant());
    return Heard();
  }
  std::string Heard() { return std::exchange(dialogue_.output(), {}); }

  std::string SendMail() {
    const std::string heard = Say("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n");
    return heard + Say("Subject: x\r\n\r\nhello\r\n.\r\n");
  }

  SinkOptions options_;
  LineFile received_;
  Tally tally_{{.windows = {std::chrono::seconds(60)}, .ports = {"a:25"}}};
  std::unique_ptr<Faults> faults_;
  std::unique_ptr<Sinking> sinking_;
  Dialogue dialogue_;
};

TEST_F(SinkDialogue, TakesMailWhenNothingGoesWrong) {
  Connect({});
  EXPECT_TRUE(absl::StartsWith(Heard(), "220 sink.example"));
  EXPECT_TRUE(absl::StartsWith(Say("EHLO c.example\r\n"), "250-sink.example\r\n"));
  EXPECT_TRUE(absl::StrContains(SendMail(), "354 "));
  EXPECT_EQ(tally_.total().messages, 1u);
  EXPECT_EQ(tally_.total().without_probe, 1u);
  EXPECT_TRUE(absl::StartsWith(Say("QUIT\r\n"), "221 "));
  EXPECT_EQ(dialogue_.wish(), Wish::kEnd);
  EXPECT_EQ(tally_.total().connections_now, 0u);  // Gone with the answer to QUIT.
  dialogue_.Lost();
}

TEST_F(SinkDialogue, RefusesAtTheGreeting) {
  Connect({"stage=connect,reply=554 5.7.1 no"});
  EXPECT_EQ(Heard(), "554 5.7.1 no\r\n");
  EXPECT_EQ(dialogue_.wish(), Wish::kEnd);
}

TEST_F(SinkDialogue, DropsAtTheGreeting) {
  Connect({"stage=connect,action=drop"});
  EXPECT_EQ(dialogue_.wish(), Wish::kDrop);
  EXPECT_EQ(tally_.total().connections, 1u);
  EXPECT_EQ(tally_.total().connections_now, 0u);
}

TEST_F(SinkDialogue, GreetsAfterADelay) {
  Connect({"stage=connect,action=delay,delay_ms=50"});
  EXPECT_EQ(dialogue_.wish(), Wish::kPause);
  EXPECT_EQ(dialogue_.pause(), std::chrono::milliseconds(50));
  EXPECT_EQ(Heard(), "");
  dialogue_.Resume(Instant());
  EXPECT_TRUE(absl::StartsWith(Heard(), "220 "));
}

TEST_F(SinkDialogue, RefusesHeloWhereverItIsCut) {
  const absl::string_view line = "EHLO c.example\r\n";
  for (size_t cut = 0; cut <= line.size(); ++cut) {
    Dialogue dialogue;
    options_.faults = {*Fault::Parse("stage=helo,reply=451 4.3.0 later,times=1")};
    Faults faults(options_.faults, 1);
    Sinking sinking{.options = options_, .faults = faults, .tally = tally_, .received = received_};
    dialogue.Begin(sinking, {.port_index = 0, .port = 25, .client = {}});
    dialogue.output().clear();
    dialogue.Take(line.substr(0, cut), Instant());
    dialogue.Take(line.substr(cut), Instant());
    EXPECT_EQ(dialogue.output(), "451 4.3.0 later\r\n") << cut;
    dialogue.output().clear();
    dialogue.Take("HELO c.example\r\n", Instant());
    EXPECT_TRUE(absl::StartsWith(dialogue.output(), "250 sink.example")) << cut;
    dialogue.Lost();
  }
}

TEST_F(SinkDialogue, SaysTheReplyOfEachStage) {
  Connect({"stage=mail,reply=450 4.1.8 m,times=1", "stage=rcpt,reply=550 5.1.1 r,times=1",
           "stage=data,reply=451 4.3.0 d,times=1", "stage=dot,reply=554 5.6.0 e,times=1"});
  Heard();
  Say("EHLO c.example\r\n");
  EXPECT_EQ(Say("MAIL FROM:<a@x.example>\r\n"), "450 4.1.8 m\r\n");
  EXPECT_TRUE(absl::StartsWith(Say("MAIL FROM:<a@x.example>\r\n"), "250 "));
  EXPECT_EQ(Say("RCPT TO:<b@y.example>\r\n"), "550 5.1.1 r\r\n");
  EXPECT_TRUE(absl::StartsWith(Say("RCPT TO:<b@y.example>\r\n"), "250 "));
  EXPECT_EQ(Say("DATA\r\n"), "451 4.3.0 d\r\n");
  Say("RSET\r\n");
  EXPECT_TRUE(absl::EndsWith(SendMail(), "554 5.6.0 e\r\n"));
  EXPECT_EQ(tally_.total().messages, 0u);
  EXPECT_EQ(tally_.total().recipients, 3u);
  dialogue_.Lost();
}

// Those of one batch with the command at which it is dropped.
TEST_F(SinkDialogue, AnswersWhatCameBeforeADrop) {
  Connect({"stage=rcpt,action=drop,domain=z.example"});
  Heard();
  Say("EHLO c.example\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n");
  const std::string heard =
      Say("hello\r\n.\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@z.example>\r\n");
  EXPECT_THAT(
      std::vector<std::string>(absl::StrSplit(heard, "\r\n")),
      ::testing::ElementsAre(::testing::StartsWith("250 "), ::testing::StartsWith("250 "), ""));
  EXPECT_EQ(dialogue_.wish(), Wish::kDrop);
  EXPECT_EQ(tally_.total().messages, 1u);
}

TEST_F(SinkDialogue, CountsItsTimeFromTheFirstData) {
  Connect({});
  const auto at = [](int second) { return Instant() + std::chrono::seconds(second); };
  dialogue_.Take("EHLO c.example\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n", at(1));
  EXPECT_FALSE(sinking_->first_data_at.has_value());
  dialogue_.Take("DATA\r\n", at(2));
  dialogue_.Take(".\r\nMAIL FROM:<>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n", at(3));
  EXPECT_EQ(sinking_->first_data_at, at(2));
  dialogue_.Lost();
}

TEST_F(SinkDialogue, ClosesWith421) {
  Connect({"stage=rcpt,action=close421"});
  Heard();
  Say("EHLO c.example\r\nMAIL FROM:<a@x.example>\r\n");
  EXPECT_TRUE(absl::StartsWith(Say("RCPT TO:<b@y.example>\r\n"), "421 "));
  EXPECT_EQ(dialogue_.wish(), Wish::kEnd);
}

TEST_F(SinkDialogue, DropsAtTheDotWithoutTheMessage) {
  Connect({"stage=dot,action=drop"});
  Say("EHLO c.example\r\n");
  SendMail();
  EXPECT_EQ(dialogue_.wish(), Wish::kDrop);
  EXPECT_EQ(tally_.total().messages, 0u);
}

TEST_F(SinkDialogue, TakesTheMessageAndDropsWithoutAnswer) {
  Connect({"stage=dot,action=accept_drop"});
  Say("EHLO c.example\r\n");
  EXPECT_TRUE(absl::EndsWith(SendMail(), "<CR><LF>\r\n"));  // The answer to DATA is the last.
  EXPECT_EQ(dialogue_.wish(), Wish::kDrop);
  EXPECT_EQ(tally_.total().messages, 1u);
}

TEST_F(SinkDialogue, HoldsWhatComesDuringADelay) {
  Connect({"stage=mail,action=delay,delay_ms=5"});
  Say("EHLO c.example\r\n");
  EXPECT_EQ(Say("MAIL FROM:<a@x.example>\r\nRCPT TO:"), "");
  EXPECT_EQ(Say("<b@y.example>\r\n"), "");
  EXPECT_EQ(dialogue_.held_bytes(), sizeof("RCPT TO:<b@y.example>\r\n") - 1);
  dialogue_.Resume(Instant());
  EXPECT_EQ(Heard(), "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n");
  EXPECT_EQ(dialogue_.held_bytes(), 0u);
  dialogue_.Lost();
}

TEST_F(SinkDialogue, GoesDownWithA421AfterTheMessageThatIsHeldUp) {
  Connect({"stage=dot,action=delay,delay_ms=5"});
  Say("EHLO c.example\r\n");
  SendMail();
  EXPECT_EQ(dialogue_.wish(), Wish::kPause);
  dialogue_.ShutDown(Instant());
  const std::string last = Heard();
  EXPECT_TRUE(absl::StartsWith(last, "250 "));
  EXPECT_TRUE(absl::StrContains(last, "\r\n421 "));
  EXPECT_EQ(tally_.total().messages, 1u);
  EXPECT_EQ(dialogue_.wish(), Wish::kEnd);
}

TEST_F(SinkDialogue, GoesDownSilentlyBeforeItsGreeting) {
  Connect({"stage=connect,action=delay,delay_ms=5"});
  dialogue_.ShutDown(Instant());
  EXPECT_EQ(Heard(), "");
  EXPECT_EQ(dialogue_.wish(), Wish::kDrop);
}

// --- BDAT.

class SinkChunks : public SinkDialogue {
 protected:
  void Greet(std::initializer_list<const char*> fault_texts) {
    Connect(fault_texts);
    Heard();
    Say("EHLO c.example\r\n");
  }
  std::string Envelope() { return Say("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n"); }
};

TEST_F(SinkChunks, AreOfferedUnlessTheOptionsSayOtherwise) {
  Connect({});
  EXPECT_THAT(Say("EHLO c.example\r\n"), ::testing::HasSubstr("250-CHUNKING\r\n"));
  dialogue_.Lost();

  const char* const words[] = {"sluice-sink", "--listen", "127.0.0.1:25", "--no-chunking"};
  EXPECT_TRUE((*ParseSinkOptions(3, words))->chunking);
  options_.chunking = (*ParseSinkOptions(4, words))->chunking;
  Connect({});
  EXPECT_THAT(Say("EHLO c.example\r\n"), ::testing::Not(::testing::HasSubstr("CHUNKING")));
  EXPECT_THAT(Say("BDAT 6 LAST\r\n"), ::testing::StartsWith("502 "));
  dialogue_.Lost();
}

TEST_F(SinkChunks, AreReadAsDataIsAndCounted) {
  Greet({});
  SendMail();
  EXPECT_EQ(tally_.total().messages, 1u);
  EXPECT_EQ(tally_.total().chunked, 0u);
  constexpr absl::string_view kBody = ".a\r\n.\r\n..\r\n";
  const Probe probe = {.id = {.run = 1, .number = 2},
                       .body_bytes = kBody.size(),
                       .body_hash = XXH3_64bits(kBody.data(), kBody.size())};
  const std::string message = absl::StrCat(probe.ToHeaderLine(), "\r\n", kBody);
  for (size_t cut = 0; cut <= message.size(); ++cut) {
    Envelope();
    EXPECT_THAT(Say(absl::StrCat("BDAT ", cut, "\r\n", message.substr(0, cut))),
                ::testing::StartsWith("250 "));
    EXPECT_EQ(Say(absl::StrCat("BDAT ", message.size() - cut, " LAST\r\n", message.substr(cut))),
              absl::StrCat("250 2.0.0 Ok: queued as ", probe.id.ToString(), "\r\n"));
  }
  for (const Counts* row : {&tally_.total(), &tally_.ports()[0], &tally_.domains()[0]}) {
    EXPECT_EQ(row->chunked, message.size() + 1);
    EXPECT_EQ(row->messages, message.size() + 2);
  }
  EXPECT_EQ(tally_.total().damaged, 0u);
  EXPECT_EQ(tally_.total().without_probe, 1u);  // The one by DATA.
  dialogue_.Lost();
}

TEST_F(SinkChunks, HaveTheFaultsOfDataAndDot) {
  Greet({"stage=data,reply=451 4.3.0 d,times=1", "stage=dot,reply=554 5.6.0 e,times=1",
         "stage=dot,action=accept_drop"});
  Envelope();
  EXPECT_EQ(Say("BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nRSET\r\n"),
            "451 4.3.0 d\r\n503 5.5.1 Bad sequence of commands\r\n250 2.0.0 Ok\r\n");
  Envelope();
  EXPECT_EQ(Say("BDAT 2 LAST\r\nab"), "554 5.6.0 e\r\n");
  EXPECT_EQ(tally_.total().messages, 0u);
  Envelope();
  EXPECT_EQ(Say("BDAT 2 LAST\r\nab"), "");
  EXPECT_EQ(dialogue_.wish(), Wish::kDrop);
  EXPECT_EQ(tally_.total().chunked, 1u);
}

TEST_F(SinkChunks, AreHeldDuringADelay) {
  Greet({"stage=data,action=delay,delay_ms=5"});
  Envelope();
  EXPECT_EQ(Say("BDAT 6\r\nQUIT"), "");
  EXPECT_EQ(dialogue_.wish(), Wish::kPause);
  EXPECT_EQ(Say("\r\nBDAT 0 LAST\r\n"), "");
  dialogue_.Resume(Instant());
  EXPECT_EQ(Heard(), "250 2.0.0 6 octets received\r\n250 2.0.0 Ok: queued as unknown\r\n");
  dialogue_.Lost();
}

TEST_F(SinkChunks, CountAsRefusedBySessionForTheirContentOnly) {
  Greet({});
  Envelope();
  Say("BDAT 2\r\nabRSET\r\n");
  EXPECT_EQ(sinking_->refused_by_session, 0u);
  Envelope();
  Say("BDAT 2\r\na\nRSET\r\n");
  EXPECT_EQ(sinking_->refused_by_session, 1u);
  dialogue_.Lost();
}

// Octets that nobody asked for may look like the command that a fault waits for.
TEST_F(SinkChunks, AreNoEhloBeforeTheFirst) {
  Connect({"stage=helo,reply=451 4.3.0 later,times=1"});
  Heard();
  EXPECT_EQ(Say("BDAT 8\r\n"), "");
  EXPECT_EQ(Say("EHLO x\r\n"), "503 5.5.1 Send EHLO first\r\n");
  EXPECT_EQ(Say("EHLO c.example\r\n"), "451 4.3.0 later\r\n");
  dialogue_.Lost();
}

// --- Pace.

TEST_F(SinkDialogue, ReadsSlowlyFromItsStageOn) {
  Connect({"stage=data,action=slow,bytes_per_s=100"});
  Say("EHLO c.example\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n");
  EXPECT_EQ(dialogue_.bytes_per_s(), 0u);
  EXPECT_TRUE(absl::StartsWith(Say("DATA\r\n"), "354 "));
  EXPECT_EQ(dialogue_.bytes_per_s(), 100u);
  dialogue_.Lost();
}

}  // namespace
}  // namespace sluice::tools
