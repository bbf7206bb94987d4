// What a piece of mail between two shards costs: put, published, taken and acknowledged on one
// thread, which is the work without the cache lines that cross; between two threads, as a stream
// and there and back; and what the post adds for its reader's sleep. Neither thread waits in the
// kernel here: wake_benchmark has that.
//
// Run on two idle cores: build/bench/micro/mailbox_benchmark

#include <benchmark/benchmark.h>

#include <atomic>
#include <memory>
#include <thread>

#include "bench/micro/allocations.h"
#include "engine/base/check.h"
#include "engine/shard/post.h"

namespace sluice::shard {
namespace {

void Pause() {
  __builtin_ia32_pause();
}

// `range(0)` pieces to a turn.
void PutAndTake(benchmark::State& state) {
  const auto box = std::make_unique<ShardMailbox>();
  int64_t put = 0;
  Mail mail;
  const Allocations allocations;
  for (auto _ : state) {
    CHECK(box->Put(mail));
    if (++put % state.range(0) != 0) continue;
    box->Publish();
    while (box->Take(mail)) benchmark::DoNotOptimize(mail);
    box->Acknowledge();
  }
  allocations.Tell(state);
}

// As fast as the other thread takes it, `range(0)` pieces to a turn of the writer.
void Stream(benchmark::State& state) {
  const auto box = std::make_unique<ShardMailbox>();
  std::atomic<bool> ended{false};
  std::thread reader([&] {
    Mail mail;
    while (!ended.load(std::memory_order_relaxed)) {
      while (box->Take(mail)) benchmark::DoNotOptimize(mail);
      box->Acknowledge();
      Pause();
    }
  });
  int64_t put = 0;
  const Allocations allocations;
  for (auto _ : state) {
    while (!box->Put({})) Pause();
    if (++put % state.range(0) == 0) box->Publish();
  }
  allocations.Tell(state);
  ended.store(true);
  reader.join();
}

void Await(ShardMailbox& box, Mail& mail) {
  while (!box.Take(mail)) Pause();
  box.Acknowledge();
}

// One piece at a time, both threads looking all the while.
void RoundTrip(benchmark::State& state) {
  const auto there = std::make_unique<ShardMailbox>();
  const auto back = std::make_unique<ShardMailbox>();
  std::thread other([&] {
    for (Mail mail; mail.kind != MailKind::kAbort;) {
      Await(*there, mail);
      CHECK(back->Put(mail));
      back->Publish();
    }
  });
  const auto exchange = [&](Mail mail) {
    CHECK(there->Put(mail));
    there->Publish();
    Await(*back, mail);
  };
  const Allocations allocations;
  for (auto _ : state) exchange({.kind = MailKind::kParcelOut});
  allocations.Tell(state);
  exchange({.kind = MailKind::kAbort});
  other.join();
}

// After a turn with mail for a shard that is awake.
void NotifyAwake(benchmark::State& state) {
  Post post(2);
  const Allocations allocations;
  for (auto _ : state) post.Notify(1);
  allocations.Tell(state);
}

// The look at `range(0)` mailboxes, and the control thread's, before a sleep.
void BeginAndEndSleep(benchmark::State& state) {
  Post post(static_cast<uint32_t>(state.range(0)));
  const Allocations allocations;
  for (auto _ : state) {
    CHECK(post.BeginSleep(0));
    post.EndSleep(0);
  }
  allocations.Tell(state);
}

BENCHMARK(PutAndTake)->Arg(1)->Arg(32);
BENCHMARK(Stream)->Arg(1)->Arg(32)->UseRealTime();
BENCHMARK(RoundTrip)->UseRealTime();
BENCHMARK(NotifyAwake);
BENCHMARK(BeginAndEndSleep)->Arg(2)->Arg(16);

}  // namespace
}  // namespace sluice::shard

BENCHMARK_MAIN();
