// A notice to the operator: a connection that must be encrypted could not be. Said at growing
// intervals a destination, not once a message.

#pragma once

#include <chrono>
#include <string>

#include "absl/strings/string_view.h"
#include "engine/base/time.h"
#include "policy/tls_decision.h"
#include "policy/tls_level.h"

namespace sluice::delivery {

struct TlsAlert {
  std::string domain;
  std::string host;  // With its address.
  policy::TlsLevel level{};
  policy::TlsReason reason{};
  std::string detail;
};

// When the next may be said: 300 s after the first, then twice as long each time, up to an hour.
class AlertPace {
 public:
  static constexpr Duration kFirst = std::chrono::seconds(300);
  static constexpr Duration kLongest = std::chrono::seconds(3600);

  // Whether to say one now; then it counts as said.
  bool Take(Instant now);
  // A session was met as it must be: once the interval is over, the next failure is new.
  void Reset(Instant now) {
    if (now >= next_) interval_ = Duration::zero();
  }
  // Later, the next failure is as new as the first.
  Instant remembered_until() const {
    return interval_ == Duration::zero() ? Instant{} : next_ + kLongest;
  }

 private:
  Duration interval_{};  // Zero: none has been said.
  Instant next_{};
};

struct AlertFacts {
  absl::string_view hostname;
  absl::string_view alert_id;
  absl::string_view address;  // Gets it.
  WallTime now{};
  const TlsAlert* alert = nullptr;
};

// In wire form, as ComposeBounce.
std::string ComposeAlert(const AlertFacts& facts);

}  // namespace sluice::delivery
