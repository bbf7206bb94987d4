// Envelope addresses: the Path of RFC 5321 4.1.2.

#pragma once

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sluice::smtp {

// An address as it goes on the wire, between the angle brackets, byte for byte as it came but for a
// source route (RFC 5321 appendix C) and a dot at the end of the domain (no part of its grammar,
// and refused by many a server): both are dropped. Empty: the null reverse-path.
struct Mailbox {
  std::string address;  // "User@Example.COM"
  std::string
      destination;  // The domain, normalised (base/domain_name.h): "example.com". Empty for <>.

  bool null() const { return address.empty(); }
};

inline constexpr size_t kLocalPartBytesMax = 64;  // RFC 5321 4.5.3.1.1
inline constexpr size_t kPathBytesMax = 256;      // 4.5.3.1.3, with the brackets

// Parses "<…>" at the front of `input` and moves past it. Refused with the reason, and `input` left
// alone: controls, bad quoting, bad domains, the bounds above (InvalidArgument), and 8-bit bytes
// (Unimplemented: they ask for SMTPUTF8, which is not offered). A sender may be null; a recipient
// may not; "<postmaster>" without a domain (4.5.1) is refused unless `local_domain` is given, which
// it then gets.
//
// "a%b@c", "a!b@c" and "\"a@b\"@c" are mailboxes at c like any other: what stands in a local part
// is for c to understand (RFC 5321 2.3.11), and never decides where the mail goes.
absl::StatusOr<Mailbox> ParseReversePath(absl::string_view& input);
absl::StatusOr<Mailbox> ParseForwardPath(absl::string_view& input, absl::string_view local_domain);

}  // namespace sluice::smtp
