// The question that is asked before every connection and transaction, at many destinations in
// random order: the look-up of the controls, and the permit with its begin and end. Beside it what
// the table costs to build, to change and to keep.
//
// A random order over a million destinations is a miss of the cache for every line of memory
// touched, which is what a shard sees; Touch is that cost alone, for comparison.

#include <benchmark/benchmark.h>

#include <chrono>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/micro/allocations.h"
#include "engine/base/check.h"
#include "engine/base/huge_pages.h"
#include "engine/base/random.h"
#include "engine/base/time.h"
#include "policy/controls_table.h"
#include "policy/destination_budget.h"

namespace sluice::policy {
namespace {

std::string Domain(uint32_t i) {
  return absl::StrCat("customer-", i, ".example.com");
}

// All destinations once, in random order.
std::vector<uint32_t> RandomOrder(uint32_t destinations) {
  std::vector<uint32_t> order(destinations);
  std::iota(order.begin(), order.end(), 0);
  Random random(1);
  for (uint32_t i = destinations; i > 1; --i) std::swap(order[i - 1], order[random.Below(i)]);
  return order;
}

// `settings`: how many different ones.
std::vector<ControlsEntry> EntriesOf(uint32_t destinations, uint32_t settings = 1000) {
  std::vector<ControlsEntry> entries;
  for (uint32_t i = 0; i < destinations; ++i) {
    entries.push_back({.domain = Domain(i), .connections_max = i % settings + 1});
  }
  return entries;
}

ControlsTable TableOf(uint32_t destinations, bool partials) {
  std::vector<ControlsEntry> entries = EntriesOf(destinations);
  if (partials) entries.push_back({.domain = ".example.com", .connections_max = 1});
  return ControlsTable(entries);
}

// Names are laid out in the order of asking, so that reading them is not what is measured.
std::vector<std::string> NamesInRandomOrder(uint32_t destinations, absl::string_view prefix) {
  std::vector<std::string> names;
  for (const uint32_t i : RandomOrder(destinations))
    names.push_back(absl::StrCat(prefix, Domain(i)));
  return names;
}

void LookUp(benchmark::State& state, const ControlsTable& table,
            const std::vector<std::string>& names) {
  size_t next = 0;
  const Allocations allocations;
  for (auto _ : state) {
    benchmark::DoNotOptimize(table.Lookup(names[next]).limits.connections_max);
    if (++next == names.size()) next = 0;
  }
  allocations.Tell(state);
  state.SetItemsProcessed(state.iterations());
}

void LookUpExact(benchmark::State& state) {
  const auto destinations = static_cast<uint32_t>(state.range(0));
  LookUp(state, TableOf(destinations, false), NamesInRandomOrder(destinations, ""));
}

// Not in the table itself: one exact miss, then two suffixes until the partial entry.
void LookUpPartial(benchmark::State& state) {
  const auto destinations = static_cast<uint32_t>(state.range(0));
  LookUp(state, TableOf(destinations, true), NamesInRandomOrder(destinations, "mail."));
}

// In no entry, with no partial ones: the default.
void LookUpMissing(benchmark::State& state) {
  const auto destinations = static_cast<uint32_t>(state.range(0));
  LookUp(state, TableOf(destinations, false), NamesInRandomOrder(destinations, "mail."));
}

// While some changes lie over the table: as many as may.
void LookUpBehindChanges(benchmark::State& state) {
  const auto destinations = static_cast<uint32_t>(state.range(0));
  ControlsChange change;
  for (uint32_t i = 0; i < destinations / 64; ++i) {
    change.put.push_back({.domain = Domain(i * 64), .connections_max = 7});
  }
  LookUp(state, ControlsTable(TableOf(destinations, false), change, 1),
         NamesInRandomOrder(destinations, ""));
}

void Build(benchmark::State& state, uint32_t settings) {
  const auto destinations = static_cast<uint32_t>(state.range(0));
  const std::vector<ControlsEntry> entries = EntriesOf(destinations, settings);
  double bytes = 0;
  for (auto _ : state) {
    const ControlsTable table(entries);
    bytes = static_cast<double>(table.memory_bytes()) / destinations;
  }
  state.counters["bytes_an_entry"] = bytes;
}

void BuildOfAThousandSettings(benchmark::State& state) {
  Build(state, 1000);
}

void BuildAllDifferent(benchmark::State& state) {
  Build(state, UINT32_MAX);
}

// One entry after another, each in a table of its own: what an operator's edit costs, with its
// share of building anew.
void ChangeOneEntry(benchmark::State& state) {
  const auto destinations = static_cast<uint32_t>(state.range(0));
  auto table = std::make_unique<ControlsTable>(EntriesOf(destinations));
  const std::vector<uint32_t> order = RandomOrder(destinations);
  size_t next = 0;
  for (auto _ : state) {
    const ControlsChange change = {.put = {{.domain = Domain(order[next]), .connections_max = 7}}};
    table = std::make_unique<ControlsTable>(*table, change, 1);
    if (++next == order.size()) next = 0;
  }
}

// One line of cache of each destination's memory, each naming the next, so that misses do not
// overlap.
void Touch(benchmark::State& state) {
  const auto destinations = static_cast<uint32_t>(state.range(0));
  struct alignas(64) Line {
    uint32_t next = 0;
  };
  std::vector<Line> lines(destinations);
  const std::vector<uint32_t> order = RandomOrder(destinations);
  for (uint32_t i = 0; i < destinations; ++i) {
    lines[order[i]].next = order[(i + 1) % destinations];
  }
  uint32_t at = 0;
  for (auto _ : state) {
    at = lines[at].next;
    benchmark::DoNotOptimize(at);
  }
  state.SetItemsProcessed(state.iterations());
}

// MayConnect, MayStart, TransactionStarted, TransactionEnded: the whole permit of a transaction.
// `foreseen`: how many permits ahead a budget's memory is asked for. The dispatcher asks for that
// of the next destination while it works on one, which takes as long as some tens of permits.
void PermitOneTransaction(benchmark::State& state, const Controls& controls, size_t foreseen) {
  const auto destinations = static_cast<uint32_t>(state.range(0));
  // In large pages, as the dispatcher's are (engine/base/slab.h).
  std::vector<DestinationBudget, HugePageAllocator<DestinationBudget>> budgets(destinations);
  const std::vector<uint32_t> order = RandomOrder(destinations);
  Instant now = Instant(std::chrono::hours(1));
  const ScopeKey whole;
  const auto permit = [&](DestinationBudget& budget) {
    CHECK(budget.MayConnect(controls, whole, now));
    const Permit start = budget.MayStart(controls, whole, 0, 1, now);
    budget.TransactionStarted(controls, whole, start.recipients, now);
    budget.TransactionEnded(controls, whole, start.recipients, start.recipients, now);
  };
  for (const uint32_t i : order) permit(budgets[i]);  // The windows are made at their first stamp.
  size_t next = 0;
  const Allocations allocations;
  for (auto _ : state) {
    now += std::chrono::microseconds(10);
    const size_t ahead = next + foreseen < order.size() ? next + foreseen : next;
    if (foreseen > 0) budgets[order[ahead]].Foresee();
    permit(budgets[order[next]]);
    if (++next == order.size()) next = 0;
  }
  allocations.Tell(state);
  state.SetItemsProcessed(state.iterations());
}

const Controls kLimited = {.limits = {.recipients_limited = true,
                                      .recipients_max = 1'000'000'000,
                                      .recipient_period = std::chrono::minutes(60)}};
constexpr size_t kForeseen = 16;

void PermitWithoutRecipientLimit(benchmark::State& state) {
  PermitOneTransaction(state, {}, kForeseen);
}

void PermitWithRecipientLimit(benchmark::State& state) {
  PermitOneTransaction(state, kLimited, kForeseen);
}

void PermitUnforeseen(benchmark::State& state) {
  PermitOneTransaction(state, {}, 0);
}

BENCHMARK(Touch)->Arg(1000)->Arg(100'000)->Arg(1'000'000);
BENCHMARK(LookUpExact)->Arg(1000)->Arg(100'000)->Arg(1'000'000);
BENCHMARK(LookUpPartial)->Arg(1000)->Arg(100'000)->Arg(1'000'000);
BENCHMARK(LookUpMissing)->Arg(1000)->Arg(100'000)->Arg(1'000'000);
BENCHMARK(LookUpBehindChanges)->Arg(1000)->Arg(100'000)->Arg(1'000'000);
BENCHMARK(BuildOfAThousandSettings)->Arg(1000)->Arg(100'000)->Arg(1'000'000);
BENCHMARK(BuildAllDifferent)->Arg(1000)->Arg(100'000)->Arg(1'000'000);
BENCHMARK(ChangeOneEntry)->Arg(1000)->Arg(100'000)->Arg(1'000'000);
BENCHMARK(PermitWithoutRecipientLimit)->Arg(1000)->Arg(100'000)->Arg(1'000'000);
BENCHMARK(PermitWithRecipientLimit)->Arg(1000)->Arg(100'000)->Arg(1'000'000);
BENCHMARK(PermitUnforeseen)->Arg(1000)->Arg(100'000)->Arg(1'000'000);

}  // namespace
}  // namespace sluice::policy

BENCHMARK_MAIN();
