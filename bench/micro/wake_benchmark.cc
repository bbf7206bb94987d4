// What it costs to wake a shard, by the two ways that io_uring offers, and what a turn of the loop
// costs. engine/io/README.md keeps the figures and what was decided from them.
//
//   eventfd    write(2) to an eventfd whose read is armed in the sleeper's ring. From any thread.
//   message    IORING_OP_MSG_RING from the sender's ring to the sleeper's, submitted at once.
//   with turn  the same, but submitted with whatever else the sender's turn submits.
//
// Both ways run on bare rings with the flags of UringIo, so that nothing but the way differs; then
// UringIo itself, with the way that it took.
//
// Run on two idle cores: build/bench/micro/wake_benchmark --benchmark_repetitions=5

#include <benchmark/benchmark.h>
#include <liburing.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/micro/allocations.h"
#include "engine/base/check.h"
#include "engine/io/uring_io.h"

namespace sluice::io {
namespace {

using Clock = std::chrono::steady_clock;

enum class How { kNone, kEventfd, kMessage, kMessageWithTurn };

void RunOnCore(unsigned core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core % std::thread::hardware_concurrency(), &set);
  pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

void Pause() {
  __builtin_ia32_pause();
}

// A ring with the flags of UringIo that can be woken by either way. Made on its own thread.
class BareShard {
 public:
  BareShard() {
    io_uring_params params{};
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                   IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL;
    CHECK(io_uring_queue_init_params(64, &ring_, &params) == 0);
    CHECK(io_uring_register_ring_fd(&ring_) == 1);
    event_ = eventfd(0, EFD_CLOEXEC);
    CHECK(event_ >= 0);
    ArmRead();
    CHECK(io_uring_submit(&ring_) == 1);
  }
  ~BareShard() {
    io_uring_queue_exit(&ring_);
    close(event_);
  }
  BareShard(const BareShard&) = delete;
  BareShard& operator=(const BareShard&) = delete;

  void Wake(const BareShard& other, How how) {
    switch (how) {
      case How::kNone:
        return;
      case How::kEventfd: {
        const uint64_t one = 1;
        CHECK(write(other.event_, &one, sizeof(one)) == sizeof(one));
        return;
      }
      case How::kMessage:
        PrepareMessage(other);
        CHECK(io_uring_submit(&ring_) >= 1);
        return;
      case How::kMessageWithTurn:
        PrepareMessage(other);
        return;
    }
  }

  // One turn of a loop that does not sleep.
  int Turn() {
    CHECK(io_uring_submit_and_get_events(&ring_) >= 0);
    return Reap();
  }
  void SleepUntilWoken() {
    do CHECK(io_uring_submit_and_wait(&ring_, 1) >= 0);
    while (Reap() == 0);
  }
  // Awake and busy elsewhere, as a shard is: looks at the ring's flag, then takes what waits.
  void SpinUntilWoken() {
    while (Turn() == 0) {  // The first one arms the read.
      while ((IO_URING_READ_ONCE(*ring_.sq.kflags) & IORING_SQ_TASKRUN) == 0) Pause();
    }
  }

 private:
  static constexpr uint64_t kRead = 1;
  static constexpr uint64_t kMessage = 2;

