// How a server's answers become verdicts: one attempt over a parcel of five recipients.
// Expectations are the rules of RFC 5321 4.2.1 and 4.5.3.1.10 and of attempt.h.

#include "engine/delivery/attempt.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace sluice::delivery {
namespace {

using smtp::MessageResult;

constexpr Instant kStart = Instant(std::chrono::seconds(100));

class AttemptTest : public testing::Test {
 protected:
  AttemptTest() {
    message_.envelope.sender = "a@x.example";
    for (int i = 0; i < 5; ++i) {
      message_.envelope.recipients.push_back(
          {.address = absl::StrCat("r", i, "@y.example"), .destination = "y.example"});
    }
    message_.outcomes.resize(5);
    parcel_.message = &message_;
    parcel_.recipients = 5;
    parcel_.queued_at = kStart - std::chrono::seconds(3);
  }

  // D delivered, d deferred, B bounced, - untried: a letter a recipient.
  std::string Verdicts() const {
    std::string letters;
    for (const RecipientOutcome& outcome : message_.outcomes) {
      switch (outcome.verdict) {
        case Verdict::kUntried:
          letters += '-';
          break;
        case Verdict::kDelivered:
          letters += 'D';
          break;
        case Verdict::kDeferred:
          letters += 'd';
          break;
        case Verdict::kBounced:
          letters += 'B';
          break;
      }
    }
    return letters;
  }

  void Finish(MessageResult result, absl::string_view reply) {
    attempt_.Finish(result, reply.empty() ? smtp::Reply{} : OwnReply(reply), "the final dot",
                    kStart);
  }

  Message message_;
  Parcel parcel_;
  Attempt attempt_;
};

TEST_F(AttemptTest, DeliversToAll) {
  attempt_.Begin(parcel_, 100, kStart);
  EXPECT_EQ(attempt_.recipients(), 5u);
  Finish(MessageResult::kAccepted, "250 2.0.0 ok");
  EXPECT_EQ(Verdicts(), "DDDDD");
  EXPECT_EQ(parcel_.result, ParcelResult::kAttempted);
  EXPECT_EQ(parcel_.stages.queue, std::chrono::seconds(3));
  EXPECT_FALSE(attempt_.active());
}

// Case H11: one refused recipient does not touch the other four.
TEST_F(AttemptTest, BouncesOnlyTheRecipientThatWasRefused) {
  attempt_.Begin(parcel_, 100, kStart);
  attempt_.OnRecipientRefused(2, OwnReply("550 5.1.1 no such user"));
  Finish(MessageResult::kAccepted, "250 2.0.0 ok");
  EXPECT_EQ(Verdicts(), "DDBDD");
  EXPECT_TRUE(message_.outcomes[2].own_reply);
  EXPECT_EQ(message_.outcomes[2].reply.code, 550);
  EXPECT_FALSE(message_.outcomes[1].own_reply);
}

TEST_F(AttemptTest, DefersARecipientRefusedForNow) {
  attempt_.Begin(parcel_, 100, kStart);
  attempt_.OnRecipientRefused(0, OwnReply("450 4.2.1 later"));
  Finish(MessageResult::kAccepted, "250 2.0.0 ok");
  EXPECT_EQ(Verdicts(), "dDDDD");
}

// Case R8: what the server has no room for in this transaction is the next one's, not deferred.
TEST_F(AttemptTest, LeavesMovedRecipientsUntried) {
  attempt_.Begin(parcel_, 100, kStart);
  attempt_.OnRecipientMoved(3);
  attempt_.OnRecipientMoved(4);
  Finish(MessageResult::kAccepted, "250 2.0.0 ok");
  EXPECT_EQ(Verdicts(), "DDD--");
  EXPECT_EQ(Attempt::Untried(parcel_), 2u);
}

TEST_F(AttemptTest, TakesNoMoreThanItMayAndGoesOnWhereItStopped) {
  attempt_.Begin(parcel_, 2, kStart);
  EXPECT_EQ(attempt_.transaction().recipients[1]->address, "r1@y.example");
  Finish(MessageResult::kAccepted, "250 2.0.0 ok");
  EXPECT_EQ(Verdicts(), "DD---");
  attempt_.Begin(parcel_, 2, kStart);
  EXPECT_EQ(attempt_.transaction().recipients[0]->address, "r2@y.example");
  Finish(MessageResult::kRefused, "554 5.7.1 no");
  EXPECT_EQ(Verdicts(), "DDBB-");
}

TEST_F(AttemptTest, SkipsRecipientsThatAreFinal) {
  message_.outcomes[0].state = spool::RecipientState::kDelivered;
  message_.outcomes[4].state = spool::RecipientState::kBounced;
  attempt_.Begin(parcel_, 100, kStart);
  EXPECT_EQ(attempt_.recipients(), 3u);
}

TEST_F(AttemptTest, RefusesTheMessageByTheClassOfTheReply) {
  attempt_.Begin(parcel_, 100, kStart);
  Finish(MessageResult::kRefused, "451 4.3.0 try again");
  EXPECT_EQ(Verdicts(), "ddddd");
  EXPECT_EQ(parcel_.reply.code, 451);
}

// RFC 1047: between the dot and its reply nobody knows. Tried again, and said so.
TEST_F(AttemptTest, KeepsAMessageInDoubt) {
  attempt_.Begin(parcel_, 100, kStart);
  attempt_.OnRecipientRefused(1, OwnReply("550 5.1.1 no such user"));
  Finish(MessageResult::kInDoubt, "");
  EXPECT_EQ(Verdicts(), "dBddd");
  EXPECT_TRUE(parcel_.in_doubt);
  EXPECT_EQ(parcel_.reply.code, 451);
}

TEST_F(AttemptTest, DefersWhatALostSessionTook) {
  attempt_.Begin(parcel_, 100, kStart);
  Finish(MessageResult::kSessionLost, "");
  EXPECT_EQ(Verdicts(), "ddddd");
  EXPECT_FALSE(parcel_.in_doubt);
  EXPECT_EQ(parcel_.reply.enhanced, (smtp::EnhancedCode{4, 4, 2}));
}

TEST_F(AttemptTest, UndoneLeavesNoTrace) {
  attempt_.Begin(parcel_, 100, kStart);
  attempt_.OnRecipientRefused(1, OwnReply("421 4.3.2 closing"));
  attempt_.Undo();
  EXPECT_EQ(Verdicts(), "-----");
  EXPECT_EQ(parcel_.result, ParcelResult::kNothing);
}

TEST_F(AttemptTest, OffersWhatTheEnvelopeSays) {
  message_.envelope.ret = smtp::Return::kFull;
  message_.envelope.envelope_id = "Q1";
  message_.message_bytes = 1234;
  message_.eight_bit = true;
  attempt_.Begin(parcel_, 1, kStart);
  const smtp::Transaction transaction = attempt_.transaction();
  EXPECT_EQ(transaction.sender, "a@x.example");
  EXPECT_EQ(transaction.body_bytes, 1234u);
  EXPECT_EQ(transaction.body_type,
            smtp::BodyType::kEightBitMime);  // 8-bit was seen, declared or not.
  EXPECT_EQ(transaction.ret, smtp::Return::kFull);
  EXPECT_EQ(transaction.envelope_id, "Q1");
  attempt_.Undo();
}

}  // namespace
}  // namespace sluice::delivery
