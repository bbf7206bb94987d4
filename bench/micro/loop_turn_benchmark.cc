// How long a turn of a shard's loop takes while 1,000 handshakes with other hosts are in progress.
//
// The loop is the real UringIo with 16 connections over loopback, both ends on it, on each of which
// a line of 64 bytes goes to and fro without end: that is the shard's other work, and it never
// sleeps. A turn is from one return of Wait to the next, by the wall clock: it is how long a
// connection may wait for its shard. All 1,000 hosts are dialled at once, and all answer at once:
//
//   none           no handshakes: the loop by itself, 2,000 turns
//   pool           the first turn submits all flights to a HandshakePool of one thread, and each
//                  turn polls, until the last is back
//   inline_all     the same flights are worked in the turn that they come in
//   inline_one     likewise, but never more than one a turn
//
// A host's flights are TLS 1.3's two of a client: the ClientHello; then the answer up to the
// Finished, with the verdict on a chain of two certificates. Each host has an ECDSA key of its own,
// so no cached verdict serves. The hosts' answers are made between the two, out of all measuring:
// no peer works while turns are timed.
//
// On two cores the pool's thread, the loop and whatever else runs share the machine, and a turn
// that the kernel interrupts is as long as it was interrupted for: that belongs to what a
// connection sees. Nobody is pinned to a core. Counters: p50_us, p99_us and max_us of the turns,
// how many there were, and `handshakes` a second of wall time. Time is that of all measured turns.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/micro/mail_hosts.h"
#include "engine/base/check.h"
#include "engine/io/clock.h"
#include "engine/io/uring_io.h"
#include "tls/handshake_pool.h"
#include "tls/stream.h"
#include "tls/verify.h"

namespace sluice::tls {
namespace {

constexpr size_t kHandshakes = 1000;
constexpr size_t kConnections = 16;
constexpr size_t kTurnsAlone = 2000;

using Jobs = std::vector<std::unique_ptr<HandshakeJob>>;

// --- The shard's other work.

class EchoLoop {
 public:
  EchoLoop() : io_(MakeIo()) {
    const SocketAddress any{.ip = *IpAddress::Parse("127.0.0.1"), .port = 0};
    listener_ = io_->Listen(any, {});
    io_->Accept(Op(kAccept, 0), listener_);
    for (size_t i = 0; i < kConnections; ++i) Open();
    for (uint32_t end = 0; end < ends_.size(); ++end) {
      io_->Receive(Op(kReceive, end), ends_[end]);
      if (end % 2 == 0) Send(end);
    }
  }

  io::Waker& waker() { return io_->waker(); }

  // What has arrived goes back.
  void Turn() {
    io_->Wait(kNever, completions_);
    for (const io::Completion& each : completions_) {
      CHECK(each.result > 0);
      if (each.op.tag == kReceive) Send(each.op.slot);
    }
  }

 private:
  enum Tag : uint8_t { kAccept, kConnect, kReceive, kSend };

  static std::unique_ptr<io::UringIo> MakeIo() {
    auto io = io::UringIo::Create({});
    CHECK(io.ok());
    return *std::move(io);
  }

  static io::OpId Op(Tag tag, uint32_t end) {
    return io::MakeOpId(tag, {.slot = end, .generation = 1});
  }

  void Open() {
    const io::Socket ours = io_->OpenStream(Family::kIpv4, {});
    ends_.push_back(ours);
    io_->Connect(Op(kConnect, 0), ours, io_->LocalAddress(listener_));
    for (size_t completed = 0; completed < 2; completed += completions_.size()) {
      io_->Wait(kNever, completions_);
      for (const io::Completion& each : completions_) {
        CHECK(each.result >= 0);
        if (each.op.tag == kAccept) ends_.push_back(io::Socket{each.result});
      }
    }
  }

  // A line is sent when the last one has come back from the other end, so it has been taken.
  void Send(uint32_t end) {
    const io::Bytes line(line_);
    io_->Send(Op(kSend, end), ends_[end], {&line, 1});
  }

  const std::vector<std::byte> line_ = std::vector<std::byte>(64);
  std::unique_ptr<io::UringIo> io_;
  io::Socket listener_;
  std::vector<io::Socket> ends_;  // Two for each connection.
  std::vector<io::Completion> completions_;
};

// --- The handshakes.

// 1,000 jobs from the first flight to the verdict.
class Dialling {
 public:
  explicit Dialling(const MailHosts& hosts) : hosts_(hosts), context_(ClientContext()) {}

  // Nothing has been done yet.
  Jobs Begin() const {
    Jobs jobs;
    for (size_t i = 0; i < kHandshakes; ++i) {
      const std::string& name = hosts_[i].name;
      auto job = std::make_unique<HandshakeJob>();
      job->connection = {.slot = static_cast<uint32_t>(i), .generation = 1};
      job->plan = std::make_shared<const ClientPlan>(ClientPlan{.context = context_,
                                                                .server_name = name,
                                                                .references = {.domain = name},
                                                                .trust = hosts_.trust(),
                                                                .session_key = name});
      jobs.push_back(std::move(job));
    }
    return jobs;
  }

  // Every host's answer to the ClientHello.
  void Answer(Jobs& jobs) const {
    for (std::unique_ptr<HandshakeJob>& job : jobs) {
      CHECK(job->step == Step::kNeedsInput);
      std::string hello;
      job->stream->TakeOutput(hello);
      const std::unique_ptr<Stream> host = Stream::Server(hosts_[job->connection.slot].server);
      host->Feed(hello);
      CHECK(host->Handshake() == Step::kNeedsInput);
      host->TakeOutput(job->input);
    }
  }

