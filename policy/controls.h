// The controls of one destination: its settings after inheritance (reference: the appliance's
// Destination Controls). Plain values.

#pragma once

#include <cstdint>

#include "engine/base/time.h"
#include "policy/ip_preference.h"
#include "policy/name.h"
#include "policy/tls_controls.h"

namespace sluice::policy {

// What one scope may have.
struct Limits {
  uint32_t connections_max = 500;   // At once, half-open ones too.
  bool recipients_limited = false;  // The next two hold.
  uint32_t recipients_max = 0;      // In any window of recipient_period. 0: hold the mail.
  Duration recipient_period{};

  bool operator==(const Limits&) const = default;
};

inline constexpr uint32_t kNoConnectionLimit = UINT32_MAX;

// What has limits of its own: the destination as a whole, or each address of its hosts, or each of
// our sources, or each pair of these.
struct LimitScope {
  bool each_address = false;  // limit_type = MXIP.
  bool each_source = false;   // limit_apply = VG.

  bool whole() const { return !each_address && !each_source; }
  bool operator==(const LimitScope&) const = default;
};

struct Controls {
  Limits limits;  // Of each scope: max_host_concurrency, recipient_limit, recipient_minutes.
  LimitScope scope;
  // Of the destination as a whole, beside those: system_concurrency, system_recipient_limit,
  // system_recipient_minutes.
  Limits system = {.connections_max = kNoConnectionLimit};
  uint32_t messages_per_connection_max = 50;  // max_messages_per_connection: MAIL commands.
  IpPreference ip_preference = IpPreference::kPreferV6;  // ip_sort_pref.
  TlsControls tls;
  bool tag_sender = false;  // bounce_validation: the reverse-path is tagged.
  Name bounce_profile;      // Empty: Default.

  bool operator==(const Controls&) const = default;
};

}  // namespace sluice::policy
