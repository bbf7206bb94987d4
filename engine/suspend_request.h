// What an operator asks to be suspended or resumed: the bodies of POST /v1/suspend and /v1/resume
// (admin/API.md). Errors are sentences for the operator.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/base/time.h"

namespace sluice {

// "example.com", ".example.com", "ALL" in any case; the key of a policy::Suspension.
absl::StatusOr<std::string> ParseSuspendedDomain(absl::string_view text);

// "90s", "30m", "1h", "2d": up to a year.
absl::StatusOr<Duration> ParseSpan(absl::string_view text);

struct SuspendRequest {
  std::vector<std::string> domains;  // Keys; never empty.
  std::optional<Duration> span;      // nullopt: until it is resumed.
  std::string reason;

  static constexpr size_t kReasonBytesMax = 400;  // A line or two of a terminal.
};

absl::StatusOr<SuspendRequest> ParseSuspendRequest(const std::string& body);

// The keys; empty: all that is suspended.
absl::StatusOr<std::vector<std::string>> ParseResumeRequest(const std::string& body);

}  // namespace sluice
