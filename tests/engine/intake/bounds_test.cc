// What happens at each bound of the listening side: too many clients, slow ones, ones that send
// without reading or read without end, and a machine that has run out of descriptors. Time is the
// test's own.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/engine/intake/intake_words.h"

namespace sluice::intake {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::SizeIs;
using testing::StartsWith;

class TooManyClients : public IntakeTest {};

TEST_F(TooManyClients, AreToldSoAndClosed) {
  options_.sessions_max = 2;
  Start();
  const int first = DialAndGreet();
  DialAndGreet();
  const int third = Dial();
  EXPECT_EQ(Heard(third), "421 4.3.2 Too many connections\r\n");
  EXPECT_TRUE(io_.Closed(third));

  Says(first, "QUIT\r\n");
  EXPECT_EQ(Heard(Dial()), kGreeting);
}

TEST_F(TooManyClients, AreClosedWithoutAWordWhenTooManyAreBeingTold) {
  options_.sessions_max = 1;
  Start();
  DialAndGreet();
  io_.HoldSends();
  std::vector<int> told;
  for (uint32_t i = 0; i < kRefusedSessionsMax; ++i) told.push_back(Dial());
  const int one_more = Dial();
  EXPECT_TRUE(io_.Closed(one_more));
  for (const int client : told) EXPECT_FALSE(io_.Closed(client));
  io_.ReleaseSends();
  Turn();
  for (const int client : told) {
    EXPECT_EQ(Codes(client), "421");
    EXPECT_TRUE(io_.Closed(client));
  }
  EXPECT_EQ(Heard(one_more), "");
  EXPECT_EQ(intake_->sessions(), 1u);
}

TEST_F(TooManyClients, ThatLeftBeforeTheyWereLookedAtAreClosed) {
  Start();
  const int client = io_.Dial(kListener, SocketAddress{});
  Turn();
  EXPECT_TRUE(io_.Closed(client));
  EXPECT_EQ(intake_->sessions(), 0u);
}

class SlowClient : public IntakeTest {};

TEST_F(SlowClient, HasFiveMinutesForACommand) {
  Start();
  const int client = DialAndGreet();
  Pass(kIdle - milliseconds(1));
  Says(client, "NOOP\r\n");
  EXPECT_EQ(Codes(client), "250");
  Pass(kIdle - milliseconds(1));
  EXPECT_FALSE(io_.Closed(client));
  Pass(kInstantLater);
  EXPECT_THAT(Heard(client), StartsWith("421 4.4.2 "));
  EXPECT_TRUE(io_.Closed(client));
}

TEST_F(SlowClient, HasFiveMinutesForItsFirstCommand) {
  Start();
  const int client = Dial();
  Pass(kIdle - milliseconds(1));
  EXPECT_FALSE(io_.Closed(client));
  Pass(kInstantLater);
  EXPECT_TRUE(io_.Closed(client));
}

// F06: bytes are not progress; commands are.
TEST_F(SlowClient, WinsNothingByAByteNowAndThen) {
  Start();
  const int client = DialAndGreet();
  for (int i = 0; i < 4; ++i) {
    Pass(minutes(1));
    Says(client, "X");
  }
  EXPECT_FALSE(io_.Closed(client));
  Pass(minutes(1) + kInstantLater);
  EXPECT_THAT(Heard(client), StartsWith("421 4.4.2 "));
  EXPECT_TRUE(io_.Closed(client));
}

TEST_F(SlowClient, InDataMustBringThirtyThousandBytesInFiveMinutes) {
  Start();
  const int enough = DialAndGreet();
  const int short_of_it = DialAndGreet();
  Says(enough, kEnvelope);
  Says(short_of_it, kEnvelope);
  Heard(enough);
  Heard(short_of_it);
  std::string lines;
  while (lines.size() < kDataWindowBytesMin) lines += std::string(98, 'x') + "\r\n";
  ASSERT_EQ(lines.size(), kDataWindowBytesMin);
  for (int window = 0; window < 3; ++window) {
    Says(enough, lines);
    if (window == 0) Says(short_of_it, lines.substr(1));
    Pass(kDataWindow + kInstantLater);
  }
  EXPECT_THAT(Heard(short_of_it), StartsWith("421 4.4.2 "));
  EXPECT_TRUE(io_.Closed(short_of_it));
  Says(enough, ".\r\n");
  EXPECT_EQ(Codes(enough), "250");
}

// Bytes of a body that is refused already count too: it is read to its end (F01).
TEST_F(SlowClient, MayTakeItsTimeWithAMessageThatIsTooLarge) {
  options_.listeners[0].message_bytes_max = 1000;
  Start();
  const int client = DialAndGreet();
  Says(client, kEnvelope);
  Heard(client);
  for (int window = 0; window < 3; ++window) {
    for (int i = 0; i < 300; ++i) Says(client, std::string(98, 'x') + "\r\n");
    Pass(kDataWindow + kInstantLater);
  }
  Says(client, ".\r\n");
  EXPECT_EQ(Codes(client), "552");
}

TEST_F(SlowClient, LeavesNothingBehind) {
  Start();
  const int client = DialAndGreet();
  Says(client, absl::StrCat(kEnvelope, "half a message"));
  Pass(kDataWindow + kInstantLater);
  EXPECT_TRUE(io_.Closed(client));
  ExpectNothingLeft();
}

TEST_F(SlowClient, IsNotBlamedForASlowDisk) {
  Start();
  const int client = DialAndGreet();
  io_.HoldDisk();
  Says(client, absl::StrCat(kEnvelope, kContent, ".\r\n"));
  Heard(client);
  Pass(std::chrono::hours(1));
  EXPECT_FALSE(io_.Closed(client));
  io_.ReleaseDisk();
  Turn();
  EXPECT_EQ(Codes(client), "250");
  // And has its five minutes from then on.
  Pass(kIdle - milliseconds(1));
  EXPECT_FALSE(io_.Closed(client));
  Pass(kInstantLater);
  EXPECT_TRUE(io_.Closed(client));
}

TEST_F(SlowClient, ThatDoesNotTakeItsLastReplyIsClosed) {
  Start();
  const int client = DialAndGreet();
  io_.HoldSends();
  Says(client, "QUIT\r\n");
  Pass(kFarewellTimeout - milliseconds(1));
  EXPECT_FALSE(io_.Closed(client));
  Pass(kInstantLater);
  EXPECT_TRUE(io_.Closed(client));
  ExpectNothingLeft();
}

class EagerClient : public IntakeTest {};

TEST_F(EagerClient, IsPausedWhileItsMessageIsWritten) {
  Start();
  const int client = DialAndGreet();
  io_.HoldDisk();
  std::string second = absl::StrCat(kEnvelope);
  const std::string line(98, 'x');
  const size_t begun = second.size();
  while (second.size() - begun < 200'000) absl::StrAppend(&second, line, "\r\n");
  second += ".\r\n";

  Says(client, absl::StrCat(kEnvelope, kContent, ".\r\n"));
  EXPECT_EQ(Codes(client), "250 250 354");
  Says(client, second.substr(0, limits::kPausedInputBytesMax));
  EXPECT_TRUE(io_.Receiving(client));  // At the bound.
  Says(client, second.substr(limits::kPausedInputBytesMax, 1));
  EXPECT_FALSE(io_.Receiving(client));  // One over.
  Says(client, second.substr(limits::kPausedInputBytesMax + 1));
  EXPECT_FALSE(io_.Receiving(client));

  io_.ReleaseDisk();
  Turn();
  EXPECT_EQ(Codes(client), "250 250 250 354 250");
  EXPECT_THAT(messages_, SizeIs(2));
  EXPECT_TRUE(io_.Receiving(client));
}

// A client that never reads: its commands are answered up to the bound, then wait, then are not
// even received. When it reads at last, none is lost.
TEST_F(EagerClient, ThatDoesNotReadItsRepliesIsPaused) {
  Start();
  const int client = DialAndGreet();
  io_.HoldSends();
  std::string commands;
  constexpr int kCommandsOfAPiece = 500;
  for (int i = 0; i < kCommandsOfAPiece; ++i) commands += "NOOP\r\n";
  int pieces = 0;
  while (io_.Receiving(client)) {
    Says(client, commands);
    ASSERT_LT(++pieces, 1000);
  }
  io_.ReleaseSends();
  Turn();
  Turn();
  EXPECT_EQ(Codes(client).size(), static_cast<size_t>(pieces) * kCommandsOfAPiece * 4 - 1);
  EXPECT_TRUE(io_.Receiving(client));
}

TEST_F(EagerClient, ThatDoesNotReadItsRepliesIsClosedInTheEnd) {
  Start();
  const int client = DialAndGreet();
  io_.HoldSends();
  std::string commands;
  for (int i = 0; i < 500; ++i) commands += "NOOP\r\n";
  for (int pieces = 0; io_.Receiving(client); ++pieces) {
    ASSERT_LT(pieces, 1000);
    Says(client, commands);
  }
  Pass(kIdle + kInstantLater);
  Pass(kFarewellTimeout + kInstantLater);
  EXPECT_TRUE(io_.Closed(client));
  ExpectNothingLeft();
}

TEST_F(EagerClient, ThatClosesWhileItIsPausedIsStillAnswered) {
  Start();
  const int client = DialAndGreet();
  io_.HoldDisk();
  Says(client, absl::StrCat(kEnvelope, kContent, ".\r\n"));
  Says(client, absl::StrCat(kEnvelope, kContent, ".\r\n"));
  HangsUp(client);
  io_.ReleaseDisk();
  Turn();
  EXPECT_EQ(Codes(client), "250 250 354 250 250 250 354 250");
  EXPECT_TRUE(io_.Closed(client));
}

TEST_F(EagerClient, ThatIsGoneWhenItsReplyComesIsClosed) {
  Start();
  const int client = DialAndGreet();
  io_.HoldSends();
  Says(client, "NOOP\r\n");
  io_.Resets(client);
  Turn();
  EXPECT_TRUE(io_.Closed(client));
  ExpectNothingLeft();
}

class Accepting : public IntakeTest {};

// F33.
TEST_F(Accepting, PausesForASecondWhenDescriptorsOrMemoryRunOut) {
  Start();
  const int before = DialAndGreet();
  for (const int error : {EMFILE, ENFILE, ENOMEM, ENOBUFS}) {
    io_.EndAccept(kListener, error);
    Turn();
    EXPECT_FALSE(io_.Accepting(kListener));
    Pass(kAcceptPause - milliseconds(1));
    EXPECT_FALSE(io_.Accepting(kListener));
    Says(before, "NOOP\r\n");
    EXPECT_EQ(Codes(before), "250");
    Pass(kInstantLater);
    EXPECT_TRUE(io_.Accepting(kListener));
  }
}

TEST_F(Accepting, GoesOnAtOnceAfterAClientThatLeft) {
  Start();
  io_.EndAccept(kListener, ECONNABORTED);
  Turn();
  EXPECT_TRUE(io_.Accepting(kListener));
  EXPECT_EQ(Heard(Dial()), kGreeting);
}

TEST_F(Accepting, GoesOnAtOnceWhenTheOperationHasMerelyEnded) {
  Start();
  io_.EndAccept(kListener, 0);
  Turn();
  EXPECT_TRUE(io_.Accepting(kListener));
  EXPECT_EQ(Heard(io_.last_accepted()), kGreeting);
}

}  // namespace
}  // namespace sluice::intake
