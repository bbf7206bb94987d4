// What holds a destination's mail back, in one sentence with its numbers: what binds, since when,
// until when.

#pragma once

#include <string>

#include "absl/time/time.h"
#include "engine/host_report.h"

namespace sluice {

// Times are told in `zone`, without the date where it is that of the report.
std::string HeldBy(const HostReport& report, absl::TimeZone zone);

std::string ClockText(WallTime time, WallTime now, absl::TimeZone zone);

}  // namespace sluice
