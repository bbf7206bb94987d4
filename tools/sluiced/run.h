// The engine as a process: from a configuration to an exit code.

#pragma once

#include <vector>

#include "engine/config.h"
#include "engine/engine.h"
#include "engine/tables.h"

namespace sluice {

void Print(const std::vector<ConfigError>& errors);  // On standard error.

// Reads the tables; prints all their errors, and says whether there were none.
bool ReadTables(const Config& config, Tables& tables);

// Serves until SIGTERM or SIGINT, drains, and returns 0; where the engine cannot start, or a log
// has failed, be it in the drain, 1: it is to be started again for recovery.
int RunSluiced(const Config& config, Tables tables, Engine::Parts parts = {});

}  // namespace sluice
