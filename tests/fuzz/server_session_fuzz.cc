// A ServerSession on any bytes, whole and in pieces whose sizes the input's first byte chooses; the
// second byte chooses the verdicts. Both must say the same, take the same messages, and keep every
// bound; a reply is always a line of its own, with a code. If TLS is offered, a byte 1 parts what
// comes in clear from what comes within TLS: what is behind STARTTLS in clear is never obeyed. If
// CHUNKING is offered, what BDAT brings keeps every bound that DATA's does.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "engine/base/check.h"
#include "engine/smtp/server_session.h"

namespace sluice::smtp {
namespace {

constexpr uint64_t kMessageBytesMax = 4096;

struct Held {
  std::string said;
  std::string taken;  // Senders, recipients and bodies of the messages.
  size_t left_bytes = 0;
};

ServerSession::Options Options(uint8_t choice) {
  ServerSession::Options options;
  options.hostname = "mx.example.net";
  options.message_bytes_max = kMessageBytesMax;
  options.recipients_max = 3;
  options.received_hops_max = 2;
  options.ask_mail = (choice & 1) != 0;
  options.ask_recipients = (choice & 2) != 0;
  options.offer_starttls = (choice & 16) != 0;
  options.ask_starttls = (choice & 64) != 0;
  options.offer_chunking = (choice & 128) != 0;
  return options;
}

// The verdict on the n-th question.
absl::string_view Refusal(uint8_t choice, size_t question) {
  if ((choice & 4) != 0 && question % 3 == 2) return "452 4.3.1 Full";
  if ((choice & 8) != 0 && question == 5) return "421 4.3.2 Down";
  return "";
}

void CheckReplies(absl::string_view said) {
  CHECK(absl::ConsumeSuffix(&said, "\r\n"));
  for (const absl::string_view line : absl::StrSplit(said, "\r\n")) {
    CHECK(line.size() >= 4 && line.size() <= 510);
    CHECK(line[0] >= '2' && line[0] <= '5');
    CHECK(line[3] == ' ' || line[3] == '-');
    for (const char c : line) CHECK(c >= 0x20 && c <= 0x7e);
  }
}

void TakeMessage(const ServerSession& session, const std::string& body, Held& held) {
  // The wire form is what DATA carried: no bare CR or LF, NUL, long line or end within it.
  CHECK(body.size() == session.message_bytes() + session.stuffed_dots());
  CHECK(session.message_bytes() <= kMessageBytesMax);
  CHECK(("\r\n" + body).find("\r\n.\r\n") == std::string::npos);
  for (const absl::string_view line : absl::StrSplit(body, "\r\n")) {
    CHECK(line.find_first_of(absl::string_view("\r\n\0", 3)) == absl::string_view::npos);
    CHECK(line.size() <= 999);  // A stuffed dot may come on top.
  }
  CHECK(!session.envelope().recipients.empty());
  CHECK(session.envelope().recipients.size() <= 3);
  held.taken += session.envelope().sender + "\n";
  for (const EnvelopeRecipient& recipient : session.envelope().recipients) {
    CHECK(!recipient.destination.empty());
    held.taken += recipient.address + "\n";
  }
  held.taken += body;
}

void TakeOutput(ServerSession& session, Held& held) {
  held.said.append(session.output().data(), session.output().size());
  session.ClearOutput();
}

Held Talk(absl::string_view sent, size_t piece_bytes, uint8_t choice) {
  ServerSession session;
  session.Begin(Options(choice));
  session.SetTlsAvailable((choice & 32) == 0);
  absl::string_view within_tls;
  if ((choice & 16) != 0) {
    const size_t end = std::min(sent.find('\1'), sent.size());
    within_tls = sent.substr(end);
    sent = sent.substr(0, end);
  }
  Held held;
  std::string body;
  absl::string_view input;
  size_t questions = 0;
  bool injected = false;
  for (;;) {
    const ServerEvent event = session.Next(input);
    CHECK(!injected || event == ServerEvent::kClose);
    // The go-ahead to STARTTLS waits, as while another send is in flight.
    if (event != ServerEvent::kStartTls) TakeOutput(session, held);
    switch (event) {
      case ServerEvent::kNeedInput:
        CHECK(input.empty());
        if (sent.empty()) return held;
        input = sent.substr(0, piece_bytes);
        sent.remove_prefix(input.size());
        break;
      case ServerEvent::kBody:
        body.append(session.body_bytes().data(), session.body_bytes().size());
        break;
      case ServerEvent::kMessageDropped:
        body.clear();
        break;
      case ServerEvent::kClose:
        if (injected) CHECK(absl::EndsWith(held.said, "\r\n554 5.5.0 Input behind STARTTLS\r\n"));
        held.left_bytes = input.size() + sent.size();
        return held;
      case ServerEvent::kMail:
      case ServerEvent::kRecipient:
      case ServerEvent::kData:
      case ServerEvent::kMessage: {
        const absl::string_view refusal = Refusal(choice, questions++);
        if (!refusal.empty()) {
          session.Refuse(refusal);
          body.clear();
        } else if (event == ServerEvent::kMessage) {
          TakeMessage(session, body, held);
          body.clear();
          session.AcceptMessage("17");
        } else {
          session.Accept();
        }
        break;
      }
      case ServerEvent::kStartTls:
        CHECK(!session.tls());
        if ((choice & 64) == 0) {
          CHECK(input.empty());
        } else if (const absl::string_view refusal = Refusal(choice, questions++);
                   !refusal.empty()) {
          session.Refuse(refusal);
          break;
        } else {
          session.Accept();
        }
        if (input.empty() && !sent.empty()) {
          input = sent.substr(0, piece_bytes);
          sent.remove_prefix(input.size());
        }
        if (!input.empty()) {
          injected = true;
          break;
        }
        TakeOutput(session, held);
        session.OnTlsEstablished();
        CHECK(session.helo().empty());
        CHECK(session.envelope().recipients.empty());
        sent = std::exchange(within_tls, "");
        break;
      case ServerEvent::kWaiting:
        CHECK(false);
    }
  }
}

}  // namespace
}  // namespace sluice::smtp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice::smtp;
  if (size < 2) return 0;
  const absl::string_view sent(reinterpret_cast<const char*>(data) + 2, size - 2);
  const Held whole = Talk(sent, sent.size() + 1, data[1]);
  const Held pieces = Talk(sent, 1 + data[0] % 16, data[1]);
  CheckReplies(whole.said);
  CHECK(whole.said == pieces.said);
  CHECK(whole.taken == pieces.taken);
  CHECK(whole.left_bytes == pieces.left_bytes);
  return 0;
}
