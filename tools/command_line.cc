#include "tools/command_line.h"

#include <algorithm>
#include <iostream>
#include <string>

#include "absl/strings/ascii.h"

namespace sluice::tools {

absl::StatusOr<bool> ParseCommandLine(CLI::App& app, int argc, const char* const* argv) {
  try {
    app.parse(argc, argv);
    return true;
  } catch (const CLI::CallForHelp&) {
    std::cout << app.help();
    return false;
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(error.what());
  }
}

CLI::Validator WholeNumber() {
  const auto what_is_wrong = [](std::string& text) -> std::string {
    const bool digits = std::all_of(text.begin(), text.end(),
                                    [](unsigned char c) { return absl::ascii_isdigit(c); });
    return digits && !text.empty() && text.size() <= 18
               ? ""
               : "'" + text + "' is not a whole number below 10^18";
  };
  return CLI::Validator(what_is_wrong, "");
}

}  // namespace sluice::tools
