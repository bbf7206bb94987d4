// ClientSession against any server, and an owner that the input drives too. The input is a sequence
// of events: a byte chooses the event, and the server's bytes follow it up to a NUL. Checked: one
// outcome for each offer, at most one verdict for each recipient, `accepted` only after the body
// was handed over, nothing after the close. Its own CHECKs do the rest.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/strings/string_view.h"
#include "engine/base/check.h"
#include "engine/smtp/client_session.h"

namespace sluice::smtp {
namespace {

class Owner {
 public:
  Owner() {
    for (size_t i = 0; i < recipients_.size(); ++i) {
      recipients_[i].address = "b@y";
      lent_[i] = &recipients_[i];
    }
    session_.Begin({.ehlo_name = "client.example"}, now());
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
        session_.OnBytes(bytes, now());
        Drain();
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
        session_.ClearOutput();
        return;
      case ClientAction::kSendBody:
        CHECK(offered_);
        in_body_ = true;
        return;
      case ClientAction::kReady:
        CHECK(!offered_);
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
        offered_ = in_body_ = false;
        if (session_.result() == MessageResult::kAccepted) CHECK(handed_over_);
        if (session_.result() == MessageResult::kInDoubt) CHECK(handed_over_);
        if (session_.result() == MessageResult::kSessionLost) CHECK(!handed_over_);
        return;
      case ClientAction::kTlsAnswer:
      case ClientAction::kStartTls:
        CHECK(!"TLS was not asked for");
        return;
      case ClientAction::kClose:
        CHECK(session_.output().empty());
        CHECK(session_.deadline() == kNever);
        closed_ = true;
        ready_ = in_body_ = false;
        return;
    }
  }

  Duration clock_ = std::chrono::hours(1);
  ClientSession session_;
  std::array<EnvelopeRecipient, 3> recipients_;
  std::array<const EnvelopeRecipient*, 3> lent_;
  std::array<bool, 3> verdicts_ = {};
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
  sluice::smtp::Owner owner;
  while (!input.empty()) owner.Act(input);
  owner.End();
  return 0;
}
