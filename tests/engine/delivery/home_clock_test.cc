// A wall clock that is wrong bounces no mail: what waits in this process is timed by the monotonic
// clock, and what was restored by a clock that may be wrong gets one more try.

#include "tests/engine/delivery/home_words.h"

namespace sluice::delivery {
namespace {

class WrongClockTest : public HomeTest {
 protected:
  WrongClockTest() {
    options_.bounce_profiles.by_default.initial_retry = seconds(60);
    options_.bounce_profiles.by_default.max_queue = hours(24);
  }
  static constexpr Duration kShortestRetry = seconds(45);  // 60 less a quarter.
};

TEST_F(WrongClockTest, FarAheadAtTheStartLeavesEachParcelOneMoreTry) {
  Start();
  constexpr int kMessages = 50;
  for (int i = 0; i < kMessages; ++i) {
    const std::string destination = absl::StrCat("d", i, ".example");
    Accept(WireOf(1, 100), {"a@" + destination});
    if (i % 2 == 0) Deferred(Out(destination));
  }
  PowerCut();
  now_.wall += options_.bounce_profiles.by_default.max_queue + hours(24 * 30);
  Start();
  EXPECT_EQ(home_->messages(), uint32_t{kMessages});

  // Within the spread of overdue mail each is out once, and has a while for its try.
  std::vector<Parcel*> tried;
  for (int second = 0; second <= 61; ++second) {
    for (Parcel* parcel : out_) {
      EXPECT_GE(parcel->expires - now_.instant, kShortestRetry);
      tried.push_back(parcel);
    }
    out_.clear();
    Pass(seconds(1));
  }
  EXPECT_EQ(tried.size(), size_t{kMessages});
  EXPECT_EQ(events_.Count(EventType::kExpiration), 0u);
  for (Parcel* parcel : tried) Delivered(*parcel);
  EXPECT_EQ(home_->messages(), 0u);
}

// The grace is for one try: it does not begin its days again.
TEST_F(WrongClockTest, FarAheadAtTheStartDoesNotKeepMailForEver) {
  Start();
  Accept(WireOf(1, 100), {"a@one.example"});
  Deferred(Out("one.example"));
  PowerCut();
  now_.wall += options_.bounce_profiles.by_default.max_queue + hours(24 * 30);
  Start();
  for (int minute = 0; minute < 60 * 24 && !IsOut("sender.example"); ++minute) {
    if (IsOut("one.example")) Deferred(Out("one.example"));
    Pass(minutes(1));
  }
  EXPECT_EQ(events_.Count(EventType::kExpiration, "a@one.example"), 1u);
  EXPECT_TRUE(IsOut("sender.example"));
  EXPECT_LE(now_.instant, Instant(hours(7)) + hours(2));
}

TEST_F(WrongClockTest, JumpsBetweenTheDotAndTheSyncChangeNoExpiry) {
  for (const Duration jump : {Duration(hours(24 * 30)), Duration(-hours(24 * 30))}) {
    disk_ = spool::MemoryDisk();
    Start();
    io_.Hold(Kind::kSync);
    Incoming* incoming = Begin();
    Sends(*incoming, WireOf(1, 100));
    Ends(*incoming, {"a@one.example"});
    const Instant committed = now_.instant;
    Settle();
    now_.wall += jump;
    Pass(milliseconds(30));
    io_.Free(Kind::kSync);
    Settle();
    ASSERT_TRUE(IsOut("one.example"));
    EXPECT_EQ(Out("one.example").expires, committed + hours(24));
    Kill();
  }
}

}  // namespace
}  // namespace sluice::delivery
