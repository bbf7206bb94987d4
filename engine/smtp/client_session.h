// The client's side of an SMTP dialogue, without I/O: bytes and events in, bytes and actions out.
//
// Two cursors over one table of states: `sending_`, the next command to write, and `awaiting_`, the
// command whose reply comes next. Without PIPELINING they move in step; with it (RFC 2920), sending
// runs ahead to the end of the group (DATA), and every reply is matched to its command all the
// same. It may run ahead of one reply more, that to the final dot: the owner may offer the next
// transaction there (OfferAhead), and its group leaves with the end of the data (RFC 2920 3.1 and
// its example, in which QUIT does).
//
// Life: greeting, EHLO (HELO after a 5xx to EHLO), STARTTLS if the owner wants it, then any number
// of transactions one after another, then QUIT. The owner offers a transaction whenever the session
// says kReady; the transaction must outlive its outcome. Not thread-safe: one shard owns a session.
// It lives in a slab's slot: Begin makes it new and keeps its buffers, so that a transaction
// allocates nothing.
//
// STARTTLS (RFC 3207): the session asks for it and reports; the owner makes the handshake, and
// decides whether mail may go on in clear. No policy is here, and where TLS is wanted no way to
// kReady without it but the owner's ContinueInClear.
//
// Rules that keep mail safe:
//  - A reply that cannot be parsed, or comes unasked, ends the session: under pipelining it could
//    be taken for the answer to the dot. What the server said up to then stands.
//  - The session lost between the end of the data and its reply is `possibly delivered` (kInDoubt).
//    The data has ended for this purpose when its last piece is handed to the kernel, since from
//    then on the server may have all of it, whether or not our send completes.
//  - Nothing is pipelined unless this EHLO offered it; no data before 354, but by BDAT.
//  - By BDAT (RFC 3030) a whole message leaves behind its commands, without a round trip amid it:
//    one that is small enough for the owner to send it at once, where the server offers that beside
//    PIPELINING. A session lost under it is in doubt from its first command on, so that it is not
//    for the first message of a session, nor behind one that was not accepted: a server that is
//    about to end the session does so there. What is offered ahead goes by DATA: a server that does
//    not take that would read the message as commands.
//  - After a transaction that did not end with a 2xx to its dot, RSET is sent and answered before
//    the next MAIL (cases K21, X7); never before the first (K22). A server that refuses RSET, or is
//    slow with it, loses the session, and no message (H3, P5).
//  - A MAIL that left ahead of the reply to a dot and is refused, or never answered, says nothing
//    of its message, which is kUntried: RSET may have been wanted, and Haraka says 503 to all that
//    comes before it has answered the dot. Offered again in its turn, it hears what is meant for
//    it.
//  - A 421 closes the session, wherever it comes.
//  - STARTTLS ends its group, and nothing that came in clear is believed once its 220 is there: a
//    byte behind it ends the session, and EHLO is said anew under TLS.
//
// Use:
//   session.OnBytes(bytes, now); for (;;) switch (session.Next()) { … case kNone: return; }

#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "absl/strings/string_view.h"
#include "engine/base/time.h"
#include "engine/smtp/client_state.h"
#include "engine/smtp/envelope.h"
#include "engine/smtp/extensions.h"
#include "engine/smtp/reply.h"

