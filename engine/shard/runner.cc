#include "engine/shard/runner.h"

#include <pthread.h>
#include <sched.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/thread.h"
#include "engine/io/clock.h"
#include "engine/io/uring_io.h"

namespace sluice::shard {

absl::StatusOr<std::unique_ptr<io::Io>> MakeUringIo(uint32_t) {
  return io::UringIo::Create({});
}

Runner::Runner(Options options, const Shard::World& world, delivery::Dispatcher::Tables tables,
               Shard::Inheritance inheritance)
    : options_(std::move(options)),
      world_(world),
      tables_(std::move(tables)),
      inheritance_(std::move(inheritance)),
      thread_(StartThread([this] { Run(); })) {}

Runner::~Runner() {
  Tell(Order::kEnd);
  thread_.join();
}

absl::Status Runner::WaitUntilStarted() {
  phase_.wait(0, std::memory_order_acquire);
  return started_;
}

void Runner::Serve() {
  CHECK(started_.ok());
  serves_.store(true, std::memory_order_release);
  Tell(Order::kServe);
}

void Runner::Tell(Order order) {
  order_.store(order, std::memory_order_release);
  order_.notify_all();
}

void Runner::Run() {
  if (options_.core >= 0) {
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(options_.core, &cores);
    pthread_setaffinity_np(pthread_self(), sizeof(cores),
                           &cores);  // Unpinned is slower, not wrong.
  }
  pthread_setname_np(pthread_self(), absl::StrCat("shard-", options_.shard.number).c_str());
  std::unique_ptr<io::Io> io;
  std::unique_ptr<Shard> shard;
  started_ = Prepare(io, shard);
  phase_.store(1, std::memory_order_release);
  phase_.notify_all();
  order_.wait(Order::kWait, std::memory_order_acquire);
  if (order_.load(std::memory_order_acquire) == Order::kEnd) return;
  TakeTurns(*io, *shard);
  serves_.store(false, std::memory_order_release);
  order_.wait(Order::kServe, std::memory_order_acquire);
}

absl::Status Runner::Prepare(std::unique_ptr<io::Io>& io, std::unique_ptr<Shard>& shard) {
  absl::StatusOr<std::unique_ptr<io::Io>> made = options_.make_io(options_.shard.number);
  if (!made.ok()) return made.status();
  io = std::move(*made);
  for (size_t i = 0; i < options_.listen.size(); ++i) {
    const io::Socket socket = io->Listen(options_.listen[i], {.reuse_port = true});
    if (!socket) {
      return absl::UnavailableError(absl::StrCat("cannot listen on ", options_.listen[i].ToString(),
                                                 ": ", std::strerror(-socket.descriptor)));
    }
    options_.shard.intake.listeners[i].socket = socket;
    listening_.push_back(io->LocalAddress(socket));
  }
  world_.io = io.get();
  const Now now = io::ReadClock();
  shard = std::make_unique<Shard>(options_.shard, world_, tables_, now);
  world_.post->SetWaker(options_.shard.number, &io->waker());
  return shard->Start(std::move(inheritance_), now);
}

void Runner::TakeTurns(io::Io& io, Shard& shard) {
  Post& post = *world_.post;
  const uint32_t number = options_.shard.number;
  std::vector<io::Completion> completions;
  Instant until = io::ReadClock().instant;
  while (!post.AllAtRest()) {
    if (!post.BeginSleep(number)) until = Instant{};
    io.Wait(until, completions);
    post.EndSleep(number);
    until = shard.Step(io::ReadClock(), completions);
  }
}

}  // namespace sluice::shard
