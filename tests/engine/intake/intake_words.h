// The words in which tests of the listening side are written: a shard's worth of it (Intake, a real
// Home, a real Log) over FakeIo, in a time that only the test moves.

#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/random.h"
#include "engine/base/timer_wheel.h"
#include "engine/delivery/home.h"
#include "engine/delivery/tags.h"
#include "engine/intake/intake.h"
#include "engine/spool/log.h"
#include "tests/engine/delivery/no_events.h"
#include "tests/engine/intake/fake_io.h"
#include "tests/engine/spool/blank_disk.h"

namespace sluice::intake {

inline constexpr int kListener = 10;
inline constexpr absl::string_view kHostname = "mta.example.net";
inline constexpr absl::string_view kGreeting = "220 mta.example.net ESMTP Sluice\r\n";
inline const Duration kIdle = std::chrono::minutes(5);
inline const Duration kInstantLater = std::chrono::milliseconds(2);  // Two ticks of the wheel.

class IntakeTest : public testing::Test {
 protected:
  IntakeTest() : timers_(now_.instant), random_(1) {
    options_.hostname = kHostname;
    options_.listeners.push_back({.socket = {kListener},
                                  .relay_from = {*Network::Parse("192.0.2.0/24")},
                                  .message_bytes_max = 1 << 20});
    home_options_.hostname = kHostname;
    home_options_.messages_max = 1000;
    home_options_.parcels_max = 1000;
    home_options_.incoming_max = 100;
    home_options_.body_blocks = 256;
    options_.sessions_max = 100;
  }

  // After a test has changed the options.
  void Start() {
    log_ = std::make_unique<spool::Log>(spool::Log::Options{}, disk_,
                                        std::vector<spool::Log::LiveSegment>{}, 1);
    ASSERT_TRUE(log_->Begin(now_.wall).ok());
    home_ = std::make_unique<delivery::Home>(home_options_, io_, *log_, timers_, random_, events_);
    intake_ = std::make_unique<Intake>(options_, io_, *home_, timers_, /*handshaker=*/nullptr);
    intake_->Start(now_);
    Turn();
  }

  // Turns of a shard's loop until nothing more happens.
  void Turn() {
    for (std::vector<io::Completion> completions = io_.Take();; completions = io_.Take()) {
      for (const io::Completion& completion : completions) Dispatch(completion);
      while (Timer* timer = timers_.PopDue(now_.instant)) {
        if (delivery::TimerKind{timer->kind} == delivery::TimerKind::kIntake) {
          intake_->OnTimer(*timer, now_);
        }
      }
      home_->Turn(now_);
      intake_->Turn();
      std::vector<delivery::Promise> promises;
      home_->TakePromises(promises);
      intake_->OnPromises(promises, now_);
      while (delivery::Parcel* parcel = home_->TakeOutgoing()) {
        if (std::find(messages_.begin(), messages_.end(), parcel->message) == messages_.end()) {
          messages_.push_back(parcel->message);
        }
      }
      home_->WriteBatch();
      if (completions.empty() && promises.empty() && !io_.HasCompletions()) return;
    }
  }

  void Dispatch(const io::Completion& completion) {
    if (delivery::Tag{static_cast<uint8_t>(completion.op.tag)} == delivery::Tag::kLogStep) {
      home_->OnCompletion(completion, now_);
    } else {
      intake_->OnCompletion(completion, now_);
    }
  }

  void Pass(Duration duration) {
    now_.instant += duration;
    now_.wall += duration;
    Turn();
  }

  int Dial(absl::string_view address = "192.0.2.1:40000") {
    const int client = io_.Dial(kListener, *SocketAddress::Parse(address));
    Turn();
    return client;
  }
  // A client that has been greeted and has said EHLO.
  int DialAndGreet() {
    const int client = Dial();
    Says(client, "EHLO client.example\r\n");
    Heard(client);
    return client;
  }
  void Says(int client, absl::string_view text) {
    io_.Says(client, text);
    Turn();
  }
  void HangsUp(int client) {
    io_.FinishesSending(client);
    Turn();
  }
  std::string Heard(int client) { return io_.TakeHeard(client); }
  // The codes of the lines that the client has heard: "250 354".
  std::string Codes(int client) {
    std::string codes;
    const std::string heard = Heard(client);
    for (size_t at = 0; at < heard.size(); at = heard.find("\r\n", at) + 2) {
      if (heard.size() < at + 4 || heard[at + 3] == '-') continue;
      absl::StrAppend(&codes, codes.empty() ? "" : " ", heard.substr(at, 3));
    }
    return codes;
  }

  // The body of a message that was accepted, in wire form, while it is in memory.
  static std::string BodyOf(const delivery::Message& message) {
    std::string text;
    std::array<io::Bytes, 256> parts;
    const size_t count = message.body.Gather(0, message.body.bytes(), parts);
    for (size_t i = 0; i < count; ++i) {
      text.append(reinterpret_cast<const char*>(parts[i].data()), parts[i].size());
    }
    return text;
  }

  // Nothing is left of a session or its message.
  void ExpectNothingLeft() {
    EXPECT_EQ(intake_->sessions(), 0u);
    EXPECT_EQ(home_->messages(), 0u);
    EXPECT_EQ(home_->blocks_taken(), 0u);
  }

  Now now_ = {.instant = Instant(std::chrono::hours(1)),
              .wall = WallTime(std::chrono::seconds(1764041281))};
  FakeIo io_;
  spool::BlankDisk disk_;
  delivery::NoEvents events_;
  TimerWheel timers_;
  Random random_;
  Intake::Options options_;
  delivery::Home::Options home_options_;
  std::unique_ptr<spool::Log> log_;
  std::unique_ptr<delivery::Home> home_;
  std::unique_ptr<Intake> intake_;
  std::vector<delivery::Message*> messages_;  // Accepted, in the order of their promises.
};

inline constexpr absl::string_view kEnvelope =
    "MAIL FROM:<a@sender.example>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n";
inline constexpr absl::string_view kContent = "Subject: x\r\n\r\nhello\r\n";

}  // namespace sluice::intake
