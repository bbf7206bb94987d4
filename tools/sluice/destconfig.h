// sluice destconfig: commands on the table of destination controls (engine/destconfig.h), through
// the engine where one runs, else on the file.

#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace sluice::tools {

struct DestconfigOptions {
  std::string socket;  // Of the engine; empty: as the configuration has it.
  std::string config_path = "/etc/sluice/sluice.toml";
  bool json = false;
  std::vector<std::string> words;
};

// Exit codes: 0 done; 1 refused, nothing has changed; 2 it cannot be asked.
int RunDestconfig(const DestconfigOptions& options, std::ostream& out, std::ostream& errors);

}  // namespace sluice::tools
