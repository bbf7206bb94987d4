// Asking a running engine and showing what it says: what all verbs of that kind share.

#pragma once

#include <functional>
#include <iosfwd>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace sluice::tools {

struct EngineOptions {
  std::string socket = "/run/sluice/control.sock";
  bool json = false;  // What the engine said, as it is.
};

struct EngineQuestion {
  std::string method;
  std::string path;
  std::string body;
};

// Prints what was refused, and why; else calls `show` with what the engine said, or prints it as it
// is. Exit codes: 0 done; 1 the engine refused; 2 no engine answers.
int AskAndShow(const EngineOptions& options, const EngineQuestion& question, std::ostream& out,
               std::ostream& errors, const std::function<void(const nlohmann::json& said)>& show);

}  // namespace sluice::tools
