// The sink's report as JSON (tools/README.md has its fields).

#pragma once

#include <string>

#include "tools/sink/sink.h"

namespace sluice::tools {

std::string SinkReport(const Sink& sink, Duration cpu);

}  // namespace sluice::tools
