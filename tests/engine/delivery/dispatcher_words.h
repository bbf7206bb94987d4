// The words in which tests of the delivering side are written: a dispatcher over a fake network and
// a fake resolver, in a time that only the test moves. The test itself is the home: it makes the
// parcels, lends their bodies, and takes them back.

#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/random.h"
#include "engine/base/timer_wheel.h"
#include "engine/delivery/body.h"
#include "engine/delivery/dispatcher.h"
#include "engine/delivery/tags.h"
#include "policy/controls_table.h"
#include "tests/engine/delivery/fake_network.h"
#include "tests/engine/delivery/fake_resolver.h"

namespace sluice::delivery {

inline constexpr absl::string_view kHostname = "mta.example.net";
inline constexpr absl::string_view kDomain = "example.com";
inline constexpr absl::string_view kFirst = "192.0.2.1";
inline constexpr absl::string_view kSecond = "192.0.2.2";
inline const Duration kTick = std::chrono::milliseconds(1);  // Of the wheel.

// A message to one destination, and its parcel.
struct Mail {
  Message message;
  Parcel parcel;
  bool home = true;
  std::vector<ParcelResult> returns;  // Each time it came home.
  std::string wire;                   // Its body, as DATA carries it.

  // D delivered, d deferred, B bounced, - untried: a letter a recipient.
  std::string Verdicts() const {
    std::string letters;
    for (const RecipientOutcome& outcome : message.outcomes) {
      switch (outcome.verdict) {
        case Verdict::kUntried:
          letters += '-';
          break;
        case Verdict::kDelivered:
          letters += 'D';
          break;
        case Verdict::kDeferred:
          letters += 'd';
          break;
        case Verdict::kBounced:
          letters += 'B';
          break;
      }
    }
    return letters;
  }
};

class DispatcherTest : public testing::Test {
 protected:
  DispatcherTest() : timers_(now_.instant), random_(1), pool_(1024) {
    options_.hostname = kHostname;
    options_.connections_max = 100;
    options_.destinations_max = 100;
    resolver_.Says(kDomain, RouteTo({kFirst}));
  }

  // After a test has said what differs; at the latest with its first mail.
  void Start(const policy::ControlsEntry& controls = {}) {
    tables_.emplace_back(std::vector<policy::ControlsEntry>{controls}, 1);
    dispatcher_ = std::make_unique<Dispatcher>(options_, network_, resolver_,
                                               /*handshaker=*/nullptr, timers_, random_,
                                               Dispatcher::Tables{.controls = &tables_.back()});
  }
  void Reload(const policy::ControlsEntry& controls = {}) {
    tables_.emplace_back(std::vector<policy::ControlsEntry>{controls}, tables_.size() + 1);
    dispatcher_->UseTables({.controls = &tables_.back()});
    Turn();
  }

  // Whatever a test did, the dispatcher can end, and gives everything back.
  void TearDown() override {
    if (dispatcher_ == nullptr || endless_) return;
    resolver_.Free();
    bodies_held_ = false;
    draining_ = true;
    dispatcher_->BeginDrain(now_);
    Turn();
    dispatcher_->AbortAll(now_);
    Turn();
    EXPECT_TRUE(dispatcher_->AtRest());
    EXPECT_EQ(network_.open(), 0u);
    for (const Mail& mail : mails_) EXPECT_TRUE(mail.home);
  }

  // --- Mail.