  static void CheckVerified(const Jobs& jobs) {
    CHECK(jobs.size() == kHandshakes);
    for (const std::unique_ptr<HandshakeJob>& job : jobs) {
      CHECK(job->step == Step::kEstablished);
      CHECK(job->verdict.MeetsVerify());
    }
  }

 private:
  const MailHosts& hosts_;
  const std::shared_ptr<const Context> context_;
};

// One flight, as the pool works it.
void WorkInline(HandshakeJob& job) {
  const ClientPlan& plan = *job.plan;
  if (job.stream == nullptr) {
    job.stream = Stream::Client(plan.context, plan.server_name, nullptr);
  }
  job.stream->Feed(job.input);
  job.input.clear();
  job.step = job.stream->Handshake();
  if (job.step != Step::kEstablished) return;
  job.verdict = Judge(job.stream->facts().chain, plan.references, *plan.trust, kNow, plan.judging);
}

// --- Measuring.

class Turns {
 public:
  void Begin() {
    began_ = io::ReadClock().instant;
    thread_began_ = io::ReadThreadTime();
  }
  void End() {
    const Instant now = io::ReadClock().instant;
    const Duration thread_now = io::ReadThreadTime();
    turns_.push_back(now - began_);
    processor_.push_back(thread_now - thread_began_);
    sum_ += turns_.back();
    began_ = now;
    thread_began_ = thread_now;
  }
  Duration sum() const { return sum_; }

  void Report(benchmark::State& state) {
    state.counters["p50_us"] = At(turns_, 0.50);
    state.counters["p99_us"] = At(turns_, 0.99);
    state.counters["max_us"] = At(turns_, 1);
    state.counters["p99_processor_us"] = At(processor_, 0.99);
    state.counters["turns"] = static_cast<double>(turns_.size());
  }

 private:
  // The least that this share of them doesn't exceed, in microseconds.
  static double At(std::vector<Duration>& durations, double share) {
    std::sort(durations.begin(), durations.end());
    const double rank = std::ceil(share * static_cast<double>(durations.size()));
    return 1e6 * Seconds(durations.at(static_cast<size_t>(rank) - 1));
  }

  Instant began_;
  Duration thread_began_{};
  Duration sum_{};
  std::vector<Duration> turns_;
  std::vector<Duration> processor_;
};

void None(benchmark::State& state) {
  EchoLoop loop;
  Turns turns;
  for (auto _ : state) {
    const Duration before = turns.sum();
    turns.Begin();
    for (size_t i = 0; i < kTurnsAlone; ++i) {
      loop.Turn();
      turns.End();
    }
    state.SetIterationTime(Seconds(turns.sum() - before));
  }
  turns.Report(state);
}

// `turns_of` runs turns until one flight of every job has been worked.
template <typename TurnsOfAFlight>
void Handshakes(benchmark::State& state, EchoLoop& loop, TurnsOfAFlight turns_of) {
  static const MailHosts hosts("p256", kHandshakes);
  const Dialling dialling(hosts);
  Turns turns;
  for (auto _ : state) {
    const Duration before = turns.sum();
    Jobs jobs = dialling.Begin();
    for (const bool first : {true, false}) {
      if (!first) dialling.Answer(jobs);
      loop.Turn();  // What waited meanwhile.
      turns.Begin();
      turns_of(jobs, turns);
    }
    Dialling::CheckVerified(jobs);
    state.SetIterationTime(Seconds(turns.sum() - before));
  }
  turns.Report(state);
  const auto handshakes = static_cast<double>(state.iterations() * kHandshakes);
  state.counters["handshakes"] = handshakes / Seconds(turns.sum());
}

void Pool(benchmark::State& state) {
  EchoLoop loop;
  HandshakePool pool({.threads = 1,
                      .now = [] { return io::ReadClock().instant; },
                      .wall = [] { return kNow; },
                      .thread_time = io::ReadThreadTime,
                      .wakers = {[&loop] { loop.waker().Wake(); }}});
  Handshakes(state, loop, [&](Jobs& jobs, Turns& turns) {
    for (std::unique_ptr<HandshakeJob>& job : jobs) CHECK(pool.Submit(std::move(job)));
    jobs.clear();
    while (jobs.size() < kHandshakes) {
      loop.Turn();
      pool.Poll(0, jobs);
      turns.End();
    }
  });
}

void Inline(benchmark::State& state, size_t flights_a_turn) {
  EchoLoop loop;
  Handshakes(state, loop, [&](Jobs& jobs, Turns& turns) {
    for (size_t next = 0; next < kHandshakes;) {
      const size_t end = std::min(next + flights_a_turn, kHandshakes);
      for (; next < end; ++next) WorkInline(*jobs[next]);
      loop.Turn();
      turns.End();
    }
  });
}

void Add(benchmark::internal::Benchmark* benchmark) {
  benchmark->UseManualTime()->Unit(benchmark::kMillisecond);
}

BENCHMARK(None)->Name("loop_turn/none")->Apply(Add);
BENCHMARK(Pool)->Name("loop_turn/pool")->Apply(Add);
BENCHMARK_CAPTURE(Inline, all, kHandshakes)->Name("loop_turn/inline_all")->Apply(Add);
BENCHMARK_CAPTURE(Inline, one, size_t{1})->Name("loop_turn/inline_one")->Apply(Add);

}  // namespace
}  // namespace sluice::tls

BENCHMARK_MAIN();
