// sluiced, on a kernel that fails or dies where it is told to (README.md).
//
//   faulty_sluiced --config FILE [--fail CALL:N:ERROR[:part|:whole][:on]] [--kill POINT
//   [--power-cut]]
//
// All else is the engine's own: threads, sockets, files, exit codes. Segments are small, and mail
// is tried, and its promises are read, again within a moment, so that a run takes little time.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "engine/config.h"
#include "engine/engine.h"
#include "tests/faults/fault_io.h"
#include "tests/faults/fault_plan.h"
#include "tests/faults/system_calls.h"
#include "tools/sluiced/run.h"

namespace sluice::faults {
namespace {

constexpr Duration kRetry = std::chrono::milliseconds(20);

absl::StatusOr<std::unique_ptr<io::Io>> MakeFaultIo(uint32_t shard) {
  absl::StatusOr<std::unique_ptr<io::Io>> real = shard::MakeUringIo(shard);
  if (!real.ok()) return real.status();
  return std::make_unique<FaultIo>(*std::move(real), shard, FaultPlan::OfProcess(),
                                   Unsynced::OfProcess());
}

Engine::Parts SmallParts(uint64_t segment_bytes, uint32_t residents) {
  Engine::Parts parts;
  parts.make_io = MakeFaultIo;
  parts.shard.log.segment_bytes = segment_bytes;
  parts.shard.log.outcome_reserve_bytes = segment_bytes / 4;
  parts.shard.home.read_again_after = kRetry;
  if (residents > 0) {
    parts.shard.home.residents_max = residents;
    parts.shard.home.out_max = residents;
  }
  return parts;
}

int Main(int argc, char** argv) {
  CLI::App app{"sluiced with faults of the kernel, for tests"};
  std::string path;
  std::string fault;
  FaultPlan::Options plan;
  uint64_t kill_at = 0;
  uint64_t segment_bytes = 64 << 10;
  uint32_t residents = 0;
  bool power_cut = false;
  bool told_as_success = false;
  app.add_option("--config", path, "The configuration")->required();
  app.add_option("--fail", fault, "CALL:N:ERROR[:part|:whole][:on]");
  app.add_option("--kill", kill_at, "Ends with SIGKILL at this point of its I/O");
  app.add_flag("--power-cut", power_cut, "The kill loses what has not been synced");
  app.add_flag("--told-as-success", told_as_success, "A sync that fails says that it did not");
  app.add_option("--segment-bytes", segment_bytes, "Of the spool; a body takes up to a quarter");
  app.add_option("--residents", residents, "Messages in memory, a shard; 0: as many as elsewhere");
  CLI11_PARSE(app, argc, argv);
  if (!fault.empty()) {
    const std::optional<FaultPlan::Options> parsed = FaultPlan::Parse(fault);
    if (!parsed) {
      std::fprintf(stderr, "faulty_sluiced: no such fault: %s\n", fault.c_str());
      return 2;
    }
    plan = *parsed;
  }
  plan.kill_at = kill_at;
  plan.power_cut = power_cut;
  plan.told_as_success = told_as_success;

  LoadedConfig loaded = LoadConfig(path);
  Print(loaded.errors);
  Tables tables;
  if (!loaded.errors.empty() || !ReadTables(loaded.config, tables)) return 2;
  Config& config = loaded.config;
  config.bounce_profiles.front().initial_retry = kRetry;
  config.bounce_profiles.front().max_retry = 5 * kRetry;

  WatchFiles(config.spool_path, config.delivery_log);
  FaultPlan::OfProcess().Arm(plan);
  const int code = RunSluiced(config, std::move(tables), SmallParts(segment_bytes, residents));
  FaultPlan::OfProcess().TellCounts();
  return code;
}

}  // namespace
}  // namespace sluice::faults

int main(int argc, char** argv) {
  return sluice::faults::Main(argc, argv);
}
