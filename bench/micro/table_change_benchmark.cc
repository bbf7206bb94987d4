// A change of the table of destination controls while an engine of two shards runs: reading the
// table, putting a checked change to all shards, and an operator's whole command, which also writes
// the file thrice (staged, history, in use) and syncs each. By the wall clock.

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/config.h"
#include "engine/control.h"
#include "engine/engine.h"
#include "engine/io/clock.h"
#include "engine/tables.h"

namespace sluice {
namespace {

constexpr char kConfig[] = R"(
hostname = "mta.example"
[engine]
shards = 2
[[listener]]
address = "127.0.0.1:0"
[spool]
path = "spool"
[log]
delivery = "delivery.jsonl"
[destinations]
table = "destinations.ini"
)";

std::string Domain(int64_t i) {
  return absl::StrCat("customer-", i, ".example.com");
}

// A folder with a configuration and a table of so many entries; gone with this.
class Site {
 public:
  explicit Site(int64_t entries) {
    std::string folder = std::filesystem::temp_directory_path() / "sluice-table-XXXXXX";
    CHECK(mkdtemp(folder.data()) != nullptr);
    folder_ = folder;
    std::ofstream table(folder_ / "destinations.ini");
    for (int64_t i = 0; i < entries; ++i) {
      table << "[" << Domain(i) << "]\nmax_host_concurrency = " << i % 1000 + 1
            << "\nlimit_type = host\nlimit_apply = system\ntable_tls = required\n\n";
    }
    table.close();
    LoadedConfig loaded = ParseConfig(kConfig, folder_ / "sluice.toml");
    CHECK(loaded.errors.empty());
    config = std::move(loaded.config);
  }
  ~Site() { std::filesystem::remove_all(folder_); }

  LoadedTables Load() const {
    LoadedTables loaded = LoadTables(config, io::ReadClock().wall);
    CHECK(loaded.errors.empty());
    return loaded;
  }

  Config config;

 private:
  std::filesystem::path folder_;
};

void LoadFile(benchmark::State& state) {
  const Site site(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(site.Load());
}

// From a change that has been found good to all shards using it. Checking it, which reads
// certificates and authorities, is not measured.
void PutToAllShards(benchmark::State& state) {
  const Site site(state.range(0));
  Engine engine(site.config);
  Tables tables = site.Load().tables;
  const std::shared_ptr<const tls::Environment> tls = tables.tls;
  CHECK(engine.Start(std::move(tables)).ok());
  int64_t next = 0;
  for (auto _ : state) {
    const policy::ControlsChange change = {
        .put = {{.domain = Domain(next++ * 7919 % state.range(0)), .connections_max = 7}}};
    tables.controls = std::make_unique<policy::ControlsTable>(engine.controls(), change, 0);
    tables.routes = dns::RoutesTable();
    tables.tls = tls;
    engine.UseTables(std::move(tables));
  }
}

// As over the control socket. The first command reads the file, and the first commit builds a
// table: they are not measured.
void EditAndCommit(benchmark::State& state) {
  const Site site(state.range(0));
  Engine engine(site.config);
  CHECK(engine.Start(site.Load().tables).ok());
  absl::StatusOr<SuspensionList> suspensions =
      SuspensionList::Load(site.config.spool_path + "/suspensions.json");
  CHECK(suspensions.ok());
  Control control(engine, site.config, *suspensions);
  int64_t next = 0;
  const auto edit = [&] {
    const admin::ControlReply reply = control.Handle(
        {.method = "POST",
         .path = "/v1/destconfig",
         .body = absl::StrCat(R"({"words": ["edit", ")", Domain(next * 7919 % state.range(0)),
                              R"(", "max_host_concurrency=)", 1 + next % 1000,
                              R"(", "max_messages_per_connection=)", 1 + next % 999,
                              R"(", "--commit"]})")});
    ++next;
    CHECK(reply.status == 200);
  };
  edit();
  for (auto _ : state) edit();
}

BENCHMARK(LoadFile)->Arg(1000)->Arg(1'000'000)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(PutToAllShards)->Arg(1000)->Arg(1'000'000)->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK(EditAndCommit)->Arg(1000)->Arg(1'000'000)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace sluice

BENCHMARK_MAIN();
