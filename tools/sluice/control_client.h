// Requests to a running engine over its control socket (engine/admin/API.md).

#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace sluice::tools {

struct ControlAnswer {
  int status = 0;    // HTTP's.
  std::string body;  // JSON.

  bool ok() const { return status >= 200 && status < 300; }
};

// Unavailable: nobody answers there. DeadlineExceeded: somebody took the request and has not
// answered: it may have been done.
absl::StatusOr<ControlAnswer> AskEngine(const std::string& socket, const std::string& method,
                                        const std::string& path, const std::string& body = "");

}  // namespace sluice::tools
