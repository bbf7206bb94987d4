// The words in which tests of the home are written: a home and its log over a disk in memory, in a
// time that only the test moves. The test plays both neighbours: the listening side, which brings
// messages and hears promises, and the destinations' shard, which takes parcels and returns them.

#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/random.h"
#include "engine/base/timer_wheel.h"
#include "engine/delivery/attempt.h"
#include "engine/delivery/home.h"
#include "engine/spool/recovery.h"
#include "engine/spool/takeover.h"
#include "tests/engine/delivery/held_io.h"
#include "tests/engine/spool/memory_disk.h"

namespace sluice::delivery {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

using Texts = std::vector<std::string>;

// An event that has been released, with its texts.
struct Told {
  EventType type{};
  MessageId id;
  std::string sender;
  std::string recipient;
  std::string reply;
  std::string source;
  uint32_t attempts = 0;
  uint64_t batch = 0;
};

class Events : public EventSink {
 public:
  void Emit(const Event& event, uint64_t batch) override {
    held_.push_back({.type = event.type,
                     .id = event.id,
                     .sender = std::string(event.sender),
                     .recipient = std::string(event.recipient),
                     .reply = event.reply == nullptr ? "" : event.reply->ToString(),
                     .source = std::string(event.source),
                     .attempts = event.attempts,
                     .batch = batch});
  }
  void Release(uint64_t durable) override {
    while (!held_.empty() && held_.front().batch <= durable) {
      told.push_back(held_.front());
      held_.erase(held_.begin());
      if (on_told) on_told(told.back());
    }
  }
  // As many of this type have been told, of one recipient or of all.
  size_t Count(EventType type, absl::string_view recipient = "") const {
    return static_cast<size_t>(std::count_if(told.begin(), told.end(), [&](const Told& event) {
      return event.type == type && (recipient.empty() || event.recipient == recipient);
    }));
  }
  size_t held() const { return held_.size(); }
  void ForgetHeld() { held_.clear(); }

  std::vector<Told> told;
  std::function<void(const Told&)> on_told;

 private:
  std::vector<Told> held_;
};

// The body of message `number` in wire form: different for each, and telling where in it one is.
inline std::string WireOf(uint64_t number, size_t bytes) {
  std::string body = absl::StrCat("Subject: ", number, "\r\n\r\n");
  while (body.size() < bytes) absl::StrAppend(&body, number, ":", body.size(), "\r\n");
  body.resize(bytes - 5);
  return body + "\r\n.\r\n";
}

inline std::string TextOf(const Body& body) {
  std::string text;
  std::array<io::Bytes, 64> parts;
  for (uint64_t offset = 0; offset < body.bytes();) {
    const size_t count = body.Gather(offset, body.bytes() - offset, parts);
    for (size_t i = 0; i < count; ++i) {
      text.append(reinterpret_cast<const char*>(parts[i].data()), parts[i].size());
      offset += parts[i].size();
    }
  }
  return text;
}

class HomeTest : public testing::Test {
 protected:
  using Kind = HeldIo::Kind;
  static constexpr absl::string_view kSender = "s@sender.example";

  HomeTest() {
    options_.hostname = "mta.example.net";
    options_.messages_max = 1000;
    options_.parcels_max = 2000;
    options_.incoming_max = 10;
    options_.body_blocks = 256;
    log_options_ = {.segment_bytes = 2 << 20, .outcome_reserve_bytes = 64 << 10};
  }

  // --- The engine starts and ends.

  // With what the disk holds, after a test has changed the options.
  void Start() {
    absl::StatusOr<spool::Stock> stock = spool::TakeStock(disk_);
    ASSERT_TRUE(stock.ok()) << stock.status();
    damaged_records_ = stock->damaged_records;
    timers_ = std::make_unique<TimerWheel>(now_.instant);
    std::vector<spool::Log::LiveSegment> segments;
    for (const spool::StockSegment& segment : stock->segments) segments.push_back(segment.live);
    log_ = std::make_unique<spool::Log>(log_options_, disk_, std::move(segments),
                                        stock->next_sequence);
    home_ = std::make_unique<Home>(options_, io_, *log_, *timers_, random_, events_);
    if (controls_ != nullptr) home_->UseControls(*controls_);
    home_->TakeUp(std::make_unique<spool::Takeover>(disk_, std::move(stock->segments),
                                                    std::move(stock->changes)),
                  stock->greatest_id);
    const absl::Status begun = log_->Begin(now_.wall);
    ASSERT_TRUE(begun.ok()) << begun;
    Settle();
  }
  // The power goes. The monotonic clock of the next start has nothing to do with this one's.
  void PowerCut() {
    End();
    disk_.Crash(random_);
    now_.instant = Instant(hours(7));
  }
  void Kill() {
    End();
    disk_.Kill();
    now_.instant = Instant(hours(7));
  }
  // What would be found on the disk if the power went now.
  spool::Recovered AfterPowerCut(uint64_t seed) {
    spool::MemoryDisk disk = disk_;
    Random random(seed);
    disk.Crash(random);
    return *spool::Recover(disk);
  }

