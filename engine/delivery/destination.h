// A destination: a recipient domain with mail to be delivered, its queue, controls, budget, route
// and connections. It exists while it has any of these, on the one shard that owns its domain.
//
// What holds its mail at any moment is one of:
//
//   the route      not known yet (kAsked), or the last look-up failed for now (not_before)
//   the family     the controls require one of which the route has no address (not_before)
//   the hosts      no address gave a session (not_before)
//   its limits     concurrency, messages per connection, recipients (budget)
//   the engine     no connection slot left
//   nothing        it is being delivered

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/base/intrusive_list.h"
#include "engine/base/time.h"
#include "engine/base/timer_wheel.h"
#include "engine/delivery/alert.h"
#include "engine/delivery/connection.h"
#include "engine/delivery/parcel.h"
#include "engine/dns/route.h"
#include "policy/controls.h"
#include "policy/destination_budget.h"

namespace sluice::delivery {

enum class RouteState : uint8_t { kUnknown, kAsked, kKnown };

// What an address did lately: after two failures in a row it is left out for a while, so that one
// dead host of two does not take half of the connections (P43); short, and never the last one left
// (O8).
struct AddressHealth {
  SocketAddress address;
  uint32_t failures = 0;
  Instant avoid_until{};
  Instant tls_broken_until{};  // A level that only prefers TLS does not try it there.
};

struct Destination {
  std::string domain;
  policy::Controls controls;
  uint64_t table_version = 0;  // Of `controls`; of the tables in use, once they are refreshed.
  uint64_t idle_version = 0;   // Of the controls by which its idle connections were last judged.
  policy::DestinationBudget budget;

  IntrusiveList<Parcel, &Parcel::hook> queue;
  IntrusiveList<Connection, &Connection::hook> ready;  // Connections that wait for a transaction.
  uint32_t opening = 0;                                // Connections that have not been ready yet.
  uint32_t leaving = 0;                                // That have been told to quit.

  RouteState route_state = RouteState::kUnknown;
  dns::Route route;
  uint64_t route_version = 0;  // Grows with each new route.
  uint64_t route_tables = 0;   // The tables' version when it was asked for: older is outdated.
  Instant route_expires = kNever;
  Instant route_asked{};
  uint64_t asked_tables = 0;  // Of the question under way.
  Duration route_time{};      // Of the last look-up, until an attempt tells it.

  std::shared_ptr<const TlsIntent> tls;  // Of the last connection; null: none, or none is tried.

  Instant not_before{};               // No connection is opened before.
  uint32_t failures = 0;              // Times in a row that no session could be had.
  bool family_missing = false;        // The last of them was for want of the required family.
  smtp::Reply failure;                // The last of them,
  TlsOutcome failure_tls;             // and what it had to do with TLS.
  AlertPace alerts;                   // About TLS that must be and could not be had.
  absl::string_view binding;          // What binds now; a literal, empty: nothing.
  std::vector<AddressHealth> health;  // Only of addresses that failed; at most kHealthMax.

  static constexpr size_t kHealthMax = 16;

  Timer timer;    // When to look again.
  ListHook hook;  // Among those to be looked at.
};

}  // namespace sluice::delivery
