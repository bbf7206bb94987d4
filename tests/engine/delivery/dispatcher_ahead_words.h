// The words for messages that leave with the end of the one before them: a host that can be stopped
// before its reply to a dot, and what it has heard by then. Bodies are lent before their parcels
// leave, as the shard lends them.

#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/engine/delivery/dispatcher_tls_words.h"

namespace sluice::delivery {

inline constexpr absl::string_view kEhlo = "EHLO mta.example.net\r\n";

// A stream that speaks in clear.
class ClearStream : public tls::Stream {
 public:
  void Feed(absl::string_view ciphertext) override { absl::StrAppend(&input_, ciphertext); }
  tls::Step Handshake() override { return tls::Step::kEstablished; }
  bool Seal(absl::string_view plaintext) override {
    absl::StrAppend(&output_, plaintext);
    return true;
  }
  Opened Open(std::string& plaintext) override {
    plaintext += std::exchange(input_, {});
    return Opened::kNeedsInput;
  }
  void Close() override {}
  std::unique_ptr<tls::Session> TakeSession() override { return nullptr; }

 protected:
  std::string input_;
};

class Ahead : public DispatcherTlsTest {
 protected:
  Ahead() { lends_ahead_ = true; }

  // Each has a sender of its own: m0@, m1@ ...
  Mail& MakeNext(size_t recipients = 1, size_t bytes = 0) { return Named(Make(recipients, bytes)); }
  Mail& Named(Mail& mail) {
    mail.message.envelope.sender = absl::StrCat("m", mails_.size() - 1, "@sender.example");
    return mail;
  }
  void QueueSome(size_t count) {
    for (size_t i = 0; i < count; ++i) Queue(MakeNext());
  }
  void SendAll(size_t count) {
    QueueSome(count);
    Turn();
  }
  Mail& mail(size_t number) { return *std::next(mails_.begin(), static_cast<ptrdiff_t>(number)); }

  // As a host hears it.
  std::string Commands(size_t number) {
    std::string text = absl::StrCat("MAIL FROM:<m", number, "@sender.example>\r\n");
    for (const auto& recipient : mail(number).message.envelope.recipients) {
      absl::StrAppend(&text, "RCPT TO:<", recipient.address, ">\r\n");
    }
    return text + "DATA\r\n";
  }
  std::string Whole(size_t number) { return Commands(number) + mail(number).wire; }

  // One connection; the host has taken a message up to the dot, which it has not answered, and the
  // next one's commands came with it. It goes on as it is told to.
  void StartTwo(size_t queued = 2) {
    if (dispatcher_ == nullptr) Start({.connections_max = 1});
    QueueSome(queued);
    host().waits = true;
    const size_t dots = AllDots();
    for (bool more = TurnOnce(); AllDots() == dots; more = TurnOnce()) {
      const bool waits = !network_.All().empty() && network_.Waiting(peer()) > 0;
      ASSERT_TRUE(more || waits);
      if (waits) network_.AnswersAll(peer());
    }
    Turn();
    ASSERT_EQ(network_.Waiting(peer()), 4u);  // The dot, MAIL, RCPT, DATA.
  }
  void Answers(size_t commands = 1) {
    for (size_t i = 0; i < commands; ++i) network_.AnswersNext(peer());
    Turn();
  }
  void AnswersWith(absl::string_view front, absl::string_view answer) {
    host().answers[std::string(front)] = std::string(answer);
    network_.AnswersNext(peer());
    host().answers = FakeHost().answers;
    Turn();
  }
  // What waits is answered, and from now on all is at once.
  void GoesOn() {
    host().waits = false;
    network_.AnswersAll(peer());
    Turn();
  }
  // So many messages, and a session under TLS by this stream on the one connection.
  void EstablishesFor(size_t messages, std::unique_ptr<tls::Stream> stream) {
    if (!host().answers.contains("STARTTLS")) Offers();
    policy::ControlsEntry controls = At(policy::TlsLevel::kOn);
    controls.connections_max = 1;
    StartTls(controls);
    const bool waits = std::exchange(host().waits, false);
    SendAll(messages);
    host().waits = waits;
    ASSERT_THAT(handshaker_.jobs, testing::SizeIs(1));
    std::unique_ptr<tls::HandshakeJob> job = TakeJob();
    job->stream = std::move(stream);
    job->step = tls::Step::kEstablished;
    Return(std::move(job));
  }
  int peer() const { return network_.All().back(); }
  size_t AllDots() const { return network_.CountHeardByAll(".\r\n"); }

  // Sends in which commands came behind the end of a body.
  size_t AheadOn(int peer) const {
    size_t count = 0;
    size_t at = 0;
    for (const size_t bytes : network_.SendSizes(peer)) {
      count += network_.AllHeard(peer).substr(at, bytes).find("\r\n.\r\nMAIL") != std::string::npos;
      at += bytes;
    }
    return count;
  }
  std::vector<size_t> AheadOfEach() const {
    std::vector<size_t> counts;
    for (const int one : network_.All()) counts.push_back(AheadOn(one));
    return counts;
  }
  std::vector<size_t> MailsOfEach() const {
    std::vector<size_t> counts;
    for (const int one : network_.All()) counts.push_back(network_.CountHeard(one, "MAIL"));
    return counts;
  }
  size_t Resets() const { return network_.CountHeardByAll("RSET"); }
};

}  // namespace sluice::delivery