  // The same if only the process ended.
  spool::Recovered AfterKill() {
    spool::MemoryDisk disk = disk_;
    disk.Kill();
    return *spool::Recover(disk);
  }

  // --- The loop.

  void Turn() { Turn(io_.Take()); }
  void Turn(const std::vector<io::Completion>& completions) {
    for (const io::Completion& completion : completions) home_->OnCompletion(completion, now_);
    while (Timer* timer = timers_->PopDue(now_.instant)) home_->OnTimer(*timer, now_);
    home_->Turn(now_);
    home_->TakePromises(promises_);
    while (Parcel* parcel = home_->TakeOutgoing()) out_.push_back(parcel);
    while (Parcel* parcel = home_->TakeBody()) decided_.push_back(parcel);
    home_->WriteBatch();
  }
  // Turns until nothing more happens by itself.
  void Settle() {
    Turn();
    for (int i = 0; io_.CanComplete() || home_->busy(); ++i) {
      ASSERT_LT(i, 100000);
      Turn();
    }
  }
  // Lets the oldest operation complete, held or not, and takes the turn of it.
  void Step() { Turn({io_.TakeOne()}); }
  void Pass(Duration duration) {
    now_.instant += duration;
    now_.wall += duration;
    Settle();
  }

  // --- Messages arrive.

  // Null: none can be taken.
  Incoming* Begin() { return home_->Begin(Origin::kInjected, now_); }
  // In pieces as a client's bytes come.
  void Sends(Incoming& incoming, absl::string_view bytes) {
    for (; !bytes.empty(); bytes.remove_prefix(std::min(bytes.size(), kReceived))) {
      home_->Append(incoming, bytes.substr(0, kReceived), now_);
    }
  }
  // The dot has come. Returns the session that the promise will be for.
  Handle Ends(Incoming& incoming, const Texts& recipients, uint8_t notify = 0) {
    smtp::Envelope envelope;
    envelope.sender = sender_;
    for (const std::string& recipient : recipients) {
      envelope.recipients.push_back({.address = recipient,
                                     .destination = recipient.substr(recipient.find('@') + 1),
                                     .notify = notify});
    }
    return Ends(incoming, envelope);
  }
  Handle Ends(Incoming& incoming, smtp::Envelope& envelope) {
    const Handle session = {next_session_++, 1};
    home_->Commit(incoming, envelope, {.message_bytes = 1, .client_name = "client.example"},
                  session, now_);
    return session;
  }
  // What the session has been answered; nothing: it still waits.
  std::optional<bool> Kept(Handle session) const {
    const auto promise =
        std::find_if(promises_.begin(), promises_.end(),
                     [session](const Promise& candidate) { return candidate.session == session; });
    return promise == promises_.end() ? std::nullopt : std::optional(promise->kept);
  }
  // A whole message, up to its promise.
  MessageId Accept(absl::string_view wire, const Texts& recipients, uint8_t notify = 0) {
    Incoming* incoming = Begin();
    EXPECT_NE(incoming, nullptr);
    if (incoming == nullptr) return {};
    const MessageId id = incoming->id;
    Sends(*incoming, wire);
    const Handle session = Ends(*incoming, recipients, notify);
    Settle();
    EXPECT_EQ(Kept(session), true);
    return id;
  }
  // Mail that comes and is delivered at once: it fills the log and leaves nothing that lives.
  void PassThrough(size_t messages, size_t bytes) {
    for (size_t i = 0; i < messages; ++i) {
      Accept(WireOf(i, bytes), {"x@passing.example"});
      Delivered(Out("passing.example"));
    }
  }

  // --- Parcels come and go.

