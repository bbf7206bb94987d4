#include "engine/smtp/command.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace sluice::smtp {
namespace {

struct VerbName {
  absl::string_view name;
  Verb verb;
};

// The commonest first.
constexpr VerbName kVerbs[] = {
    {"RCPT", Verb::kRcpt}, {"MAIL", Verb::kMail}, {"DATA", Verb::kData},
    {"RSET", Verb::kRset}, {"EHLO", Verb::kEhlo}, {"QUIT", Verb::kQuit},
    {"HELO", Verb::kHelo}, {"NOOP", Verb::kNoop}, {"VRFY", Verb::kVrfy},
    {"EXPN", Verb::kExpn}, {"HELP", Verb::kHelp}, {"STARTTLS", Verb::kStartTls},
    {"AUTH", Verb::kAuth}, {"BDAT", Verb::kBdat},
};

Verb VerbOf(absl::string_view word) {
  for (const VerbName& known : kVerbs) {
    if (absl::EqualsIgnoreCase(word, known.name)) return known.verb;
  }
  return Verb::kUnknown;
}

bool IsPrintableAscii(char c) {
  return c >= 0x20 && c <= 0x7e;
}

// Bytes of the UTF-8 character at the front, by the table of RFC 3629 4: no overlong form, no
// surrogate, nothing past U+10FFFF. 0: it is none.
size_t Utf8Length(absl::string_view text) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
  };
  const auto tail = [&](size_t i, int low = 0x80, int high = 0xbf) {
    return byte(i) >= low && byte(i) <= high;
  };
  const int first = byte(0);
  if (first < 0x80) return 1;
  if (first < 0xc2) return 0;
  if (first < 0xe0) return tail(1) ? 2 : 0;
  if (first < 0xf0) {
    const bool second = tail(1, first == 0xe0 ? 0xa0 : 0x80, first == 0xed ? 0x9f : 0xbf);
    return second && tail(2) ? 3 : 0;
  }
  if (first > 0xf4) return 0;
  const bool second = tail(1, first == 0xf0 ? 0x90 : 0x80, first == 0xf4 ? 0x8f : 0xbf);
  return second && tail(2) && tail(3) ? 4 : 0;
}

// Text as a command may hold it: UTF-8 without ASCII's controls.
bool IsText(absl::string_view line) {
  while (!line.empty()) {
    const auto byte = static_cast<unsigned char>(line[0]);
    const size_t length = Utf8Length(line);
    if (length == 0) return false;
    if (length == 1 && !IsPrintableAscii(static_cast<char>(byte))) return false;
    line.remove_prefix(length);
  }
  return true;
}

Refusal BadSyntax(absl::string_view reply) {
  return {.reply = std::string(reply)};
}

Refusal BadParameter(absl::string_view keyword) {
  return BadSyntax(absl::StrCat("501 5.5.4 Bad value of ", keyword));
}

// RFC 6531 3.5 for an 8-bit address; else the code of RFC 3463 3.2 for a bad sender or recipient.
Refusal BadAddress(const absl::Status& status, absl::string_view code) {
  if (absl::IsUnimplemented(status)) {
    return {.reply = absl::StrCat("553 5.6.7 ", status.message()), .address = true};
  }
  return {.reply = absl::StrCat("501 ", code, " Bad address: ", status.message()), .address = true};
}

// "FROM:" and spaces after it, which the grammar does not have and clients do.
bool ConsumePrefix(absl::string_view& argument, absl::string_view prefix) {
  if (!absl::StartsWithIgnoreCase(argument, prefix)) return false;
  argument = absl::StripLeadingAsciiWhitespace(argument.substr(prefix.size()));
  return true;
}

struct Parameter {
  absl::string_view keyword = {};
  absl::string_view value = {};
};

Parameter SplitParameter(absl::string_view text) {
  const size_t equals = text.find('=');
  if (equals == absl::string_view::npos) return {.keyword = text};
  return {.keyword = text.substr(0, equals), .value = text.substr(equals + 1)};
}

bool Is(const Parameter& parameter, absl::string_view keyword) {
  return absl::EqualsIgnoreCase(parameter.keyword, keyword);
}

bool IsDigits(absl::string_view text) {
  for (const char c : text) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(c))) return false;
  }
  return !text.empty();
}

