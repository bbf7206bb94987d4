#include "engine/smtp/server_session.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/check.h"

namespace sluice::smtp {
namespace {

constexpr size_t kReplyLineBytesMax = 512;  // RFC 5321 4.5.3.1.5, with CRLF.

constexpr absl::string_view kLineTooLong = "500 5.5.6 Line too long";
constexpr absl::string_view kTooLarge = "552 5.3.4 Message size exceeds the limit";

bool IsRefusal(absl::string_view reply) {
  return !reply.empty() && reply[0] >= '4';
}

}  // namespace

void ServerSession::Begin(const Options& options) {
  BeginWith(options, absl::StrCat("220 ", options.hostname, " ESMTP ", options.software));
}

void ServerSession::BeginWith(const Options& options, absl::string_view greeting) {
  *this = ServerSession();
  options_ = options;
  phase_ = Phase::kUnknownClient;
  if (IsRefusal(greeting)) {
    Close(greeting);
  } else {
    Say(greeting);
  }
}

ServerEvent ServerSession::Next(absl::string_view& input) {
  if (owed_ != Verdict::kNone) return ServerEvent::kWaiting;
  while (phase_ != Phase::kClosed) {
    if (phase_ == Phase::kBody) return NextOfBody(input);
    if (phase_ == Phase::kHandshake) return NextOfHandshake(input);
    if (in_data()) {
      const bool refused = phase_ == Phase::kRefusedChunk;
      const ServerEvent event = refused ? NextOfRefusedChunk(input) : NextOfChunk(input);
      if (event != ServerEvent::kNeedInput || in_data()) return event;
      continue;
    }
    const bool between_chunks = phase_ == Phase::kBetweenChunks;
    absl::string_view line;
    switch (TakeLine(input, line)) {
      case LineStatus::kPartial:
        return ServerEvent::kNeedInput;
      case LineStatus::kTooLong:
        // Where octets may follow the line nobody knows how many.
        options_.offer_chunking ? Close(kLineTooLong) : SayBad(kLineTooLong);
        break;
      case LineStatus::kWhole:
        const ServerEvent event = Obey(line);
        if (phase_ == Phase::kHandshake && !input.empty()) break;  // Judged right here.
        if (between_chunks && phase_ == Phase::kIdle) return ServerEvent::kMessageDropped;
        if (event != ServerEvent::kNeedInput) return event;
        break;
    }
  }
  return ServerEvent::kClose;
}

// A line that is whole in the input is used where it stands.
ServerSession::LineStatus ServerSession::TakeLine(absl::string_view& input,
                                                  absl::string_view& line) {
  if (line_used_) line_.clear();
  line_used_ = false;
  while (!input.empty()) {
    const size_t newline = input.find('\n');
    const absl::string_view piece = input.substr(0, newline == input.npos ? newline : newline + 1);
    input.remove_prefix(piece.size());
    const bool in_place = line_.empty() && !line_too_long_ && absl::EndsWith(piece, "\r\n") &&
                          piece.size() <= kCommandLineBytesMax;
    if (!in_place) KeepPartialLine(piece);
    const absl::string_view whole = in_place ? piece : absl::string_view(line_);
    if (!absl::EndsWith(whole, "\r\n")) continue;  // A bare LF ends nothing.
    line_used_ = true;
    line = whole.substr(0, whole.size() - 2);
    return std::exchange(line_too_long_, false) ? LineStatus::kTooLong : LineStatus::kWhole;
  }
  return LineStatus::kPartial;
}

// Of a line over the bound only the last two bytes are kept, which tell whether it has ended.
void ServerSession::KeepPartialLine(absl::string_view piece) {
  if (line_.size() + piece.size() > kCommandLineBytesMax) line_too_long_ = true;
  if (line_too_long_ && piece.size() >= 2) {
    line_ = std::string(piece.substr(piece.size() - 2));
    return;
  }
  absl::StrAppend(&line_, piece);
  if (line_too_long_ && line_.size() > 2) line_.erase(0, line_.size() - 2);
  CHECK(line_.size() <= kCommandLineBytesMax);
}

ServerEvent ServerSession::Obey(absl::string_view line) {
  const CommandLine command = SplitCommand(line);
  switch (command.verb) {
    case Verb::kMail:
      return ObeyMail(command.argument);
    case Verb::kRcpt:
      return ObeyRcpt(command.argument);
    case Verb::kData:
      return ObeyData(command.argument);
    case Verb::kBdat:
      return ObeyBdat(command.argument);
    case Verb::kStartTls:
      return ObeyStartTls(command.argument);
    case Verb::kHelo:
    case Verb::kEhlo:
      ObeyHelo(command.verb, command.argument);
      return ServerEvent::kNeedInput;
    case Verb::kRset:
    case Verb::kNoop:
    case Verb::kVrfy:
    case Verb::kExpn:
    case Verb::kHelp:
    case Verb::kQuit:
    case Verb::kAuth:
      return ObeySimple(command.verb, command.argument);
    case Verb::kUnknown:
      SayBad("500 5.5.2 Command not recognized");
      return ServerEvent::kNeedInput;
    case Verb::kGarbage:
      if (options_.offer_chunking && absl::StartsWithIgnoreCase(line, "BDAT")) {
        Close(kBadArgument);  // As BDAT does with one.
        return ServerEvent::kNeedInput;
      }
      SayBad("500 5.5.2 Syntax error: control character or invalid UTF-8");
      return ServerEvent::kNeedInput;
  }
  CHECK(false);
  return ServerEvent::kClose;
}

ServerEvent ServerSession::ObeyMail(absl::string_view argument) {
  if (phase_ != Phase::kIdle) {
    SayBad(phase_ == Phase::kUnknownClient ? "503 5.5.1 Send EHLO first" : kOutOfOrder);
    return ServerEvent::kNeedInput;
  }
  MailCommand mail = ParseMail(argument, offered());
  if (mail.refusal) {
    mail.refusal.address ? Say(mail.refusal.reply) : SayBad(mail.refusal.reply);
    return ServerEvent::kNeedInput;
  }
  if (options_.message_bytes_max > 0 && mail.size_bytes > options_.message_bytes_max) {
    Say(kTooLarge);
    return ServerEvent::kNeedInput;
  }
  envelope_ = {};
  envelope_.sender = std::move(mail.sender.address);
  envelope_.body_type = mail.body_type;
  envelope_.ret = mail.ret;
  envelope_.envelope_id = std::move(mail.envelope_id);
  if (options_.ask_mail) return Ask(Verdict::kMail, ServerEvent::kMail);
  phase_ = Phase::kEnvelope;
  Say("250 2.1.0 Ok");
  return ServerEvent::kNeedInput;
}

ServerEvent ServerSession::ObeyRcpt(absl::string_view argument) {
  if (phase_ != Phase::kEnvelope) {
    SayBad(kOutOfOrder);
    return ServerEvent::kNeedInput;
  }
  // Before the address is looked at: no form of it can be the one that passes (F21).
  if (!options_.may_relay) {
    SayBad("550 5.7.1 Relaying denied");
    return ServerEvent::kNeedInput;
  }
  RcptCommand rcpt = ParseRcpt(argument, offered(), options_.hostname);
  if (rcpt.refusal) {
    rcpt.refusal.address ? Say(rcpt.refusal.reply) : SayBad(rcpt.refusal.reply);
    return ServerEvent::kNeedInput;
  }
  if (envelope_.recipients.size() >= options_.recipients_max) {
    Say("452 4.5.3 Too many recipients");  // RFC 5321 4.5.3.1.10: the rest come in another message.
    return ServerEvent::kNeedInput;
  }
  envelope_.recipients.push_back(std::move(rcpt.recipient));
  if (options_.ask_recipients) return Ask(Verdict::kRecipient, ServerEvent::kRecipient);
  Say("250 2.1.5 Ok");
  return ServerEvent::kNeedInput;
}

ServerEvent ServerSession::ObeyData(absl::string_view argument) {
  if (phase_ != Phase::kEnvelope) {
    SayBad(kOutOfOrder);
  } else if (!argument.empty()) {
    SayBad(kBadArgument);
  } else if (envelope_.recipients.empty()) {
    // RFC 5321 3.3. Under pipelining this follows from the refusals: no bad command of its own.
    Say(kNoRecipients);
  } else {
    return Ask(Verdict::kData, ServerEvent::kData);
  }
  return ServerEvent::kNeedInput;
}

ServerEvent ServerSession::ObeySimple(Verb verb, absl::string_view argument) {
  const bool takes_none = verb == Verb::kRset || verb == Verb::kQuit;
  if (takes_none && !argument.empty()) {
    SayBad(kBadArgument);
  } else if (verb == Verb::kRset) {
    EndTransaction();
    Say("250 2.0.0 Ok");
  } else if (verb == Verb::kNoop) {
    Say("250 2.0.0 Ok");
  } else if (verb == Verb::kHelp) {
    Say("214 2.0.0 EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT");
  } else if (verb == Verb::kVrfy && argument.empty()) {
    SayBad(kBadArgument);
  } else if (verb == Verb::kVrfy) {
    Say("252 2.5.0 Cannot VRFY user, but will accept message and attempt delivery");
  } else if (verb == Verb::kQuit) {
    Close(absl::StrCat("221 2.0.0 ", options_.hostname, " closing connection"));
  } else {
    SayBad(kNotImplemented);
  }
  return ServerEvent::kNeedInput;
}

// Both begin anew, whatever was under way (RFC 5321 4.1.4). Their replies have no enhanced code
// (RFC 2034 3).
void ServerSession::ObeyHelo(Verb verb, absl::string_view argument) {
  const bool ehlo = verb == Verb::kEhlo;
  if (!IsBearableHelo(argument)) {
    SayBad(ehlo ? "501 Syntax: EHLO hostname" : "501 Syntax: HELO hostname");
    return;
  }
  EndTransaction();
  phase_ = Phase::kIdle;
  helo_ = std::string(argument);
  esmtp_ = ehlo;
  if (ehlo) {
    SayOffers();
  } else {
    Say(absl::StrCat("250 ", options_.hostname));
  }
}

void ServerSession::SayOffers() {
  Say(absl::StrCat("250-", options_.hostname));
  if (options_.offer_pipelining) Say("250-PIPELINING");
  if (options_.offer_size) Say(absl::StrCat("250-SIZE ", options_.message_bytes_max));
  if (options_.offer_8bitmime) Say("250-8BITMIME");
  Say("250-ENHANCEDSTATUSCODES");
  if (options_.offer_dsn) Say("250-DSN");
  if (options_.offer_chunking) Say("250-CHUNKING");
  if (options_.offer_starttls && !tls_) Say("250-STARTTLS");
  Say("250 HELP");
}

Offered ServerSession::offered() const {
  return {.size = esmtp_ && options_.offer_size,
          .eight_bit_mime = esmtp_ && options_.offer_8bitmime,
          .dsn = esmtp_ && options_.offer_dsn};
}

void ServerSession::BeginBody(Phase phase) {
  phase_ = phase;
  scanner_ = BodyScanner();
  body_ended_ = false;
}

ServerEvent ServerSession::NextOfBody(absl::string_view& input) {
  while (!body_ended_) {
    const BodyScanner::Piece piece = scanner_.Take(input);
    body_ended_ = piece.ended;
    if (!piece.body.empty() && ContentRefusal().empty()) {
      body_bytes_ = piece.body;
      return ServerEvent::kBody;
    }
    if (piece.body.empty() && !piece.ended) return ServerEvent::kNeedInput;
  }
  return EndBody();
}

ServerEvent ServerSession::EndBody() {
  body_bytes_ = {};
  const absl::string_view refusal = ContentRefusal();
  if (refusal.empty()) return Ask(Verdict::kMessage, ServerEvent::kMessage);
  Say(refusal);
  EndTransaction();
  return ServerEvent::kMessageDropped;
}

// What the body has shown so far that forbids to accept it. The permanent codes are 5.6.0 (RFC 3463
// 3.7) for what no relay could repair without touching what may be signed (F18, F19).
absl::string_view ServerSession::ContentRefusal() const {
  const uint64_t bytes_max = options_.message_bytes_max;
  if (bytes_max > 0 && scanner_.message_bytes() > bytes_max) return kTooLarge;
  if (scanner_.received_lines() > options_.received_hops_max) {
    return "554 5.4.6 Too many hops: the message loops";
  }
  if (scanner_.bare_cr()) return "550 5.6.0 Message holds a CR without LF";
  if (scanner_.bare_lf()) return "550 5.6.0 Message holds a LF without CR";
  if (scanner_.nul()) return "550 5.6.0 Message holds a NUL";
  if (options_.line_bytes_max > 0 && scanner_.longest_line_bytes() > options_.line_bytes_max) {
    return "550 5.6.0 Message holds a line that is too long";
  }
  return {};
}

bool ServerSession::in_transaction() const {
  switch (phase_) {
    case Phase::kEnvelope:
    case Phase::kBody:
    case Phase::kChunk:
    case Phase::kBetweenChunks:
    case Phase::kFailed:
      return true;
    case Phase::kRefusedChunk:
      return phase_after_chunk_ == Phase::kFailed;
    case Phase::kUnknownClient:
    case Phase::kIdle:
    case Phase::kHandshake:
    case Phase::kClosed:
      return false;
  }
  CHECK(false);
  return false;
}

bool ServerSession::in_data() const {
  return phase_ == Phase::kBody || phase_ == Phase::kChunk || phase_ == Phase::kRefusedChunk;
}

ServerEvent ServerSession::Ask(Verdict verdict, ServerEvent event) {
  CHECK(owed_ == Verdict::kNone);
  owed_ = verdict;
  return event;
}

void ServerSession::Accept() {
  switch (std::exchange(owed_, Verdict::kNone)) {
    case Verdict::kMail:
      phase_ = Phase::kEnvelope;
      Say("250 2.1.0 Ok");
      return;
    case Verdict::kRecipient:
      Say("250 2.1.5 Ok");
      return;
    case Verdict::kData:
      BeginBody(Phase::kBody);
      Say("354 End data with <CR><LF>.<CR><LF>");
      return;
    case Verdict::kFirstChunk:
      BeginBody(Phase::kChunk);
      return;
    case Verdict::kStartTls:
      BeginHandshake();
      return;
    case Verdict::kNone:
    case Verdict::kMessage:
      CHECK(false);  // Nothing was asked, or AcceptMessage is the answer.
  }
}

void ServerSession::AcceptMessage(absl::string_view id) {
  CHECK(owed_ == Verdict::kMessage);
  owed_ = Verdict::kNone;
  Say(absl::StrCat("250 2.0.0 Ok: queued as ", id));
  bad_commands_ = 0;
  EndTransaction();
  if (!closing_reply_.empty()) Close(closing_reply_);
}

void ServerSession::Refuse(absl::string_view reply_line) {
  CHECK(IsRefusal(reply_line));
  switch (std::exchange(owed_, Verdict::kNone)) {
    case Verdict::kMail:
      envelope_ = {};
      break;
    case Verdict::kRecipient:
      envelope_.recipients.pop_back();
      break;
    case Verdict::kData:
      break;  // The transaction stands until RSET (RFC 5321 4.1.1.4 clears it at the end of data).
    case Verdict::kFirstChunk:
      if (absl::StartsWith(reply_line, "421")) break;
      return RefuseChunk(reply_line);
    case Verdict::kStartTls:
      break;  // What was said in clear stands.
    case Verdict::kMessage:
      EndTransaction();
      break;
    case Verdict::kNone:
      CHECK(false);
  }
  if (absl::StartsWith(reply_line, "421")) {
    Close(reply_line);
    return;
  }
  Say(reply_line);
  if (!closing_reply_.empty()) Close(closing_reply_);
}

void ServerSession::Timeout() {
  Close(absl::StrCat("421 4.4.2 ", options_.hostname, " Timeout, closing connection"));
}

void ServerSession::ShutDown() {
  Close(absl::StrCat("421 4.3.2 ", options_.hostname, " Service shutting down"));
}

void ServerSession::EndTransaction() {
  envelope_ = {};
  if (in_transaction()) phase_ = Phase::kIdle;
}

void ServerSession::Close(absl::string_view reply) {
  if (phase_ == Phase::kClosed) return;
  if (owed_ == Verdict::kMessage) {
    closing_reply_ = std::string(reply);
    return;
  }
  if (phase_ != Phase::kHandshake || TakeBackReady()) Say(reply);
  owed_ = Verdict::kNone;
  phase_ = Phase::kClosed;
}

void ServerSession::SayBad(absl::string_view reply) {
  if (++bad_commands_ > options_.bad_commands_max) {
    Close(absl::StrCat("421 4.7.0 ", options_.hostname, " Too many bad commands"));
  } else {
    Say(reply);
  }
}

// The one place where a reply leaves. What our owner or a client had a part in may not end the
// line, and the line is no longer than any client must be able to take.
void ServerSession::Say(absl::string_view reply) {
  reply = reply.substr(0, kReplyLineBytesMax - 2);
  const size_t begin = output_.size();
  absl::StrAppend(&output_, reply, "\r\n");
  for (size_t i = begin; i < output_.size() - 2; ++i) {
    if (output_[i] < 0x20 || output_[i] > 0x7e) output_[i] = '?';
  }
}

}  // namespace sluice::smtp
