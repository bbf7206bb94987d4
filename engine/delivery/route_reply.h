// What a parcel is told that could not even be sent for: replies of our own making, each with its
// enhanced code (RFC 3463).

#pragma once

#include "absl/strings/string_view.h"
#include "engine/base/ip_address.h"
#include "engine/dns/route.h"
#include "engine/smtp/reply.h"

namespace sluice::delivery {

// Of a look-up that found no host; not kFound.
smtp::Reply RouteReply(const dns::Route& route);

// No host of the route has an address of the family that the destination requires.
smtp::Reply NoAddressReply(const dns::Route& route, Family required);

// No source of the pool has an address of a family that the route has.
smtp::Reply NoSourceFamilyReply(const dns::Route& route, absl::string_view pool);

// The addresses of the pool's sources are not on this machine.
smtp::Reply NoSourceReply(absl::string_view pool);

}  // namespace sluice::delivery
