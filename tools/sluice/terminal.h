// A dialogue's console on a terminal: answers are edited, remembered for the arrow keys until the
// program ends, and completed, with readline.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tools/sluice/console.h"

namespace sluice::tools {

// One at a time: readline's state is the process's.
class TerminalConsole : public Console {
 public:
  TerminalConsole();

  void Write(absl::string_view text) override;
  Line Ask(const Prompt& prompt) override;
  bool scripted() const override { return false; }
};

// Of this process: a terminal if both its input and its output are one, else streams.
std::unique_ptr<Console> OpenConsole();

}  // namespace sluice::tools
