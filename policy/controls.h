// The controls of one destination: its settings after inheritance (reference: the appliance's
// Destination Controls). Plain values.

#pragma once

#include <cstdint>

#include "engine/base/time.h"
#include "policy/ip_preference.h"
#include "policy/tls_controls.h"

namespace sluice::policy {

struct Controls {
  uint32_t connections_max = 500;             // max_host_concurrency: at once, half-open ones too.
  uint32_t messages_per_connection_max = 50;  // max_messages_per_connection: MAIL commands.
  bool recipients_limited = false;            // recipient_limit stands.
  uint32_t recipients_max = 0;  // In any window of recipient_period. 0: hold the mail.
  Duration recipient_period{};  // recipient_minutes.
  IpPreference ip_preference = IpPreference::kPreferV6;  // ip_sort_pref.
  TlsControls tls;

  bool operator==(const Controls&) const = default;
};

}  // namespace sluice::policy
