// What a load came to. Recipients are counted where replies speak of them, messages where the reply
// to the dot does.

#pragma once

#include <cstdint>
#include <map>

#include "tools/load/latency.h"

namespace sluice::tools {

struct LoadResults {
  uint64_t accepted = 0;             // Messages whose dot was answered with 250.
  uint64_t recipients_accepted = 0;  // Of these.
  std::map<int, uint64_t>
      refused;            // Recipients by the code that refused them; bounded by the codes.
  uint64_t retried = 0;   // Of these, those that were tried again.
  uint64_t given_up = 0;  // Of these, those that were not.
  uint64_t in_doubt = 0;  // Messages without a reply to their dot; sent again.
  uint64_t connections = 0;
  uint64_t connections_failed = 0;
  uint64_t tls_connections = 0;
  uint64_t handshakes_failed = 0;  // Begun, and not brought to their end.
  uint64_t sessions_lost = 0;      // That ended otherwise than by our QUIT.
  Latency dot;                     // From the dot's sending to its reply, of those accepted.
  Duration elapsed{};              // To the last 250.
  Duration cpu{};
};

}  // namespace sluice::tools
