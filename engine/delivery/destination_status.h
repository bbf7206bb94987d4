// What a destination is doing, and what holds its mail back: for operators.

#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "engine/base/time.h"
#include "policy/controls.h"

namespace sluice::delivery {

struct DestinationStatus {
  policy::Controls controls;
  uint64_t table_version = 0;

  uint64_t waiting = 0;      // Parcels in the queue.
  uint32_t connections = 0;  // Half-open ones too.
  uint32_t opening = 0;      // Of these: not ready yet,
  uint32_t idle = 0;         // and without a transaction.

  absl::string_view binding;   // What holds the mail back; empty: nothing.
  Duration look_again{};       // Until then at the latest; negative: it is not awaited.
  uint32_t failures = 0;       // Times in a row that no session could be had.
  std::string last_reply;      // Of the last of them,
  absl::string_view last_tls;  // and its TLS reason; empty: it was not TLS.
  std::string route;           // Its hosts, or why there are none.
};

}  // namespace sluice::delivery
