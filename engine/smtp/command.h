// One command line of a client (RFC 5321 4.1.1), as a value.
//
// In two steps, since the order of commands is judged before their arguments: SplitCommand knows
// the verb, and the Parse functions read the argument of those that have one worth reading. What a
// line gets wrong comes back as the reply it deserves.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "engine/smtp/address.h"
#include "engine/smtp/envelope.h"

namespace sluice::smtp {

// RFC 5321 4.5.3.1.4 obliges us to 512 octets with CRLF, and each extension adds what its
// parameters need: RCPT " NOTIFY=SUCCESS,FAILURE,DELAY" and " ORCPT=" with 500 octets (RFC 3461),
// which is more than what SIZE (26, RFC 1870), BODY (17, RFC 6152), RET and ENVID add to MAIL. One
// bound for all.
inline constexpr size_t kOriginalRecipientBytesMax = 500;  // RFC 3461 4.2
inline constexpr size_t kEnvelopeIdBytesMax = 100;         // RFC 3461 4.4
inline constexpr size_t kCommandLineBytesMax = 512 + 29 + 7 + kOriginalRecipientBytesMax;

inline constexpr size_t kHeloBytesMax = 255;  // A domain's bound, RFC 5321 4.5.3.1.2.

enum class Verb : uint8_t {
  kHelo,
  kEhlo,
  kMail,
  kRcpt,
  kData,
  kRset,
  kNoop,
  kVrfy,
  kExpn,
  kHelp,
  kQuit,
  kStartTls,
  kAuth,  // Known, since its refusal differs; never offered.
  kBdat,
  kUnknown,  // Another word.
  kGarbage,  // Controls, or text that is not UTF-8 (case K16).
};

struct CommandLine {
  Verb verb = Verb::kUnknown;
  absl::string_view argument = {};  // Without the spaces around it. Lent by the line.
};

// `line` is without its CRLF. Spaces and tabs at its end are borne (RFC 5321 4.1.1).
CommandLine SplitCommand(absl::string_view line);

// What MAIL and RCPT may say in this session: what its EHLO offered.
struct Offered {
  bool size = false;
  bool eight_bit_mime = false;
  bool dsn = false;
};

// The reply to a line that is refused; empty when it is well formed.
struct Refusal {
  std::string reply = {};
  // The address is at fault, not the client: a mailing may hold any number of bad addresses, and
  // they do not count as bad commands.
  bool address = false;

  explicit operator bool() const { return !reply.empty(); }
};

struct MailCommand {
  Refusal refusal = {};
  Mailbox sender;
  uint64_t size_bytes = 0;  // 0: not said. 20 digits may pass 64 bits: then the largest number.
  BodyType body_type = BodyType::kSevenBit;
  Return ret = Return::kUnset;
  std::string envelope_id;
};

struct RcptCommand {
  Refusal refusal = {};
  EnvelopeRecipient recipient;
};

struct BdatCommand {
  uint64_t octets = 0;  // That follow the line.
  bool last = false;
};

MailCommand ParseMail(absl::string_view argument, const Offered& offered);
// `local_domain`: what <postmaster> alone belongs to (RFC 5321 4.5.1).
RcptCommand ParseRcpt(absl::string_view argument, const Offered& offered,
                      absl::string_view local_domain);

// RFC 3030 2. Nothing: how many octets follow cannot be known.
std::optional<BdatCommand> ParseBdat(absl::string_view argument);

// A client's name in HELO or EHLO is borne in almost any form, as no mail hangs on it: printable
// ASCII, not empty, not over kHeloBytesMax.
bool IsBearableHelo(absl::string_view argument);

// xtext (RFC 3461 4), which decodes to printable ASCII and space.
bool IsXtext(absl::string_view text);

}  // namespace sluice::smtp
