// ClientSession against any server, and an owner that the input drives too. The input is a sequence
// of events: a byte chooses the event, and the server's bytes follow it up to a NUL. Checked: one
// outcome for each offer, at most one verdict for each recipient, `accepted` only after the body
// was handed over, nothing after the close. With a 'T' in front TLS is wanted: no mail goes without
// it or the owner's word, and what comes during the handshake ends the session. Its own CHECKs do
// the rest.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "engine/base/check.h"
#include "engine/smtp/client_session.h"

namespace sluice::smtp {
namespace {

class Owner {
 public:
  explicit Owner(bool wants_tls) : wants_tls_(wants_tls) {
    for (size_t i = 0; i < recipients_.size(); ++i) {
      recipients_[i].address = "b@y";
      lent_[i] = &recipients_[i];
    }
    session_.Begin({.ehlo_name = "client.example", .start_tls = wants_tls}, now());
    Drain();
  }

  // Takes one event from the front of `input`.
  void Act(absl::string_view& input) {
    const char event = input.front();
    input.remove_prefix(1);
    switch (event) {
      case 'b':
        if (in_body_) EndBody();
        break;
      case 'p':
        session_.OnBodyProgress(now());
        break;
      case 'o':
      case 'O':
        if (ready_) Offer(event == 'O' ? 1 : recipients_.size());
        break;
      case 'q':
        if (ready_) session_.Quit(now());
        ready_ = false;
        break;
      case 'n':
        if (deciding_) ContinueInClear();
        break;
      case 'x':
        if (deciding_) session_.RefuseTls(now());
        deciding_ = false;
        break;
      case 't':
        if (in_handshake_) EndHandshake();
        break;
      case 'h':  // A send is in flight,
        holds_output_ = true;
        break;
      case 'r':  // and has completed.
        holds_output_ = false;
        TakeOutput();
        break;
      case 'N':
        OfferAhead();
        break;
      case 'c':
        session_.OnClosed(now());
        break;
      case 'a':
        session_.Abort();
        break;
      case 'd':
        clock_ += std::chrono::minutes(2);
        session_.OnDeadline(now());
        break;
      default:
        const absl::string_view bytes = input.substr(0, input.find('\0'));
        Hear(bytes);
        input.remove_prefix(std::min(bytes.size() + 1, input.size()));
        return;
    }
    Drain();
  }

  void End() {
    session_.OnClosed(now());
    Drain();
    CHECK(closed_);
    CHECK(!offered_);
  }

 private:
  Now now() const { return {Instant(clock_), WallTime()}; }

  void Hear(absl::string_view bytes) {
    const bool injected = in_handshake_ && !bytes.empty();
    session_.OnBytes(bytes, now());
    Drain();
    if (!injected) return;
    CHECK(closed_);
    CHECK(session_.tls_answer() == TlsAnswer::kInjected);
    CHECK(session_.close_reply().code == 0);
  }

  void ContinueInClear() {
    deciding_ = false;
    continued_ = true;
    session_.ContinueInClear(now());
  }

  void EndHandshake() {
    in_handshake_ = false;
    session_.OnTlsEstablished(now());
    CHECK(session_.tls());
    CHECK(!session_.extensions().pipelining && !session_.extensions().size);
    CHECK(absl::StartsWith(session_.output(), "EHLO "));
  }

  void TakeOutput() {
    absl::string_view output = session_.output();
    while (!output.empty()) {
      const size_t end = output.find("\r\n");
      CHECK(end != absl::string_view::npos);
      const absl::string_view command = output.substr(0, end);
      output.remove_prefix(end + 2);
      CHECK(!in_handshake_);
      if (absl::StartsWith(command, "MAIL")) CHECK(!wants_tls_ || session_.tls() || continued_);
      if (command != "STARTTLS") continue;
      CHECK(wants_tls_ && !asked_for_tls_);
      CHECK(output.empty());  // Nothing follows in its group.
      asked_for_tls_ = true;
    }
    session_.ClearOutput();
  }

