// What a message of 10 KB costs the listening side, from the bytes of a client to the 250: an
// intake with one session, pipelined, over a home whose disk costs nothing. The home's own work is
// in it, and the end of the message there: home_benchmark says how much that is.
//
//   build/bench/micro/intake_benchmark

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "bench/micro/allocations.h"
#include "bench/micro/home_alone.h"
#include "engine/base/check.h"
#include "engine/delivery/tags.h"
#include "engine/intake/intake.h"

namespace sluice::intake {
namespace {

using delivery::kNow;

constexpr absl::string_view kEnvelope =
    "MAIL FROM:<bounces+12345@news.example.org> SIZE=10240\r\n"
    "RCPT TO:<somebody@destination.example>\r\nDATA\r\n";

// Lines of 78 bytes behind a small header, and the end.
std::string Data(size_t bytes) {
  std::string data = "Subject: x\r\nFrom: a@x\r\n\r\n";
  const std::string line = absl::StrCat(std::string(76, 'x'), "\r\n");
  while (data.size() + line.size() < bytes) data += line;
  return data + ".\r\n";
}

class Listening {
 public:
  // A client has connected, and said EHLO.
  Listening() {
    intake_.Start(kNow);
    alone_.io.Dials();
    Settle();
    Says("EHLO client.example\r\n");
  }

  void Says(absl::string_view text) {
    alone_.io.Says(text);
    Settle();
  }
  uint64_t kept() const { return kept_; }
  uint64_t heard_bytes() const { return alone_.io.heard_bytes(); }

 private:
  // A shard's loop until nothing more happens.
  void Settle() {
    while (alone_.io.Take(completions_) || alone_.home.busy()) {
      for (const io::Completion& each : completions_) Dispatch(each);
      alone_.home.Turn(kNow);
      intake_.Turn();
      KeepPromises();
      while (delivery::Parcel* parcel = alone_.home.TakeOutgoing()) alone_.Deliver(*parcel);
      alone_.home.WriteBatch();
    }
  }
  void Dispatch(const io::Completion& completion) {
    if (delivery::Tag{static_cast<uint8_t>(completion.op.tag)} == delivery::Tag::kLogStep) {
      alone_.home.OnCompletion(completion, kNow);
    } else {
      intake_.OnCompletion(completion, kNow);
    }
  }
  void KeepPromises() {
    alone_.home.TakePromises(promises_);
    for (const delivery::Promise& promise : promises_) kept_ += promise.kept ? 1 : 0;
    intake_.OnPromises(promises_, kNow);
    promises_.clear();
  }

  delivery::HomeAlone alone_;
  Intake intake_{{.hostname = "mta.example.net",
                  .listeners = {{.socket = PromptIo::kListener,
                                 .relay_from = {*Network::Parse("192.0.2.0/24")}}}},
                 alone_.io,
                 alone_.home,
                 alone_.timers,
                 /*handshaker=*/nullptr};
  std::vector<io::Completion> completions_;
  std::vector<delivery::Promise> promises_;
  uint64_t kept_ = 0;
};

// The data comes in as many receives as pieces of `range(0)` bytes make of it.
void Message(benchmark::State& state) {
  const std::string data = Data(10 << 10);
  const auto piece_bytes = static_cast<size_t>(state.range(0));
  Listening listening;
  const Allocations allocations;
  for (auto _ : state) {
    listening.Says(kEnvelope);
    for (absl::string_view rest = data; !rest.empty();) {
      const absl::string_view piece = rest.substr(0, piece_bytes);
      rest.remove_prefix(piece.size());
      listening.Says(piece);
    }
  }
  allocations.Tell(state);
  CHECK(listening.kept() == static_cast<uint64_t>(state.iterations()));
}

BENCHMARK(Message)->Arg(16 << 10)->Arg(4 << 10);

}  // namespace
}  // namespace sluice::intake

BENCHMARK_MAIN();
