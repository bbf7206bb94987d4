// Whose blocking calls can fail (system_calls.cc).

#pragma once

#include <string>

namespace sluice::faults {

// Before the engine starts: the spool's folder and the delivery log's path.
void WatchFiles(const std::string& spool, const std::string& delivery_log);

}  // namespace sluice::faults
