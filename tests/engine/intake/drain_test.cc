// The end of the listening side: who is between two messages is told to come back, who is in one
// may finish it, and all sockets are closed when Drained says so.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/engine/intake/intake_words.h"

namespace sluice::intake {
namespace {

using testing::SizeIs;
using testing::StartsWith;

class Draining : public IntakeTest {
 protected:
  void Drain() {
    intake_->BeginDrain(now_);
    Turn();
  }
};

TEST_F(Draining, WithoutClientsClosesTheListeners) {
  options_.listeners.push_back(options_.listeners[0]);
  options_.listeners[1].socket = {kListener + 1};
  Start();
  EXPECT_FALSE(intake_->Drained());
  Drain();
  EXPECT_TRUE(io_.ListenerClosed(kListener));
  EXPECT_TRUE(io_.ListenerClosed(kListener + 1));
  EXPECT_TRUE(intake_->Drained());
}

TEST_F(Draining, ClosesAListenerThatIsPaused) {
  Start();
  io_.EndAccept(kListener, EMFILE);
  Turn();
  Drain();
  EXPECT_TRUE(io_.ListenerClosed(kListener));
  Pass(kAcceptPause + kInstantLater);
  EXPECT_FALSE(io_.Accepting(kListener));
  EXPECT_TRUE(intake_->Drained());
}

TEST_F(Draining, TellsIdleClients) {
  Start();
  const int greeted = Dial();
  const int idle = DialAndGreet();
  Heard(greeted);
  Drain();
  for (const int client : {greeted, idle}) {
    EXPECT_THAT(Heard(client), StartsWith("421 4.3.2 "));
    EXPECT_TRUE(io_.Closed(client));
  }
  EXPECT_TRUE(intake_->Drained());
}

TEST_F(Draining, LetsAMessageBeFinished) {
  Start();
  const int in_envelope = DialAndGreet();
  const int in_data = DialAndGreet();
  Says(in_envelope, "MAIL FROM:<a@sender.example>\r\n");
  Says(in_data, absl::StrCat(kEnvelope, "half a "));
  Heard(in_envelope);
  Heard(in_data);
  Drain();
  EXPECT_EQ(Heard(in_envelope), "");
  EXPECT_EQ(Heard(in_data), "");
  EXPECT_FALSE(intake_->Drained());

  Says(in_data, "message\r\n.\r\n");
  EXPECT_EQ(Codes(in_data), "250 421");
  EXPECT_TRUE(io_.Closed(in_data));
  Says(in_envelope, absl::StrCat("RCPT TO:<b@example.com>\r\nDATA\r\n", kContent, ".\r\n"));
  EXPECT_EQ(Codes(in_envelope), "250 354 250 421");
  EXPECT_THAT(messages_, SizeIs(2));
  EXPECT_TRUE(intake_->Drained());
}

TEST_F(Draining, AnswersAMessageThatIsBeingWritten) {
  Start();
  const int client = DialAndGreet();
  io_.HoldDisk();
  Says(client, absl::StrCat(kEnvelope, kContent, ".\r\n", kEnvelope));
  Heard(client);
  Drain();
  EXPECT_EQ(Heard(client), "");
  io_.ReleaseDisk();
  Turn();
  EXPECT_EQ(Codes(client), "250 421");  // Its next transaction is not begun.
  EXPECT_TRUE(intake_->Drained());
}

TEST_F(Draining, TellsAClientThatWasAcceptedAtTheLastMoment) {
  Start();
  const int client = io_.Dial(kListener, *SocketAddress::Parse("192.0.2.1:40000"));
  Drain();
  EXPECT_EQ(Codes(client), "220 421");
  EXPECT_TRUE(io_.Closed(client));
  EXPECT_TRUE(intake_->Drained());
}

TEST_F(Draining, TellsAClientOverTheBoundOnlyOnce) {
  options_.sessions_max = 1;
  Start();
  DialAndGreet();
  io_.HoldSends();
  const int refused = Dial();
  Drain();
  io_.ReleaseSends();
  Turn();
  EXPECT_EQ(Codes(refused), "421");
  EXPECT_TRUE(intake_->Drained());
}

TEST_F(Draining, EndsInTheEndWhateverClientsDo) {
  Start();
  const int in_data = DialAndGreet();
  const int deaf = DialAndGreet();
  const int awaiting = DialAndGreet();
  Says(in_data, absl::StrCat(kEnvelope, "half a "));
  io_.HoldDisk();
  Says(awaiting, absl::StrCat(kEnvelope, kContent, ".\r\n"));
  io_.HoldSends();
  Drain();
  EXPECT_FALSE(intake_->Drained());
  intake_->CutOff(now_);
  Turn();
  for (const int client : {in_data, deaf, awaiting}) EXPECT_TRUE(io_.Closed(client));
  EXPECT_TRUE(intake_->Drained());
  // The message that was complete stands.
  io_.ReleaseDisk();
  Turn();
  EXPECT_THAT(messages_, SizeIs(1));
}

// Its slot is taken until what was cancelled is back, and the promise may come before.
TEST_F(Draining, GivesNoAnswerToASessionThatIsEnding) {
  Start();
  const int client = DialAndGreet();
  io_.HoldDisk();
  Says(client, absl::StrCat(kEnvelope, kContent, ".\r\n"));
  Heard(client);
  Drain();
  intake_->CutOff(now_);
  const delivery::Promise promise = {.session = {.slot = 0, .generation = 1}, .kept = true};
  intake_->OnPromises({&promise, 1}, now_);
  Turn();
  EXPECT_EQ(Heard(client), "");
  EXPECT_TRUE(intake_->Drained());
}

}  // namespace
}  // namespace sluice::intake