namespace sluice::smtp {

// What the session needs to know of a message. All of it is lent until kMessageDone.
struct Transaction {
  absl::string_view sender;
  // 1 to limits::kRecipientsPerTransactionMax.
  std::span<const EnvelopeRecipient* const> recipients;
  uint64_t body_bytes = 0;  // For SIZE: octets with CRLF, without stuffing and dot (C49).
  bool at_once = false;     // The owner can send all of it at once, and unstuffed.
  BodyType body_type = BodyType::kSevenBit;
  // RFC 3461, with NOTIFY and ORCPT of the recipients: passed on unchanged when this EHLO offers
  // DSN, and left out when it does not (C58).
  Return ret = Return::kUnset;
  absl::string_view envelope_id;
};

// How far an outcome reaches.
enum class Reach : uint8_t { kRecipient, kMessage, kHost };

// What became of the recipients that had neither kRecipientDone nor kRecipientMoved.
enum class MessageResult : uint8_t {
  // 2xx to the dot, or to BDAT: delivered to all of them.
  kAccepted,
  // A reply refused the message as a whole (MAIL, DATA, the dot, BDAT, or a 4xx or 5xx amid the
  // body): reach kMessage, and kHost if it was a 421. Or every recipient was refused or moved, so
  // that none is left: reach kRecipient, `reply` is the last one.
  kRefused,
  // Not sent, since the server does not take it (8BITMIME, SIZE): `reply` is made by us, nothing
  // left for the server, and the session is ready for the next message.
  kUnsendable,
  // The session ended before the data did: nothing was delivered. `reply` is empty, or the 421 by
  // which a reused session ended at MAIL, RCPT or DATA: the message goes to a fresh one at once
  // (X2).
  kSessionLost,
  // Lost between the end of the data and its reply, or at any time once all of it had left by BDAT:
  // possibly delivered. `reply` is empty.
  kInDoubt,
  // Offered ahead of the reply to a dot, and nothing was said of it: MAIL was refused for what may
  // be the other's sake, or the session ended before its reply. Nothing was delivered; offer it
  // again, there if it is kReady. `reply` is MAIL's, if there was one.
  kUntried,
};

// What became of STARTTLS short of its 220, or behind it.
enum class TlsAnswer : uint8_t {
  kNone,  // Not asked for, not yet answered, or answered with 220.
  // The owner decides (kTlsAnswer):
  kNotOffered,   // EHLO was answered without it.
  kEhloRefused,  // So that HELO was needed. reply() is the refusal of EHLO.
  kRefused,      // A 4xx or 5xx, which is reply(); not 421.
  // The session ends (kClose):
  kGarbage,   // Not a reply, one that is neither 220 nor a refusal, more than one, or too early.
  kSilence,   // No answer in time.
  kClosed,    // The connection was lost, or 421.
  kInjected,  // Bytes came in clear behind the 220. None of them was read.
};

enum class ClientAction : uint8_t {
  // Nothing more for now: deliver the next event.
  kNone,
  // output() has grown. Take it and ClearOutput() now, or leave it while a send is in flight and
  // look at output() when that has completed.
  kSend,
  // 354 came: send the whole body in wire form (stuffed, ".\r\n" at its end), and call OnBodyEnding
  // before its last piece. Any kSend comes before. If chunked(), no 354 came: send output(), which
  // ends in BDAT, and behind it body_bytes octets of the body, in one send; OnBodyEnding before it.
  kSendBody,
  // Idle: offer a transaction, or Quit.
  kReady,
  // recipient_index() was refused, by reply(). A 552 is given as a 452 (K18, RFC 5321 4.5.3.1.10),
  // the words "(was 552)" in front of its text.
  kRecipientDone,
  // recipient_index() is to be sent in a further transaction: neither refused nor sent. The server
  // takes no more in this one (452 or 552 at RCPT, bare or with x.5.3, after a recipient that it
  // took: C10, R8), or its LIMITS say so (R16). reply() is its last to RCPT. Without pipelining all
  // later recipients move too; with it each later reply stands for itself. A further transaction
  // makes progress: its first recipient is taken or refused, never moved.
  kRecipientMoved,
  // result(), reach(), reply() and failed_state(). The transaction is no longer needed. Exactly
  // once for each Offer, after the verdicts of its recipients.
  kMessageDone,
  // There is no TLS on this session, tls_answer() and reply() say why: ContinueInClear, or
  // RefuseTls.
  kTlsAnswer,
  // 220 came to STARTTLS: make the handshake, then call OnTlsEstablished; Abort if it fails. What
  // the server sends from here on is the handshake's. What the owner had received before goes to
  // OnBytes all the same, and ends the session. deadline() is kNever: the owner keeps the time.
  kStartTls,
  // The session is over: close the connection, and stop sending whatever is being sent.
  // close_reason(), close_reply() and tls_answer() say why. Given once, and nothing after it.
  kClose,
};

class ClientSession {
 public:
  // The slowest body that is borne, beside the 3 minutes for each piece (F06: a receiver that takes
  // a byte a minute). Postfix's smtp_min_data_rate.
  static constexpr uint64_t kBodyBytesPerSecondMin = 500;

  struct Options {
    absl::string_view ehlo_name;  // Lent for the session's life.
    bool may_pipeline = true;     // False: as if never offered.
    bool start_tls = false;  // STARTTLS before any mail: ends in kStartTls, kTlsAnswer, kClose.
  };

  ClientSession() = default;

  // Starts a new dialogue in this object; the server speaks first.
  void Begin(const Options& options, Now now);

  // --- Events. After each, call Next until kNone. Those that begin with On, and Abort, may also
  // come after the end (an operation that was in flight) and then do nothing.

