// Reads a command line into what the program has bound to a CLI::App. CLI11 reports by exceptions;
// they end here.

#pragma once

#include <CLI/CLI.hpp>

#include "absl/status/statusor.h"

namespace sluice::tools {

// False: help was asked for and has been printed. An error is a sentence about the option at fault.
absl::StatusOr<bool> ParseCommandLine(CLI::App& app, int argc, const char* const* argv);

// Checks a number without sign or fraction: CLI11 would take "-1" for a very large one.
CLI::Validator WholeNumber();

}  // namespace sluice::tools
