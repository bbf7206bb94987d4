#include "engine/admin/control_queue.h"

#include <poll.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace sluice::admin {
namespace {

bool Waits(const ControlQueue& queue, int patience_ms) {
  pollfd waited = {.fd = queue.event(), .events = POLLIN, .revents = 0};
  return poll(&waited, 1, patience_ms) > 0;
}

ControlReply Echo(const ControlRequest& request) {
  return {.status = 201, .body = request.method + " " + request.path + " " + request.body};
}

TEST(ControlQueue, CallersGetTheirOwnReplies) {
  constexpr int kCallers = 8;
  constexpr int kCalls = 50;
  ControlQueue queue;
  std::vector<std::thread> callers;
  std::atomic<int> right = 0;
  for (int caller = 0; caller < kCallers; ++caller) {
    callers.emplace_back([&, caller] {
      for (int i = 0; i < kCalls; ++i) {
        const std::string body = std::to_string(caller * kCalls + i);
        const ControlReply reply = queue.Call({.method = "GET", .path = "/x", .body = body});
        right += reply.status == 201 && reply.body == "GET /x " + body;
      }
    });
  }
  int served = 0;
  while (served < kCallers * kCalls) {
    ASSERT_TRUE(Waits(queue, -1));
    queue.Serve([&served](const ControlRequest& request) {
      ++served;
      return Echo(request);
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(right, kCallers * kCalls);
}

TEST(ControlQueue, NothingWaitsAtFirstAndAfterServing) {
  ControlQueue queue;
  EXPECT_FALSE(Waits(queue, 0));
  std::thread caller([&queue] { queue.Call({}); });
  EXPECT_TRUE(Waits(queue, -1));
  queue.Serve(&Echo);
  caller.join();
  EXPECT_FALSE(Waits(queue, 0));
}

TEST(ControlQueue, ClosingAnswersWhoWaitsAndWhoComes) {
  ControlQueue queue;
  ControlReply reply;
  std::thread caller([&] { reply = queue.Call({}); });
  ASSERT_TRUE(Waits(queue, -1));
  queue.Close();
  caller.join();
  EXPECT_EQ(reply.status, 503);
  EXPECT_EQ(queue.Call({}).status, 503);
}

TEST(ControlQueue, IsBounded) {
  ControlQueue queue;
  std::atomic<size_t> refused = 0;
  std::vector<std::thread> callers;
  for (size_t i = 0; i <= ControlQueue::kWaitingMax; ++i) {
    callers.emplace_back([&] {
      refused += queue.Call({}).status == 503;
      refused.notify_all();
    });
  }
  refused.wait(0);  // The one that finds it full; all others wait.
  size_t served = 0;
  queue.Serve([&served](const ControlRequest& request) {
    ++served;
    return Echo(request);
  });
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(served, ControlQueue::kWaitingMax);
  EXPECT_EQ(refused, 1u);
}

}  // namespace
}  // namespace sluice::admin
