// The words for tests of ClientSession: the server's side of a scripted dialogue, and a record of
// what the session did. The session's owner is played here too: it takes every output at once.
//
//   ClientPeer peer; peer.Greets("PIPELINING"); peer.Offers({"b@y"}); peer.Replies("250 ok\r\n");
//   EXPECT_EQ(peer.Sent(), "RCPT TO:<b@y>\r\n"); EXPECT_THAT(peer.Seen(), ElementsAre("ready"));

#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "engine/smtp/client_session.h"
#include "gtest/gtest.h"

namespace sluice::smtp {

// How the server's bytes reach the session.
enum class Arrival { kWhole, kByteByByte };

struct Message {
  std::string sender = "a@x";
  uint64_t body_bytes = 1000;
  BodyType body_type = BodyType::kSevenBit;
  bool at_once = false;
};

class ClientPeer {
 public:
  explicit ClientPeer(Arrival arrival = Arrival::kWhole, bool may_pipeline = true)
      : arrival_(arrival) {
    Begins(may_pipeline);
  }

  void Begins(bool may_pipeline = true) {
    session_.Begin({.ehlo_name = "client.example", .may_pipeline = may_pipeline}, Time());
    Drain();
  }
  void BeginsWantingTls() {
    session_.Begin({.ehlo_name = "client.example", .start_tls = true}, Time());
    Drain();
  }

  // --- The server.
  void Replies(absl::string_view bytes) {
    if (arrival_ == Arrival::kWhole) return Gives(bytes);
    for (size_t i = 0; i < bytes.size(); ++i) Gives(bytes.substr(i, 1));
  }
  void Gives(absl::string_view bytes) {  // In one piece, whatever the arrival.
    session_.OnBytes(bytes, Time());
    Drain();
  }
  // Greets, and offers `keywords`, one a comma; forgets what was sent and seen for it.
  void Greets(absl::string_view keywords) {
    Replies("220 mx.example ESMTP\r\n");
    EXPECT_EQ(Sent(), "EHLO client.example\r\n");
    std::string reply = "250-mx.example\r\n";
    for (absl::string_view keyword : absl::StrSplit(keywords, ',', absl::SkipEmpty())) {
      absl::StrAppend(&reply, "250-", keyword, "\r\n");
    }
    Replies(absl::StrCat(reply, "250 HELP\r\n"));
    EXPECT_EQ(Seen(), std::vector<std::string>{"ready"});
  }
  void Closes() {
    session_.OnClosed(Time());
    Drain();
  }

  // --- The owner.
  void Offers(const std::vector<std::string>& recipients, const Message& message = {}) {
    recipients_.assign(recipients.size(), {});
    lent_.clear();
    for (size_t i = 0; i < recipients.size(); ++i) {
      recipients_[i].address = recipients[i];
      lent_.push_back(&recipients_[i]);
    }
    sender_ = message.sender;
    session_.Offer({.sender = sender_,
                    .recipients = lent_,
                    .body_bytes = message.body_bytes,
                    .at_once = message.at_once,
                    .body_type = message.body_type},
                   Time());
    Drain();
  }
  // With the end of the data, as SendsBody; false: it may not.
  bool SendsBodyAndOffers(const std::string& recipient, uint64_t body_bytes = 1000,
                          bool at_once = false) {
    EndsBody();
    ahead_.address = recipient;
    const Transaction transaction = {
        .sender = "n@x", .recipients = ahead_lent_, .body_bytes = body_bytes, .at_once = at_once};
    const bool may = session_.MayOfferAhead(transaction);
    if (may) session_.OfferAhead(transaction, Time());
    Drain();
    return may;
  }
  // By BDAT its commands leave with it, and are Sent.
  void SendsBody() {
    EndsBody();
    Drain();
  }
  void SendsPiece() {
    session_.OnBodyProgress(Time());
    Drain();
  }
  void Quits() {
    session_.Quit(Time());
    Drain();
  }
  void ContinuesInClear() {
    session_.ContinueInClear(Time());
    Drain();
  }
  void RefusesTls() {
    session_.RefuseTls(Time());
    Drain();
  }
  void EndsHandshake() {  // TLS is up.
    session_.OnTlsEstablished(Time());
    Drain();
  }
  void Aborts() {
    session_.Abort();
    Drain();
  }