  // `bytes` are lent until Next says kNone. When a send fails, hand in what the server has still
  // said before OnClosed: it may be the refusal that explains it (P6).
  void OnBytes(absl::string_view bytes, Now now);
  // Only after kReady.
  void Offer(const Transaction& transaction, Now now);
  // Whether the next transaction may be offered now, while the reply to the final dot is awaited:
  // with PIPELINING, once, and if this server can take it and has not refused another so. It begins
  // when that reply has come.
  bool MayOfferAhead(const Transaction& transaction) const;
  // Whether this server takes transactions offered so, as far as is known in this session.
  bool TakesAhead() const;
  // It was seen not to: it answered the MAIL that came so with 503, or not at all in its time.
  bool refuses_ahead() const { return refuses_ahead_; }
  // The message that is on goes by BDAT;
  bool chunked() const { return chunk_ != Chunk::kNone; }
  // and output() is its commands, which leave with it only.
  bool chunk_waits() const { return chunk_ == Chunk::kWaits; }
  // Messages that this server took by BDAT.
  uint32_t chunks_taken() const { return chunks_taken_; }
  // It did not understand BDAT, though it offers CHUNKING, or was silent at it (X4).
  bool refuses_chunks() const { return refuses_chunks_; }
  // The session was lost under one.
  bool lost_chunk() const { return lost_chunk_; }
  // After MayOfferAhead. Its commands are in output() at once: they may leave with the last piece
  // of the body, for which OnBodyEnding has been called. Its kMessageDone comes after that of the
  // one before it, also where the session ends.
  void OfferAhead(const Transaction& transaction, Now now);
  // The kernel took a piece of the body: the 3 minutes start anew.
  void OnBodyProgress(Now now);
  // The last piece of the body, with the final dot, or all of it is about to be handed to the
  // kernel. From here on a loss is kInDoubt. Only after kSendBody.
  void OnBodyEnding(Now now);
  // deadline() has passed; before it nothing happens.
  void OnDeadline(Now now);
  // The peer closed, or the connection broke.
  void OnClosed(Now now);
  // Only after kReady: a polite end.
  void Quit(Now now);
  // Only after kTlsAnswer, one of them. To kReady, by what this EHLO or HELO said;
  void ContinueInClear(Now now);
  // or QUIT, and close_reason() says that it was for want of TLS.
  void RefuseTls(Now now);
  // Only after kStartTls. All bytes from here on, both ways, are those within TLS.
  void OnTlsEstablished(Now now);
  // Our side ends it: as OnClosed, without QUIT. Not amid the actions of another event.
  void Abort();

  ClientAction Next();

  // --- What the actions mean.
  absl::string_view output() const { return output_; }  // Until the next event.
  void ClearOutput() { output_.clear(); }
  size_t recipient_index() const { return action_recipient_; }
  const Reply& reply() const { return action_reply_; }
  MessageResult result() const { return result_; }
  Reach reach() const { return reach_; }
  ClientState failed_state() const { return failed_state_; }

  TlsAnswer tls_answer() const { return tls_answer_; }

  // When the state we wait in is overdue; kNever when nothing is awaited. It is kNever where the
  // owner is to move: after kReady it decides how long an idle session is kept.
  Instant deadline() const { return deadline_; }

  ClientState state() const { return awaiting_; }
  bool tls() const { return tls_; }  // It is up.
  const Extensions& extensions() const { return extensions_; }
  // Why the session ended: the reply that did it (greeting, EHLO, 421, out of step), if any, and a
  // sentence of ours, "RCPT TO: the connection was lost". Empty after Quit.
  const Reply& close_reply() const { return close_reply_; }
  absl::string_view close_reason() const { return close_reason_; }
  // MAIL commands sent: counts against the limit.
  uint32_t transactions() const { return transactions_; }
  // Every command that was written has its reply, also those of a group that was refused.
  bool all_answered() const { return unanswered_ == 0; }

 private:
  static constexpr size_t kQuotedBytesMax = 200;  // Of a reply, in a reason.

  bool closed() const { return awaiting_ == ClientState::kClosed; }
  bool actions_pending() const;
  // Nothing is owed by the server until the owner moves.
  bool owner_moves() const {
    return awaiting_ == ClientState::kIdle || awaiting_ == ClientState::kTlsDecision;
  }

  // How the data of the message that is on leaves.
  enum class Chunk : uint8_t {
    kNone,   // By DATA.
    kWaits,  // By BDAT: with the commands in output(), all of it;
    kLeft,   // and it has.
  };
  bool MayChunk(const Transaction& transaction) const;
  ClientState DataState() const { return chunked() ? ClientState::kBdat : ClientState::kData; }