  bool IsOut(absl::string_view destination) const {
    return std::any_of(out_.begin(), out_.end(), [destination](const Parcel* parcel) {
      return parcel->destination() == destination;
    });
  }
  // Takes the only parcel to this destination.
  Parcel& Out(absl::string_view destination) {
    const auto parcel = std::find_if(out_.begin(), out_.end(), [destination](const Parcel* p) {
      return p->destination() == destination;
    });
    if (parcel == out_.end()) ADD_FAILURE() << "nothing is out to " << destination;
    CHECK(parcel != out_.end());
    Parcel* taken = *parcel;
    out_.erase(parcel);
    EXPECT_FALSE(IsOut(destination)) << destination;
    return *taken;
  }
  void Returns(Parcel& parcel, ParcelResult result) {
    parcel.result = result;
    home_->OnReturned(parcel, now_);
    Settle();
  }
  static void Answer(Parcel& parcel, uint32_t recipient, Verdict verdict, absl::string_view line) {
    RecipientOutcome& outcome = parcel.outcome(recipient);
    outcome.verdict = verdict;
    outcome.own_reply = true;
    outcome.reply = OwnReply(line);
  }
  // All recipients that wait, by one reply.
  static void AnswerAll(Parcel& parcel, Verdict verdict, absl::string_view line) {
    parcel.reply = OwnReply(line);
    parcel.command = "the final dot";
    for (uint32_t i = 0; i < parcel.recipients; ++i) {
      if (parcel.outcome(i).state != spool::RecipientState::kWaiting) continue;
      parcel.outcome(i).verdict = verdict;
      parcel.outcome(i).own_reply = false;
    }
  }
  void Delivered(Parcel& parcel) {
    AnswerAll(parcel, Verdict::kDelivered, "250 ok");
    Returns(parcel, ParcelResult::kAttempted);
  }
  void Deferred(Parcel& parcel, absl::string_view line = "450 4.2.1 busy") {
    AnswerAll(parcel, Verdict::kDeferred, line);
    Returns(parcel, ParcelResult::kAttempted);
  }
  void Refused(Parcel& parcel, absl::string_view line = "550 5.1.1 no such user") {
    AnswerAll(parcel, Verdict::kBounced, line);
    Returns(parcel, ParcelResult::kAttempted);
  }
  // Asks for the body, and says what the home decided. The body may be read when that is kLent.
  BodyState Ask(Parcel& parcel) {
    Asks(parcel);
    Settle();
    return Decided(parcel);
  }
  void Asks(Parcel& parcel) {
    parcel.body_state = BodyState::kAsked;
    home_->WantBody(parcel);
  }
  // kAsked: nothing yet.
  BodyState Decided(Parcel& parcel) {
    if (std::erase(decided_, &parcel) == 0) return BodyState::kAsked;
    EXPECT_NE(parcel.body_state, BodyState::kAsked);
    return parcel.body_state;
  }
  std::string BodyOf(Parcel& parcel) {
    return Ask(parcel) == BodyState::kLent ? TextOf(parcel.message->body) : "not lent";
  }
  // The addresses of the parcel that are to be tried, in the order of the envelope.
  static Texts Waiting(const Parcel& parcel) {
    Texts waiting;
    for (uint32_t i = 0; i < parcel.recipients; ++i) {
      if (parcel.outcome(i).state == spool::RecipientState::kWaiting)
        waiting.push_back(parcel.recipient(i).address);
    }
    return waiting;
  }

  bool OnDisk(spool::SegmentId segment) const { return log_->DescriptorOf(segment) >= 0; }

  static constexpr size_t kReceived = 16 << 10;

  Now now_ = {.instant = Instant(hours(1)), .wall = WallTime(seconds(1764041281))};
  std::string sender_ = std::string(kSender);
  const policy::ControlsTable* controls_ = nullptr;  // From the next start on.
  spool::MemoryDisk disk_;
  HeldIo io_{disk_};
  Events events_;
  Random random_{1};
  Home::Options options_;
  spool::Log::Options log_options_;
  std::unique_ptr<TimerWheel> timers_;
  std::unique_ptr<spool::Log> log_;
  std::unique_ptr<Home> home_;
  uint64_t damaged_records_ = 0;  // That the last start found.

  std::vector<Promise> promises_;
  std::vector<Parcel*> out_;      // Not taken yet.
  std::vector<Parcel*> decided_;  // Whose bodies have been decided, and who were not told yet.

 private:
  void End() {
    home_.reset();
    log_.reset();
    timers_.reset();
    io_.Forget();
    out_.clear();
    decided_.clear();
    events_.ForgetHeld();
  }

  uint32_t next_session_ = 1;
};

}  // namespace sluice::delivery
