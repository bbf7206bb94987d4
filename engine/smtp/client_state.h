// The states of the client's dialogue, as a table: what logs call them, how long each may take, and
// which may follow.

#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "engine/base/time.h"

namespace sluice::smtp {

enum class ClientState : uint8_t {
  kGreeting,
  kEhlo,
  kHelo,
  kStartTls,
  kTlsDecision,   // The owner's: go on in clear, or not.
  kTlsHandshake,  // The owner's too.
  kIdle,
  kMail,
  kRcpt,
  kData,
  kBody,
  kDot,
  kBdat,
  kReset,
  kQuit,
  kClosed,
};

struct ClientStateSpec {
  ClientState state;
  absl::string_view name;  // As logs say it: "MAIL FROM", "the final dot".
  // RFC 5321 4.5.3.2 where it speaks: how long its reply may take. 0 where the owner sets it.
  Duration timeout;
  uint16_t next;  // The states that may follow, a bit each.
};
const ClientStateSpec& SpecOf(ClientState state);
bool MayFollow(ClientState state, ClientState next);

}  // namespace sluice::smtp
