// sluice-sink: a receiving SMTP server for tests and benchmarks (tools/README.md).

#include <algorithm>
#include <cstdio>
#include <iostream>

#include "engine/io/clock.h"
#include "engine/io/uring_io.h"
#include "tls/context.h"
#include "tools/line_file.h"
#include "tools/process.h"
#include "tools/sink/options.h"
#include "tools/sink/report.h"
#include "tools/sink/sink.h"

namespace sluice::tools {
namespace {

// 64 files and pipes beside the sockets are more than it opens.
constexpr uint64_t kOtherDescriptors = 64 + 1000;
constexpr uint64_t kConnectionsMax = 16'000;

absl::Status RunSink(const SinkOptions& options) {
  WatchStopSignals();
  const uint64_t descriptors = RaiseDescriptorLimit();
  if (descriptors <= kOtherDescriptors) {
    return absl::ResourceExhaustedError("too few descriptors: raise `ulimit -n` over 2000");
  }
  const auto connections_max =
      static_cast<uint32_t>(std::min(kConnectionsMax, descriptors - kOtherDescriptors));
  auto io = io::UringIo::Create({});
  if (!io.ok()) return io.status();
  Sink sink(options, connections_max, **io, io::ReadClock());
  if (absl::Status listening = sink.Listen(); !listening.ok()) return listening;
  absl::Status ran = sink.Run();
  const std::string report = SinkReport(sink, CpuTime());
  if (options.report_path.empty()) {
    std::cout << report;
    return ran;
  }
  absl::Status written = WriteFile(options.report_path, report);
  return ran.ok() ? written : ran;
}

int Main(int argc, char** argv) {
  const auto options = ParseSinkOptions(argc, argv);
  absl::Status status = options.status();
  if (options.ok() && options->has_value()) status = RunSink(**options);
  tls::EndThread();
  if (status.ok()) return 0;
  std::cerr << "sluice-sink: " << status.message() << "\n";
  return options.ok() ? 1 : 2;
}

}  // namespace
}  // namespace sluice::tools

int main(int argc, char** argv) {
  return sluice::tools::Main(argc, argv);
}