  // Recipients r0@, r1@, ... at the domain; a body of about `bytes`, of numbered lines.
  Mail& Make(size_t recipients = 1, size_t bytes = 0) {
    Mail& mail = mails_.emplace_back();
    Message& message = mail.message;
    message.envelope.sender = "a@sender.example";
    for (size_t i = 0; i < recipients; ++i) {
      message.envelope.recipients.push_back(
          {.address = absl::StrCat("r", i, "@", kDomain), .destination = std::string(kDomain)});
    }
    message.outcomes.resize(recipients);
    std::string text = "Subject: x\r\n\r\nhello\r\n";
    for (int i = 0; text.size() < bytes; ++i) absl::StrAppend(&text, "line ", i, "\r\n");
    message.message_bytes = text.size();
    text += ".\r\n";
    message.wire_bytes = text.size();
    EXPECT_TRUE(message.body.Append(std::as_bytes(std::span(text)), pool_));
    mail.wire = std::move(text);
    mail.parcel.message = &message;
    mail.parcel.recipients = static_cast<uint32_t>(recipients);
    mail.parcel.expires = now_.instant + std::chrono::hours(72);
    mail.parcel.timer.owner = &mail.parcel;
    return mail;
  }
  // The body is in the log and nowhere else, half of it in each of two files.
  Mail& MakeLarge(size_t bytes = kLarge, size_t recipients = 1) {
    Mail& mail = Make(recipients, bytes);
    mail.message.body.Release(pool_);
    mail.message.body_checksum = XXH3_64bits(mail.wire.data(), mail.wire.size());
    constexpr size_t kExtent = BodyStream::kReadBytesMax + 5000;
    const int32_t descriptor = next_file_;
    next_file_ += 2;
    for (size_t at = 0; at < mail.wire.size(); at += kExtent) {
      const int32_t file = descriptor + (at > mail.wire.size() / 2 ? 1 : 0);
      network_.File(file) += "the record's header";
      const size_t take = std::min(kExtent, mail.wire.size() - at);
      mail.parcel.body_places.push_back(
          {.descriptor = file,
           .offset = static_cast<uint32_t>(network_.File(file).size()),
           .bytes = static_cast<uint32_t>(take)});
      network_.File(file) += mail.wire.substr(at, take);
    }
    return mail;
  }
  // Puts mail into the destination's queue, without a turn.
  Mail& Queue(Mail& mail) {
    if (dispatcher_ == nullptr) Start();
    mail.home = false;
    const bool lent = lends_ahead_ && !mail.message.body.empty();
    mail.parcel.body_state = lent ? BodyState::kLent : BodyState::kNotAsked;
    mail.parcel.result = ParcelResult::kNothing;
    mail.parcel.in_doubt = false;
    mail.parcel.binding_limit.clear();
    dispatcher_->Take(mail.parcel, now_);
    return mail;
  }
  // Its next round, as when its retry is due.
  Mail& Retry(Mail& mail) {
    for (RecipientOutcome& outcome : mail.message.outcomes) {
      if (outcome.state == spool::RecipientState::kWaiting) outcome.verdict = Verdict::kUntried;
    }
    mail.parcel.continues = false;
    mail.parcel.host_failures = 0;
    Queue(mail);
    Turn();
    return mail;
  }
  Mail& Send(size_t recipients = 1) {
    Mail& mail = Queue(Make(recipients));
    Turn();
    return mail;
  }
  std::vector<Mail*> SendSome(size_t count) {
    std::vector<Mail*> mails;
    for (size_t i = 0; i < count; ++i) mails.push_back(&Queue(Make()));
    Turn();
    return mails;
  }
  // All of mails_, a word each: "D d B".
  std::string AllVerdicts() const {
    std::string words;
    for (const Mail& mail : mails_)
      absl::StrAppend(&words, words.empty() ? "" : " ", mail.Verdicts());
    return words;
  }
  size_t CountVerdicts(absl::string_view verdicts) const {
    return static_cast<size_t>(std::count_if(
        mails_.begin(), mails_.end(), [&](const Mail& m) { return m.Verdicts() == verdicts; }));
  }

  // --- Time.

  // Turns of a shard's loop until nothing more happens at this time.
  void Turn() {
    for (int i = 0; i < kTurnsMax && !endless_; ++i) {
      if (!TurnOnce()) return;
    }
    if (!endless_) ADD_FAILURE() << "the dispatcher does not come to rest";
    endless_ = true;
  }
  bool TurnOnce() {
    const std::vector<io::Completion> completions = network_.Take();
    for (const io::Completion& completion : completions) {
      dispatcher_->OnCompletion(completion, now_);
    }
    std::vector<dns::RouteAnswer> answers;
    resolver_.Poll(0, answers);
    for (dns::RouteAnswer& answer : answers) dispatcher_->OnRoute(std::move(answer), now_);
    while (Timer* timer = timers_.PopDue(now_.instant)) dispatcher_->OnTimer(*timer, now_);
    for (Mail* mail : std::exchange(outgoing_, {})) Queue(*mail);
    dispatcher_->Turn(now_);
    while (Parcel* parcel = dispatcher_->TakeBodyWanted()) {
      if (parcel->body_state == BodyState::kLent) {
        dispatcher_->OnBody(*parcel, now_);
      } else {
        bodies_wanted_.push_back(parcel);
      }
    }
    GiveBodies();
    while (Parcel* parcel = dispatcher_->TakeReturned()) ComesHome(*parcel);
    return !completions.empty() || network_.HasCompletions() || resolver_.HasAnswers() ||
           dispatcher_->busy() || !outgoing_.empty();
  }
  void GiveBodies() {
    if (bodies_held_) return;
    for (Parcel* parcel : std::exchange(bodies_wanted_, {})) {
      CHECK(parcel->body_state == BodyState::kAsked);
      parcel->body_state = body_answer_;
      dispatcher_->OnBody(*parcel, now_);
    }
  }

