// The command line of sluice-sink.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/ip_address.h"
#include "engine/base/time.h"
#include "tls/context.h"
#include "tools/sink/faults.h"

namespace sluice::tools {

struct SinkOptions {
  std::vector<SocketAddress> listen;  // All of them, --ports worked in.
  std::string hostname = "sink.example";
  std::vector<Duration> windows;
  std::string report_path;    // Empty: standard output.
  std::string received_path;  // Empty: none.
  uint64_t expect = 0;        // 0: until it is told to end.
  bool progress = false;
  bool pipelining = true;
  bool eight_bit_mime = true;
  bool chunking = true;
  uint64_t size_max_bytes = 0;  // 0: no limit.
  uint32_t recipients_max = 1000;
  std::shared_ptr<const tls::Context> tls;  // Null: STARTTLS is not offered.
  double tickets = 0;                       // The share of handshakes that give one.
  std::vector<Fault> faults;
  uint64_t seed = 1;  // Of all that is left to chance.
  uint64_t remembered_max = 16'000'000;
};

// Reads the certificate too. Nothing: help was asked for and has been printed.
absl::StatusOr<std::optional<SinkOptions>> ParseSinkOptions(int argc, const char* const* argv);

}  // namespace sluice::tools