  void Offer(size_t recipients) {
    ready_ = false;
    offered_ = true;
    handed_over_ = false;
    verdicts_ = {};
    session_.Offer(
        {.sender = "a@x",
         .recipients = std::span<const EnvelopeRecipient* const>(lent_.data(), recipients),
         .body_bytes = 1000},
        now());
  }

  void EndBody() {
    in_body_ = false;
    handed_over_ = true;
    session_.OnBodyEnding(now());
  }

  void OfferAhead() {
    const Transaction transaction = {
        .sender = "n@x",
        .recipients = std::span<const EnvelopeRecipient* const>(lent_.data(), 1),
        .body_bytes = 1000};
    if (!session_.MayOfferAhead(transaction)) return;
    CHECK(offered_ && handed_over_ && !ahead_);
    ahead_ = true;
    session_.OfferAhead(transaction, now());
  }

  void Drain() {
    for (ClientAction action = session_.Next(); action != ClientAction::kNone;
         action = session_.Next()) {
      CHECK(!closed_);
      Judge(action);
    }
  }

  void Judge(ClientAction action) {
    switch (action) {
      case ClientAction::kNone:
        return;
      case ClientAction::kSend:
        CHECK(!session_.output().empty());
        if (!holds_output_) TakeOutput();
        return;
      case ClientAction::kSendBody:
        CHECK(offered_);
        in_body_ = true;
        return;
      case ClientAction::kReady:
        CHECK(!offered_);
        CHECK(!wants_tls_ || session_.tls() || continued_);
        ready_ = true;
        return;
      case ClientAction::kRecipientDone:
      case ClientAction::kRecipientMoved:
        CHECK(offered_);
        CHECK(!verdicts_.at(session_.recipient_index()));
        verdicts_[session_.recipient_index()] = true;
        return;
      case ClientAction::kMessageDone:
        CHECK(offered_);
        if (session_.result() == MessageResult::kAccepted) CHECK(handed_over_);
        if (session_.result() == MessageResult::kInDoubt) CHECK(handed_over_);
        if (session_.result() == MessageResult::kSessionLost) CHECK(!handed_over_);
        if (session_.result() == MessageResult::kUntried) CHECK(!handed_over_);
        in_body_ = handed_over_ = false;
        verdicts_ = {};
        offered_ = std::exchange(ahead_, false);
        return;
      case ClientAction::kTlsAnswer:
        CHECK(wants_tls_ && !session_.tls());
        CHECK(session_.tls_answer() != TlsAnswer::kNone);
        deciding_ = true;
        return;
      case ClientAction::kStartTls:
        CHECK(asked_for_tls_ && !had_handshake_);
        CHECK(session_.output().empty());
        in_handshake_ = had_handshake_ = true;
        return;
      case ClientAction::kClose:
        CHECK(session_.output().empty());
        CHECK(session_.deadline() == kNever);
        if (had_handshake_ && session_.tls_answer() != TlsAnswer::kNone) {
          CHECK(in_handshake_);
          CHECK(session_.tls_answer() == TlsAnswer::kInjected);
        }
        closed_ = true;
        ready_ = in_body_ = deciding_ = in_handshake_ = false;
        return;
    }
  }

  Duration clock_ = std::chrono::hours(1);
  ClientSession session_;
  std::array<EnvelopeRecipient, 3> recipients_;
  std::array<const EnvelopeRecipient*, 3> lent_;
  std::array<bool, 3> verdicts_ = {};
  bool ahead_ = false;  // Another transaction is offered, behind the one that is on.
  bool wants_tls_;
  bool deciding_ = false;
  bool continued_ = false;
  bool asked_for_tls_ = false;
  bool in_handshake_ = false;
  bool had_handshake_ = false;
  bool holds_output_ = false;
  bool ready_ = false;
  bool offered_ = false;
  bool in_body_ = false;
  bool handed_over_ = false;
  bool closed_ = false;
};

}  // namespace
}  // namespace sluice::smtp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  absl::string_view input(reinterpret_cast<const char*>(data), size);
  sluice::smtp::Owner owner(absl::ConsumePrefix(&input, "T"));
  while (!input.empty()) owner.Act(input);
  owner.End();
  return 0;
}
