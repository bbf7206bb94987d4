// The load's report as JSON (tools/README.md has its fields).

#pragma once

#include <string>

#include "tools/load/options.h"
#include "tools/load/results.h"

namespace sluice::tools {

std::string LoadReport(const LoadOptions& options, const LoadResults& results);

}  // namespace sluice::tools
