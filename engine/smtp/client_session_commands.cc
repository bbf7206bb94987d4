// What the session writes: one command a call, as this EHLO allows it.

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/smtp/client_session.h"

namespace sluice::smtp {
namespace {

using enum ClientState;

}  // namespace

// What could end its line would let a message write commands of its own. Parsing has refused it
// long before (address.h).
void ClientSession::CheckOneLine(absl::string_view text) {
  CHECK(text.find_first_of(absl::string_view("\r\n\0", 3)) == absl::string_view::npos);
}

// Writes one command and moves `sending_` past it.
void ClientSession::WriteCommand() {
  switch (sending_) {
    case kEhlo:
      absl::StrAppend(&output_, "EHLO ", options_.ehlo_name, "\r\n");
      sending_ = kMail;
      return;
    case kHelo:
      absl::StrAppend(&output_, "HELO ", options_.ehlo_name, "\r\n");
      sending_ = kMail;
      return;
    case kStartTls:
      absl::StrAppend(&output_, "STARTTLS\r\n");
      sending_ = kEhlo;
      return;
    case kMail:
      WriteMail();
      sending_ = kRcpt;
      return;
    case kRcpt:
      WriteRecipient();
      sending_ = recipients_sent_ < recipients_end_ ? kRcpt : kData;
      return;
    case kData:
      if (chunk_waits()) {
        absl::StrAppend(&output_, "BDAT ", transaction_.body_bytes, " LAST\r\n");
      } else {
        absl::StrAppend(&output_, "DATA\r\n");
      }
      sending_ = kBody;
      return;
    case kDot:  // Alone: no body, since there is nobody to receive it (C41).
      CHECK(!open_);
      absl::StrAppend(&output_, ".\r\n");
      sending_ = kReset;
      return;
    case kReset:
      absl::StrAppend(&output_, "RSET\r\n");
      sending_ = kMail;
      return;
    case kQuit:
      absl::StrAppend(&output_, "QUIT\r\n");
      sending_ = kClosed;
      return;
    case kGreeting:
    case kTlsDecision:
    case kTlsHandshake:
    case kIdle:
    case kBody:
    case kBdat:
    case kClosed:
      break;
  }
  CHECK(false);  // No commands of ours.
}

void ClientSession::WriteMail() {
  CheckOneLine(transaction_.sender);
  ++transactions_;
  absl::StrAppend(&output_, "MAIL FROM:<", transaction_.sender, ">");
  if (extensions_.size) absl::StrAppend(&output_, " SIZE=", transaction_.body_bytes);
  switch (transaction_.body_type) {
    case BodyType::kSevenBit:
      break;
    case BodyType::kEightBitMime:
      CHECK(extensions_.eight_bit_mime);
      absl::StrAppend(&output_, " BODY=8BITMIME");
      break;
  }
  if (extensions_.dsn) WriteMailDsn();
  absl::StrAppend(&output_, "\r\n");
}

void ClientSession::WriteMailDsn() {
  switch (transaction_.ret) {
    case Return::kUnset:
      break;
    case Return::kFull:
      absl::StrAppend(&output_, " RET=FULL");
      break;
    case Return::kHeaders:
      absl::StrAppend(&output_, " RET=HDRS");
      break;
  }
  if (!transaction_.envelope_id.empty())
    absl::StrAppend(&output_, " ENVID=", transaction_.envelope_id);
}

void ClientSession::WriteRecipient() {
  CHECK(open_);
  CHECK(recipients_sent_ < recipients_end_);
  const EnvelopeRecipient& recipient = *transaction_.recipients[recipients_sent_++];
  CheckOneLine(recipient.address);
  absl::StrAppend(&output_, "RCPT TO:<", recipient.address, ">");
  if (extensions_.dsn) WriteRecipientDsn(recipient);
  absl::StrAppend(&output_, "\r\n");
}

void ClientSession::WriteRecipientDsn(const EnvelopeRecipient& recipient) {
  static constexpr struct {
    uint8_t bit;
    absl::string_view word;
  } kWords[] = {{kNotifyNever, "NEVER"},
                {kNotifySuccess, "SUCCESS"},
                {kNotifyFailure, "FAILURE"},
                {kNotifyDelay, "DELAY"}};
  absl::string_view separator = " NOTIFY=";
  for (const auto& [bit, word] : kWords) {
    if ((recipient.notify & bit) == 0) continue;
    absl::StrAppend(&output_, separator, word);
    separator = ",";
  }
  if (!recipient.original_recipient.empty()) {
    absl::StrAppend(&output_, " ORCPT=", recipient.original_recipient);
  }
}

}  // namespace sluice::smtp
