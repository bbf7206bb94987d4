// Where a destination's mail goes, as far as it is our own work: the look-up in the operator's
// routes table, which comes before any query, and the order of a route's addresses, which is made
// for each connection. (A route that is known stands with its destination, and costs a message
// nothing; the DNS cache is libunbound's.)
//
//   build/bench/micro/routes_benchmark

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/micro/allocations.h"
#include "engine/base/check.h"
#include "engine/base/random.h"
#include "engine/dns/route.h"
#include "engine/dns/routes_table.h"

namespace sluice::dns {
namespace {

std::string Domain(uint64_t i) {
  return absl::StrCat("customer-", i, ".example.com");
}

RoutesTable TableOf(int64_t routes, absl::string_view last_line) {
  std::string text;
  for (int64_t i = 1; i < routes; ++i) absl::StrAppend(&text, Domain(i), " 192.0.2.1\n");
  std::vector<RoutesError> errors;
  RoutesTable table = RoutesTable::Parse(absl::StrCat(text, last_line, "\n"), 25, errors);
  CHECK(errors.empty());
  return table;
}

// In random order, of domains with this in front.
void LookUp(benchmark::State& state, absl::string_view prefix, absl::string_view last_line) {
  const RoutesTable table = TableOf(state.range(0), last_line);
  std::vector<std::string> names;
  Random random(1);
  for (int64_t i = 0; i < state.range(0); ++i) {
    names.push_back(absl::StrCat(prefix, Domain(1 + random.Below(state.range(0) - 1))));
  }
  size_t next = 0;
  const Allocations allocations;
  for (auto _ : state) {
    benchmark::DoNotOptimize(table.Lookup(names[next]));
    if (++next == names.size()) next = 0;
  }
  allocations.Tell(state);
}

// `range(0)` hosts of equal preference, two addresses each.
void OrderOneAttempt(benchmark::State& state) {
  Route route = {.result = RouteResult::kFound};
  for (int64_t i = 0; i < state.range(0); ++i) {
    route.hosts.push_back(
        {.name = absl::StrCat("mx", i, ".destination.example"),
         .preference = 10,
         .addresses = {*IpAddress::Parse("192.0.2.1"), *IpAddress::Parse("2001:db8::1")}});
  }
  Random random(1);
  const Allocations allocations;
  for (auto _ : state) benchmark::DoNotOptimize(OrderRoute(route, {}, random));
  allocations.Tell(state);
}

BENCHMARK_CAPTURE(LookUp, exact, "", "ALL 192.0.2.2")->Arg(1000)->Arg(40'000);
BENCHMARK_CAPTURE(LookUp, partial, "mail.", ".example.com 192.0.2.2")->Arg(1000)->Arg(40'000);
BENCHMARK_CAPTURE(LookUp, missing, "mail.", "other.example 192.0.2.2")->Arg(1000)->Arg(40'000);
BENCHMARK(OrderOneAttempt)->Arg(1)->Arg(4);

}  // namespace
}  // namespace sluice::dns

BENCHMARK_MAIN();