  // Everything happens at its time on the way.
  void Pass(Duration duration) { PassUntil(now_.instant + duration); }
  void PassUntil(Instant end) {
    Turn();
    while (!endless_ && timers_.NextDue() < end) {
      MoveTo(std::max(timers_.NextDue(), now_.instant));
      Turn();
    }
    MoveTo(end);
    Turn();
  }
  void MoveTo(Instant instant) {
    now_.wall += instant - now_.instant;
    now_.instant = instant;
  }

  // As the home does: what was not tried goes out again at once, the rest stays.
  void ComesHome(Parcel& parcel) {
    Mail& mail = *std::find_if(mails_.begin(), mails_.end(),
                               [&](const Mail& m) { return &m.parcel == &parcel; });
    CHECK(!parcel.hook.linked());
    CHECK(!parcel.timer.armed());
    CHECK(parcel.body_state != BodyState::kAsked);
    CHECK(parcel.result != ParcelResult::kNothing);
    mail.home = true;
    mail.returns.push_back(parcel.result);
    for (RecipientOutcome& outcome : mail.message.outcomes) {
      if (outcome.verdict == Verdict::kDelivered) outcome.state = spool::RecipientState::kDelivered;
      if (outcome.verdict == Verdict::kBounced) outcome.state = spool::RecipientState::kBounced;
    }
    const bool left = parcel.result == ParcelResult::kAttempted && Attempt::Untried(parcel) > 0;
    if (draining_ || (parcel.result != ParcelResult::kAgain && !left)) return;
    parcel.continues = true;
    outgoing_.push_back(&mail);
  }

  // A deferral for its session's sake, with a reason.
  static void ExpectDeferred(const Mail& mail) {
    EXPECT_EQ(mail.Verdicts(), "d");
    EXPECT_TRUE(mail.parcel.reply.transient());
    EXPECT_EQ(mail.parcel.reply.enhanced.status_class, 4);
    EXPECT_NE(mail.parcel.reply.text, "");
  }

  void UseTwoHosts() { resolver_.Says(kDomain, RouteTo({kFirst, kSecond})); }
  // How often the address was connected to.
  size_t Connects(absl::string_view ip = kFirst) const { return network_.To(ip).size(); }
  Destination& destination() { return *dispatcher_->FindDestination(kDomain); }
  Lane& lane() { return *destination().lanes.Front(); }
  FakeHost& host(absl::string_view ip = kFirst) { return network_.Host(ip); }

  static constexpr int kTurnsMax = 3000;
  static constexpr size_t kLarge = 1400 << 10;  // Six places in the log.

  Now now_ = {.instant = Instant(std::chrono::hours(1)),
              .wall = WallTime(std::chrono::seconds(1764041281))};
  FakeNetwork network_;
  FakeResolver resolver_;
  TimerWheel timers_;
  Random random_;
  BlockPool pool_;
  Dispatcher::Options options_;
  std::list<policy::ControlsTable> tables_;
  std::list<Mail> mails_;  // In the order in which they were made.
  std::unique_ptr<Dispatcher> dispatcher_;

  // What the home says to those who want a body, and whether it says it.
  BodyState body_answer_ = BodyState::kLent;
  bool bodies_held_ = false;
  bool lends_ahead_ = false;  // Of bodies in memory: before the parcel leaves.

 private:
  std::vector<Parcel*> bodies_wanted_;
  std::vector<Mail*> outgoing_;
  int32_t next_file_ = 3;
  bool draining_ = false;
  bool endless_ = false;
};

}  // namespace sluice::delivery