  // The two cursors.
  void Enter(ClientState state);
  void SendFrom(ClientState state);
  Instant BodyDeadline() const;
  void End(absl::string_view why, TlsAnswer starttls = TlsAnswer::kNone);

  // What goes out.
  static void CheckOneLine(absl::string_view text);
  void WriteCommand();
  void WriteMail();
  void WriteMailDsn();
  void WriteRecipient();
  void WriteRecipientDsn(const EnvelopeRecipient& recipient);

  // What comes in.
  bool TakeReply();
  void OnReply(const Reply& reply);
  void OnUnaskedReply(const Reply& reply);
  void OnClosingReply(const Reply& reply);
  void OnGreetingReply(const Reply& reply);
  void OnEhloReply(const Reply& reply);
  void OnStartTlsReply(const Reply& reply);
  void OnMailReply(const Reply& reply);
  void OnRecipientReply(const Reply& reply);
  void OnDataReply(const Reply& reply);
  void OnDotReply(const Reply& reply);
  void OnBdatReply(const Reply& reply);
  void OnResetReply(const Reply& reply);
  void RefuseSession(const Reply& reply);
  void OutOfStep(const Reply& reply);

  // What it comes to for TLS.
  void LackTls(TlsAnswer answer);
  void EndInjected();
  TlsAnswer TlsAnswerAtEnd(TlsAnswer starttls) const;

  // What it comes to for the message.
  Reply WhyUnsendable(const Transaction& transaction) const;
  bool MakeUnsendable();
  void TakeUp(const Transaction& transaction);
  static void MakeTransient(Reply& reply, int code);
  void JudgeRecipient(const Reply& reply);
  void EndRecipients(const Reply& reply);
  void FinishMessage(MessageResult result, Reach reach, const Reply& reply);
  void LoseMessage();
  void LoseAhead();

  Options options_;
  Now now_ = {};  // Of the last event.

  // sending_: the next command to write. awaiting_: what the next reply answers.
  ClientState sending_ = ClientState::kClosed;
  ClientState awaiting_ = ClientState::kClosed;
  Instant deadline_ = kNever;
  Extensions extensions_;
  bool pipelining_ = false;
  bool tls_ = false;
  TlsAnswer tls_answer_ = TlsAnswer::kNone;

  // Replies. Owed are those to commands that had been written when the bytes came: a reply beyond
  // them answers nothing.
  absl::string_view input_;
  ReplyParser parser_;
  uint32_t unanswered_ = 0;
  uint32_t owed_ = 0;
  bool unasked_ = false;  // The reply that is being taken is none of those owed.
  std::string output_;

  // The transaction that is on, until its message is done; once its data has ended, the one offered
  // ahead (the counters too). Replies to what was pipelined may still
  // follow: then it is not open, and they are only counted.
  Transaction transaction_;
  bool open_ = false;
  bool ahead_ = false;           // transaction_ is the next one, and the dot's reply is awaited.
  bool takes_ahead_ = true;      // No MAIL that came so was refused.
  bool refuses_ahead_ = false;   // One was, and not for the sake of the message before it.
  bool was_ahead_ = false;       // The one that is on was offered so.
  bool behind_refusal_ = false;  // And the one before it was refused.
  bool mail_refused_ = false;    // So was the MAIL of the one that is on.
  bool proven_ = false;          // The last message was accepted.
  Chunk chunk_ = Chunk::kNone;
  bool refuses_chunks_ = false;
  bool lost_chunk_ = false;
  uint32_t chunks_taken_ = 0;
  size_t recipients_end_ = 0;  // Those before it are sent in this transaction.
  size_t recipients_sent_ = 0;
  size_t recipients_answered_ = 0;
  size_t recipients_accepted_ = 0;
  Instant body_begun_ = kNever;
  uint32_t transactions_ = 0;

  // Actions that Next has still to give, in this order.
  bool recipient_pending_ = false;
  ClientAction recipient_action_ = ClientAction::kNone;
  size_t moved_next_ = 0;
  size_t moved_end_ = 0;
  bool message_pending_ = false;
  bool send_pending_ = false;
  bool body_pending_ = false;
  bool close_pending_ = false;
  ClientAction turn_ = ClientAction::kNone;  // The owner's: kReady, kTlsAnswer or kStartTls.

  // What they mean.
  size_t action_recipient_ = 0;
  Reply action_reply_;
  MessageResult result_ = MessageResult::kAccepted;
  Reach reach_ = Reach::kMessage;
  ClientState failed_state_ = ClientState::kClosed;
  Reply close_reply_;
  std::string close_reason_;
};

}  // namespace sluice::smtp
