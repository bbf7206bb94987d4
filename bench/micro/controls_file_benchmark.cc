// The table of destination controls as a file: reading and checking it, and writing it.

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "policy/controls_file.h"
#include "policy/controls_writer.h"

namespace sluice::policy {
namespace {

// Every entry gives what the appliance's dialogue asks for first: 120 bytes of text.
std::string FileOf(int64_t entries) {
  std::string text = "[DEFAULT]\nmax_host_concurrency = 500\n";
  for (int64_t i = 0; i < entries; ++i) {
    absl::StrAppend(&text, "\n[customer-", i,
                    ".example.com]\nmax_host_concurrency = ", i % 1000 + 1,
                    "\nlimit_type = host\nlimit_apply = system\n", "table_tls = required\n");
  }
  return text;
}

void Read(benchmark::State& state) {
  const std::string text = FileOf(state.range(0));
  for (auto _ : state) {
    const ParsedControls parsed = ParseControlsFile(text);
    CHECK(parsed.errors.empty());
    CHECK(parsed.entries.size() == static_cast<size_t>(state.range(0)) + 1);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(text.size()));
}

void Write(benchmark::State& state) {
  const ParsedControls parsed = ParseControlsFile(FileOf(state.range(0)));
  size_t bytes = 0;
  for (auto _ : state) bytes = WriteControlsFile(parsed.entries).size();
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes));
}

BENCHMARK(Read)->Arg(1000)->Arg(1'000'000)->Unit(benchmark::kMillisecond);
BENCHMARK(Write)->Arg(1000)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace sluice::policy

BENCHMARK_MAIN();
