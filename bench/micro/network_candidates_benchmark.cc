// What io_uring could give the exchanges of a message at best, each candidate beside the plain way
// that the engine goes. bench/micro/README.md keeps the figures and what was decided from them.
//
//   plain           send, and a multishot receive into provided buffers
//   gathered        sendmsg of parts of 16 KiB
//   direct          sockets in the ring's own table
//   zero_copy…      the body left where it is. Loopback copies it all the same, when it reaches the
//                   receiver (`copied`: the share of sends of which the kernel said so), so that
//                   only the cost of asking shows here; a network card may tell otherwise.
//   bundles         one completion for all the buffers that a receive fills
//   one_exchange    commands and body in one send and all replies in one receive, which is what
//                   BDAT with PIPELINING would spare
//
// Both sides of the connections are on one ring and one thread, so that their sum is measured:
// 100 bytes of commands, 100 of replies, the body, 20 of reply. `message` is processor time a
// message, of the process, kernel included; `enters` is system calls a message. How a ring waits is
// told with the peers of 20 connections on a thread of their own, since on one thread nothing is
// ever waited for; the peers, which wait for one, are in the time and not in the enters.
//
// Run on two idle cores: build/bench/micro/network_candidates_benchmark --benchmark_repetitions=5

#include <benchmark/benchmark.h>

#include <array>
#include <string>
#include <thread>
#include <vector>

#include "bench/micro/dialogue.h"

namespace sluice {
namespace {

constexpr size_t kCommandsBytes = 100;
constexpr size_t kRepliesBytes = 100;
constexpr size_t kLastReplyBytes = 20;

enum class Exchanges { kOne, kTwo };

Script ClientScript(Exchanges exchanges, size_t body_bytes) {
  if (exchanges == Exchanges::kOne) {
    return {.opening_bytes = kCommandsBytes + body_bytes,
            .steps = {{.receive_bytes = kRepliesBytes + kLastReplyBytes, .send_bytes = 0}}};
  }
  return {.opening_bytes = kCommandsBytes,
          .steps = {{.receive_bytes = kRepliesBytes, .send_bytes = body_bytes},
                    {.receive_bytes = kLastReplyBytes, .send_bytes = 0}}};
}

Script ServerScript(Exchanges exchanges, size_t body_bytes) {
  if (exchanges == Exchanges::kOne) {
    return {.opening_bytes = 0,
            .steps = {{.receive_bytes = kCommandsBytes + body_bytes,
                       .send_bytes = kRepliesBytes + kLastReplyBytes}}};
  }
  return {.opening_bytes = 0,
          .steps = {{.receive_bytes = kCommandsBytes, .send_bytes = kRepliesBytes},
                    {.receive_bytes = body_bytes, .send_bytes = kLastReplyBytes}}};
}

double PerMessage(uint64_t count, int64_t messages) {
  return static_cast<double>(count) / static_cast<double>(messages);
}

void ReportMessages(benchmark::State& state, const Dialogue& dialogue, int64_t each_iteration) {
  using benchmark::Counter;
  const int64_t messages = state.iterations() * each_iteration;
  state.counters["message"] =
      Counter(static_cast<double>(messages), Counter::kIsRate | Counter::kInvert);
  state.counters["enters"] = PerMessage(dialogue.enters(), messages);
  state.counters["copied"] = PerMessage(dialogue.sends_copied(), messages);
}

// An iteration is a message of each connection.
void Message(benchmark::State& state, Exchanges exchanges, Choices choices) {
  const auto body_bytes = static_cast<size_t>(state.range(0));
  const int64_t connections = state.range(1);
  Dialogue dialogue(choices);
  for (int64_t i = 0; i < connections; ++i) {
    const std::array<int, 2> pair = LoopbackPair();
    dialogue.Add(pair[0], ClientScript(exchanges, body_bytes));
    dialogue.Add(pair[1], ServerScript(exchanges, body_bytes));
  }
  dialogue.Begin();
  for (auto _ : state) {
    if (!dialogue.refusal().empty()) break;
    dialogue.Talk(1);
  }
  if (!dialogue.refusal().empty()) return state.SkipWithError(dialogue.refusal().c_str());
  ReportMessages(state, dialogue, connections);
}

// Answers on a thread and a ring of its own, until the clients' sides are shut.
class Peers {
 public:
  Peers(const std::vector<int>& descriptors, const Script& script)
      : thread_([this, descriptors, script] {
          Dialogue dialogue({});
          for (const int each : descriptors) dialogue.Add(each, script);
          dialogue.Begin();
          dialogue.AnswerUntilClosed();
          refusal_ = dialogue.refusal();
        }) {}
  // The other sides must be shut, or gone.
  ~Peers() {
    thread_.join();
    CHECK(refusal_.empty());
  }

 private:
  std::string refusal_;
  std::thread thread_;
};

void Wait(benchmark::State& state, Waiting waiting) {
  constexpr int kConnections = 20;
  constexpr int kMessagesEach = 50;
  constexpr size_t kBodyBytes = 10'000;
  Dialogue clients({.waiting = waiting});
  if (!clients.refusal().empty()) return state.SkipWithError(clients.refusal().c_str());
  std::vector<int> accepted;
  for (int i = 0; i < kConnections; ++i) {
    const std::array<int, 2> pair = LoopbackPair();
    clients.Add(pair[0], ClientScript(Exchanges::kTwo, kBodyBytes));
    accepted.push_back(pair[1]);
  }
  const Peers peers(accepted, ServerScript(Exchanges::kTwo, kBodyBytes));
  clients.Begin();
  for (auto _ : state) {
    if (!clients.refusal().empty()) break;
    clients.Talk(kMessagesEach);
  }
  clients.ShutdownSends();
  if (!clients.refusal().empty()) return state.SkipWithError(clients.refusal().c_str());
  ReportMessages(state, clients, kConnections * kMessagesEach);
}

void Sizes(benchmark::internal::Benchmark* each) {
  each->ArgNames({"body", "connections"});
  each->Args({10'000, 1})->Args({10'000, 20})->Args({100'000, 1})->Args({100'000, 20});
  each->Args({1'000'000, 1});
  each->MeasureProcessCPUTime()->Unit(benchmark::kMicrosecond);
}

#define MESSAGE(name, ...) \
  BENCHMARK_CAPTURE(Message, name, Exchanges::kTwo, Choices{__VA_ARGS__})->Apply(Sizes)

MESSAGE(plain);
MESSAGE(direct, .direct_descriptors = true);
MESSAGE(bundles, .bundles = true);
MESSAGE(zero_copy, .send = SendWay::kZeroCopy);
MESSAGE(zero_copy_registered, .send = SendWay::kZeroCopyRegistered);
MESSAGE(gathered, .send = SendWay::kGathered);
MESSAGE(zero_copy_gathered, .send = SendWay::kZeroCopyGathered);
BENCHMARK_CAPTURE(Message, one_exchange, Exchanges::kOne, Choices{})->Apply(Sizes);

#define WAIT(name, waiting) \
  BENCHMARK_CAPTURE(Wait, name, waiting)->MeasureProcessCPUTime()->Unit(benchmark::kMillisecond)

WAIT(for_one, Waiting::kForOne);
WAIT(for_eight, Waiting::kForEight);
WAIT(for_eight_or_one, Waiting::kForEightOrOne);
WAIT(never, Waiting::kNever);
WAIT(never_by_flag, Waiting::kNeverByFlag);

}  // namespace
}  // namespace sluice

BENCHMARK_MAIN();
