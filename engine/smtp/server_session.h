// The server's side of an SMTP dialogue, without I/O: bytes and verdicts in, replies and events out.
//
// A pull parser: the owner hands it input and asks for events until kNeedInput. It keeps no more than
// one partial line. While it waits for a verdict it consumes nothing, so the owner holds the rest of
// the input, under a bound of its own (limits::kPausedInputBytesMax), and stops reading beyond it.
//
// Replies gather in output() in the order of their commands; the owner sends them when Next says
// kNeedInput, kWaiting or kClose, so that the replies of one pipelined group leave together (C43).
//
// Body bytes are handed out *as DATA carries them*: stuffed dots and all, so that they can be sent on
// as they stand. The end of data is exactly CRLF.CRLF. The session tells at the end whether the body
// may be accepted at all (bare CR or LF, NUL, line too long, too large, loop): it reads to the true end
// first (case F01), and the owner then drops the body.
//
// Used by the engine's listener, sluice-sink and the tests' peers. Not thread-safe.

#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "engine/base/ip_address.h"
#include "engine/base/time.h"
#include "engine/smtp/envelope.h"
#include "engine/smtp/reply.h"

namespace sluice::smtp {

enum class ServerEvent : uint8_t {
  kNeedInput,      // All input is consumed, or no whole command is there: send output(), read on.
  kMail,           // MAIL was accepted by the grammar. Only if options.ask_mail: a verdict is needed.
  kRecipient,      // envelope().recipients.back() was accepted by the grammar. Only if
                   // options.ask_recipients: a verdict is needed.
  kData,           // DATA with at least one recipient: a verdict is needed (354, or a refusal).
  kBody,           // body_bytes() is the next piece of the body; lent until the input is given up.
  kMessage,        // The data has ended and the message may be accepted: a verdict is needed.
  kMessageDropped, // The data has ended and the session has refused it by itself: drop the body.
  kWaiting,        // A verdict is owed; input is not consumed until then.
  kClose,          // Send output(), then close.
};

class ServerSession {
 public:
  struct Options {
    absl::string_view hostname;           // Lent.
    absl::string_view software = "Sluice";
    SocketAddress client;
    bool may_relay = true;                // False: every RCPT is refused with 550 5.7.1.
    uint64_t message_bytes_max = 52428800;  // SIZE; 0: no limit announced or held.
    uint32_t recipients_max = 1000;       // Beyond: 452 4.5.3.
    uint32_t bad_commands_max = 20;       // Then 421 4.7.0 and close.
    uint32_t received_hops_max = 100;     // More: 554 5.4.6.
    uint32_t line_bytes_max = 998;        // Of the body, without CRLF (F19); 0: not held.
    bool offer_pipelining = true;
    bool offer_8bitmime = true;
    bool offer_size = true;
    bool offer_dsn = true;
    bool ask_mail = false;                // For sinks with faults.
    bool ask_recipients = false;
  };

  void Begin(const Options& options);     // Puts the 220 greeting into output().
  void BeginWith(const Options& options, absl::string_view greeting);  // Another greeting line (554, 421: closes after it).

  // Takes what it can from the front of `input`.
  ServerEvent Next(absl::string_view& input);

  // --- Verdicts: one for each event that needs one. A refusal's text is a whole reply without CRLF.
  void Accept();                              // kMail 250, kRecipient 250, kData 354.
  void AcceptMessage(absl::string_view id);   // 250 2.0.0 Ok: queued as ID
  void Refuse(absl::string_view reply_line);  // "452 4.3.1 Insufficient system storage"; 421 closes.

  // The owner's deadline passed, or the engine is going down: 421 with the reason, then kClose.
  void Timeout();
  void ShutDown();

  // --- What the events mean.
  const Envelope& envelope() const { return envelope_; }
  Envelope& mutable_envelope() { return envelope_; }   // The owner may move it out at kMessage.
  absl::string_view body_bytes() const { return body_bytes_; }
  uint64_t message_bytes() const { return message_bytes_; }   // So far, without stuffing.
  bool has_stuffing() const { return stuffed_dots_ > 0; }
  uint64_t stuffed_dots() const { return stuffed_dots_; }     // Wire bytes = message bytes + these.
  bool eight_bit() const { return eight_bit_; }               // A byte over 127 was seen.
  absl::string_view helo() const { return helo_; }
  bool esmtp() const { return esmtp_; }
  bool in_transaction() const;
  bool in_data() const;

  absl::string_view output() const { return output_; }
  void ClearOutput() { output_.clear(); }

 private:
  // (The implementer adds what it needs.)
  Options options_;
  Envelope envelope_;
  std::string helo_;
  bool esmtp_ = false;
  absl::string_view body_bytes_;
  uint64_t message_bytes_ = 0;
  uint64_t stuffed_dots_ = 0;
  bool eight_bit_ = false;
  std::string output_;
};

// The trace line of RFC 5321 4.4 that a relay puts on top, with CRLF:
//   Received: from HELO ([ADDRESS]) by HOSTNAME with ESMTP id ID; Wed, 25 Nov 2026 03:28:01 +0000
// `for_address` is added only for a single recipient, empty otherwise.
std::string ReceivedLine(absl::string_view helo, const IpAddress& client, absl::string_view hostname,
                         bool esmtp, absl::string_view id, absl::string_view for_address, WallTime now);

// "Wed, 25 Nov 2026 03:28:01 +0000" (RFC 5322 3.3).
std::string MailDate(WallTime time);

}  // namespace sluice::smtp
