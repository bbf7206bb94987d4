// A whole message by BDAT (RFC 3030): one send with its commands. When it goes so and when it must
// not, what it leaves in doubt, and which hosts are spared it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "tests/engine/delivery/dispatcher_ahead_words.h"

namespace sluice::delivery {
namespace {

using std::chrono::seconds;
using testing::Each;
using testing::ElementsAre;
using testing::SizeIs;

constexpr absl::string_view kChunking = "250-mx.example.com\r\n250-CHUNKING\r\n250 PIPELINING";

class Chunks : public Ahead {
 protected:
  Chunks() { host().answers["EHLO"] = std::string(kChunking); }

  // One connection, whose session has had a message accepted.
  void StartProven() {
    if (dispatcher_ == nullptr) Start({.connections_max = 1});
    SendAll(1);
    ASSERT_EQ(mails_.back().Verdicts(), "D");
  }
  // A destination whose recipients are counted is not forgotten meanwhile.
  void StartRemembering() {
    Start({.connections_max = 1, .recipients_max = 1000, .recipient_minutes = 60});
  }
  Mail& SendNext(size_t recipients = 1, size_t bytes = 0) {
    Mail& mail = Queue(MakeNext(recipients, bytes));
    Turn();
    return mail;
  }
  // As it was before it was stuffed.
  Mail& WithContent(absl::string_view content) {
    Mail& mail = MakeNext();
    mail.wire.clear();
    bool line_starts = true;
    for (const char c : content) {
      if (line_starts && c == '.') mail.wire += '.';
      mail.wire += c;
      line_starts = c == '\n';
    }
    mail.wire += ".\r\n";
    mail.message.body.Release(pool_);
    EXPECT_TRUE(mail.message.body.Append(io::BytesOf(mail.wire), pool_));
    mail.message.message_bytes = content.size();
    mail.message.wire_bytes = mail.wire.size();
    return mail;
  }
  // As a host hears it.
  std::string ByBdat(size_t number) {
    std::string text = Commands(number);
    text.resize(text.size() - std::string("DATA\r\n").size());
    const std::string& wire = mail(number).wire;
    const std::string content = wire.substr(0, wire.size() - std::string(".\r\n").size());
    return absl::StrCat(text, "BDAT ", content.size(), " LAST\r\n", content);
  }
  size_t Bdats() const { return network_.CountHeardByAll("BDAT"); }
};

// -------------------------------------------------------------------------------------------------
// When it goes.

TEST_F(Chunks, CommandsAndBodyAreOneSend) {
  StartProven();
  SendNext();
  SendNext(3);
  EXPECT_EQ(AllVerdicts(), "D D DDD");
  EXPECT_EQ(network_.AllHeard(peer()), absl::StrCat(kEhlo, Whole(0), ByBdat(1), ByBdat(2)));
  EXPECT_THAT(network_.SendSizes(peer()),
              ElementsAre(kEhlo.size(), Commands(0).size(), mail(0).wire.size(), ByBdat(1).size(),
                          ByBdat(2).size()));
  EXPECT_EQ(mails_.back().parcel.command, "BDAT");
  for (const Mail& one : mails_) EXPECT_THAT(one.returns, ElementsAre(ParcelResult::kAttempted));
}

TEST_F(Chunks, UnderTlsToo) {
  Offers();
  host().answers["EHLO"] = absl::StrCat("250-mx.example.com\r\n250-STARTTLS\r\n", kChunking);
  EstablishesFor(1, std::make_unique<ClearStream>());
  SendNext();
  EXPECT_EQ(AllVerdicts(), "D D");
  EXPECT_TRUE(absl::EndsWith(network_.AllHeard(peer()), Whole(0) + ByBdat(1)));
  EXPECT_EQ(network_.SendSizes(peer()).back(), ByBdat(1).size());
}

TEST_F(Chunks, AsLargeAsOneSend) {
  StartProven();
  for (const size_t bytes : {60 << 10, 70 << 10}) SendNext(1, bytes);
  EXPECT_EQ(AllVerdicts(), "D D D");
  EXPECT_EQ(network_.AllHeard(peer()), absl::StrCat(kEhlo, Whole(0), ByBdat(1), Whole(2)));
}

// Its octets are the message's, without the dots that DATA wants (C44); wherever blocks end.
TEST_F(Chunks, WithoutStuffing) {
  for (size_t front = 0; front < 6; ++front) {
    const std::string filler(limits::kBodyBlockBytes - front - 2, 'x');
    const std::string content =
        absl::StrCat(".\r\n..\r\n", std::string(front, 'y'), "\r\n.a\r\n\r\n.\r\n", filler,
                     "\r\n...\r\n.b.\r\n.\r\n");
    StartProven();
    Queue(WithContent(content));
    Turn();
    EXPECT_EQ(mails_.back().Verdicts(), "D");
    const std::string bdat = absl::StrCat("BDAT ", content.size(), " LAST\r\n", content);
    EXPECT_TRUE(absl::EndsWith(network_.AllHeard(peer()), bdat)) << front;
  }
}

TEST_F(Chunks, NotWithTooManyStuffedLines) {
  StartProven();
  std::string content;
  for (int i = 0; i < 33; ++i) content += ".line\r\n";
  Queue(WithContent(content));
  Turn();
  EXPECT_EQ(mails_.back().Verdicts(), "D");
  EXPECT_EQ(Bdats(), 0u);
  Queue(WithContent(content.substr(7)));
  Turn();
  EXPECT_EQ(Bdats(), 1u);
}

// The kernel still has the body of the one before it.
TEST_F(Chunks, WaitsForTheSendBeforeIt) {
  StartProven();
  network_.HoldSends();
  SendNext();
  network_.ReleaseSends();
  Turn();
  EXPECT_EQ(AllVerdicts(), "D D");
  EXPECT_EQ(network_.AllHeard(peer()), absl::StrCat(kEhlo, Whole(0), ByBdat(1)));
}

// -------------------------------------------------------------------------------------------------
// When it does not.

TEST_F(Chunks, NotTheFirstOfASession) {
  Start({.connections_max = 1, .messages_per_connection_max = 1});
  for (int i = 0; i < 3; ++i) SendNext();
  EXPECT_EQ(AllVerdicts(), "D D D");
  EXPECT_EQ(Bdats(), 0u);
}

TEST_F(Chunks, OnlyWhereBothAreOffered) {
  for (const char* offers : {"250-mx.example.com\r\n250 CHUNKING", "250-mx\r\n250 PIPELINING"}) {
    host().answers["EHLO"] = offers;
    StartProven();
    SendNext();
    Pass(seconds(10));  // The next has a session of its own.
  }
  EXPECT_EQ(AllVerdicts(), "D D D D");
  EXPECT_EQ(Bdats(), 0u);
}

// Announced are other octets than there are: nothing of it may leave so.
TEST_F(Chunks, NotWhereItsSizeIsWrong) {
  StartProven();
  Mail& mail = MakeNext(1, 200);
  --mail.message.message_bytes;
  Queue(mail);
  Turn();
  EXPECT_EQ(AllVerdicts(), "D D");
  EXPECT_EQ(Bdats(), 0u);
  EXPECT_THAT(mail.returns, ElementsAre(ParcelResult::kAgain, ParcelResult::kAttempted));
}

TEST_F(Chunks, NotFromTheLog) {
  StartProven();
  Queue(Named(MakeLarge(20 << 10)));
  Turn();
  EXPECT_EQ(AllVerdicts(), "D D");
  EXPECT_EQ(Bdats(), 0u);
}

// It may have been lost under it: by DATA it is known (X4).
TEST_F(Chunks, NotAtASecondAttempt) {
  StartProven();
  Mail& mail = MakeNext();
  mail.parcel.attempts = 1;
  Queue(mail);
  Turn();
  EXPECT_EQ(AllVerdicts(), "D D");
  EXPECT_EQ(Bdats(), 0u);
}

TEST_F(Chunks, NotBehindARefusal) {
  StartProven();
  host().answers["BDAT"] = "452 4.3.1 full";
  SendNext();
  host().answers["BDAT"] = "250 2.0.0 taken";
  SendNext();
  SendNext();
  EXPECT_EQ(AllVerdicts(), "D d D D");
  EXPECT_EQ(network_.AllHeard(peer()),
            absl::StrCat(kEhlo, Whole(0), ByBdat(1), "RSET\r\n", Whole(2), ByBdat(3)));
}

// What goes ahead of a reply goes by DATA, and where more waits that is how it goes on.
TEST_F(Chunks, NotAhead) {
  StartProven();
  host().waits = true;
  QueueSome(3);
  Turn();
  GoesOn();
  EXPECT_EQ(AllVerdicts(), "D D D D");
  EXPECT_EQ(Bdats(), 3u);
}

// -------------------------------------------------------------------------------------------------
// What becomes of it.

TEST_F(Chunks, EachRecipientHasItsOwnVerdict) {
  StartProven();
  host().answers[absl::StrCat("RCPT TO:<r1@", kDomain)] = "550 5.1.1 no such user";
  SendNext(3);
  EXPECT_EQ(AllVerdicts(), "D DBD");
  host().answers["RCPT"] = "550 5.1.1 no such user";
  host().answers["BDAT"] = "554 5.5.1 no valid recipients";
  SendNext(2);
  EXPECT_EQ(mails_.back().Verdicts(), "BB");
  EXPECT_EQ(network_.CountHeard(peer(), "RSET"), 1u);
}

TEST_F(Chunks, ALostOneIsInDoubt) {
  host().closes_after = "BDAT";
  host().closes_unanswered = true;
  for (const char* last : {"BDAT", "MAIL", "RCPT"}) {
    host().closes_after.clear();
    Start({.connections_max = 1});
    StartProven();
    host().closes_after = last;
    Mail& mail = SendNext();
    EXPECT_EQ(mail.Verdicts(), "d") << last;
    EXPECT_TRUE(mail.parcel.in_doubt) << last;
    EXPECT_THAT(mail.returns, ElementsAre(ParcelResult::kAttempted)) << last;
    Pass(seconds(10));
  }
}

// A host that has had enough of the session says so, and has taken nothing (X2).
TEST_F(Chunks, A421AheadOfItSendsItElsewhereAtOnce) {
  StartProven();
  host().waits = true;
  Mail& mail = SendNext();
  host().answers["MAIL"] = "421 4.3.2 closing";
  network_.AnswersNext(peer());
  host() = FakeHost();
  Turn();
  EXPECT_EQ(mail.Verdicts(), "D");
  EXPECT_FALSE(mail.parcel.in_doubt);
  EXPECT_THAT(mail.returns, ElementsAre(ParcelResult::kAgain, ParcelResult::kAttempted));
  EXPECT_THAT(network_.All(), SizeIs(2));
}

// The body goes home when the kernel has let it go, not when the host has had enough.
TEST_F(Chunks, IsHeldWhileItIsBeingSent) {
  StartProven();
  network_.HoldSends();
  Mail& mail = SendNext(1, 50 << 10);
  network_.Says(peer(), "550 5.7.1 no\r\n");
  Turn();
  EXPECT_FALSE(mail.home);
  network_.ReleaseSends();
  Turn();
  EXPECT_TRUE(mail.home);
  EXPECT_EQ(mail.Verdicts(), "B");
}

// -------------------------------------------------------------------------------------------------
// Hosts that do not mean what they offer (X4).

TEST_F(Chunks, WhoDoesNotKnowItHearsDataFromThenOn) {
  Start({.connections_max = 1});
  host().answers["BDAT"] = "502 5.5.1 what is BDAT";
  StartProven();
  Mail& mail = SendNext();
  ExpectDeferred(mail);
  EXPECT_FALSE(mail.parcel.in_doubt);
  for (int i = 0; i < 2; ++i) {
    SendNext();
    SendNext();
    Pass(seconds(10));  // Another session.
  }
  EXPECT_EQ(AllVerdicts(), "D d D D D D");
  EXPECT_EQ(Bdats(), 1u);
}

// A connection has the slot, and the session, of one to another destination before it.
TEST_F(Chunks, AnotherDestinationIsNotBlamed) {
  Start({.connections_max = 1});
  host().answers["BDAT"] = "502 5.5.1 what is BDAT";
  StartProven();
  SendNext();
  ASSERT_GT(destination().data_only_until, now_.instant);
  constexpr absl::string_view kOther = "other.example";
  resolver_.Says(kOther, RouteTo({kSecond}));
  host(kSecond).refuses_with = ECONNREFUSED;
  Mail& mail = MakeNext();
  mail.message.envelope.recipients[0] = {.address = absl::StrCat("r0@", kOther),
                                         .destination = std::string(kOther)};
  Queue(mail);
  Turn();
  EXPECT_THAT(network_.To(kSecond), SizeIs(1));
  const Destination* other = dispatcher_->FindDestination(kOther);
  EXPECT_TRUE(other == nullptr || other->data_only_until == Instant{});
}

TEST_F(Chunks, SessionsLostUnderItInARowAreEnough) {
  StartRemembering();
  host().closes_unanswered = true;
  for (uint32_t i = 0; i < kChunksLostMax + 1; ++i) {
    host().closes_after.clear();
    StartProven();
    host().closes_after = "BDAT";
    SendNext();
  }
  EXPECT_EQ(Bdats(), kChunksLostMax);
  EXPECT_EQ(mails_.back().Verdicts(), "D");
  Pass(kDataOnlyFor);
  host().closes_after.clear();
  StartProven();
  SendNext();
  EXPECT_EQ(Bdats(), kChunksLostMax + 1);
}

TEST_F(Chunks, OneThatTakesItSpeaksForItsHost) {
  StartRemembering();
  host().closes_unanswered = true;
  for (uint32_t i = 0; i < 2 * kChunksLostMax; ++i) {
    host().closes_after.clear();
    StartProven();
    if (i % 2 == 0) host().closes_after = "BDAT";
    SendNext();
    Pass(seconds(10));
  }
  EXPECT_EQ(Bdats(), 2 * kChunksLostMax);
}

TEST_F(Chunks, SilenceIsEnough) {
  StartProven();
  host().answers.erase("BDAT");
  Mail& mail = SendNext();
  Pass(std::chrono::minutes(11));
  EXPECT_TRUE(mail.parcel.in_doubt);
  host().answers["BDAT"] = "250 2.0.0 taken";
  StartProven();
  SendNext();
  EXPECT_EQ(AllVerdicts(), "D d D D");
  EXPECT_EQ(Bdats(), 1u);
}

}  // namespace
}  // namespace sluice::delivery
