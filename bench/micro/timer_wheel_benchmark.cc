// The timers of a shard with many deadlines standing, as queued messages have them, beside a sorted
// map, the plain alternative: arming anew (each event of a session does that), and firing.

#include <benchmark/benchmark.h>

#include <chrono>
#include <map>
#include <vector>

#include "bench/micro/allocations.h"
#include "engine/base/random.h"
#include "engine/base/time.h"
#include "engine/base/timer_wheel.h"

namespace sluice {
namespace {

constexpr Instant kStart = Instant(std::chrono::hours(1));

// Retries and timeouts: within an hour, in milliseconds' steps.
std::vector<Instant> RandomDeadlines(size_t deadlines) {
  Random random(1);
  std::vector<Instant> all;
  for (size_t i = 0; i < deadlines; ++i) {
    all.push_back(kStart + std::chrono::milliseconds(random.Between(1, 3'600'000)));
  }
  return all;
}

void WheelArmsAnew(benchmark::State& state) {
  const std::vector<Instant> deadlines = RandomDeadlines(state.range(0));
  std::vector<Timer> timers(deadlines.size());
  TimerWheel wheel(kStart);
  for (size_t i = 0; i < timers.size(); ++i) wheel.Arm(timers[i], deadlines[i]);
  size_t next = 0;
  const Allocations allocations;
  for (auto _ : state) {
    wheel.Arm(timers[next], deadlines[timers.size() - 1 - next]);
    if (++next == timers.size()) next = 0;
  }
  allocations.Tell(state);
  state.SetItemsProcessed(state.iterations());
}

void MapArmsAnew(benchmark::State& state) {
  const std::vector<Instant> deadlines = RandomDeadlines(state.range(0));
  std::multimap<Instant, size_t> armed;
  std::vector<std::multimap<Instant, size_t>::iterator> places;
  for (size_t i = 0; i < deadlines.size(); ++i) places.push_back(armed.emplace(deadlines[i], i));
  size_t next = 0;
  const Allocations allocations;
  for (auto _ : state) {
    armed.erase(places[next]);
    places[next] = armed.emplace(deadlines[deadlines.size() - 1 - next], next);
    if (++next == deadlines.size()) next = 0;
  }
  allocations.Tell(state);
  state.SetItemsProcessed(state.iterations());
}

// From deadline to deadline, each timer armed an hour later when it fires.
void WheelFires(benchmark::State& state) {
  const std::vector<Instant> deadlines = RandomDeadlines(state.range(0));
  std::vector<Timer> timers(deadlines.size());
  TimerWheel wheel(kStart);
  for (size_t i = 0; i < timers.size(); ++i) wheel.Arm(timers[i], deadlines[i]);
  Instant now = kStart;
  const Allocations allocations;
  for (auto _ : state) {
    Timer* timer = wheel.PopDue(now);
    while (timer == nullptr) {
      now = wheel.NextDue();
      timer = wheel.PopDue(now);
    }
    wheel.Arm(*timer, now + std::chrono::hours(1));
  }
  allocations.Tell(state);
  state.SetItemsProcessed(state.iterations());
}

BENCHMARK(WheelArmsAnew)->Arg(1000)->Arg(100'000)->Arg(1'000'000);
BENCHMARK(MapArmsAnew)->Arg(1000)->Arg(100'000)->Arg(1'000'000);
BENCHMARK(WheelFires)->Arg(1000)->Arg(100'000)->Arg(1'000'000);

}  // namespace
}  // namespace sluice

BENCHMARK_MAIN();
