// sluice-load: an SMTP load generator (tools/README.md).

#include <iostream>

#include "engine/io/clock.h"
#include "engine/io/uring_io.h"
#include "tls/context.h"
#include "tools/line_file.h"
#include "tools/load/load.h"
#include "tools/load/options.h"
#include "tools/load/report.h"
#include "tools/process.h"

namespace sluice::tools {
namespace {

constexpr uint64_t kOtherDescriptors = 64;  // Files and the ring are fewer.

absl::Status RunLoad(const LoadOptions& options) {
  WatchStopSignals();
  if (RaiseDescriptorLimit() < options.connections + kOtherDescriptors) {
    return absl::ResourceExhaustedError(
        "too few descriptors for --connections: raise `ulimit -n` or take fewer");
  }
  auto io = io::UringIo::Create({});
  if (!io.ok()) return io.status();
  Load load(options, **io, io::ReadClock());
  if (absl::Status opened = load.OpenLedger(); !opened.ok()) return opened;
  absl::Status ran = load.Run();
  const std::string report = LoadReport(options, load.results());
  if (options.report_path.empty()) {
    std::cout << report;
    return ran;
  }
  absl::Status written = WriteFile(options.report_path, report);
  return ran.ok() ? written : ran;
}

int Main(int argc, char** argv) {
  const auto options = ParseLoadOptions(argc, argv);
  absl::Status status = options.status();
  if (options.ok() && options->has_value()) status = RunLoad(**options);
  tls::EndThread();
  if (status.ok()) return 0;
  std::cerr << "sluice-load: " << status.message() << "\n";
  return options.ok() ? 1 : 2;
}

}  // namespace
}  // namespace sluice::tools

int main(int argc, char** argv) {
  return sluice::tools::Main(argc, argv);
}
