// What a destination may still do: each limit at its bound and one over, which limit is named and
// when to look again, and limits that change underneath.

#include "policy/budget.h"

#include "gtest/gtest.h"

namespace sluice::policy {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::nanoseconds;

constexpr Instant kNow = Instant(hours(1000));

Controls Unlimited() {
  return {.connections_max = 2, .messages_per_connection_max = 3};
}

// 64 minutes, so that a bucket is a minute.
Controls Recipients(uint32_t recipients_max) {
  Controls controls = Unlimited();
  controls.recipients_limited = true;
  controls.recipients_max = recipients_max;
  controls.recipient_period = minutes(64);
  return controls;
}

TEST(Connections, UpToTheLimitAndNotOneMore) {
  const Controls controls = Unlimited();
  Budget budget;
  EXPECT_TRUE(budget.MayConnect(controls, kNow));
  budget.ConnectionOpened(controls);
  EXPECT_TRUE(budget.MayConnect(controls, kNow));
  budget.ConnectionOpened(controls);
  const Permit no = budget.MayConnect(controls, kNow);
  EXPECT_EQ(no.binds, Limit::kConnections);
  EXPECT_EQ(no.look_again, kNever);
  budget.ConnectionClosed();
  EXPECT_TRUE(budget.MayConnect(controls, kNow));
  EXPECT_EQ(budget.connections(), 1u);
}

TEST(Connections, ALoweredLimitWaitsUntilEnoughAreClosed) {
  Controls controls = Unlimited();
  Budget budget;
  budget.ConnectionOpened(controls);
  budget.ConnectionOpened(controls);
  controls.connections_max = 1;
  EXPECT_FALSE(budget.MayConnect(controls, kNow));
  budget.ConnectionClosed();
  EXPECT_FALSE(budget.MayConnect(controls, kNow));
  budget.ConnectionClosed();
  EXPECT_TRUE(budget.MayConnect(controls, kNow));
}

TEST(ConnectionsDeathTest, NeverOneTooManyOpenedOrClosed) {
  const Controls controls = Unlimited();
  Budget budget;
  EXPECT_DEATH(budget.ConnectionClosed(), "CHECK");
  budget.ConnectionOpened(controls);
  budget.ConnectionOpened(controls);
  EXPECT_DEATH(budget.ConnectionOpened(controls), "CHECK");
}

TEST(MessagesPerConnection, UpToTheLimitAndNotOneMore) {
  Budget budget;
  for (const uint32_t so_far : {0u, 1u, 2u}) {
    EXPECT_TRUE(budget.MayStart(Unlimited(), so_far, 1, kNow)) << so_far;
  }
  for (const uint32_t so_far : {3u, 4u}) {
    const Permit no = budget.MayStart(Unlimited(), so_far, 1, kNow);
    EXPECT_EQ(no.binds, Limit::kMessagesPerConnection);
    EXPECT_EQ(no.look_again, kNever);
  }
}

TEST(MessagesPerConnection, BindsBeforeTheRecipientsDo) {
  Budget budget;
  EXPECT_EQ(budget.MayStart(Recipients(0), 3, 1, kNow).binds, Limit::kMessagesPerConnection);
}

TEST(Recipients, WithoutALimitAllOfThem) {
  Budget budget;
  EXPECT_EQ(budget.MayStart(Unlimited(), 0, 1000, kNow).recipients, 1000u);
}

TEST(Recipients, AsManyAsThereIsRoomFor) {
  const Controls controls = Recipients(10);
  Budget budget;
  EXPECT_EQ(budget.MayStart(controls, 0, 7, kNow).recipients, 7u);
  budget.TransactionStarted(controls, 7, kNow);
  EXPECT_EQ(budget.MayStart(controls, 0, 7, kNow).recipients, 3u);
  budget.TransactionStarted(controls, 3, kNow);
  const Permit no = budget.MayStart(controls, 0, 7, kNow);
  EXPECT_EQ(no.binds, Limit::kRecipients);
  EXPECT_EQ(no.recipients, 0u);
  EXPECT_EQ(no.look_again, kNever);  // All in flight: when a transaction ends.
  EXPECT_EQ(budget.MayConnect(controls, kNow).binds, Limit::kRecipients);
}

TEST(Recipients, WhatWasNeverSentIsGivenBack) {
  const Controls controls = Recipients(10);
  Budget budget;
  budget.TransactionStarted(controls, 10, kNow);
  budget.TransactionEnded(controls, 10, 4, kNow);
  EXPECT_EQ(budget.MayStart(controls, 0, 10, kNow).recipients, 6u);
}

TEST(Recipients, CountFromThePermitUntilAPeriodAfterTheReply) {
  const Controls controls = Recipients(1);
  Budget budget;
  budget.TransactionStarted(controls, 1, kNow);
  EXPECT_FALSE(budget.MayStart(controls, 0, 1, kNow + hours(3)));  // A slow receiver.
  budget.TransactionEnded(controls, 1, 1, kNow + hours(3));
  const Permit no = budget.MayStart(controls, 0, 1, kNow + hours(3));
  EXPECT_EQ(no.binds, Limit::kRecipients);
  EXPECT_EQ(no.look_again, kNow + hours(3) + minutes(65));
  EXPECT_FALSE(budget.MayStart(controls, 0, 1, no.look_again - nanoseconds(1)));
  EXPECT_TRUE(budget.MayStart(controls, 0, 1, no.look_again));
}

TEST(Recipients, ALimitOfZeroHoldsTheMail) {
  const Controls held = Recipients(0);
  Budget budget;
  EXPECT_EQ(budget.MayConnect(held, kNow).binds, Limit::kRecipients);
  EXPECT_EQ(budget.MayConnect(held, kNow).look_again, kNever);
  EXPECT_EQ(budget.MayStart(held, 0, 1, kNow).binds, Limit::kRecipients);

  // Nor is there anything to wait for when earlier ones leave the window.
  Budget busy;
  busy.TransactionStarted(Recipients(1), 1, kNow);
  busy.TransactionEnded(Recipients(1), 1, 1, kNow);
  EXPECT_EQ(busy.MayConnect(held, kNow).look_again, kNever);
}

TEST(Recipients, TheLimitIsNamedBeforeThatOfConnections) {
  const Controls controls = Recipients(1);
  Budget budget;
  budget.ConnectionOpened(controls);
  budget.ConnectionOpened(controls);
  budget.TransactionStarted(controls, 1, kNow);
  EXPECT_EQ(budget.MayConnect(controls, kNow).binds, Limit::kRecipients);
}

TEST(Recipients, ALoweredLimitWaitsUntilEnoughHaveLeft) {
  Budget budget;
  budget.TransactionStarted(Recipients(10), 10, kNow);
  budget.TransactionEnded(Recipients(10), 10, 10, kNow);
  const Permit no = budget.MayStart(Recipients(5), 0, 1, kNow);
  EXPECT_EQ(no.binds, Limit::kRecipients);
  EXPECT_EQ(budget.MayStart(Recipients(11), 0, 9, kNow).recipients, 1u);
  EXPECT_EQ(budget.MayStart(Recipients(5), 0, 9, no.look_again).recipients, 5u);
}

TEST(Recipients, InFlightWhenALimitIsSetOrLifted) {
  Budget budget;
  budget.TransactionStarted(Unlimited(), 4, kNow);
  EXPECT_EQ(budget.MayStart(Recipients(5), 0, 9, kNow).recipients, 1u);
  budget.TransactionEnded(Recipients(5), 4, 4, kNow);  // Stamped.
  EXPECT_EQ(budget.MayStart(Recipients(5), 0, 9, kNow).recipients, 1u);

  budget.TransactionStarted(Recipients(5), 1, kNow);
  EXPECT_EQ(budget.MayStart(Unlimited(), 0, 9, kNow).recipients, 9u);
  budget.TransactionEnded(Unlimited(), 1, 1, kNow);  // Not counted.
  EXPECT_EQ(budget.MayStart(Recipients(5), 0, 9, kNow).recipients, 1u);
}

TEST(RecipientsDeathTest, NeverMoreThanGranted) {
  const Controls controls = Recipients(5);
  Budget budget;
  EXPECT_DEATH(budget.MayStart(controls, 0, 0, kNow), "CHECK");
  EXPECT_DEATH(budget.TransactionStarted(controls, 6, kNow), "CHECK");
  budget.TransactionStarted(controls, 5, kNow);
  EXPECT_DEATH(budget.TransactionEnded(controls, 5, 6, kNow), "CHECK");
  EXPECT_DEATH(budget.TransactionEnded(controls, 6, 6, kNow), "CHECK");
}

TEST(Idle, WhenNothingIsHeldAndNothingCounted) {
  const Controls controls = Recipients(5);
  Budget budget;
  EXPECT_TRUE(budget.Idle(controls, kNow));
  budget.ConnectionOpened(controls);
  EXPECT_FALSE(budget.Idle(controls, kNow));
  budget.TransactionStarted(controls, 1, kNow);
  budget.ConnectionClosed();
  EXPECT_FALSE(budget.Idle(controls, kNow));
  budget.TransactionEnded(controls, 1, 1, kNow);
  EXPECT_FALSE(budget.Idle(controls, kNow + minutes(65) - nanoseconds(1)));
  EXPECT_TRUE(budget.Idle(Unlimited(), kNow));
  EXPECT_TRUE(budget.Idle(controls, kNow + minutes(65)));
}

TEST(Idle, NotWithATransactionWithoutALimit) {
  Budget budget;
  budget.TransactionStarted(Unlimited(), 1, kNow);
  EXPECT_FALSE(budget.Idle(Unlimited(), kNow));
  budget.TransactionEnded(Unlimited(), 1, 1, kNow);
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
