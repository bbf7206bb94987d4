// The server's side of an SMTP dialogue, without I/O: bytes and verdicts go in, replies and events
// come out.
//
// A pull parser: the owner hands it input and asks for events until kNeedInput. It keeps no more
// than one partial line. While it waits for a verdict it consumes nothing, so the owner holds the
// rest of the input, under a bound of its own (limits::kPausedInputBytesMax), and stops reading
// beyond it.
//
// Replies gather in output() in the order of their commands; the owner sends them when Next says
// kNeedInput, kWaiting or kClose, so that the replies of one pipelined group leave together (C43).
//
// Body bytes are handed out *as DATA carries them*: stuffed dots and all, so that they can be sent
// on as they stand; the ".\r\n" of the end is not among them. The end of data is exactly CRLF.CRLF.
// The session tells at the end whether the body may be accepted at all (bare CR or LF, NUL, line
// too long, too large, loop): it reads to the true end first (case F01), and the owner then drops
// the body. Once it knows that it will refuse, it hands out no more of it, so that a body of any
// length costs the owner no more than message_bytes_max and its stuffing (F23).
//
// BDAT (RFC 3030), where it is offered, differs from DATA for the client only: the octets of its
// chunks are handed out as DATA would carry them, with the stuffing put in and the last line ended.
// However a chunk is refused, its octets are swallowed before the refusal is said; where their
// number cannot be known, the session ends. RSET and EHLO drop what the chunks before them brought.
//
// STARTTLS (RFC 3207) is answered here and carried out by the owner. It may come at any time
// outside the data, also before EHLO and in a transaction, since all that the client said before it
// is forgotten under TLS. What comes behind it in clear ends the session, and is read by nobody.
//
// Only CRLF ends a command line too (RFC 5321 2.3.8). A line over kCommandLineBytesMax is swallowed
// to its end and answered once. Parameters are taken only from a client that saw them offered, that
// is, after EHLO and not after HELO.
//
// Used by the engine's listener, sluice-sink and the tests' peers. Not thread-safe.

#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "engine/base/ip_address.h"
#include "engine/smtp/body_scanner.h"
#include "engine/smtp/command.h"
#include "engine/smtp/envelope.h"
#include "engine/smtp/trace.h"

namespace sluice::smtp {

enum class ServerEvent : uint8_t {
  kNeedInput,  // All input is consumed, or no whole command is there: send output(), read on.
  kMail,       // MAIL was accepted by the grammar. Only if options.ask_mail: a verdict is needed.
  kRecipient,  // envelope().recipients.back() was accepted by the grammar. Only if
               // options.ask_recipients: a verdict is needed.
  kData,       // DATA or the first BDAT with at least one recipient: a verdict is needed (354,
               // or nothing said to BDAT; or a refusal).
  kBody,       // body_bytes() is the next piece of the body; lent until the input is given up.
  kMessage,    // The data has ended and the message may be accepted: a verdict is needed.
  kMessageDropped,  // The data has ended and the session has refused it by itself, or the client
                    // has given it up between chunks: drop the body.
  kWaiting,         // A verdict or the handshake is owed; input is not consumed until then.
  // 220 was said to STARTTLS: send output(), make the handshake, then call OnTlsEstablished. What
  // the client sends once the 220 has left is the handshake's; what the owner has received before
  // goes to Next all the same, which ends the session. With options.ask_starttls a verdict is
  // needed, and Accept says the 220.
  kStartTls,
  kClose,  // Send output(), then close.
};

class ServerSession {
 public:
  struct Options {
    absl::string_view hostname;  // Lent.
    absl::string_view software = "Sluice";
    SocketAddress client;
    bool may_relay = true;                  // False: every RCPT is refused with 550 5.7.1.
    uint64_t message_bytes_max = 52428800;  // SIZE; 0: no limit announced or held.
    uint32_t recipients_max = 1000;         // Beyond: 452 4.5.3.
    uint32_t bad_commands_max = 20;    // Between two accepted messages; one more: 421 4.7.0 and
                                       // close. A bad address is not a bad command.
    uint32_t received_hops_max = 100;  // More Received lines: 554 5.4.6.
    uint32_t line_bytes_max = 998;     // Of the body, without CRLF (F19); 0: not held. 550 5.6.0.
    bool offer_pipelining = true;
    bool offer_8bitmime = true;
    bool offer_size = true;
    bool offer_dsn = true;
    bool offer_chunking = false;
    bool offer_starttls = false;
    bool ask_mail = false;  // For sinks with faults.
    bool ask_recipients = false;
    bool ask_starttls = false;
  };

  void Begin(const Options& options);  // Puts the 220 greeting into output().
  // With another greeting line; one that refuses (554, 421) closes after it.
  void BeginWith(const Options& options, absl::string_view greeting);

  // Takes what it can from the front of `input`.
  ServerEvent Next(absl::string_view& input);

  // --- Verdicts: one for each event that needs one. A refusal is a whole reply line without CRLF.
  void Accept();  // kMail 250, kRecipient 250, kData 354 or for BDAT nothing, kStartTls 220.
  void AcceptMessage(absl::string_view id);   // 250 2.0.0 Ok: queued as ID
  void Refuse(absl::string_view reply_line);  // "452 4.3.1 Insufficient system storage"; 421
                                              // closes. Controls and 8-bit bytes leave as '?'. To
                                              // BDAT it is said behind the chunk's octets.

  // While false, STARTTLS is offered and refused: 454 4.7.0. For an owner that has no room for
  // another handshake now.
  void SetTlsAvailable(bool available) { tls_available_ = available; }
  // After kStartTls, with nothing left in output(): all bytes from here on, both ways, are those
  // within TLS. The client is unknown again.
  void OnTlsEstablished();

