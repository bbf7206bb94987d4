// A lane of a destination: the mail that leaves by one pool of sources, and the connections that
// carry it. It exists while it has any of these, or remembers that its hosts have failed.
//
// What holds its mail at any moment is one of:
//
//   the route      not known yet (kAsked), or the last look-up failed for now (not_before)
//   the family     the controls require one of which the route has no address (not_before)
//   the sources    none of the pool has an address that is there and can reach the route
//   the hosts      no address gave a session (not_before)
//   its limits     concurrency, recipients, those of the system (the destination's budget)
//   the engine     no connection left of what it may have
//   nothing        it is being delivered

#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "engine/base/intrusive_list.h"
#include "engine/base/time.h"
#include "engine/base/timer_wheel.h"
#include "engine/delivery/connection.h"
#include "engine/delivery/parcel.h"
#include "engine/smtp/reply.h"

namespace sluice::delivery {

struct Destination;

// What there is none of, so that no connection can even be tried.
enum class Want : uint8_t {
  kNothing,
  kFamily,        // An address of the route of the family that the controls require.
  kSourceFamily,  // A source with an address of a family that the route has.
  kSource,        // A source whose address is there.
};

struct Lane {
  Destination* destination = nullptr;
  uint32_t pool = 0;

  IntrusiveList<Parcel, &Parcel::hook> queue;
  IntrusiveList<Connection, &Connection::lane_hook> connections;  // All, half-open ones too.
  IntrusiveList<Connection, &Connection::hook> ready;  // Those that wait for a transaction.
  uint32_t opening = 0;                                // Those that have not been ready yet.

  Instant not_before{};        // No connection is opened before.
  uint32_t failures = 0;       // Times in a row that no session could be had.
  Want want = Want::kNothing;  // The last of them was for want of that.
  smtp::Reply failure;         // The last of them,
  TlsOutcome failure_tls;      // and what it had to do with TLS.
  absl::string_view binding;   // What binds now; a literal, empty: nothing.
  bool gave_way = false;       // To the lanes before it, when it was last looked at.
  Instant binding_since{};     // It has been that since then.

  Timer timer;                // When to look again.
  ListHook hook;              // Among those to be looked at.
  ListHook destination_hook;  // Among the destination's.
  ListHook room_hook;         // Among those that wait for a connection of what the engine may have.
};

}  // namespace sluice::delivery
