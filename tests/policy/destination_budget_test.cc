// What a destination may still do: each limit at its bound and one over, which limit is named and
// when to look again, and limits that change underneath.

#include "policy/destination_budget.h"

#include "gtest/gtest.h"

namespace sluice::policy {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::nanoseconds;

constexpr ScopeKey kWhole;
constexpr Instant kNow = Instant(hours(1000));

Controls Unlimited() {
  return {.limits = {.connections_max = 2}, .messages_per_connection_max = 3};
}

// 64 minutes, so that a bucket is a minute.
Controls Recipients(uint32_t recipients_max) {
  Controls controls = Unlimited();
  controls.limits.recipients_limited = true;
  controls.limits.recipients_max = recipients_max;
  controls.limits.recipient_period = minutes(64);
  return controls;
}

TEST(Connections, UpToTheLimitAndNotOneMore) {
  const Controls controls = Unlimited();
  DestinationBudget budget;
  EXPECT_TRUE(budget.MayConnect(controls, kWhole, kNow));
  budget.ConnectionOpened(controls, kWhole);
  EXPECT_TRUE(budget.MayConnect(controls, kWhole, kNow));
  budget.ConnectionOpened(controls, kWhole);
  const Permit no = budget.MayConnect(controls, kWhole, kNow);
  EXPECT_EQ(no.binds, Limit::kConnections);
  EXPECT_EQ(no.look_again, kNever);
  budget.ConnectionClosed(kWhole, /*was_leaving=*/false);
  EXPECT_TRUE(budget.MayConnect(controls, kWhole, kNow));
  EXPECT_EQ(budget.connections(), 1u);
}

TEST(Connections, ALoweredLimitWaitsUntilEnoughAreClosed) {
  Controls controls = Unlimited();
  DestinationBudget budget;
  budget.ConnectionOpened(controls, kWhole);
  budget.ConnectionOpened(controls, kWhole);
  controls.limits.connections_max = 1;
  EXPECT_FALSE(budget.MayConnect(controls, kWhole, kNow));
  budget.ConnectionClosed(kWhole, /*was_leaving=*/false);
  EXPECT_FALSE(budget.MayConnect(controls, kWhole, kNow));
  budget.ConnectionClosed(kWhole, /*was_leaving=*/false);
  EXPECT_TRUE(budget.MayConnect(controls, kWhole, kNow));
}

TEST(ConnectionsDeathTest, NeverOneTooManyOpenedOrClosed) {
  const Controls controls = Unlimited();
  DestinationBudget budget;
  EXPECT_DEATH(budget.ConnectionClosed(kWhole, /*was_leaving=*/false), "CHECK");
  budget.ConnectionOpened(controls, kWhole);
  budget.ConnectionOpened(controls, kWhole);
  EXPECT_DEATH(budget.ConnectionOpened(controls, kWhole), "CHECK");
}

TEST(MessagesPerConnection, UpToTheLimitAndNotOneMore) {
  DestinationBudget budget;
  for (const uint32_t so_far : {0u, 1u, 2u}) {
    EXPECT_TRUE(budget.MayStart(Unlimited(), kWhole, so_far, 1, kNow)) << so_far;
  }
  for (const uint32_t so_far : {3u, 4u}) {
    const Permit no = budget.MayStart(Unlimited(), kWhole, so_far, 1, kNow);
    EXPECT_EQ(no.binds, Limit::kMessagesPerConnection);
    EXPECT_EQ(no.look_again, kNever);
  }
}

TEST(MessagesPerConnection, BindsBeforeTheRecipientsDo) {
  DestinationBudget budget;
  EXPECT_EQ(budget.MayStart(Recipients(0), kWhole, 3, 1, kNow).binds,
            Limit::kMessagesPerConnection);
}

TEST(Recipients, WithoutALimitAllOfThem) {
  DestinationBudget budget;
  EXPECT_EQ(budget.MayStart(Unlimited(), kWhole, 0, 1000, kNow).recipients, 1000u);
}

TEST(Recipients, AsManyAsThereIsRoomFor) {
  const Controls controls = Recipients(10);
  DestinationBudget budget;
  EXPECT_EQ(budget.MayStart(controls, kWhole, 0, 7, kNow).recipients, 7u);
  budget.TransactionStarted(controls, kWhole, 7, kNow);
  EXPECT_EQ(budget.MayStart(controls, kWhole, 0, 7, kNow).recipients, 3u);
  budget.TransactionStarted(controls, kWhole, 3, kNow);
  const Permit no = budget.MayStart(controls, kWhole, 0, 7, kNow);
  EXPECT_EQ(no.binds, Limit::kRecipients);
  EXPECT_EQ(no.recipients, 0u);
  EXPECT_EQ(no.look_again, kNever);  // All in flight: when a transaction ends.
  EXPECT_EQ(budget.MayConnect(controls, kWhole, kNow).binds, Limit::kRecipients);
}

TEST(Recipients, WhatWasNeverSentIsGivenBack) {
  const Controls controls = Recipients(10);
  DestinationBudget budget;
  budget.TransactionStarted(controls, kWhole, 10, kNow);
  budget.TransactionEnded(controls, kWhole, 10, 4, kNow);
  EXPECT_EQ(budget.MayStart(controls, kWhole, 0, 10, kNow).recipients, 6u);
}

TEST(Recipients, CountFromThePermitUntilAPeriodAfterTheReply) {
  const Controls controls = Recipients(1);
  DestinationBudget budget;
  budget.TransactionStarted(controls, kWhole, 1, kNow);
  EXPECT_FALSE(budget.MayStart(controls, kWhole, 0, 1, kNow + hours(3)));  // A slow receiver.
  budget.TransactionEnded(controls, kWhole, 1, 1, kNow + hours(3));
  const Permit no = budget.MayStart(controls, kWhole, 0, 1, kNow + hours(3));
  EXPECT_EQ(no.binds, Limit::kRecipients);
  EXPECT_EQ(no.look_again, kNow + hours(3) + minutes(65));
  EXPECT_FALSE(budget.MayStart(controls, kWhole, 0, 1, no.look_again - nanoseconds(1)));
  EXPECT_TRUE(budget.MayStart(controls, kWhole, 0, 1, no.look_again));
}

TEST(Recipients, ALimitOfZeroHoldsTheMail) {
  const Controls held = Recipients(0);
  DestinationBudget budget;
  EXPECT_EQ(budget.MayConnect(held, kWhole, kNow).binds, Limit::kRecipients);
  EXPECT_EQ(budget.MayConnect(held, kWhole, kNow).look_again, kNever);
  EXPECT_EQ(budget.MayStart(held, kWhole, 0, 1, kNow).binds, Limit::kRecipients);

  // Nor is there anything to wait for when earlier ones leave the window.
  DestinationBudget busy;
  busy.TransactionStarted(Recipients(1), kWhole, 1, kNow);
  busy.TransactionEnded(Recipients(1), kWhole, 1, 1, kNow);
  EXPECT_EQ(busy.MayConnect(held, kWhole, kNow).look_again, kNever);
}

TEST(Recipients, TheLimitIsNamedBeforeThatOfConnections) {
  const Controls controls = Recipients(1);
  DestinationBudget budget;
  budget.ConnectionOpened(controls, kWhole);
  budget.ConnectionOpened(controls, kWhole);
  budget.TransactionStarted(controls, kWhole, 1, kNow);
  EXPECT_EQ(budget.MayConnect(controls, kWhole, kNow).binds, Limit::kRecipients);
}

TEST(Recipients, ALoweredLimitWaitsUntilEnoughHaveLeft) {
  DestinationBudget budget;
  budget.TransactionStarted(Recipients(10), kWhole, 10, kNow);
  budget.TransactionEnded(Recipients(10), kWhole, 10, 10, kNow);
  const Permit no = budget.MayStart(Recipients(5), kWhole, 0, 1, kNow);
  EXPECT_EQ(no.binds, Limit::kRecipients);
  EXPECT_EQ(budget.MayStart(Recipients(11), kWhole, 0, 9, kNow).recipients, 1u);
  EXPECT_EQ(budget.MayStart(Recipients(5), kWhole, 0, 9, no.look_again).recipients, 5u);
}

TEST(Recipients, InFlightWhenALimitIsSetOrLifted) {
  DestinationBudget budget;
  budget.TransactionStarted(Unlimited(), kWhole, 4, kNow);
  EXPECT_EQ(budget.MayStart(Recipients(5), kWhole, 0, 9, kNow).recipients, 1u);
  budget.TransactionEnded(Recipients(5), kWhole, 4, 4, kNow);  // Stamped.
  EXPECT_EQ(budget.MayStart(Recipients(5), kWhole, 0, 9, kNow).recipients, 1u);

  budget.TransactionStarted(Recipients(5), kWhole, 1, kNow);
  EXPECT_EQ(budget.MayStart(Unlimited(), kWhole, 0, 9, kNow).recipients, 9u);
  budget.TransactionEnded(Unlimited(), kWhole, 1, 1, kNow);  // Not counted.
  EXPECT_EQ(budget.MayStart(Recipients(5), kWhole, 0, 9, kNow).recipients, 1u);
}

TEST(RecipientsDeathTest, NeverMoreThanGranted) {
  const Controls controls = Recipients(5);
  DestinationBudget budget;
  EXPECT_DEATH(budget.MayStart(controls, kWhole, 0, 0, kNow), "CHECK");
  EXPECT_DEATH(budget.TransactionStarted(controls, kWhole, 6, kNow), "CHECK");
  budget.TransactionStarted(controls, kWhole, 5, kNow);
  EXPECT_DEATH(budget.TransactionEnded(controls, kWhole, 5, 6, kNow), "CHECK");
  EXPECT_DEATH(budget.TransactionEnded(controls, kWhole, 6, 6, kNow), "CHECK");
}

TEST(Idle, WhenNothingIsHeldAndNothingCounted) {
  const Controls controls = Recipients(5);
  DestinationBudget budget;
  EXPECT_TRUE(budget.Idle(controls, kNow));
  budget.ConnectionOpened(controls, kWhole);
  EXPECT_FALSE(budget.Idle(controls, kNow));
  budget.TransactionStarted(controls, kWhole, 1, kNow);
  budget.ConnectionClosed(kWhole, /*was_leaving=*/false);
  EXPECT_FALSE(budget.Idle(controls, kNow));
  budget.TransactionEnded(controls, kWhole, 1, 1, kNow);
  EXPECT_FALSE(budget.Idle(controls, kNow + minutes(65) - nanoseconds(1)));
  EXPECT_TRUE(budget.Idle(Unlimited(), kNow));
  EXPECT_TRUE(budget.Idle(controls, kNow + minutes(65)));
}

TEST(Idle, NotWithATransactionWithoutALimit) {
  DestinationBudget budget;
  budget.TransactionStarted(Unlimited(), kWhole, 1, kNow);
  EXPECT_FALSE(budget.Idle(Unlimited(), kNow));
  budget.TransactionEnded(Unlimited(), kWhole, 1, 1, kNow);
  EXPECT_TRUE(budget.Idle(Unlimited(), kNow));
}

TEST(LimitName, IsTheLogsWord) {
  EXPECT_STREQ(LimitName(Limit::kNone), "none");
  EXPECT_STREQ(LimitName(Limit::kConnections), "concurrency");
  EXPECT_STREQ(LimitName(Limit::kMessagesPerConnection), "messages_per_connection");
  EXPECT_STREQ(LimitName(Limit::kRecipients), "recipients");
}

}  // namespace
}  // namespace sluice::policy
