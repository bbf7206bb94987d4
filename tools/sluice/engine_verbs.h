// The verbs that ask a running engine: status, hoststatus, reload.

#pragma once

#include <iosfwd>
#include <string>

namespace sluice::tools {

struct EngineOptions {
  std::string socket = "/run/sluice/control.sock";
  bool json = false;  // What the engine said, as it is.
};

// Exit codes: 0 done; 1 the engine refused; 2 no engine answers.
int ShowStatus(const EngineOptions& options, std::ostream& out, std::ostream& errors);
int HostStatus(const EngineOptions& options, const std::string& domain, std::ostream& out,
               std::ostream& errors);
int Reload(const EngineOptions& options, std::ostream& out, std::ostream& errors);

}  // namespace sluice::tools
