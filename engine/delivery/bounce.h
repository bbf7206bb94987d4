// The message that tells a sender that recipients were given up (RFC 5321 6.1, RFC 3834).
//
// A plain text for now: who failed and with which reply. Remote text is untrusted: it goes into the
// text part only, with controls replaced and lines folded, and never into a header (fault F14).

#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/time.h"
#include "engine/smtp/reply.h"

namespace sluice::delivery {

struct FailedRecipient {
  absl::string_view address;
  const smtp::Reply* reply = nullptr;
  absl::string_view command;  // What the reply answered; empty: our own finding.
  absl::string_view peer_name;
  bool expired = false;
};

struct BounceFacts {
  absl::string_view hostname;
  absl::string_view bounce_id;
  absl::string_view message_id;  // Of the message that failed.
  absl::string_view sender;      // Gets the bounce.
  WallTime now{};
  std::vector<FailedRecipient> failed;
};

// In wire form: CRLF lines under 998 bytes, none begins with a dot but the final ".\r\n".
std::string ComposeBounce(const BounceFacts& facts);

}  // namespace sluice::delivery
