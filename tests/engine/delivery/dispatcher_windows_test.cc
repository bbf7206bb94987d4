// Windows of recipient limits that are kept in the log, as the dispatcher has them kept: mail waits
// for a durable record, and a next life knows what was sent.

#include "engine/delivery/window_keeper.h"
#include "tests/engine/delivery/dispatcher_words.h"
#include "tests/engine/spool/spool_words.h"

namespace sluice::delivery {
namespace {

constexpr spool::Log::Options kSmall = {
    .number = 0, .segment_bytes = 64 << 10, .outcome_reserve_bytes = 4096};

class DispatcherWindowsTest : public DispatcherTest {
 protected:
  void StartLog() {
    absl::StatusOr<spool::Recovered> recovered = spool::Recover(disk_);
    ASSERT_TRUE(recovered.ok());
    std::vector<InheritedWindow> inherited;
    for (const spool::RecoveredWindow& window : recovered->windows) {
      inherited.push_back({.record = window.record, .segment = window.segment, .owned = true});
    }
    log_ =
        std::make_unique<spool::Log>(kSmall, disk_, recovered->segments, recovered->next_sequence);
    keeper_ = std::make_unique<WindowKeeper>(WindowKeeper::Options{}, *log_, std::move(inherited),
                                             recovered->greatest_window, now_);
    ASSERT_TRUE(log_->Begin(now_.wall).ok());
    keeper_->Turn(now_);
    Sync();
    options_.windows = keeper_.get();
  }
  // All that was appended becomes durable.
  void Sync() {
    while (true) {
      const spool::Step step = log_->NextStep();
      if (step.kind == spool::StepKind::kNone) return;
      log_->OnDone(disk_.Perform(step));
    }
  }
  // What is asked of the log becomes durable, and is heard of, until nothing more is asked.
  void Settle() {
    for (int i = 0; i < 8; ++i) {
      Turn();
      Sync();
    }
  }
  // A clean stop, and the next life.
  void Restart() {
    dispatcher_->BeginDrain(now_);
    Settle();
    ASSERT_TRUE(dispatcher_->AtRest());
    disk_.Kill();
    now_.wall += std::chrono::seconds(20);
    StartLog();
    Start(kTenAnHour);
  }
  void TearDown() override {
    dispatcher_->BeginDrain(now_);
    Settle();
    DispatcherTest::TearDown();
  }

  const policy::ControlsEntry kTenAnHour = {.recipients_max = 10, .recipient_minutes = 60};
  spool::MemoryDisk disk_;
  std::unique_ptr<spool::Log> log_;
  std::unique_ptr<WindowKeeper> keeper_;
};

TEST_F(DispatcherWindowsTest, MailWaitsForADurableRecord) {
  StartLog();
  Start(kTenAnHour);
  Mail& mail = Send();
  EXPECT_EQ(mail.Verdicts(), "-");
  EXPECT_EQ(lane().binding, "window_record");
  EXPECT_EQ(network_.CountHeardByAll("MAIL"), 0u);
  Sync();
  Turn();
  EXPECT_EQ(mail.Verdicts(), "D");
}

TEST_F(DispatcherWindowsTest, WithoutALimitNothingIsWritten) {
  StartLog();
  Start();
  EXPECT_EQ(Send().Verdicts(), "D");
  EXPECT_EQ(log_->NextStep().kind, spool::StepKind::kNone);
}

TEST_F(DispatcherWindowsTest, TheNextLifeKnowsWhatWasSent) {
  StartLog();
  Start(kTenAnHour);
  SendSome(8);
  Settle();
  EXPECT_EQ(CountVerdicts("D"), 8u);
  Restart();
  SendSome(5);
  Settle();
  EXPECT_EQ(CountVerdicts("D"), 10u);
  EXPECT_EQ(lane().binding, "recipients");
  Restart();
  SendSome(1);
  Settle();
  EXPECT_EQ(CountVerdicts("D"), 10u);
  // A period and two 64ths after the last of the first eight, they have left.
  Pass(std::chrono::minutes(62));
  Settle();
  EXPECT_EQ(CountVerdicts("D"), 11u);
}

TEST_F(DispatcherWindowsTest, AStopWaitsUntilTheExactStateIsDurable) {
  StartLog();
  Start(kTenAnHour);
  Send();
  Settle();
  dispatcher_->BeginDrain(now_);
  Turn();
  EXPECT_EQ(dispatcher_->connections(), 0u);
  EXPECT_FALSE(dispatcher_->AtRest());
  Sync();
  Turn();
  EXPECT_TRUE(dispatcher_->AtRest());
  disk_.Kill();
  const absl::StatusOr<spool::Recovered> recovered = spool::Recover(disk_);
  ASSERT_TRUE(recovered.ok());
  ASSERT_EQ(recovered->windows.size(), 1u);
  EXPECT_EQ(recovered->windows[0].record.reserved, 0u);
  ASSERT_EQ(recovered->windows[0].record.seen.size(), 1u);
  EXPECT_EQ(recovered->windows[0].record.seen[0].recipients, 1u);
}

}  // namespace
}  // namespace sluice::delivery
