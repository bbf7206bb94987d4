// The line that a relay puts on top of a message (RFC 5321 4.4), and the date as mail writes it.

#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "engine/base/ip_address.h"
#include "engine/base/time.h"

namespace sluice::smtp {

// The whole field with its CRLF, folded after each clause:
//   Received: from HELO ([ADDRESS])
//   <tab>by HOSTNAME with ESMTP
//   <tab>id ID
//   <tab>for <FOR_ADDRESS>;
//   <tab>Wed, 25 Nov 2026 03:28:01 +0000
// `for_address` is given only for a single recipient (else one would learn of another), and empty
// otherwise. What `helo` has beyond the characters of a domain or an address literal is shown as
// '?'. With `tls` it says ESMTPS (RFC 3848), which has no word for HELO under TLS: that stays SMTP.
std::string ReceivedLine(absl::string_view helo, const IpAddress& client,
                         absl::string_view hostname, bool esmtp, absl::string_view id,
                         absl::string_view for_address, WallTime now, bool tls = false);

// "Wed, 25 Nov 2026 03:28:01 +0000" (RFC 5322 3.3).
std::string MailDate(WallTime time);

}  // namespace sluice::smtp