// RFC 1870 4: 1 to 20 digits.
bool ParseSize(absl::string_view value, uint64_t& bytes) {
  if (value.size() > 20 || !IsDigits(value)) return false;
  if (!absl::SimpleAtoi(value, &bytes)) bytes = std::numeric_limits<uint64_t>::max();
  return true;
}

bool ParseBody(absl::string_view value, BodyType& body_type) {
  const bool eight_bit = absl::EqualsIgnoreCase(value, "8BITMIME");
  body_type = eight_bit ? BodyType::kEightBitMime : BodyType::kSevenBit;
  return eight_bit || absl::EqualsIgnoreCase(value, "7BIT");
}

bool ParseReturn(absl::string_view value, Return& ret) {
  const bool full = absl::EqualsIgnoreCase(value, "FULL");
  ret = full ? Return::kFull : Return::kHeaders;
  return full || absl::EqualsIgnoreCase(value, "HDRS");
}

bool ParseEnvelopeId(absl::string_view value, std::string& envelope_id) {
  if (value.empty() || value.size() > kEnvelopeIdBytesMax || !IsXtext(value)) return false;
  envelope_id = std::string(value);
  return true;
}

uint8_t NotifyBit(absl::string_view word) {
  if (absl::EqualsIgnoreCase(word, "NEVER")) return kNotifyNever;
  if (absl::EqualsIgnoreCase(word, "SUCCESS")) return kNotifySuccess;
  if (absl::EqualsIgnoreCase(word, "FAILURE")) return kNotifyFailure;
  if (absl::EqualsIgnoreCase(word, "DELAY")) return kNotifyDelay;
  return 0;
}

bool ParseNotify(absl::string_view value, uint8_t& notify) {
  if (value.empty()) return false;
  for (const absl::string_view word : absl::StrSplit(value, ',')) {
    const uint8_t bit = NotifyBit(word);
    if (bit == 0) return false;
    notify |= bit;
  }
  const bool never = (notify & kNotifyNever) != 0;
  return !never || notify == kNotifyNever;  // RFC 3461 4.1: NEVER stands alone.
}

// "rfc822;" and xtext (RFC 3461 4.2).
bool ParseOriginalRecipient(absl::string_view value, std::string& original_recipient) {
  const size_t semicolon = value.find(';');
  if (semicolon == absl::string_view::npos || semicolon == 0) return false;
  if (value.size() > kOriginalRecipientBytesMax) return false;
  for (const char c : value.substr(0, semicolon)) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-') return false;
  }
  const absl::string_view address = value.substr(semicolon + 1);
  if (address.empty() || !IsXtext(address)) return false;
  original_recipient = std::string(value);
  return true;
}

Refusal NotOffered(const Parameter& parameter) {
  // RFC 5321 4.1.1.11. The keyword is not said back: it is the client's text.
  return BadSyntax("555 5.5.4 Parameter not recognized or not offered");
}

// Reads the parameters one by one with `read`, which has a bit for each keyword it knows.
struct ReadResult {
  Refusal refusal = {};
  uint32_t keyword_bit = 0;
};

template <typename Read>
Refusal ReadParameters(absl::string_view text, Read read) {
  if (!text.empty() && text[0] != ' ') return BadSyntax("501 5.5.4 Syntax error after the address");
  uint32_t seen = 0;
  for (const absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    ReadResult result = read(SplitParameter(word));
    if (result.refusal) return result.refusal;
    if ((seen & result.keyword_bit) != 0) return BadSyntax("501 5.5.4 Parameter given twice");
    seen |= result.keyword_bit;
  }
  return {};
}

ReadResult ReadMailParameter(const Parameter& parameter, const Offered& offered,
                             MailCommand& mail) {
  if (offered.size && Is(parameter, "SIZE")) {
    if (!ParseSize(parameter.value, mail.size_bytes)) return {BadParameter("SIZE")};
    return {.keyword_bit = 1};
  }
  if (offered.eight_bit_mime && Is(parameter, "BODY")) {
    if (!ParseBody(parameter.value, mail.body_type)) return {BadParameter("BODY")};
    return {.keyword_bit = 2};
  }
  if (offered.dsn && Is(parameter, "RET")) {
    if (!ParseReturn(parameter.value, mail.ret)) return {BadParameter("RET")};
    return {.keyword_bit = 4};
  }
  if (offered.dsn && Is(parameter, "ENVID")) {
    if (!ParseEnvelopeId(parameter.value, mail.envelope_id)) return {BadParameter("ENVID")};
    return {.keyword_bit = 8};
  }
  return {NotOffered(parameter)};
}

