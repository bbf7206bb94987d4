// What a parcel of one recipient and 10 KB costs the delivering side, from its coming to its going
// home, over a connection that waits for it: its destination found, permitted, body asked for and
// lent, the transaction sent and its replies read. The host answers at once; its words and the
// kernel's part cost nothing here.
//
//   build/bench/micro/dispatcher_benchmark

#include <benchmark/benchmark.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "bench/micro/allocations.h"
#include "bench/micro/prompt_io.h"
#include "engine/base/check.h"
#include "engine/delivery/dispatcher.h"
#include "policy/controls_table.h"
#include "tests/engine/delivery/fake_resolver.h"

namespace sluice::delivery {
namespace {

constexpr Now kNow = {.instant = Instant(std::chrono::hours(1)), .wall = WallTime()};
constexpr absl::string_view kDomain = "destination.example";
constexpr size_t kWireBytes = 10 << 10;

class Delivering {
 public:
  explicit Delivering(policy::ControlsEntry controls) : table_({std::move(controls)}, 1) {
    resolver_.Says(kDomain, RouteTo({"192.0.2.1"}));
    message_.envelope.sender = "bounces+12345@news.example.org";
    message_.envelope.recipients = {
        {.address = "somebody@destination.example", .destination = std::string(kDomain)}};
    message_.message_bytes = kWireBytes - 3;
    message_.wire_bytes = kWireBytes;
    const std::string wire = std::string(kWireBytes - 5, 'x') + "\r\n.\r\n";
    CHECK(message_.body.Append(std::as_bytes(std::span(wire)), pool_));
    parcel_.message = &message_;
    parcel_.recipients = 1;
    parcel_.expires = kNow.instant + std::chrono::hours(72);
    parcel_.timer.owner = &parcel_;
  }
  ~Delivering() { message_.body.Release(pool_); }

  // The parcel of one that opens the connection.
  void Begin() {
    Take();
    Hears("220 mx.destination.example ESMTP\r\n");
    Hears("250-mx.destination.example\r\n250-PIPELINING\r\n250 SIZE 52428800\r\n");
    Converse();
  }
  // Another one, on the same connection.
  void Deliver() {
    Take();
    Converse();
  }
  uint64_t heard_bytes() const { return io_.heard_bytes(); }

 private:
  void Take() {
    parcel_.body_state = BodyState::kNotAsked;
    parcel_.result = ParcelResult::kNothing;
    message_.outcomes.clear();
    message_.outcomes.resize(1);
    dispatcher_.Take(parcel_, kNow);
    Settle();
  }
  void Converse() {
    Hears("250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n");
    Hears("250 2.0.0 Ok: queued as 4Xb1zr5kxyz\r\n");
    CHECK(dispatcher_.TakeReturned() == &parcel_);
    CHECK(message_.outcomes[0].verdict == Verdict::kDelivered);
  }
  void Hears(absl::string_view text) {
    io_.Says(text);
    Settle();
  }
  // A shard's loop until it is the host's turn, or the parcel waits to be taken home.
  void Settle() {
    do {
      for (const io::Completion& each : completions_) dispatcher_.OnCompletion(each, kNow);
      resolver_.Poll(0, routes_);
      for (dns::RouteAnswer& answer : routes_) dispatcher_.OnRoute(std::move(answer), kNow);
      routes_.clear();
      dispatcher_.Turn(kNow);
      while (Parcel* parcel = dispatcher_.TakeBodyWanted()) {
        parcel->body_state = BodyState::kLent;
        dispatcher_.OnBody(*parcel, kNow);
        dispatcher_.Turn(kNow);
      }
    } while (io_.Take(completions_) || resolver_.HasAnswers());
  }

  PromptIo io_;
  FakeResolver resolver_;
  TimerWheel timers_{kNow.instant};
  Random random_{1};
  BlockPool pool_{16};
  policy::ControlsTable table_;
  Message message_;
  Parcel parcel_;
  std::vector<io::Completion> completions_;
  std::vector<dns::RouteAnswer> routes_;
  Dispatcher dispatcher_{
      {.hostname = "mta.example.net"}, io_,     resolver_,
      /*handshaker=*/nullptr,          timers_, random_,   {.controls = &table_}};
};

void DeliverOne(benchmark::State& state, const policy::ControlsEntry& controls) {
  Delivering delivering(controls);
  delivering.Begin();
  const uint64_t before = delivering.heard_bytes();
  const Allocations allocations;
  for (auto _ : state) delivering.Deliver();
  allocations.Tell(state);
  CHECK(delivering.heard_bytes() - before > kWireBytes * static_cast<uint64_t>(state.iterations()));
}

void ParcelOverAnIdleConnection(benchmark::State& state) {
  DeliverOne(state, {.messages_per_connection_max = UINT32_MAX});
}

void ParcelOfALimitedDestination(benchmark::State& state) {
  DeliverOne(state, {.messages_per_connection_max = UINT32_MAX,
                     .recipients_max = 1'000'000'000,
                     .recipient_minutes = 60});
}

BENCHMARK(ParcelOverAnIdleConnection);
BENCHMARK(ParcelOfALimitedDestination);

}  // namespace
}  // namespace sluice::delivery

BENCHMARK_MAIN();
