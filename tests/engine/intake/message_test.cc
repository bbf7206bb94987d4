// A message from its injector to its home: what the client hears, when it hears it, and what the
// home has got. The network and the disk are fakes that the test moves by hand; the home and its
// log are real.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "engine/smtp/trace.h"
#include "tests/engine/intake/intake_words.h"

namespace sluice::intake {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

class ReceivingMail : public IntakeTest {
 protected:
  std::string TraceOf(const delivery::Message& message, absl::string_view for_address) {
    return smtp::ReceivedLine("client.example", *IpAddress::Parse("192.0.2.1"), kHostname, true,
                              message.id.ToString(), for_address, now_.wall);
  }
};

TEST_F(ReceivingMail, GreetsAndGoesThroughTheDialogueToTheEnd) {
  Start();
  const int client = Dial();
  EXPECT_EQ(Heard(client), kGreeting);
  Says(client, "EHLO client.example\r\n");
  EXPECT_THAT(Heard(client),
              AllOf(StartsWith("250-mta.example.net\r\n"), HasSubstr("SIZE 1048576")));
  Says(client, kEnvelope);
  EXPECT_EQ(Codes(client), "250 250 354");
  Says(client, absl::StrCat(kContent, ".\r\n"));
  ASSERT_THAT(messages_, SizeIs(1));
  EXPECT_EQ(Heard(client),
            absl::StrCat("250 2.0.0 Ok: queued as ", messages_[0]->id.ToString(), "\r\n"));
  Says(client, "QUIT\r\n");
  EXPECT_EQ(Codes(client), "221");
  EXPECT_TRUE(io_.Closed(client));
  EXPECT_EQ(intake_->sessions(), 0u);
}

TEST_F(ReceivingMail, KeepsTheBodyInWireFormBelowItsTraceLine) {
  Start();
  const int client = DialAndGreet();
  Says(client, kEnvelope);
  Says(client, "Subject: x\r\n\r\n..two dots\r\n.\r\n");
  ASSERT_THAT(messages_, SizeIs(1));
  const delivery::Message& message = *messages_[0];
  const std::string trace = TraceOf(message, "b@example.com");
  EXPECT_EQ(BodyOf(message), trace + "Subject: x\r\n\r\n..two dots\r\n.\r\n");
  // "Subject: x", an empty line, ".two dots": 12 + 2 + 11.
  EXPECT_EQ(message.message_bytes, trace.size() + 25);
  EXPECT_EQ(message.wire_bytes, trace.size() + 29);
  EXPECT_EQ(message.envelope.sender, "a@sender.example");
  EXPECT_FALSE(message.eight_bit);
}

TEST_F(ReceivingMail, DoesNotTellRecipientsOfEachOther) {
  Start();
  const int client = DialAndGreet();
  Says(client, "MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<c@example.org>\r\nDATA\r\n");
  Says(client, absl::StrCat(kContent, ".\r\n"));
  ASSERT_THAT(messages_, SizeIs(1));
  EXPECT_THAT(messages_[0]->envelope.recipients, SizeIs(2));
  EXPECT_EQ(BodyOf(*messages_[0]), absl::StrCat(TraceOf(*messages_[0], ""), kContent, ".\r\n"));
}

TEST_F(ReceivingMail, SaysSoOnlyWhenItIsOnTheDisk) {
  Start();
  const int client = DialAndGreet();
  Says(client, kEnvelope);
  Heard(client);
  io_.HoldDisk();
  Says(client, absl::StrCat(kContent, ".\r\n"));
  EXPECT_EQ(Heard(client), "");
  io_.ReleaseDisk();
  io_.HoldDisk();
  Turn();  // Written, and not synced.
  EXPECT_EQ(Heard(client), "");
  io_.ReleaseDisk();
  Turn();
  EXPECT_EQ(Codes(client), "250");
}

TEST_F(ReceivingMail, IsTheSameWhereverItsBytesAreCut) {
  Start();
  const std::string dialogue = absl::StrCat("EHLO client.example\r\n", kEnvelope,
                                            "Subject: x\r\n\r\n..\r\nend\r\n.\r\nQUIT\r\n");
  for (size_t cut = 0; cut <= dialogue.size(); ++cut) {
    messages_.clear();
    const int client = Dial();
    Says(client, dialogue.substr(0, cut));
    Says(client, dialogue.substr(cut));
    ASSERT_EQ(Codes(client), "220 250 250 250 354 250 221") << "cut at " << cut;
    ASSERT_TRUE(io_.Closed(client));
    ASSERT_THAT(messages_, SizeIs(1));
    ASSERT_EQ(BodyOf(*messages_[0]),
              TraceOf(*messages_[0], "b@example.com") + "Subject: x\r\n\r\n..\r\nend\r\n.\r\n");
  }
}

TEST_F(ReceivingMail, TakesWhatIsPipelinedBehindTheDot) {
  Start();
  const int client = DialAndGreet();
  io_.HoldDisk();
  std::string dialogue;
  for (int i = 0; i < 3; ++i) absl::StrAppend(&dialogue, kEnvelope, kContent, ".\r\n");
  Says(client, dialogue + "QUIT\r\n");
  EXPECT_EQ(Codes(client), "250 250 354");  // The rest waits for the promise.
  io_.ReleaseDisk();
  Turn();
  EXPECT_EQ(Codes(client), "250 250 250 354 250 250 250 354 250 221");
  EXPECT_THAT(messages_, SizeIs(3));
}

TEST_F(ReceivingMail, ServesSeveralClientsAtOnce) {
  Start();
  const int one = DialAndGreet();
  const int two = DialAndGreet();
  Says(one, kEnvelope);
  Says(two, kEnvelope);
  Says(one, "one\r\n");
  Says(two, "two\r\n");
  Says(two, ".\r\n");
  Says(one, ".\r\n");
  ASSERT_THAT(messages_, SizeIs(2));
  EXPECT_THAT(BodyOf(*messages_[0]), testing::EndsWith("two\r\n.\r\n"));
  EXPECT_THAT(BodyOf(*messages_[1]), testing::EndsWith("one\r\n.\r\n"));
}

TEST_F(ReceivingMail, StreamsALargeBody) {
  Start();
  const int client = DialAndGreet();
  Says(client, kEnvelope);
  Heard(client);
  const std::string line(98, 'x');
  std::string piece;
  for (int i = 0; i < 100; ++i) absl::StrAppend(&piece, line, "\r\n");
  for (int i = 0; i < 60; ++i) Says(client, piece);
  Says(client, ".\r\n");
  EXPECT_EQ(Codes(client), "250");
  ASSERT_THAT(messages_, SizeIs(1));
  EXPECT_EQ(messages_[0]->message_bytes,
            TraceOf(*messages_[0], "b@example.com").size() + 60 * 10'000);
}

TEST_F(ReceivingMail, RefusesToRelayForStrangers) {
  Start();
  const int stranger = Dial("198.51.100.1:40000");
  Says(stranger, absl::StrCat("EHLO client.example\r\n", kEnvelope));
  EXPECT_EQ(Codes(stranger), "220 250 250 550 554");
}

TEST_F(ReceivingMail, AnswersAClientThatClosesItsSideAfterTheDot) {
  Start();
  const int client = DialAndGreet();
  io_.HoldDisk();
  Says(client, absl::StrCat(kEnvelope, kContent, ".\r\n"));
  HangsUp(client);
  EXPECT_FALSE(io_.Closed(client));
  io_.ReleaseDisk();
  Turn();
  EXPECT_EQ(Codes(client), "250 250 354 250");
  EXPECT_TRUE(io_.Closed(client));
}

// RFC 5321 4.1.1.10.
TEST_F(ReceivingMail, DropsWhatAClientLeftUnfinished) {
  Start();
  for (const absl::string_view said :
       {"", "MAIL FR", "MAIL FROM:<a@sender.example>\r\n",
        "MAIL FROM:<a@sender.example>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n",
        "MAIL FROM:<a@sender.example>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nhalf a li",
        "MAIL FROM:<a@sender.example>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nline\r\n.\r"}) {
    const int client = DialAndGreet();
    Says(client, said);
    HangsUp(client);
    EXPECT_TRUE(io_.Closed(client)) << said;
    ExpectNothingLeft();
  }
}

TEST_F(ReceivingMail, StandsWhenItsClientIsGoneBeforeTheAnswer) {
  Start();
  const int client = DialAndGreet();
  io_.HoldDisk();
  Says(client, absl::StrCat(kEnvelope, kContent, ".\r\n"));
  io_.Resets(client);
  Turn();
  EXPECT_TRUE(io_.Closed(client));
  EXPECT_EQ(intake_->sessions(), 0u);
  // Another client is in the slot when the promise comes, and must not hear it.
  const int other = DialAndGreet();
  io_.ReleaseDisk();
  Turn();
  EXPECT_EQ(Heard(other), "");
  EXPECT_THAT(messages_, SizeIs(1));
}

TEST_F(ReceivingMail, ThatIsTooLargeIsReadToItsEndAndRefused) {
  options_.listeners[0].message_bytes_max = 1000;
  Start();
  const int client = DialAndGreet();
  Says(client, kEnvelope);
  Heard(client);
  for (int i = 0; i < 200; ++i) Says(client, "0123456789\r\n");
  EXPECT_EQ(Heard(client), "");
  Says(client, ".\r\n");
  EXPECT_EQ(Codes(client), "552");
  EXPECT_EQ(home_->messages(), 0u);
  EXPECT_EQ(home_->blocks_taken(), 0u);
  Says(client, absl::StrCat(kEnvelope, kContent, ".\r\n"));
  EXPECT_EQ(Codes(client), "250 250 354 250");
}

TEST_F(ReceivingMail, IsRefusedAtDataWhenThereIsNoSlot) {
  home_options_.messages_max = 1;
  Start();
  const int client = DialAndGreet();
  Says(client, absl::StrCat(kEnvelope, kContent, ".\r\n"));
  EXPECT_EQ(Codes(client), "250 250 354 250");
  Says(client, kEnvelope);
  EXPECT_THAT(Heard(client), testing::EndsWith("452 4.3.1 Insufficient system storage\r\n"));
  Says(client, "NOOP\r\n");
  EXPECT_EQ(Codes(client), "250");
}

TEST_F(ReceivingMail, IsRefusedAtTheDotWhenMemoryRanOut) {
  home_options_.body_blocks = 2;
  Start();
  const int client = DialAndGreet();
  Says(client, kEnvelope);
  Heard(client);
  std::string line(98, 'x');
  for (size_t bytes = 0; bytes < 3 * limits::kBodyBlockBytes; bytes += 100) {
    Says(client, line + "\r\n");
  }
  Says(client, ".\r\n");
  EXPECT_EQ(Heard(client), "452 4.3.1 Insufficient system storage\r\n");
  EXPECT_EQ(home_->blocks_taken(), 0u);
  Says(client, absl::StrCat(kEnvelope, kContent, ".\r\n"));
  EXPECT_EQ(Codes(client), "250 250 354 250");
}

TEST_F(ReceivingMail, IsRefusedAtTheDotWhenTheDiskFails) {
  Start();
  const int client = DialAndGreet();
  io_.HoldDisk();
  Says(client, absl::StrCat(kEnvelope, kContent, ".\r\n"));
  Heard(client);
  io_.ReleaseDisk(EIO);
  Turn();
  EXPECT_EQ(Heard(client), "452 4.3.1 Insufficient system storage\r\n");
  Says(client, kEnvelope);
  EXPECT_EQ(Codes(client), "250 250 452");  // The log takes nothing any more.
}

}  // namespace
}  // namespace sluice::intake