  // The owner's deadline passed, or the engine is going down: 421 with the reason, then kClose.
  // While the verdict on a message is owed, the 421 waits for it: a client that is told 421 sends
  // the message again, and it may be on disk already. During the handshake nothing is said in clear
  // any more.
  void Timeout();
  void ShutDown();

  // --- What the events mean.
  const Envelope& envelope() const { return envelope_; }
  Envelope& mutable_envelope() { return envelope_; }  // The owner may move it out at kMessage.
  absl::string_view body_bytes() const { return body_bytes_; }
  uint64_t message_bytes() const { return scanner_.message_bytes(); }  // So far, without stuffing.
  bool has_stuffing() const { return scanner_.stuffed_dots() > 0; }
  // The bytes handed out are the message's and these.
  uint64_t stuffed_dots() const { return scanner_.stuffed_dots(); }
  bool eight_bit() const { return scanner_.eight_bit(); }  // A byte over 127 was seen.
  // In the data: what has come so far will be refused at its end. No more of the body is handed
  // out.
  bool refuses_content() const { return !ContentRefusal().empty(); }
  absl::string_view helo() const { return helo_; }
  bool esmtp() const { return esmtp_; }
  bool tls() const { return tls_; }  // It is up.
  bool in_transaction() const;
  bool in_data() const;  // Octets that are no commands are awaited, or the verdict on the message.
  bool chunked() const { return phase_ == Phase::kChunk; }  // At kMessage: it came by BDAT.

  absl::string_view output() const { return output_; }
  void ClearOutput() { output_.clear(); }

 private:
  // What is expected next. A verdict that is owed stands beside it.
  enum class Phase : uint8_t {
    kUnknownClient,  // HELO or EHLO has not come.
    kIdle,           // MAIL may come.
    kEnvelope,       // MAIL was accepted: RCPT or DATA.
    kBody,           // 354 was said, up to the verdict on the message.
    kChunk,          // A chunk is taken; the last one, up to the verdict on the message.
    kBetweenChunks,  // One was taken: the next, or RSET.
    kRefusedChunk,   // A chunk is swallowed, then phase_after_chunk_ comes.
    kFailed,         // A chunk was refused: RSET.
    kHandshake,      // 220 was said to STARTTLS.
    kClosed,
  };
  enum class Verdict : uint8_t {
    kNone,
    kMail,
    kRecipient,
    kData,
    kFirstChunk,
    kMessage,
    kStartTls
  };
  enum class LineStatus : uint8_t { kPartial, kWhole, kTooLong };

  // Said in more than one place.
  static constexpr absl::string_view kOutOfOrder = "503 5.5.1 Bad sequence of commands";
  static constexpr absl::string_view kBadArgument = "501 5.5.4 Syntax error in the argument";
  static constexpr absl::string_view kNoRecipients = "554 5.5.1 No valid recipients";
  static constexpr absl::string_view kNotImplemented = "502 5.5.1 Command not implemented";

  LineStatus TakeLine(absl::string_view& input, absl::string_view& line);
  void KeepPartialLine(absl::string_view piece);

  // Each returns the event that its command is, kNeedInput when the session has answered it by
  // itself.
  ServerEvent Obey(absl::string_view line);
  ServerEvent ObeyMail(absl::string_view argument);
  ServerEvent ObeyRcpt(absl::string_view argument);
  ServerEvent ObeyData(absl::string_view argument);
  ServerEvent ObeyBdat(absl::string_view argument);
  ServerEvent ObeyStartTls(absl::string_view argument);
  ServerEvent ObeySimple(Verb verb, absl::string_view argument);
  void ObeyHelo(Verb verb, absl::string_view argument);

  void BeginHandshake();
  ServerEvent NextOfHandshake(absl::string_view input);
  bool TakeBackReady();

  ServerEvent BeginChunk();
  ServerEvent NextOfChunk(absl::string_view& input);
  ServerEvent NextOfRefusedChunk(absl::string_view& input);
  BodyScanner::Piece TakeOctets(absl::string_view& input);
  BodyScanner::Piece TakeEndOfChunks();
  ServerEvent EndChunk();
  void RefuseChunk(absl::string_view reply);

  void BeginBody(Phase phase);
  ServerEvent NextOfBody(absl::string_view& input);
  ServerEvent EndBody();
  absl::string_view ContentRefusal() const;

  Offered offered() const;
  void SayOffers();
  void SayBad(absl::string_view reply);
  void Say(absl::string_view reply);
  ServerEvent Ask(Verdict verdict, ServerEvent event);
  void EndTransaction();
  void Close(absl::string_view reply);

  Options options_;
  Envelope envelope_;
  std::string helo_;
  bool esmtp_ = false;
  bool tls_ = false;
  bool tls_available_ = true;
  Phase phase_ = Phase::kClosed;
  Verdict owed_ = Verdict::kNone;
  uint32_t bad_commands_ = 0;

  std::string line_;            // What came of a line whose end did not.
  bool line_used_ = false;      // line_ was handed to Obey and is to be cleared.
  bool line_too_long_ = false;  // line_ holds its last bytes only.

  BodyScanner scanner_;
  bool body_ended_ = false;
  absl::string_view body_bytes_;

  BdatCommand chunk_;
  uint64_t octets_left_ = 0;   // Of chunk_.
  std::string chunk_refusal_;  // Said when they have been swallowed.
  Phase phase_after_chunk_ = Phase::kClosed;

  std::string output_;
  std::string closing_reply_;  // Said once the owed verdict has come. Empty: none.
};

}  // namespace sluice::smtp