ReadResult ReadRcptParameter(const Parameter& parameter, const Offered& offered,
                             EnvelopeRecipient& recipient) {
  if (offered.dsn && Is(parameter, "NOTIFY")) {
    if (!ParseNotify(parameter.value, recipient.notify)) return {BadParameter("NOTIFY")};
    return {.keyword_bit = 1};
  }
  if (offered.dsn && Is(parameter, "ORCPT")) {
    if (!ParseOriginalRecipient(parameter.value, recipient.original_recipient)) {
      return {BadParameter("ORCPT")};
    }
    return {.keyword_bit = 2};
  }
  return {NotOffered(parameter)};
}

int HexValue(char c) {  // RFC 3461 4: upper case only.
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

CommandLine SplitCommand(absl::string_view line) {
  while (!line.empty() && (line.back() == ' ' || line.back() == '\t')) line.remove_suffix(1);
  if (!IsText(line)) return {.verb = Verb::kGarbage};
  const size_t space = line.find(' ');
  CommandLine command = {.verb = VerbOf(line.substr(0, space))};
  if (space != absl::string_view::npos) {
    command.argument = absl::StripLeadingAsciiWhitespace(line.substr(space));
  }
  return command;
}

MailCommand ParseMail(absl::string_view argument, const Offered& offered) {
  MailCommand mail;
  if (!ConsumePrefix(argument, "FROM:")) {
    mail.refusal = BadSyntax("501 5.5.4 Syntax: MAIL FROM:<address>");
    return mail;
  }
  absl::StatusOr<Mailbox> sender = ParseReversePath(argument);
  if (!sender.ok()) {
    mail.refusal = BadAddress(sender.status(), "5.1.7");
    return mail;
  }
  mail.sender = *std::move(sender);
  mail.refusal = ReadParameters(argument, [&](const Parameter& parameter) {
    return ReadMailParameter(parameter, offered, mail);
  });
  return mail;
}

RcptCommand ParseRcpt(absl::string_view argument, const Offered& offered,
                      absl::string_view local_domain) {
  RcptCommand rcpt;
  if (!ConsumePrefix(argument, "TO:")) {
    rcpt.refusal = BadSyntax("501 5.5.4 Syntax: RCPT TO:<address>");
    return rcpt;
  }
  absl::StatusOr<Mailbox> mailbox = ParseForwardPath(argument, local_domain);
  if (!mailbox.ok()) {
    rcpt.refusal = BadAddress(mailbox.status(), "5.1.3");
    return rcpt;
  }
  rcpt.recipient.address = std::move(mailbox->address);
  rcpt.recipient.destination = std::move(mailbox->destination);
  rcpt.refusal = ReadParameters(argument, [&](const Parameter& parameter) {
    return ReadRcptParameter(parameter, offered, rcpt.recipient);
  });
  return rcpt;
}

// Spaces between the two are borne in any number, as at the end of the line.
std::optional<BdatCommand> ParseBdat(absl::string_view argument) {
  const size_t space = std::min(argument.find(' '), argument.size());
  const absl::string_view size = argument.substr(0, space);
  const absl::string_view rest = absl::StripLeadingAsciiWhitespace(argument.substr(space));
  BdatCommand bdat = {.last = absl::EqualsIgnoreCase(rest, "LAST")};
  if (!rest.empty() && !bdat.last) return std::nullopt;
  if (!IsDigits(size) || !absl::SimpleAtoi(size, &bdat.octets)) return std::nullopt;
  return bdat;
}

bool IsBearableHelo(absl::string_view argument) {
  if (argument.empty() || argument.size() > kHeloBytesMax) return false;
  for (const char c : argument) {
    if (!IsPrintableAscii(c)) return false;
  }
  return true;
}

bool IsXtext(absl::string_view text) {
  while (!text.empty()) {
    const char c = text[0];
    if (c == '+') {
      if (text.size() < 3 || HexValue(text[1]) < 0 || HexValue(text[2]) < 0) return false;
      const int decoded = HexValue(text[1]) * 16 + HexValue(text[2]);
      if (decoded < 0x20 || decoded > 0x7e) return false;
      text.remove_prefix(3);
    } else {
      if (c <= 0x20 || c > 0x7e || c == '=') return false;
      text.remove_prefix(1);
    }
  }
  return true;
}

}  // namespace sluice::smtp
