// Bounce verification: a tag in the reverse-path of what we send, by which a bounce that comes back
// shows that it answers mail of ours.
//
//   joe@example.com  ->  prvs=joe=0247a1b2c3@example.com
//
// The appliance's order (prvs=local=tag), and the tag of BATV (draft-levine-smtp-batv-01, 4.1): the
// key's number, three digits of the day on which it expires, seven days from now, and the first
// three bytes of HMAC-SHA1 over these and the address.
//
// Never tagged: the null reverse-path, an address that is tagged already, one whose local part is
// quoted, and one that would become longer than a local part may be (64 octets, RFC 5321
// 4.5.3.1.1).

#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "engine/base/time.h"

namespace sluice::policy {

class BounceTagger {
 public:
  // `key` is any text, not empty; `key_number` is 0 to 9.
  explicit BounceTagger(std::string key, int key_number = 0);

  // Writes what the reverse-path is on the wire: tagged, or as it is.
  void Tag(absl::string_view sender, WallTime now, std::string& tagged) const;

 private:
  const std::string key_;
  const int key_number_;
};

}  // namespace sluice::policy
