// A message that left with the end of the one before it (RFC 2920 3.1), where that one, the host or
// the connection fails: whose fault it is, who goes again, and what later ones do.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "tests/engine/delivery/dispatcher_ahead_words.h"

namespace sluice::delivery {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::SizeIs;
using testing::StartsWith;

// -------------------------------------------------------------------------------------------------
// The message before it is refused.

TEST_F(Ahead, ARefusedDotLeavesTheNextOn) {
  for (const bool transient : {true, false}) {
    StartTwo();
    AnswersWith(".", transient ? "452 4.3.1 full" : "554 5.6.0 no");
    EXPECT_EQ(Resets(), 0u);
    GoesOn();
  }
  EXPECT_EQ(AllVerdicts(), "d D B D");
  EXPECT_EQ(Resets(), 0u);
  EXPECT_THAT(MailsOfEach(), ElementsAre(4));
}

// Cases K21, X7: it wants RSET first. Whatever it says to MAIL is not about the message.
TEST_F(Ahead, WhatIsRefusedBehindARefusedDotGoesAgain) {
  for (const char* refusal : {"503 5.5.1 nested MAIL", "550 5.7.1 no", "451 4.3.0 later"}) {
    StartTwo();
    AnswersWith(".", "554 5.6.0 no");
    host().answer_ahead = refusal;
    GoesOn();
    host().answer_ahead = "";
    EXPECT_EQ(mails_.back().Verdicts(), "D");
    EXPECT_THAT(mails_.back().returns, ElementsAre(ParcelResult::kAttempted));
    EXPECT_EQ(network_.CountHeard(peer(), "RSET"), 1u);
    EXPECT_EQ(network_.CountHeard(peer(), "MAIL"), 3u);
    Pass(seconds(10));  // The next one has a session of its own, which takes them ahead again.
  }
  EXPECT_EQ(AllVerdicts(), "B D B D B D");
  EXPECT_THAT(network_.All(), SizeIs(3));
}

// Only once: then it is its own verdict.
TEST_F(Ahead, WhatIsRefusedAfterTheResetIsRefused) {
  StartTwo();
  AnswersWith(".", "554 5.6.0 no");
  host().answers["MAIL"] = "550 5.7.1 no";
  host().answers["RCPT"] = host().answers["DATA"] = "503 5.5.1 no";
  GoesOn();
  EXPECT_EQ(AllVerdicts(), "B B");
  EXPECT_EQ(network_.CountHeard(peer(), "MAIL FROM:<m1@"), 2u);
}

// -------------------------------------------------------------------------------------------------
// It is refused itself.

// Once it is offered in its turn: ahead it might have meant the moment.
TEST_F(Ahead, ItsOwnRefusalIsItsVerdict) {
  StartTwo(3);
  host().answer_ahead = host().answers["MAIL FROM:<m1@"] = "550 5.7.1 not you";
  GoesOn();
  EXPECT_EQ(AllVerdicts(), "D B D");
  EXPECT_EQ(mail(1).parcel.reply.ToString(), "550 5.7.1 not you");
  EXPECT_EQ(Resets(), 2u);
  EXPECT_THAT(MailsOfEach(), ElementsAre(4));
  Pass(seconds(10));
  host() = FakeHost();
  StartTwo();  // And this host takes others so.
}

TEST_F(Ahead, ItsRecipientsAreRefusedByThemselves) {
  host().answers["RCPT TO:<r1@"] = "550 5.1.1 no such user";
  Start({.connections_max = 1});
  Queue(MakeNext());
  Queue(MakeNext(3));
  Queue(MakeNext());
  Turn();
  EXPECT_EQ(AllVerdicts(), "D DBD D");
  EXPECT_EQ(AheadOn(peer()), 2u);
}

// Haraka 3.3.4 answers 503 to whatever came before its answer to the dot.
TEST_F(Ahead, WhatCameTooSoonGoesAgainOnTheSameSession) {
  host().answer_ahead = "503 5.5.1 busy";
  Start({.connections_max = 1});
  SendAll(4);
  EXPECT_EQ(AllVerdicts(), "D D D D");
  EXPECT_THAT(mail(1).returns, ElementsAre(ParcelResult::kAttempted));
  EXPECT_THAT(MailsOfEach(), ElementsAre(5));
  EXPECT_THAT(AheadOfEach(), ElementsAre(1));
  EXPECT_EQ(Resets(), 1u);
}

TEST_F(Ahead, NorDoLaterSessionsTryItThere) {
  host().answer_ahead = "503 5.5.1 busy";
  Start({.connections_max = 1, .messages_per_connection_max = 3});
  SendAll(8);
  EXPECT_EQ(CountVerdicts("D"), 8u);
  EXPECT_THAT(MailsOfEach(), ElementsAre(3, 3, 3));
  EXPECT_THAT(AheadOfEach(), ElementsAre(1, 0, 0));
}

TEST_F(Ahead, OneSilentToMailForFiveMinutesIsNotTriedSoAgain) {  // RFC 5321 4.5.3.2.2
  StartTwo();
  Answers();
  ASSERT_EQ(AllVerdicts(), "D -");
  host().waits = false;
  Pass(minutes(5) - kTick);
  EXPECT_FALSE(mail(1).home);
  Pass(2 * kTick);
  EXPECT_EQ(AllVerdicts(), "D D");  // By another session, at once.
  EXPECT_THAT(mail(1).returns, ElementsAre(ParcelResult::kAttempted));
  SendAll(3);
  EXPECT_EQ(CountVerdicts("D"), 5u);
  EXPECT_THAT(AheadOfEach(), ElementsAre(1, 0));
}

// -------------------------------------------------------------------------------------------------
// The connection is lost.

TEST_F(Ahead, LostBeforeTheReplyToTheDot) {
  Start({.connections_max = 1});
  SendAll(1);
  StartTwo();
  host().waits = false;
  network_.Resets(peer());
  Turn();
  EXPECT_EQ(AllVerdicts(), "D d D");
  EXPECT_TRUE(mail(1).parcel.in_doubt);
  EXPECT_FALSE(mail(2).parcel.in_doubt);
  EXPECT_THAT(mail(2).returns, ElementsAre(ParcelResult::kAttempted));
  EXPECT_THAT(network_.All(), SizeIs(2));
  StartTwo();  // It says nothing of what the host takes.
}

// On a fresh session to the only host: that is the first one's attempt, and the next is nobody's.
TEST_F(Ahead, LostUnderTheFirstMessageOfASession) {
  StartTwo();
  host().waits = false;
  network_.Resets(peer());
  Turn();
  EXPECT_EQ(AllVerdicts(), "d -");
  EXPECT_THAT(mail(1).returns, SizeIs(0));
}

// Three sessions in a row: then each message waits for its turn.
TEST_F(Ahead, AHostThatLeavesAtIt) {
  Start({.connections_max = 1});
  for (int i = 0; i < 3; ++i) {
    StartTwo();
    Answers();
    host().waits = false;
    network_.Resets(peer());
    Turn();
  }
  SendAll(4);
  EXPECT_EQ(CountVerdicts("D"), 10u);
  EXPECT_EQ(AheadOn(peer()), 0u);
}

TEST_F(Ahead, LostAfterTheReplyToTheDot) {
  for (size_t answered : {1, 2, 3}) {
    StartTwo();
    const int lost = peer();
    Answers(answered);
    host().waits = false;
    network_.Resets(lost);
    Turn();
    EXPECT_EQ(mails_.back().Verdicts(), "D");
    EXPECT_FALSE(mails_.back().parcel.in_doubt);
    // Once its MAIL was answered it had begun.
    EXPECT_EQ(mails_.back().returns.front(),
              answered == 1 ? ParcelResult::kAttempted : ParcelResult::kAgain);
    EXPECT_NE(peer(), lost);
  }
  EXPECT_EQ(AllVerdicts(), "D D D D D D");
}

TEST_F(Ahead, ClosedAfterTheReplyToTheDot) {
  Start({.connections_max = 1});
  host().closes_after = ".";
  SendAll(3);
  EXPECT_EQ(AllVerdicts(), "D D D");
  EXPECT_THAT(network_.All(), SizeIs(3));
}

TEST_F(Ahead, Reply421ToTheDotIsNotAboutTheNext) {
  Start({.connections_max = 1});
  SendAll(1);
  StartTwo();
  host().waits = false;
  AnswersWith(".", "421 4.3.2 closing");
  EXPECT_EQ(AllVerdicts(), "D d D");
  EXPECT_FALSE(mail(1).parcel.in_doubt);
  EXPECT_THAT(network_.All(), SizeIs(2));
}

TEST_F(Ahead, SilenceAfterTheDotIsTheFirstOnes) {  // Ten minutes: RFC 5321 4.5.3.2.6.
  Start({.connections_max = 1});
  SendAll(1);
  StartTwo();
  host().waits = false;
  Pass(minutes(10) - kTick);
  EXPECT_FALSE(mail(1).home);
  EXPECT_FALSE(mail(2).home);
  Pass(2 * kTick);
  EXPECT_EQ(AllVerdicts(), "D d D");
  EXPECT_TRUE(mail(1).parcel.in_doubt);
}

// -------------------------------------------------------------------------------------------------
// The body before it is still being sent.

// The kernel has not taken the end of the first body when the host answers to both.
class AheadHeld : public Ahead {
 protected:
  void StartHeldTwo(size_t first_bytes = 0) {
    Start({.connections_max = 1});
    if (first_bytes == 0) {
      Queue(MakeNext());
    } else {
      Queue(Named(MakeLarge(first_bytes)));
    }
    Queue(MakeNext());
    const std::string commands = Commands(1);
    while (network_.CountHeardByAll("DATA") == 0) ASSERT_TRUE(TurnOnce());
    network_.HoldSends();
    Turn();
    const size_t whole = mail(0).wire.size() + commands.size();
    for (size_t sent = 0; sent + network_.SendingBytes(peer()) < whole; Turn()) {
      sent += network_.SendingBytes(peer());
      network_.ReleaseSend(peer());
    }
    ASSERT_TRUE(network_.Sending(peer()));
  }
  // By hand, before it has heard the commands.
  void HostSays(absl::string_view replies) {
    host().answers.clear();
    network_.Says(peer(), replies);
    Turn();
  }
  void Release() {
    network_.ReleaseSends();
    host() = FakeHost();
    Turn();
  }
  void ExpectBothToldWhenItIsTaken() {
    HostSays("250 taken\r\n250 ok\r\n250 ok\r\n354 go\r\n");
    EXPECT_FALSE(mail(0).home);
    EXPECT_FALSE(mail(1).home);
    network_.ReleaseSend(peer());
    Turn();
    EXPECT_TRUE(mail(0).home);
    EXPECT_EQ(AllVerdicts(), "D -");
    EXPECT_EQ(dispatcher_->streams(), 0u);
    EXPECT_EQ(network_.SendingBytes(peer()), mail(1).wire.size());
    Release();
    HostSays("250 taken\r\n");
    EXPECT_EQ(AllVerdicts(), "D D");
    EXPECT_EQ(network_.AllHeard(peer()), absl::StrCat(kEhlo, Whole(0), Whole(1)));
  }
};

TEST_F(AheadHeld, BothAreToldWhenItIsTaken) {
  StartHeldTwo();
  ExpectBothToldWhenItIsTaken();
}

TEST_F(AheadHeld, SoAreALargeOneAndTheNext) {
  StartHeldTwo(kLarge);
  ExpectBothToldWhenItIsTaken();
}

TEST_F(AheadHeld, ARefusalOfTheSecondWaitsToo) {
  StartHeldTwo();
  HostSays("250 taken\r\n250 ok\r\n550 5.1.1 no\r\n554 no\r\n");
  EXPECT_FALSE(mail(0).home);
  EXPECT_FALSE(mail(1).home);
  network_.ReleaseSend(peer());
  Turn();
  EXPECT_TRUE(mail(0).home);
  EXPECT_TRUE(mail(1).home);
  EXPECT_EQ(AllVerdicts(), "D B");
  Release();
  EXPECT_EQ(Resets(), 1u);
}

TEST_F(AheadHeld, ALostConnectionEndsBoth) {
  StartHeldTwo();
  HostSays("250 taken\r\n250 ok\r\n");
  network_.ReleaseSends();
  host() = FakeHost();
  network_.Resets(peer());
  Turn();
  EXPECT_EQ(AllVerdicts(), "D D");
  EXPECT_FALSE(mail(0).parcel.in_doubt);
  EXPECT_THAT(mail(1).returns, ElementsAre(ParcelResult::kAgain, ParcelResult::kAttempted));
  EXPECT_THAT(network_.All(), SizeIs(2));
}

TEST_F(AheadHeld, ASendThatFailsBeforeAnyAnswer) {
  StartHeldTwo();
  network_.Resets(peer());
  network_.ReleaseSends();
  Turn();
  EXPECT_TRUE(mail(0).home);
  EXPECT_EQ(mail(0).Verdicts(), "d");
  EXPECT_TRUE(mail(0).parcel.in_doubt);
  EXPECT_THAT(mail(1).returns, SizeIs(0));
}

// -------------------------------------------------------------------------------------------------
// TLS has something to say itself.

// A peer's 0x18 makes it say the same: a request for new keys, and the answer.
class Rekeyed : public ClearStream {
 public:
  Opened Open(std::string& plaintext) override {
    for (const char byte : std::exchange(input_, {})) {
      (byte == '\x18' ? output_ : plaintext).push_back(byte);
    }
    return Opened::kNeedsInput;
  }
};

// The host asks for new keys right behind its 354, in a segment of its own.
TEST_F(Ahead, NothingOfTheNextComesBeforeTheEndOfTheBody) {
  host().waits = true;
  EstablishesFor(2, std::make_unique<Rekeyed>());
  network_.AnswersAll(peer());  // EHLO.
  Turn();
  ASSERT_EQ(network_.Waiting(peer()), 3u);  // MAIL, RCPT, DATA.
  network_.AnswersAll(peer());
  network_.Says(peer(), "\x18");
  Turn();
  std::string heard = network_.AllHeard(network_.All()[0]);
  heard.erase(std::remove(heard.begin(), heard.end(), '\x18'), heard.end());
  EXPECT_THAT(heard, StartsWith(absl::StrCat(kEhlo, "STARTTLS\r\n", kEhlo, Whole(0))));
}

}  // namespace
}  // namespace sluice::delivery
