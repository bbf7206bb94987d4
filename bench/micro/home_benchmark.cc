// What a message of 10 KB costs its home from its first byte until it is forgotten: begun,
// appended, committed, written and promised; handed out, its body lent, delivered, recorded. The
// disk costs nothing here. In groups of as many messages as one sync carries.
//
//   build/bench/micro/home_benchmark

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "bench/micro/allocations.h"
#include "bench/micro/home_alone.h"
#include "engine/base/check.h"

namespace sluice::delivery {
namespace {

constexpr size_t kWireBytes = 10 << 10;

// As intake reads it out of a session, whose strings are used again.
void Fill(smtp::Envelope& envelope) {
  envelope.sender = "bounces+12345@news.example.org";
  envelope.recipients.resize(1);
  envelope.recipients[0].address = "somebody@destination.example";
  envelope.recipients[0].destination = "destination.example";
}

// A shard's loop, as far as it is the home's; until it has nothing more to do.
void Settle(HomeAlone& alone, std::vector<io::Completion>& completions,
            std::vector<Promise>& promises) {
  do {
    for (const io::Completion& each : completions) alone.home.OnCompletion(each, kNow);
    alone.home.Turn(kNow);
    alone.home.TakePromises(promises);
    for (const Promise& promise : promises) CHECK(promise.kept);
    promises.clear();
    while (Parcel* parcel = alone.home.TakeOutgoing()) alone.Deliver(*parcel);
    alone.home.WriteBatch();
  } while (alone.io.Take(completions) || alone.home.busy());
}

void WholeLife(benchmark::State& state) {
  const std::string wire = std::string(kWireBytes - 5, 'x') + "\r\n.\r\n";
  HomeAlone alone;
  smtp::Envelope envelope;
  std::vector<io::Completion> completions;
  std::vector<Promise> promises;
  int64_t begun = 0;
  const Allocations allocations;
  for (auto _ : state) {
    Incoming* incoming = alone.home.Begin(Origin::kInjected, kNow);
    CHECK(incoming != nullptr);
    alone.home.Append(*incoming, wire, kNow);
    Fill(envelope);
    alone.home.Commit(*incoming, envelope,
                      {.message_bytes = kWireBytes - 3, .client_name = "client.example"},
                      {.slot = 1, .generation = 1}, kNow);
    if (++begun % state.range(0) == 0) Settle(alone, completions, promises);
  }
  allocations.Tell(state);
  Settle(alone, completions, promises);
  CHECK(alone.home.messages() == 0);
}

BENCHMARK(WholeLife)->Arg(1)->Arg(32);

}  // namespace
}  // namespace sluice::delivery

BENCHMARK_MAIN();
