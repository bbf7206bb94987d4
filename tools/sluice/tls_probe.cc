#include "tools/sluice/tls_probe.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/base/check.h"
#include "engine/base/printable.h"
#include "engine/io/clock.h"

namespace sluice::tools {
namespace {

using policy::TlsAction;
using policy::TlsFinding;
using policy::TlsLevel;

// As delivery has it.
constexpr Duration kHandshakeTime = std::chrono::seconds(30);

constexpr size_t kLinesMax = 200;  // Of a dialogue that are kept.

}  // namespace

policy::TlsDecision ProbedHost::Decision(TlsLevel level) const {
  if (!policy::MayStartTls(level)) return {.action = TlsAction::kClear};
  return policy::DecideTls(level, finding, verdict.Finding());
}

// Whatever was judged, the host had answered EHLO before: without STARTTLS it would have taken
// mail.
bool ProbedHost::Meets(TlsLevel level) const {
  if (!judged) return false;
  if (!policy::MayStartTls(level)) return true;
  return failure.empty() && Decision(level).action != TlsAction::kNextHost;
}

ProbedHost TlsProbe::Run(const dns::RouteStep& step) {
  host_.step = step;
  const Instant begun = io::ReadClock().instant;
  const absl::Status connected = socket_.Connect(step.address, begun + options_.patience);
  host_.connect_time = io::ReadClock().instant - begun;
  if (!connected.ok()) {
    host_.failure = absl::StrCat("no connection: ", connected.message());
    return std::move(host_);
  }
  session_.Begin({.ehlo_name = options_.ehlo_name, .start_tls = true}, io::ReadClock());
  channel_.Begin();
  Drive();
  while (!over_) Wait();
  return std::move(host_);
}

void TlsProbe::Drive() {
  while (!over_) {
    switch (session_.Next()) {
      case smtp::ClientAction::kNone:
        return;
      case smtp::ClientAction::kSend:
        SendOutput();
        break;
      case smtp::ClientAction::kTlsAnswer:
        Judge(delivery::FindingOf(session_.tls_answer()), session_.reply().ToString());
        usable_ = true;  // Where the level lets mail go in clear.
        session_.RefuseTls(io::ReadClock());
        break;
      case smtp::ClientAction::kStartTls:
        Handshake();
        break;
      case smtp::ClientAction::kReady:
        usable_ = true;
        session_.Quit(io::ReadClock());
        break;
      case smtp::ClientAction::kClose:
        OnEnd();
        break;
      case smtp::ClientAction::kSendBody:
      case smtp::ClientAction::kRecipientDone:
      case smtp::ClientAction::kRecipientMoved:
      case smtp::ClientAction::kMessageDone:
        CHECK(over_);  // Nothing was offered.
    }
  }
}

// Of silence that outlasts our patience the session is told as if its own had ended.
void TlsProbe::Wait() {
  switch (socket_.Receive(received_, Deadline())) {
    case ProbeSocket::Received::kBytes:
      return OnBytes(received_);
    case ProbeSocket::Received::kClosed:
      session_.OnClosed(io::ReadClock());
      return Drive();
    case ProbeSocket::Received::kTimeout:
      Now late = io::ReadClock();
      late.instant = std::max(late.instant, session_.deadline());
      session_.OnDeadline(late);
      return Drive();
  }
}

void TlsProbe::OnBytes(absl::string_view bytes) {
  if (channel_.state() != delivery::Channel::State::kSecure) {
    KeepLines("<", bytes);
    session_.OnBytes(bytes, io::ReadClock());
    return Drive();
  }
  absl::string_view plaintext;
  const tls::Stream::Opened opened = channel_.Open(bytes, plaintext);
  // Under TLS 1.3 a host may refuse our certificate when the handshake is over for us.
  if (opened == tls::Stream::Opened::kFailed && plaintext.empty() && !usable_) {
    Judge(TlsFinding::kHandshakeFailed, channel_.stream_detail());
    over_ = true;
    return;
  }
  KeepLines("<", plaintext);
  if (!plaintext.empty()) session_.OnBytes(plaintext, io::ReadClock());
  Drive();
  if (over_ || opened == tls::Stream::Opened::kNeedsInput) return;
  session_.OnClosed(io::ReadClock());
  Drive();
}

void TlsProbe::SendOutput() {
  const std::string output(session_.output());
  session_.ClearOutput();
  KeepLines(">", output);
  bool sent = false;
  if (channel_.state() == delivery::Channel::State::kSecure) {
    sent = channel_.Seal(output) && SendChannel();
  } else {
    sent = socket_.Send(output, Deadline());
  }
  // What the host has still said is read first: it may be why.
  if (!sent) KeepLines("-", "the host takes no more");
}

bool TlsProbe::SendChannel() {
  std::string ciphertext;
  return !channel_.TakeOutput(ciphertext) ||
         socket_.Send(ciphertext, io::ReadClock().instant + options_.patience);
}

void TlsProbe::Handshake() {
  const auto plan = delivery::MakePlan(*options_.intent, host_.step.host, host_.step.address,
                                       /*source=*/"", /*resumes=*/true);
  host_.server_name = plan->server_name;
  const Instant deadline = io::ReadClock().instant + kHandshakeTime;
  std::unique_ptr<tls::HandshakeJob> job = channel_.BeginHandshake(plan, deadline);
  while (channel_.state() == delivery::Channel::State::kSecuring) {
    if (job != nullptr) {
      job = channel_.OnFlight(desk_.Work(std::move(job)));
      SendChannel();
      continue;
    }
    switch (socket_.Receive(received_, deadline)) {
      case ProbeSocket::Received::kBytes:
        job = channel_.OnCiphertext(received_);
        break;
      case ProbeSocket::Received::kClosed:
        over_ = true;
        return Judge(TlsFinding::kHandshakeFailed, "the connection was closed");
      case ProbeSocket::Received::kTimeout:
        over_ = true;
        return Judge(TlsFinding::kHandshakeTimeout, "it took too long");
    }
  }
  if (channel_.state() == delivery::Channel::State::kSecure) return OnSecure();
  over_ = true;
  Judge(channel_.finding(), channel_.fault_detail());
}

void TlsProbe::OnSecure() {
  const tls::HandshakeJob& handshake = channel_.handshake();
  host_.protocol = handshake.stream->facts().protocol;
  host_.cipher = handshake.stream->facts().cipher;
  host_.chain = handshake.stream->facts().chain;
  host_.verdict = handshake.verdict;
  Judge(TlsFinding::kEstablished, handshake.verdict.detail);
  session_.OnTlsEstablished(io::ReadClock());
}

void TlsProbe::OnEnd() {
  over_ = true;
  if (session_.tls_answer() != smtp::TlsAnswer::kNone && !host_.judged) {
    return Judge(delivery::FindingOf(session_.tls_answer()), session_.close_reason());
  }
  if (!usable_) host_.failure = Printable(session_.close_reason());
}

void TlsProbe::Judge(TlsFinding finding, absl::string_view detail) {
  host_.judged = true;
  host_.finding = finding;
  host_.detail = Printable(detail);
}

// A line may come in several pieces.
void TlsProbe::KeepLines(absl::string_view direction, absl::string_view bytes) {
  std::vector<std::string>& lines = session_.tls() ? host_.under_tls : host_.in_clear;
  for (absl::string_view line : absl::StrSplit(bytes, '\n')) {
    const bool ended = line.end() != bytes.end();
    const std::string text = Printable(absl::StripTrailingAsciiWhitespace(line));
    if (line_open_) {
      lines.back() += text;
    } else if (!line.empty() && lines.size() < kLinesMax) {
      lines.push_back(absl::StrCat(direction, " ", text));
    } else {
      continue;
    }
    line_open_ = !ended;
  }
}

Instant TlsProbe::Deadline() const {
  return std::min(session_.deadline(), io::ReadClock().instant + options_.patience);
}

}  // namespace sluice::tools
