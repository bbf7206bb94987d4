// What taking a message in costs the server's session: the scanner over a body of 10 KB, in pieces
// as receives bring them; and the whole dialogue of one message, pipelined.

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "bench/micro/allocations.h"
#include "benchmark/benchmark.h"
#include "engine/base/check.h"
#include "engine/smtp/body_scanner.h"
#include "engine/smtp/server_session.h"

namespace sluice::smtp {
namespace {

// Lines of 78 bytes behind a small header, and the end.
std::string Data(size_t bytes) {
  std::string data = "Received: from a by b; now\r\nSubject: x\r\nFrom: a@x\r\n\r\n";
  const std::string line = absl::StrCat(std::string(76, 'x'), "\r\n");
  while (data.size() + line.size() < bytes) data += line;
  return data + ".\r\n";
}

void BM_Scan(benchmark::State& state) {
  const std::string data = Data(10240);
  const auto piece_bytes = static_cast<size_t>(state.range(0));
  const Allocations allocations;
  for (auto _ : state) {
    BodyScanner scanner;
    bool ended = false;
    for (absl::string_view rest = data; !rest.empty();) {
      absl::string_view piece = rest.substr(0, piece_bytes);
      rest.remove_prefix(piece.size());
      while (!piece.empty()) ended = scanner.Take(piece).ended;
    }
    CHECK(ended);
    benchmark::DoNotOptimize(scanner);
  }
  allocations.Tell(state);
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * data.size()));
}
BENCHMARK(BM_Scan)->Arg(1 << 20)->Arg(4096);

void BM_Message(benchmark::State& state) {
  const std::string envelope =
      "MAIL FROM:<news@sender.example> SIZE=10240\r\nRCPT TO:<r0@dest-0001.example>\r\nDATA\r\n";
  const std::string data = Data(10240);
  ServerSession session;
  session.Begin({.hostname = "mx.example"});
  absl::string_view hello = "EHLO client.example\r\n";
  CHECK(session.Next(hello) == ServerEvent::kNeedInput);
  const Allocations allocations;
  for (auto _ : state) {
    absl::string_view input = envelope;
    CHECK(session.Next(input) == ServerEvent::kData);
    session.Accept();
    input = data;
    CHECK(session.Next(input) == ServerEvent::kBody);
    CHECK(session.Next(input) == ServerEvent::kMessage);
    session.AcceptMessage("05ZKQ3J8V0A04");
    session.ClearOutput();
  }
  allocations.Tell(state);
}
BENCHMARK(BM_Message);

}  // namespace
}  // namespace sluice::smtp

BENCHMARK_MAIN();