  // --- Time.
  void Passes(Duration time) {
    clock_ += time;
    session_.OnDeadline(Time());
    Drain();
  }
  // Until the deadline; kNever is said as a negative time.
  Duration Left() const {
    if (session_.deadline() == kNever) return Duration(-1);
    return session_.deadline() - clock_;
  }

  // --- What came of it, since last asked.
  std::string Sent() { return std::exchange(sent_, ""); }
  std::vector<std::string> Seen() { return std::exchange(seen_, {}); }

  ClientSession& session() { return session_; }

 private:
  Now Time() const { return {clock_, WallTime(std::chrono::seconds(1795577281))}; }

  void EndsBody() {
    const bool commands_first = session_.chunk_waits();
    session_.OnBodyEnding(Time());
    if (!commands_first) return;
    absl::StrAppend(&sent_, session_.output());
    session_.ClearOutput();
  }

  void Drain() {
    for (ClientAction action = session_.Next(); action != ClientAction::kNone;
         action = session_.Next()) {
      Record(action);
    }
  }

  void Record(ClientAction action) {
    switch (action) {
      case ClientAction::kNone:
        return;
      case ClientAction::kSend:
        EXPECT_NE(session_.output(), "");
        EXPECT_FALSE(session_.chunk_waits());
        absl::StrAppend(&sent_, session_.output());
        session_.ClearOutput();
        return;
      case ClientAction::kSendBody:
        return seen_.push_back("send body");
      case ClientAction::kReady:
        return seen_.push_back("ready");
      case ClientAction::kRecipientDone:
        return seen_.push_back(absl::StrCat("refused ", session_.recipient_index(), ": ",
                                            session_.reply().ToString()));
      case ClientAction::kRecipientMoved:
        return seen_.push_back(absl::StrCat("moved ", session_.recipient_index()));
      case ClientAction::kMessageDone:
        return seen_.push_back(Outcome());
      case ClientAction::kTlsAnswer:
        return seen_.push_back(absl::StrCat("no tls: ", Name(session_.tls_answer())));
      case ClientAction::kStartTls:
        EXPECT_EQ(session_.output(), "");
        return seen_.push_back("start tls");
      case ClientAction::kClose:
        EXPECT_EQ(session_.output(), "");
        return seen_.push_back(absl::StrCat("close: ", session_.close_reason()));
    }
  }

  // "message refused at DATA (message): 554 no"
  std::string Outcome() const {
    std::string text = absl::StrCat("message ", Name(session_.result()));
    if (session_.result() != MessageResult::kAccepted) {
      absl::StrAppend(&text, " at ", SpecOf(session_.failed_state()).name, " (",
                      Name(session_.reach()), ")");
    }
    const std::string reply = session_.reply().ToString();
    if (!reply.empty()) absl::StrAppend(&text, ": ", reply);
    return text;
  }

  static absl::string_view Name(MessageResult result) {
    switch (result) {
      case MessageResult::kAccepted:
        return "accepted";
      case MessageResult::kRefused:
        return "refused";
      case MessageResult::kUnsendable:
        return "unsendable";
      case MessageResult::kSessionLost:
        return "lost";
      case MessageResult::kInDoubt:
        return "in doubt";
      case MessageResult::kUntried:
        return "untried";
    }
    return "";
  }

  static absl::string_view Name(TlsAnswer answer) {
    switch (answer) {
      case TlsAnswer::kNone:
        return "none";
      case TlsAnswer::kNotOffered:
        return "not offered";
      case TlsAnswer::kEhloRefused:
        return "EHLO refused";
      case TlsAnswer::kRefused:
        return "refused";
      case TlsAnswer::kGarbage:
        return "garbage";
      case TlsAnswer::kSilence:
        return "silence";
      case TlsAnswer::kClosed:
        return "closed";
      case TlsAnswer::kInjected:
        return "injected";
    }
    return "";
  }

  static absl::string_view Name(Reach reach) {
    switch (reach) {
      case Reach::kRecipient:
        return "recipient";
      case Reach::kMessage:
        return "message";
      case Reach::kHost:
        return "host";
    }
    return "";
  }

  Arrival arrival_;
  Instant clock_ = Instant(std::chrono::hours(1));
  ClientSession session_;
  std::string sender_;
  std::vector<EnvelopeRecipient> recipients_;
  std::vector<const EnvelopeRecipient*> lent_;
  EnvelopeRecipient ahead_;
  std::vector<const EnvelopeRecipient*> ahead_lent_ = {&ahead_};
  std::string sent_;
  std::vector<std::string> seen_;
};

}  // namespace sluice::smtp
