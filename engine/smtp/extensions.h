// What a server offered in its EHLO reply (RFC 5321 4.1.1.1). Knowledge of this EHLO only: never
// kept beyond the session, dropped at STARTTLS.

#pragma once

#include <cstdint>

#include "engine/smtp/reply.h"

namespace sluice::smtp {

struct Extensions {
  bool pipelining = false;             // RFC 2920
  bool size = false;                   // RFC 1870
  uint64_t size_max = 0;               // 0: no fixed limit (C51)
  bool eight_bit_mime = false;         // RFC 6152
  bool enhanced_status_codes = false;  // RFC 2034
  bool dsn = false;                    // RFC 3461
  bool starttls = false;               // RFC 3207
  bool chunking = false;               // RFC 3030
  bool smtputf8 = false;               // RFC 6531
  uint32_t mail_max = 0;        // RFC 9422 LIMITS MAILMAX: transactions a session. 0: not limited.
  uint32_t recipients_max = 0;  // RFC 9422 LIMITS RCPTMAX: recipients a transaction.
};

// Of a positive reply to EHLO. The first line is the greeting; keywords in any case, trailing
// spaces and tabs borne, unknown ones and malformed parameters ignored.
Extensions ParseExtensions(const Reply& reply);

}  // namespace sluice::smtp
