// A transaction allocates nothing once the session's buffers have their size.

#include <chrono>
#include <vector>

#include "engine/smtp/client_session.h"
#include "gtest/gtest.h"
#include "tests/allocations.h"

namespace sluice::smtp {
namespace {

constexpr Now kNow = {Instant(std::chrono::hours(1)), WallTime()};

void Drain(ClientSession& session) {
  while (session.Next() != ClientAction::kNone) session.ClearOutput();
}

void Hear(ClientSession& session, absl::string_view bytes) {
  session.OnBytes(bytes, kNow);
  Drain(session);
}

void Converse(ClientSession& session, const Transaction& transaction) {
  session.Offer(transaction, kNow);
  Drain(session);
  Hear(session, "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n550 5.1.1 no such user, and a text of some len");
  Hear(session, "gth\r\n354 End data with <CR><LF>.<CR><LF>\r\n");
  session.OnBodyEnding(kNow);
  Drain(session);
  Hear(session, "250 2.0.0 Ok: queued as 4Xb1zr5kxyz, which is longer than a short string\r\n");
}

TEST(ClientAllocation, NoneInASteadyTransactionNorInALaterDialogue) {
  const EnvelopeRecipient first = {.address = "first.recipient@destination.example"};
  const EnvelopeRecipient second = {.address = "second.recipient@destination.example"};
  const std::vector<const EnvelopeRecipient*> recipients = {&first, &second};
  const Transaction transaction = {
      .sender = "bounces+123@sender.example", .recipients = recipients, .body_bytes = 10240};
  ClientSession session;
  uint64_t before = 0;
  for (int dialogue = 0; dialogue < 3; ++dialogue) {
    if (dialogue == 1) before = AllocationsOfThread();
    session.Begin({.ehlo_name = "client.example"}, kNow);
    Hear(session, "220 mx.destination.example ESMTP\r\n");
    Hear(session, "250-mx.destination.example\r\n250-PIPELINING\r\n250 SIZE 52428800\r\n");
    for (int i = 0; i < 3; ++i) Converse(session, transaction);
    ASSERT_EQ(session.state(), ClientState::kIdle);
    ASSERT_EQ(session.transactions(), 3u);
  }
  EXPECT_EQ(AllocationsOfThread() - before, 0u);
}

}  // namespace
}  // namespace sluice::smtp
