// The verbs that ask a running engine about itself: status, reload. Exit codes: engine_ask.h.

#pragma once

#include <iosfwd>

#include "tools/sluice/engine_ask.h"

namespace sluice::tools {

int ShowStatus(const EngineOptions& options, std::ostream& out, std::ostream& errors);
int Reload(const EngineOptions& options, std::ostream& out, std::ostream& errors);

}  // namespace sluice::tools
