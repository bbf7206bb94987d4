// The client's side of an SMTP dialogue, without I/O: bytes and events in, bytes and actions out.
//
// Two cursors over one table of states: `sending_`, the next command to write, and `awaiting_`, the
// command whose reply comes next. Without PIPELINING they move in step; with it (RFC 2920), sending
// runs ahead to the end of the group (DATA), and every reply is matched to its command all the same.
//
// Life: greeting, EHLO (HELO after a 5xx to EHLO), then any number of transactions one after another,
// then QUIT. The owner offers a transaction whenever the session says kReady; the transaction must
// outlive its outcome. Not thread-safe: one shard owns a session.
//
// Rules that keep mail safe:
//  - A reply that cannot be parsed, or comes unasked, ends the session: under pipelining it could be
//    taken for the answer to the dot. What the server said up to then stands.
//  - The session lost between the end of the data and its reply is `possibly delivered` (kInDoubt).
//  - Nothing is pipelined unless this EHLO offered it; no data before 354.
//  - After a transaction that did not end with the reply to its dot, RSET is sent and answered before
//    the next MAIL (cases K21, X7); never before the first (K22).
//  - A 421 closes the session, wherever it comes.
//
// Use:
//   session.OnBytes(bytes, now); for (;;) switch (session.Next()) { … case kNone: return; }

#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "absl/strings/string_view.h"
#include "engine/base/time.h"
#include "engine/smtp/envelope.h"
#include "engine/smtp/extensions.h"
#include "engine/smtp/reply.h"

namespace sluice::smtp {

enum class ClientState : uint8_t {
  kGreeting, kEhlo, kHelo, kIdle, kMail, kRcpt, kData, kBody, kDot, kReset, kQuit, kClosed,
};

struct ClientStateSpec {
  ClientState state;
  absl::string_view name;  // As logs say it: "MAIL FROM", "the final dot".
  Duration timeout;        // RFC 5321 4.5.3.2 where it speaks: how long its reply may take.
};
const ClientStateSpec& SpecOf(ClientState state);

// What the session needs to know of a message. All of it is lent until kMessageDone.
struct Transaction {
  absl::string_view sender;
  std::span<const EnvelopeRecipient* const> recipients;  // 1 to limits::kRecipientsPerTransactionMax.
  uint64_t body_bytes = 0;        // For SIZE: octets with CRLF, without stuffing and dot (C49).
  BodyType body_type = BodyType::kSevenBit;
};

// How far an outcome reaches.
enum class Reach : uint8_t { kRecipient, kMessage, kHost };

enum class MessageResult : uint8_t {
  kAccepted,   // 250 to the dot: delivered to every recipient that was not refused by itself.
  kRefused,    // A reply refused the message as a whole (MAIL, DATA, the dot), or every recipient was
               // refused; then `reply` is the last one.
  kUnsendable, // Not sent, since the server does not take it (8BITMIME, SIZE): `reply` is made by us.
  kSessionLost,// The session ended before the data did: nothing was delivered. `reply` may be empty,
               // or is the 421 that ended it.
  kInDoubt,    // Lost between the end of the data and its reply: possibly delivered.
};

enum class ClientAction : uint8_t {
  kNone,             // Nothing more for now: deliver the next event.
  kSend,             // output() holds bytes to send; ClearOutput() when they have been taken.
  kSendBody,         // 354 came: send the whole body in wire form (stuffed, ".\r\n" at its end), then
                     // OnBodySent. Any kSend comes before.
  kReady,            // Idle: offer a transaction, or Quit.
  kRecipientDone,    // recipient_index() was refused, by reply().
  kRecipientsMoved,  // From recipient_index() on, all are to be sent in a further transaction: 452
                     // 4.5.3 or 552 at RCPT (C10, R8); not refused, not sent.
  kMessageDone,      // result(), reply() and failed_state(). The transaction is no longer needed.
  kClose,            // The session is over: close the connection. close_reply() may say why.
};

class ClientSession {
 public:
  struct Options {
    absl::string_view ehlo_name;  // Lent for the session's life.
    bool may_pipeline = true;     // False: as if never offered.
  };

  ClientSession() = default;

  // Starts a new dialogue in this object; the server speaks first.
  void Begin(const Options& options, Now now);

  // --- Events. After each, call Next until kNone.
  void OnBytes(absl::string_view bytes, Now now);
  void Offer(const Transaction& transaction, Now now);  // Only after kReady.
  void OnBodySent(Now now);
  void OnDeadline(Now now);                             // deadline() has passed.
  void OnClosed(Now now);                               // The peer closed, or the connection broke.
  void Quit(Now now);                                   // After kReady: a polite end.
  void Abort();                                         // Our side ends it: as OnClosed, without QUIT.

  ClientAction Next();

  // --- What the actions mean.
  absl::string_view output() const { return output_; }
  void ClearOutput() { output_.clear(); }
  size_t recipient_index() const { return action_recipient_; }
  const Reply& reply() const { return action_reply_; }
  MessageResult result() const { return result_; }
  Reach reach() const { return reach_; }
  ClientState failed_state() const { return failed_state_; }

  // When the state we wait in is overdue; kNever when nothing is awaited. In kReady it is kNever: the
  // owner decides how long an idle session is kept.
  Instant deadline() const { return deadline_; }

  ClientState state() const { return awaiting_; }
  const Extensions& extensions() const { return extensions_; }
  // The reply that ended the session (greeting, EHLO, 421), if any, and a sentence of ours.
  const Reply& close_reply() const { return close_reply_; }
  absl::string_view close_reason() const { return close_reason_; }
  uint32_t transactions() const { return transactions_; }  // MAIL commands sent: counts against the limit.

 private:
  // (The implementer adds what it needs.)
  ClientState sending_ = ClientState::kClosed;
  ClientState awaiting_ = ClientState::kClosed;
  std::string output_;
  size_t action_recipient_ = 0;
  Reply action_reply_;
  MessageResult result_ = MessageResult::kAccepted;
  Reach reach_ = Reach::kMessage;
  ClientState failed_state_ = ClientState::kClosed;
  Instant deadline_ = kNever;
  Extensions extensions_;
  Reply close_reply_;
  std::string close_reason_;
  uint32_t transactions_ = 0;
};

}  // namespace sluice::smtp
