// Who is told of a failure, and that a message is not given up before somebody is: RFC 5321 6.1
// (no report to a null sender), RFC 3461 4.1 and 5.2.1 (NOTIFY).

#include "tests/engine/delivery/home_words.h"

namespace sluice::delivery {
namespace {

using spool::RecipientState;

class HomeBounceTest : public HomeTest {
 protected:
  // The text of the only bounce that is out.
  std::string Bounce() {
    bounce_ = &Out("sender.example");
    EXPECT_TRUE(bounce_->message->bounce);
    EXPECT_EQ(bounce_->message->envelope.sender, "");  // RFC 5321 6.1.
    EXPECT_EQ(Waiting(*bounce_), (Texts{std::string(kSender)}));
    return BodyOf(*bounce_);
  }
  bool AnyBounce() const { return IsOut("sender.example"); }

  Parcel* bounce_ = nullptr;
};

TEST_F(HomeBounceTest, GoesToTheSenderWithANullSender) {
  Start();
  const MessageId id = Accept(WireOf(1, 1000), {"a@one.example"});
  Refused(Out("one.example"));
  const std::string text = Bounce();
  EXPECT_TRUE(absl::StrContains(text, "To: <s@sender.example>\r\n"));
  EXPECT_TRUE(absl::StrContains(text, "<a@one.example>\r\n"));
  EXPECT_TRUE(absl::StrContains(text, "550 5.1.1 no such user"));
  EXPECT_TRUE(absl::StrContains(text, id.ToString()));
  EXPECT_EQ(events_.Count(EventType::kBounce, "a@one.example"), 1u);
  EXPECT_EQ(home_->messages(), 1u);  // The bounce; the message has ended.
  Delivered(*bounce_);
  EXPECT_EQ(home_->messages(), 0u);
}

TEST_F(HomeBounceTest, ARefusedBounceMakesNone) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example"});
  Refused(Out("one.example"));
  Refused(Out("sender.example"));
  EXPECT_EQ(home_->messages(), 0u);
  EXPECT_TRUE(out_.empty());
}

TEST_F(HomeBounceTest, ANullSenderIsToldNothing) {
  Start();
  sender_ = "";
  Accept(WireOf(1, 1000), {"a@one.example"});
  Refused(Out("one.example"));
  EXPECT_EQ(events_.Count(EventType::kBounce, "a@one.example"), 1u);
  EXPECT_EQ(home_->messages(), 0u);
  EXPECT_TRUE(out_.empty());
}

struct NotifyCase {
  uint8_t notify;
  bool bounce;
};

TEST_F(HomeBounceTest, NotifyDecidesWhoIsTold) {
  const NotifyCase cases[] = {
      {0, true},  // RFC 3461 4.1: not given, a failure may be reported as ever.
      {smtp::kNotifyNever, false},
      {smtp::kNotifySuccess, false},
      {smtp::kNotifyDelay, false},
      {smtp::kNotifySuccess | smtp::kNotifyDelay, false},
      {smtp::kNotifyFailure, true},
      {smtp::kNotifySuccess | smtp::kNotifyFailure | smtp::kNotifyDelay, true},
  };
  Start();
  for (const NotifyCase& each : cases) {
    Accept(WireOf(1, 1000), {"a@one.example"}, each.notify);
    Refused(Out("one.example"));
    EXPECT_EQ(AnyBounce(), each.bounce) << int{each.notify};
    if (AnyBounce()) Delivered(Out("sender.example"));
    EXPECT_EQ(home_->messages(), 0u) << int{each.notify};
  }
  EXPECT_EQ(events_.Count(EventType::kBounce), std::size(cases));
}

TEST_F(HomeBounceTest, NamesOnlyThoseOfWhomTheSenderWantsToHear) {
  Start();
  Incoming* incoming = Begin();
  Sends(*incoming, WireOf(1, 1000));
  smtp::Envelope envelope = {.sender = sender_};
  for (const uint8_t notify : {smtp::kNotifyNever, smtp::kNotifyFailure}) {
    envelope.recipients.push_back({.address = absl::StrCat("n", notify, "@one.example"),
                                   .destination = "one.example",
                                   .notify = notify});
  }
  Ends(*incoming, envelope);
  Settle();
  Refused(Out("one.example"));
  const std::string text = Bounce();
  EXPECT_TRUE(absl::StrContains(text, "<n4@one.example>"));
  EXPECT_FALSE(absl::StrContains(text, "n1@one.example"));
}

TEST_F(HomeBounceTest, OneForAllRecipientsOfADestination) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example", "b@one.example", "c@two.example"});
  Refused(Out("one.example"));
  const std::string text = Bounce();
  EXPECT_TRUE(absl::StrContains(text, "<a@one.example>"));
  EXPECT_TRUE(absl::StrContains(text, "<b@one.example>"));
  EXPECT_FALSE(absl::StrContains(text, "<c@two.example>"));
}

TEST_F(HomeBounceTest, OutlivesAPowerCut) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example"});
  Refused(Out("one.example"));
  const std::string text = Bounce();
  PowerCut();
  Start();
  EXPECT_FALSE(IsOut("one.example"));
  EXPECT_EQ(Bounce(), text);
}

