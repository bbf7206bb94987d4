// The loop's wait: its deadline, and wakes from this thread and from others. The tests of two
// threads hand each other turns; a lost wake would leave one of them asleep for ever.

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "tests/engine/io/ring_test.h"

namespace sluice::io {
namespace {

using WaitTest = RingTest;
using std::chrono::milliseconds;

TEST_F(WaitTest, APastInstantDoesNotSleep) {
  std::vector<Completion> completions(3);
  io_->Wait(Instant{}, completions);
  EXPECT_TRUE(completions.empty());
  io_->Wait(Instant::min(), completions);
  EXPECT_TRUE(completions.empty());
}

TEST_F(WaitTest, SleepsUntilTheInstant) {
  std::vector<Completion> completions;
  const Instant until = ReadClock().instant + milliseconds(20);
  io_->Wait(until, completions);
  EXPECT_GE(ReadClock().instant, until);
  EXPECT_TRUE(completions.empty());
}

// The answer to a cancel completes nothing of the caller's, so it is no reason to return.
TEST_F(WaitTest, DoesNotReturnForWhatIsNotTheCallers) {
  const Socket listener = ListenOnLoopback();
  const OpId accept = NewId();
  io_->Accept(accept, listener);
  Poll();
  End(accept);
  std::vector<Completion> completions;
  const Instant until = ReadClock().instant + milliseconds(20);
  io_->Wait(until, completions);
  EXPECT_GE(ReadClock().instant, until);
}

TEST_F(WaitTest, AWakeBeforeTheWaitIsNotLost) {
  std::vector<Completion> completions;
  for (int i = 0; i < 3; ++i) {
    io_->waker().Wake();
    io_->Wait(kNever, completions);  // Would sleep for ever.
    EXPECT_TRUE(completions.empty());
  }
}

TEST_F(WaitTest, ManyWakesAreOne) {
  std::vector<Completion> completions;
  for (int i = 0; i < 1000; ++i) io_->waker().Wake();
  io_->Wait(kNever, completions);
  // Nothing is left over that would end the next wait early.
  const Instant until = ReadClock().instant + milliseconds(20);
  io_->Wait(until, completions);
  EXPECT_GE(ReadClock().instant, until);
}

TEST_F(WaitTest, AWakeComesBesideACompletion) {
  const Streams streams = ConnectedStreams();
  const std::string text = "NOOP\r\n";
  const OpId receive = Receive(streams.server);
  io_->waker().Wake();
  EXPECT_EQ(Next(Send(streams.client, text)).result, 6);
  EXPECT_EQ(Received(receive, 6), text);
}

TEST_F(WaitTest, AnotherThreadWakes) {
  std::atomic<bool> told{false};
  std::thread other([&] {
    told.store(true, std::memory_order_release);
    io_->waker().Wake();
  });
  std::vector<Completion> completions;
  while (!told.load(std::memory_order_acquire)) io_->Wait(kNever, completions);
  other.join();
}

// Several threads post and wake; what the shard reads after a wake must have every post of before,
// also those whose wake was absorbed.
TEST_F(WaitTest, NoPostIsLostAmongAbsorbedWakes) {
  constexpr int kThreads = 3;
  constexpr int kPosts = 20'000;
  std::atomic<int> posted{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int post = 0; post < kPosts; ++post) {
        posted.fetch_add(1, std::memory_order_relaxed);
        io_->waker().Wake();
      }
    });
  }
  std::vector<Completion> completions;
  while (posted.load(std::memory_order_relaxed) < kThreads * kPosts) io_->Wait(kNever, completions);
  for (std::thread& thread : threads) thread.join();
}

TEST_F(WaitTest, TwoShardsHandATurnToAndFro) {
  constexpr int kTurns = 5'000;
  std::atomic<Waker*> other_waker{nullptr};
  std::atomic<bool> finished{false};
  std::atomic<int> turn{0};
  int letter = 0;  // Not atomic: whose turn it is reads and writes it.
  std::thread other([&] {
    absl::StatusOr<std::unique_ptr<UringIo>> io = UringIo::Create({});
    ASSERT_TRUE(io.ok());
    std::vector<Completion> completions;
    other_waker.store(&(*io)->waker(), std::memory_order_release);
    io_->waker().Wake();
    for (int i = 0; i < kTurns; ++i) {
      while (turn.load(std::memory_order_acquire) != 2 * i + 1) (*io)->Wait(kNever, completions);
      EXPECT_EQ(letter, 2 * i + 1);
      letter = 2 * i + 2;
      turn.store(2 * i + 2, std::memory_order_release);
      io_->waker().Wake();
    }
    finished.wait(false);  // Until then our waker is in use.
  });
  std::vector<Completion> completions;
  while (other_waker.load(std::memory_order_acquire) == nullptr) io_->Wait(kNever, completions);
  Waker& waker = *other_waker.load(std::memory_order_acquire);
  for (int i = 0; i < kTurns; ++i) {
    EXPECT_EQ(letter, 2 * i);
    letter = 2 * i + 1;
    turn.store(2 * i + 1, std::memory_order_release);
    waker.Wake();
    while (turn.load(std::memory_order_acquire) != 2 * i + 2) io_->Wait(kNever, completions);
  }
  finished.store(true);
  finished.notify_one();
  other.join();
}

}  // namespace
}  // namespace sluice::io