  void ArmRead() {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    io_uring_prep_read(sqe, event_, &count_, sizeof(count_), 0);
    sqe->user_data = kRead;
  }
  void PrepareMessage(const BareShard& other) {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    io_uring_prep_msg_ring(sqe, other.ring_.ring_fd, 0, kMessage, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
  }
  int Reap() {
    int wakes = 0;
    io_uring_cqe* cqe = nullptr;
    while (io_uring_peek_cqe(&ring_, &cqe) == 0) {
      if (cqe->user_data == kRead) ArmRead();
      io_uring_cqe_seen(&ring_, cqe);
      ++wakes;
    }
    return wakes;
  }

  io_uring ring_{};
  int event_ = -1;
  uint64_t count_ = 0;
};

// To the other shard and back, both asleep in between.
void RoundTrip(benchmark::State& state, How how) {
  RunOnCore(0);
  BareShard here;
  std::atomic<BareShard*> there{nullptr};
  std::atomic<bool> ended{false};
  std::thread other([&] {
    RunOnCore(1);
    BareShard shard;
    there.store(&shard);
    for (;;) {
      shard.SleepUntilWoken();
      if (ended.load()) break;
      shard.Wake(here, how);
    }
  });
  while (there.load() == nullptr) Pause();
  for (auto _ : state) {
    here.Wake(*there.load(), how);
    here.SleepUntilWoken();
  }
  ended.store(true);
  here.Wake(*there.load(), How::kEventfd);
  other.join();
}

// What a turn costs the sender when there is a wake in it. `none` is the turn alone.
void SenderTurn(benchmark::State& state, How how, bool asleep) {
  RunOnCore(0);
  BareShard here;
  std::atomic<BareShard*> there{nullptr};
  std::atomic<int64_t> ready{0};
  std::atomic<bool> ended{false};
  std::thread other([&] {
    RunOnCore(1);
    BareShard shard;
    there.store(&shard);
    while (!ended.load()) {
      ready.fetch_add(1);
      if (asleep) {
        shard.SleepUntilWoken();
      } else {
        shard.SpinUntilWoken();
      }
    }
  });
  int64_t turn = 0;
  for (auto _ : state) {
    if (how != How::kNone || turn == 0) ++turn;
    while (ready.load() < turn) Pause();
    // It is on its way to its sleep, or to its spinning; let it arrive.
    const auto arrived = Clock::now() + std::chrono::microseconds(20);
    while (Clock::now() < arrived) Pause();
    const auto begin = Clock::now();
    here.Wake(*there.load(), how);
    here.Turn();
    state.SetIterationTime(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  ended.store(true);
  here.Wake(*there.load(), How::kEventfd);
  other.join();
}

// The system calls of a ring an operation, told as `enters`. (Those of all kinds: perf stat -e
// raw_syscalls:sys_enter.)
class Enters {
 public:
  explicit Enters(const UringIo& io) : io_(io), before_(io.counters().enters) {}
  void Tell(benchmark::State& state) const {
    const uint64_t since = io_.counters().enters - before_;
    state.counters["enters"] =
        benchmark::Counter(static_cast<double>(since), benchmark::Counter::kAvgIterations);
  }

 private:
  const UringIo& io_;
  uint64_t before_;
};

std::unique_ptr<UringIo> MakeIo() {
  absl::StatusOr<std::unique_ptr<UringIo>> io = UringIo::Create({});
  CHECK(io.ok());
  return std::move(*io);
}

void UringIoRoundTrip(benchmark::State& state) {
  RunOnCore(0);
  const std::unique_ptr<UringIo> here = MakeIo();
  std::atomic<Waker*> there{nullptr};
  std::atomic<bool> ended{false};
  std::atomic<bool> finished{false};
  std::thread other([&] {
    RunOnCore(1);
    const std::unique_ptr<UringIo> io = MakeIo();
    std::vector<Completion> completions;
    there.store(&io->waker());
    for (;;) {
      io->Wait(kNever, completions);
      if (ended.load()) break;
      here->waker().Wake();
    }
    finished.wait(false);
  });
  while (there.load() == nullptr) Pause();
  std::vector<Completion> completions;
  const Enters enters(*here);
  const Allocations allocations;
  for (auto _ : state) {
    there.load()->Wake();
    here->Wait(kNever, completions);
  }
  allocations.Tell(state);
  enters.Tell(state);
  ended.store(true);
  there.load()->Wake();
  finished.store(true);
  finished.notify_one();
  other.join();
}

// A wake that is absorbed by one not taken yet: what a burst of posts costs each sender.
void UringIoAbsorbedWake(benchmark::State& state) {
  const std::unique_ptr<UringIo> io = MakeIo();
  io->waker().Wake();
  const Enters enters(*io);
  const Allocations allocations;
  for (auto _ : state) io->waker().Wake();
  allocations.Tell(state);
  enters.Tell(state);
}

OpId Op(uint8_t tag) {
  return MakeOpId(tag, {.slot = 1, .generation = 1});
}

// Two ends of a loopback connection on one ring, both with a receive armed.
struct Loop {
  std::unique_ptr<UringIo> io = MakeIo();
  std::vector<Completion> completions;
  std::array<Socket, 2> ends;

  Loop() {
    const SocketAddress any{.ip = *IpAddress::Parse("127.0.0.1"), .port = 0};
    const Socket listener = io->Listen(any, {});
    ends[0] = io->OpenStream(Family::kIpv4, {});
    io->Accept(Op(10), listener);
    io->Connect(Op(11), ends[0], io->LocalAddress(listener));
    for (int completed = 0; completed < 2; completed += static_cast<int>(completions.size())) {
      io->Wait(kNever, completions);
      for (const Completion& each : completions) {
        CHECK(each.result >= 0);
        if (each.op.tag == 10) ends[1] = Socket{each.result};
      }
    }
    io->Receive(Op(0), ends[0]);
    io->Receive(Op(1), ends[1]);
  }

  // Sends from one end; returns when the other has all of it and the send has completed.
  void Pass(int from, Bytes bytes) {
    io->Send(Op(static_cast<uint8_t>(2 + from)), ends[static_cast<size_t>(from)], {&bytes, 1});
    size_t received = 0;
    bool sent = false;
    while (received < bytes.size() || !sent) {
      io->Wait(kNever, completions);
      for (const Completion& each : completions) {
        CHECK(each.result > 0);
        if (each.op.tag < 2) received += each.received.size();
        if (each.op.tag >= 2) sent = true;
      }
    }
  }
};

// A command and its reply, on one thread: two sends, two receives.
void UringIoEcho(benchmark::State& state) {
  RunOnCore(0);
  Loop loop;
  const std::vector<std::byte> line(64);
  const Enters enters(*loop.io);
  const Allocations allocations;
  for (auto _ : state) {
    loop.Pass(0, line);
    loop.Pass(1, line);
  }
  allocations.Tell(state);
  enters.Tell(state);
}

// The same through plain calls: what the kernel's TCP costs however it is asked.
void PlainCallsEcho(benchmark::State& state) {
  RunOnCore(0);
  Loop loop;
  loop.io->Cancel(Op(0));
  loop.io->Cancel(Op(1));
  for (int ended = 0; ended < 2; ended += static_cast<int>(loop.completions.size())) {
    loop.io->Wait(kNever, loop.completions);
  }
  std::array<std::byte, 64> line{};
  for (auto _ : state) {
    for (const size_t from : {size_t{0}, size_t{1}}) {
      CHECK(send(loop.ends[from].descriptor, line.data(), line.size(), MSG_NOSIGNAL) == 64);
      CHECK(recv(loop.ends[1 - from].descriptor, line.data(), line.size(), 0) == 64);
    }
  }
}

// A turn in which nothing happens.
void UringIoEmptyTurn(benchmark::State& state) {
  const std::unique_ptr<UringIo> io = MakeIo();
  std::vector<Completion> completions;
  const Enters enters(*io);
  const Allocations allocations;
  for (auto _ : state) io->Wait(Instant{}, completions);
  allocations.Tell(state);
  enters.Tell(state);
}

BENCHMARK_CAPTURE(RoundTrip, eventfd, How::kEventfd)->UseRealTime();
BENCHMARK_CAPTURE(RoundTrip, message, How::kMessage)->UseRealTime();
BENCHMARK_CAPTURE(RoundTrip, message_with_turn, How::kMessageWithTurn)->UseRealTime();
BENCHMARK_CAPTURE(SenderTurn, none, How::kNone, false)->UseManualTime()->Iterations(5000);
BENCHMARK_CAPTURE(SenderTurn, eventfd_awake, How::kEventfd, false)
    ->UseManualTime()
    ->Iterations(5000);
BENCHMARK_CAPTURE(SenderTurn, message_awake, How::kMessage, false)
    ->UseManualTime()
    ->Iterations(5000);
BENCHMARK_CAPTURE(SenderTurn, message_with_turn_awake, How::kMessageWithTurn, false)
    ->UseManualTime()
    ->Iterations(5000);
BENCHMARK_CAPTURE(SenderTurn, eventfd_asleep, How::kEventfd, true)
    ->UseManualTime()
    ->Iterations(5000);
BENCHMARK_CAPTURE(SenderTurn, message_asleep, How::kMessage, true)
    ->UseManualTime()
    ->Iterations(5000);
BENCHMARK_CAPTURE(SenderTurn, message_with_turn_asleep, How::kMessageWithTurn, true)
    ->UseManualTime()
    ->Iterations(5000);
BENCHMARK(UringIoRoundTrip)->UseRealTime();
BENCHMARK(UringIoAbsorbedWake);
BENCHMARK(UringIoEmptyTurn);
BENCHMARK(PlainCallsEcho);
BENCHMARK(UringIoEcho);

}  // namespace
}  // namespace sluice::io

BENCHMARK_MAIN();
