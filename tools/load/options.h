// The command line of sluice-load.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "engine/base/ip_address.h"
#include "engine/base/time.h"
#include "tls/context.h"
#include "tools/load/domain_choice.h"
#include "tools/load/size_mix.h"

namespace sluice::tools {

struct LoadOptions {
  SocketAddress to;
  uint32_t connections = 10;
  uint64_t messages = 1000;
  double rate_per_s = 0;  // 0: as fast as possible.
  SizeMix sizes;
  DomainChoice domains;
  uint16_t recipients_per_message = 1;
  bool pipelining = true;
  std::shared_ptr<const tls::Context> tls;  // Null: STARTTLS is not asked for.
  uint32_t messages_per_connection = 0;     // 0: no limit.
  std::string sender = "sender@load.example";
  std::string hostname = "load.example";
  uint64_t seed = 1;
  std::string ledger_path;  // Empty: none.
  std::string report_path;  // Empty: standard output.
  bool retry_refused = false;
  Duration retry_after{};
  bool allow_refusals = false;
  bool progress = false;
  Duration timeout{};
};

// Nothing: help was asked for and has been printed.
absl::StatusOr<std::optional<LoadOptions>> ParseLoadOptions(int argc, const char* const* argv);

}  // namespace sluice::tools