// The disk may keep any sectors of a write that was not synced, so the outcome may be there and
// the report before it not. Then nobody would hear of the recipient again.
TEST_F(HomeBounceTest, APowerCutLeavesNoOutcomeWithoutItsReport) {
  Start();
  const MessageId id = Accept(WireOf(1, 1000), {"a@one.example"});
  io_.Hold(Kind::kSync);
  Refused(Out("one.example"));
  ASSERT_EQ(io_.in_flight(Kind::kSync), 1u);
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const spool::Recovered left = AfterPowerCut(seed);
    bool waits = false;
    bool reported = false;
    for (const spool::RecoveredMessage& message : left.messages) {
      reported |= message.accepted.bounce;
      waits |= message.accepted.id == id &&
               message.accepted.recipients[0].state == spool::RecipientState::kWaiting;
    }
    EXPECT_TRUE(waits || reported) << seed;
  }
}

// --- A report for very many: all are named, and at most 64 KiB of replies are quoted.

class LongReportTest : public HomeBounceTest {
 protected:
  // Every recipient is refused by a reply of 1 KiB.
  std::string ReportOf(const Texts& recipients) {
    Accept(WireOf(1, 1000), recipients);
    Parcel& parcel = Out("one.example");
    for (uint32_t i = 0; i < parcel.recipients; ++i) {
      Answer(parcel, i, Verdict::kBounced,
             absl::StrCat("550 5.1.1 ", std::string(limits::kReplyTextBytesMax - 10, 'x')));
    }
    Returns(parcel, ParcelResult::kAttempted);
    EXPECT_EQ(events_.Count(EventType::kBounce), recipients.size());
    EXPECT_EQ(home_->messages(), 1u);
    return Bounce();
  }
};

TEST_F(LongReportTest, NamesAThousandShortAddresses) {
  Start();
  Texts recipients;
  for (int i = 0; i < 1000; ++i) recipients.push_back(absl::StrCat("r", i, "@one.example"));
  const std::string text = ReportOf(recipients);
  for (const std::string& recipient : recipients) {
    EXPECT_TRUE(absl::StrContains(text, absl::StrCat("<", recipient, ">"))) << recipient;
  }
  EXPECT_LE(text.size(), 100u << 10);  // 25 bytes each beside the replies.
}

// 254 octets (RFC 5321 4.5.3.1.3, less the brackets), which fold into four lines.
TEST_F(LongReportTest, IsBoundedForAThousandLongAddresses) {
  Start();
  Texts recipients;
  for (int i = 0; i < 1000; ++i) {
    const std::string local = absl::StrCat(10000 + i);
    recipients.push_back(absl::StrCat(local, std::string(254 - 5 - 12, 'l'), "@one.example"));
  }
  const std::string text = ReportOf(recipients);
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(absl::StrContains(text, absl::StrCat("<", 10000 + i)));
  EXPECT_LE(text.size(), 400u << 10);
}

TEST_F(HomeBounceTest, AReportOfAFewHasTheirReplies) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example", "b@one.example", "c@one.example"});
  Parcel& parcel = Out("one.example");
  for (uint32_t i = 0; i < 3; ++i) {
    Answer(parcel, i, Verdict::kBounced, absl::StrCat("550 5.1.1 no user number ", i));
  }
  Returns(parcel, ParcelResult::kAttempted);
  const std::string text = BodyOf(Out("sender.example"));
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(absl::StrContains(text, absl::StrCat("no user number ", i))) << i;
  }
}

// --- Without room for it.

// One arriving message takes the only slot.
class NoRoomForBounceTest : public HomeBounceTest {
 protected:
  NoRoomForBounceTest() { options_.incoming_max = 1; }
  void TakeRoom() { arriving_ = Begin(); }
  void GiveRoom() { home_->Abandon(*arriving_); }

 private:
  Incoming* arriving_ = nullptr;
};

TEST_F(NoRoomForBounceTest, ARefusedRecipientIsTriedAgainRatherThanVanishUnreported) {
  Start();
  Accept(WireOf(1, 1000), {"a@one.example", "b@one.example"});
  TakeRoom();
  Parcel& parcel = Out("one.example");
  Answer(parcel, 0, Verdict::kBounced, "550 5.1.1 no such user");
  Answer(parcel, 1, Verdict::kDelivered, "250 ok");
  Returns(parcel, ParcelResult::kAttempted);
  EXPECT_EQ(events_.Count(EventType::kBounce), 0u);
  EXPECT_EQ(events_.Count(EventType::kDelivery, "b@one.example"), 1u);
  const spool::Recovered left = AfterPowerCut(1);
  ASSERT_EQ(left.messages.size(), 1u);
  EXPECT_EQ(left.messages[0].accepted.recipients[0].state, RecipientState::kWaiting);
  EXPECT_EQ(left.messages[0].accepted.recipients[1].state, RecipientState::kDelivered);

  GiveRoom();
  Pass(minutes(2));
  Parcel& again = Out("one.example");
  EXPECT_EQ(Waiting(again), (Texts{"a@one.example"}));
  Refused(again);
  EXPECT_EQ(events_.Count(EventType::kBounce, "a@one.example"), 1u);
  EXPECT_TRUE(absl::StrContains(Bounce(), "<a@one.example>"));
}

TEST_F(NoRoomForBounceTest, NoneIsNeededForANullSender) {
  Start();
  sender_ = "";
  Accept(WireOf(1, 1000), {"a@one.example"});
  TakeRoom();
  Refused(Out("one.example"));
  EXPECT_EQ(events_.Count(EventType::kBounce, "a@one.example"), 1u);
  EXPECT_EQ(home_->messages(), 0u);
}

}  // namespace
}  // namespace sluice::delivery
