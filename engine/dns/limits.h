// The bounds of looking up routes, each with the reason for its size. The hosts of a route and the
// addresses tried in one attempt are in engine/base/limits.h, since delivery needs them too.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "engine/base/time.h"

namespace sluice::dns {

// Addresses kept of one host and family: an attempt tries five, and a host with more than this many
// is a mistake or a bomb (F12). Beyond: the rest of the answer is left out.
inline constexpr size_t kAddressesPerFamilyMax = 32;

// Routes looked up at the same time. Beyond: they wait in the order in which they were asked for.
inline constexpr uint32_t kLookupsUnderWayMax = 1024;

// Questions that libunbound works on at the same time; it needs about 10 KB for each. A route of a
// hundred hosts asks two hundred. Beyond: they wait, within the budget of their route.
inline constexpr uint32_t kQuestionsUnderWayMax = 1024;

// All the time that one route may take (S2). Long enough for libunbound's own retries against a
// slow server, short beside the first retry of a message.
inline constexpr Duration kLookupBudget = std::chrono::seconds(30);

// A route is kept at least this long, whatever its TTL says, so that a TTL of 0 does not mean a
// look-up a message; and at most a day, so that a mistaken TTL of a year heals.
inline constexpr Duration kRouteTtlMin = std::chrono::seconds(5);
inline constexpr Duration kRouteTtlMax = std::chrono::hours(24);

// "There is no such domain" is believed for five minutes at most: people mend their zones.
inline constexpr Duration kNegativeTtlMax = std::chrono::minutes(5);

// A failure, or a route that a failure left incomplete, is looked up again after this.
inline constexpr Duration kTemporaryTtl = std::chrono::seconds(30);

// Destinations in the routes table: what Cisco's appliances take, whose tables people bring along.
inline constexpr size_t kRoutesMax = 40'000;

}  // namespace sluice::dns
