// Windows that are kept, as the receiver audits them over many lives of the sender. A log of states
// takes the place of the disk: a crash at any instant leaves all that was durable and a random part
// of the rest, cut at its end; the next life knows nothing else. Each life has a clock of its own.
// In the end every window of the period is counted, for each scope and for all of them; and the
// promise is not kept by standing still.

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "engine/base/random.h"
#include "gtest/gtest.h"
#include "policy/destination_budget.h"
#include "tests/policy/any_window.h"

namespace sluice::policy {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;

// --- The words.

ScopeKey Address(uint8_t last) {
  ScopeKey key;
  key.address.family = Family::kIpv4;
  key.address.bytes = {192, 0, 2, last};
  return key;
}

Limits PerPeriod(uint32_t recipients, Duration period) {
  return {.connections_max = 1000,
          .recipients_limited = true,
          .recipients_max = recipients,
          .recipient_period = period};
}

// A record: a state, with the time at which it was made, by the clock of the world.
struct Record {
  uint64_t number;
  WindowState state;
};

using Name = std::tuple<WindowPart, bool, bool, IpAddress, uint32_t>;
Name NameOf(const WindowState& state) {
  return {state.part, state.scope.each_address, state.scope.each_source, state.key.address,
          state.key.source};
}

// What keeps windows, with the log: in the time of the world, of which a life's clock is `offset`
// ahead.
class Keeper {
 public:
  // Writes what the budget wants written. Returns how many states that were.
  size_t Write(DestinationBudget& budget, const Controls& controls, Instant now, Duration offset) {
    std::vector<WindowState> states;
    budget.TakeStates(controls, ending, now, states);
    for (const WindowState& state : states) {
      if (refuses) {
        budget.Refused(state, now + seconds(1));
        continue;
      }
      Record record = {++number_, state};
      for (WindowStamp& seen : record.state.seen) {
        EXPECT_LE(seen.by, now);
        seen.by -= offset;
      }
      EXPECT_LE(record.state.seen.size(), RecipientWindow::kStampsMax);
      log_.push_back(record);
      budget.Asked(state, record.number);
    }
    return states.size();
  }
  // So much of the log becomes durable.
  void Sync(DestinationBudget& budget, size_t records) {
    for (; durable_ < records; ++durable_) budget.Kept(log_[durable_].number);
  }
  void SyncAll(DestinationBudget& budget) { Sync(budget, log_.size()); }
  size_t durable() const { return durable_; }
  size_t written() const { return log_.size(); }
  const Record& last() const { return log_.back(); }

  // What is durable stays, and perhaps more.
  void Crash(Random& random) {
    log_.resize(random.Between(durable_, log_.size()));
    durable_ = log_.size();
  }

  // What a start finds: the last of each, with what it had reserved as seen now.
  void Restore(DestinationBudget& budget, const Controls& controls, Instant now, Duration offset) {
    std::map<Name, WindowState> last;
    for (const Record& record : log_) last[NameOf(record.state)] = record.state;
    std::vector<Record> written_anew;
    for (auto& [name, state] : last) {
      for (WindowStamp& seen : state.seen) seen.by += offset;
      const Duration period = state.period;
      std::erase_if(state.seen, [&](const WindowStamp& seen) { return now - seen.by >= period; });
      if (state.reserved > 0) state.seen.push_back({.by = now, .recipients = state.reserved});
      state.reserved = state.ahead = 0;
      if (state.seen.empty()) continue;
      budget.Restore(controls, state, now);
      for (WindowStamp& seen : state.seen) seen.by -= offset;
      written_anew.push_back({++number_, state});
    }
    log_.insert(log_.end(), written_anew.begin(), written_anew.end());
  }

  bool refuses = false;
  bool ending = false;

 private:
  std::vector<Record> log_;
  size_t durable_ = 0;
  uint64_t number_ = 0;
};

constexpr Instant kNow = Instant(hours(1000));
constexpr ScopeKey kWhole;

struct Kept {
  explicit Kept(uint32_t recipients) {
    controls.limits = PerPeriod(recipients, minutes(64));
    budget.ConnectionOpened(controls, kWhole);
  }
  size_t Write(Instant now = kNow) { return keeper.Write(budget, controls, now, {}); }
  void WriteAndSync(Instant now = kNow) {
    Write(now);
    keeper.SyncAll(budget);
  }
  Permit MayStart(uint32_t recipients, Instant now = kNow) {
    return budget.MayStart(controls, kWhole, 0, recipients, now);
  }
  void Start(uint32_t recipients, Instant now = kNow) {
    ASSERT_EQ(MayStart(recipients, now).recipients, recipients);
    budget.TransactionStarted(controls, kWhole, recipients, now);
  }
  void End(uint32_t recipients, uint32_t seen, Instant now = kNow) {
    budget.TransactionEnded(controls, kWhole, recipients, seen, now);
  }

  Controls controls;
  Keeper keeper;
  DestinationBudget budget{DestinationBudget::Windows::kKept};
};

// --- One at a time.

TEST(KeptWindows, NothingIsGrantedBeforeARecordIsDurable) {
  Kept kept(1600);
  const Permit no = kept.MayStart(5);
  EXPECT_EQ(no.binds, Limit::kKeeping);
  EXPECT_STREQ(LimitName(no.binds), "window_record");
  EXPECT_EQ(no.look_again, kNever);
  ASSERT_EQ(kept.Write(), 1u);
  EXPECT_EQ(kept.MayStart(5).binds, Limit::kKeeping);
  EXPECT_EQ(kept.Write(), 0u);                         // One at a time.
  EXPECT_EQ(kept.keeper.last().state.reserved, 100u);  // A 16th.
  kept.keeper.SyncAll(kept.budget);
  EXPECT_EQ(kept.MayStart(5).recipients, 5u);
}

TEST(KeptWindows, OneConnectionComesUpMeanwhileAndNotASecond) {
  Kept kept(1600);
  kept.budget.ConnectionClosed(kWhole, /*was_leaving=*/false);
  EXPECT_TRUE(kept.budget.MayConnect(kept.controls, kWhole, kNow));
  kept.budget.ConnectionOpened(kept.controls, kWhole);
  const Permit no = kept.budget.MayConnect(kept.controls, kWhole, kNow);
  EXPECT_EQ(no.binds, Limit::kKeeping);
  EXPECT_EQ(no.look_again, kNever);
  kept.WriteAndSync();
  EXPECT_TRUE(kept.budget.MayConnect(kept.controls, kWhole, kNow));
}

TEST(KeptWindows, AnUnlimitedScopeWritesNothing) {
  Kept kept(1);
  kept.controls.limits.recipients_limited = false;
  EXPECT_EQ(kept.MayStart(1000).recipients, 1000u);
  kept.budget.TransactionStarted(kept.controls, kWhole, 1000, kNow);
  EXPECT_EQ(kept.Write(), 0u);
  kept.End(1000, 1000);
  kept.budget.ConnectionClosed(kWhole, /*was_leaving=*/false);
  EXPECT_EQ(kept.Write(), 0u);
  EXPECT_TRUE(kept.budget.Idle(kept.controls, kNow));
}

TEST(KeptWindows, ReserveASixteenthWithinBoundsAndWhatIsLeft) {
  const std::pair<uint32_t, uint32_t> expected[] = {
      {1, 1}, {15, 15}, {17, 16}, {256, 16}, {272, 17}, {65536, 4096}, {1000000000, 4096}};
  for (const auto& [limit, reserved] : expected) {
    Kept kept(limit);
    EXPECT_EQ(kept.MayStart(1).binds, Limit::kKeeping);
    ASSERT_EQ(kept.Write(), 1u) << limit;
    EXPECT_EQ(kept.keeper.last().state.reserved, reserved) << limit;
  }
}

TEST(KeptWindows, TheNextRecordIsAskedForWhenHalfIsUsed) {
  Kept kept(1600);
  kept.MayStart(1);
  kept.WriteAndSync();
  kept.Start(50);
  kept.MayStart(1);
  EXPECT_EQ(kept.Write(), 0u);
  kept.Start(1);
  kept.MayStart(1);
  ASSERT_EQ(kept.Write(), 1u);  // 49 are left.
  EXPECT_EQ(kept.keeper.last().state.reserved, 151u);
  // Both records must allow it until the second is durable.
  kept.Start(49);
  EXPECT_EQ(kept.MayStart(1).binds, Limit::kKeeping);
  kept.keeper.SyncAll(kept.budget);
  kept.Start(51);
  kept.End(100, 40);  // 60 were never sent, and may be granted again.
  kept.MayStart(1);
  EXPECT_EQ(kept.MayStart(60).recipients, 60u);
}

TEST(KeptWindows, AMessageIsNotCutUpForARecordThatIsComing) {
  Kept kept(1600);
  kept.MayStart(1);
  kept.WriteAndSync();
  kept.Start(90);
  EXPECT_EQ(kept.MayStart(70).binds, Limit::kKeeping);
  kept.WriteAndSync();
  EXPECT_EQ(kept.MayStart(70).recipients, 70u);
}

TEST(KeptWindows, WhatNeedsMoreThanAChunkReservesIt) {
  Kept kept(200);
  EXPECT_EQ(kept.MayStart(80).binds, Limit::kKeeping);
  kept.WriteAndSync();
  EXPECT_EQ(kept.MayStart(80).recipients, 80u);
}

TEST(KeptWindows, ARefusedRecordIsAskedForAgainLater) {
  Kept kept(1600);
  kept.MayStart(1);
  kept.WriteAndSync();
  kept.Start(97);
  kept.keeper.refuses = true;
  EXPECT_EQ(kept.MayStart(10).binds, Limit::kKeeping);
  EXPECT_EQ(kept.Write(), 1u);
  EXPECT_EQ(kept.MayStart(10).recipients, 3u);  // What there is, then.
  kept.Start(3);
  const Permit no = kept.MayStart(10);
  EXPECT_EQ(no.binds, Limit::kKeeping);
  EXPECT_EQ(no.look_again, kNow + seconds(1));
  EXPECT_EQ(kept.budget.MayConnect(kept.controls, kWhole, kNow).binds, Limit::kKeeping);
  EXPECT_EQ(kept.Write(), 0u);
  kept.keeper.refuses = false;
  kept.MayStart(10, kNow + seconds(1));
  kept.WriteAndSync(kNow + seconds(1));
  EXPECT_EQ(kept.MayStart(10, kNow + seconds(1)).recipients, 10u);
}

TEST(KeptWindows, AreSettledWhenTheLastConnectionHasEnded) {
  Kept kept(1600);
  kept.MayStart(1);
  kept.WriteAndSync();
  kept.Start(7);
  kept.End(7, 5);
  EXPECT_EQ(kept.Write(), 0u);
  EXPECT_FALSE(kept.budget.Idle(kept.controls, kNow + hours(2)));
  kept.budget.ConnectionClosed(kWhole, /*was_leaving=*/false);
  EXPECT_EQ(kept.Write(kNow + seconds(4)), 0u);  // Somebody may come at once.
  ASSERT_EQ(kept.Write(kNow + seconds(5)), 1u);
  const WindowState& state = kept.keeper.last().state;
  EXPECT_EQ(state.reserved, 0u);
  ASSERT_EQ(state.seen.size(), 1u);
  // Stamps are told to a 64th of the period, and not later than now.
  EXPECT_EQ(state.seen[0], (WindowStamp{.by = kNow + seconds(5), .recipients = 5}));
  EXPECT_EQ(kept.Write(), 0u);
  kept.keeper.SyncAll(kept.budget);
  EXPECT_EQ(kept.Write(), 0u);
  EXPECT_FALSE(kept.budget.Idle(kept.controls, kNow));
  EXPECT_TRUE(kept.budget.Idle(kept.controls, kNow + minutes(65)));
}

// Who waits for a connection keeps what is reserved: else it would be reserved and settled in turn.
TEST(KeptWindows, AreNotSettledWhileSomebodyWantsToSend) {
  Kept kept(1600);
  kept.budget.ConnectionClosed(kWhole, /*was_leaving=*/false);
  for (int look = 0; look < 5; ++look) {
    EXPECT_TRUE(kept.budget.MayConnect(kept.controls, kWhole, kNow));
    EXPECT_EQ(kept.Write(), look == 0 ? 1u : 0u);
    kept.keeper.SyncAll(kept.budget);
  }
  EXPECT_EQ(kept.Write(kNow + seconds(5)), 1u);  // It wants no more.
  EXPECT_EQ(kept.keeper.last().state.reserved, 0u);
}

// Mail whose connections fail again and again wants to send about once a second.
TEST(KeptWindows, AreNotSettledBetweenTwoTries) {
  Kept kept(1600);
  kept.budget.ConnectionClosed(kWhole, /*was_leaving=*/false);
  for (int second = 0; second < 20; ++second) {
    const Instant now = kNow + seconds(second);
    EXPECT_TRUE(kept.budget.MayConnect(kept.controls, kWhole, now));
    kept.WriteAndSync(now);
    kept.WriteAndSync(now + nanoseconds(1));  // Looked at for another reason.
  }
  EXPECT_EQ(kept.keeper.written(), 1u);
}

TEST(KeptWindows, AreSettledAtOnceInTheEnd) {
  Kept kept(1600);
  kept.MayStart(1);
  kept.WriteAndSync();
  kept.budget.ConnectionClosed(kWhole, /*was_leaving=*/false);
  kept.keeper.ending = true;
  ASSERT_EQ(kept.Write(), 1u);
  EXPECT_EQ(kept.keeper.last().state.reserved, 0u);
}

TEST(KeptWindows, AnotherPeriodIsWrittenDown) {
  Kept kept(1600);
  kept.MayStart(1);
  kept.WriteAndSync();
  kept.Start(3);
  kept.End(3, 3);
  kept.controls.limits.recipient_period = minutes(128);
  ASSERT_EQ(kept.Write(), 1u);
  EXPECT_EQ(kept.keeper.last().state.period, minutes(128));
}

TEST(KeptWindows, ALimitThatIsLiftedIsSettled) {
  Kept kept(1600);
  kept.MayStart(1);
  kept.WriteAndSync();
  kept.Start(3);
  kept.controls.limits.recipients_limited = false;
  ASSERT_EQ(kept.Write(), 1u);
  EXPECT_EQ(kept.keeper.last().state.reserved, 0u);
  kept.keeper.SyncAll(kept.budget);
  kept.End(3, 3);
  EXPECT_EQ(kept.Write(), 0u);
}

TEST(KeptWindows, AnEventOfAnotherRecordMeansNothing) {
  Kept kept(1600);
  kept.MayStart(1);
  kept.Write();
  EXPECT_FALSE(kept.budget.Kept(99));
  EXPECT_EQ(kept.MayStart(1).binds, Limit::kKeeping);
  EXPECT_TRUE(kept.budget.Kept(1));
  EXPECT_FALSE(kept.budget.Kept(1));
}

// What is in flight is told of in the new scope before the record of the old one goes.
TEST(KeptWindows, AScopeThatEndsTellsUntilTheNextOneDoes) {
  Kept kept(1600);
  kept.MayStart(1);
  kept.WriteAndSync();
  kept.Start(7);
  kept.End(7, 7);
  kept.Start(4);
  const Limits limits = kept.controls.limits;
  kept.controls.scope.each_address = true;
  kept.budget.BeginRescope(limits, limits, kNow);
  kept.budget.Recount(Address(1), /*leaving=*/false, 4);

  ASSERT_EQ(kept.Write(), 1u);
  EXPECT_EQ(kept.keeper.last().state.part, WindowPart::kBefore);
  EXPECT_EQ(kept.keeper.last().state.seen[0].recipients, 7u);
  kept.keeper.SyncAll(kept.budget);

  ASSERT_EQ(kept.Write(), 1u);
  const WindowState scope = kept.keeper.last().state;
  EXPECT_EQ(scope.part, WindowPart::kScope);
  EXPECT_TRUE(scope.scope.each_address);
  EXPECT_EQ(scope.key, Address(1));
  EXPECT_EQ(scope.reserved, 4u + 100u);
  kept.keeper.SyncAll(kept.budget);

  ASSERT_EQ(kept.Write(), 1u);
  const WindowState ended = kept.keeper.last().state;
  EXPECT_EQ(ended.part, WindowPart::kScope);
  EXPECT_FALSE(ended.scope.each_address);
  EXPECT_EQ(ended.key, kWhole);
  EXPECT_EQ(ended.reserved, 0u);
  EXPECT_TRUE(ended.seen.empty());
}

// A table that lifts the limit and changes the scope at once: the next one may limit it again.
TEST(KeptWindows, WhatAnEndedScopeCountedIsWrittenWithoutALimitToo) {
  Kept kept(1600);
  kept.MayStart(1);
  kept.WriteAndSync();
  kept.Start(7);
  kept.End(7, 7);
  const Limits before = kept.controls.limits;
  kept.controls.scope.each_address = true;
  kept.controls.limits.recipients_limited = false;
  kept.controls.limits.recipient_period = {};
  kept.budget.BeginRescope(before, kept.controls.limits, kNow);
  kept.budget.Recount(Address(1), /*leaving=*/false, 0);
  ASSERT_EQ(kept.Write(), 1u);
  const WindowState& state = kept.keeper.last().state;
  EXPECT_EQ(state.part, WindowPart::kBefore);
  EXPECT_EQ(state.period, minutes(64));
  ASSERT_EQ(state.seen.size(), 1u);
  EXPECT_EQ(state.seen[0].recipients, 7u);
}

// --- Taking up.

TEST(RestoredWindows, CountForTheirScopeOrForEach) {
  Controls controls;
  controls.limits = PerPeriod(10, minutes(64));
  controls.system = PerPeriod(30, minutes(64));
  controls.scope.each_address = true;
  const std::vector<WindowStamp> four = {{.by = kNow - minutes(1), .recipients = 4}};
  DestinationBudget budget;
  budget.Restore(controls,
                 {.scope = controls.scope, .key = Address(1), .period = minutes(64), .seen = four},
                 kNow);
  for (const uint8_t address : {1, 2}) budget.ConnectionOpened(controls, Address(address));
  const auto left = [&](uint8_t address) {
    return budget.MayStart(controls, Address(address), 0, 100, kNow).recipients;
  };
  EXPECT_EQ(left(1), 6u);
  EXPECT_EQ(left(2), 10u);
  budget.Restore(controls, {.period = minutes(64), .seen = four}, kNow);  // Of the whole.
  EXPECT_EQ(left(1), 2u);
  EXPECT_EQ(left(2), 6u);
  budget.Restore(controls, {.part = WindowPart::kBefore, .period = minutes(64), .seen = four},
                 kNow);
  EXPECT_EQ(left(1), 0u);
  EXPECT_EQ(left(2), 2u);
  budget.Restore(controls,
                 {.part = WindowPart::kSystem,
                  .period = minutes(64),
                  .seen = {{.by = kNow, .recipients = 29}}},
                 kNow);
  EXPECT_EQ(left(2), 1u);
}

// --- Many lives.

// A transaction, with what the receiver will have seen of it.
struct Transaction {
  Instant permitted;  // By the clock of the world.
  uint32_t recipients = 0;
};

struct Connection {
  IpAddress address;
  std::optional<Transaction> transaction;
};

class Lives {
 public:
  // With `changes`, a table changes now and then, also between lives, what has limits of its own.
  Lives(uint64_t seed, bool changes) : random_(seed), changes_(changes) {
    controls_.limits = PerPeriod(static_cast<uint32_t>(random_.Between(1, 80)), Period());
    controls_.scope.each_address = random_.Chance(0.5);
    if (random_.Chance(0.5)) {
      controls_.system = PerPeriod(static_cast<uint32_t>(random_.Between(1, 150)), Period());
      if (random_.Chance(0.3)) controls_.limits.recipients_limited = false;
    }
    addresses_ = random_.Between(1, 4);
    always_whole_ = !changes && !controls_.scope.each_address;
  }

  void Run(int lives) {
    for (int life = 0; life < lives; ++life) {
      Start();
      const uint64_t steps = random_.Chance(0.2) ? random_.Below(5) : random_.Between(1, 400);
      for (uint64_t step = 0; step < steps; ++step) Step();
      random_.Chance(0.3) ? Stop() : Crash();
      if (random_.Chance(0.5)) Pass(Longest() / 4);
      if (changes_ && random_.Chance(0.2)) controls_.scope.each_address ^= true;
    }
  }

  // What one address sees is held to the limit whatever the scope is, and was.
  void Audit() const {
    std::vector<Instant> all;
    for (const auto& [address, seen] : seen_) {
      all.insert(all.end(), seen.begin(), seen.end());
      ExpectWithin(controls_.limits, seen);
    }
    if (always_whole_) ExpectWithin(controls_.limits, all);
    ExpectWithin(controls_.system, all);
    EXPECT_GT(all.size(), 0u);
  }

  // All of the limit is back a period and two 64ths after the last crash.
  void ExpectAllBack() {
    Start();
    world_ += Longest() + Longest() / 32;
    const ScopeKey key = KeyOf(controls_.scope, DrawAddress(), 0);
    budget_->ConnectionOpened(controls_, key);
    uint32_t expected = UINT32_MAX;
    for (const Limits& limits : {controls_.limits, controls_.system}) {
      if (limits.recipients_limited) expected = std::min(expected, limits.recipients_max);
    }
    EXPECT_EQ(budget_->MayStart(controls_, key, 0, expected, Now()).binds, Limit::kKeeping);
    Write();
    keeper_.SyncAll(*budget_);
    EXPECT_EQ(budget_->MayStart(controls_, key, 0, expected, Now()).recipients, expected);
    keeper_.Crash(random_);
  }

 private:
  static void ExpectWithin(const Limits& limits, const std::vector<Instant>& seen) {
    if (!limits.recipients_limited) return;
    EXPECT_LE(MostInAnyWindow(seen, limits.recipient_period), limits.recipients_max);
  }

  Duration Period() { return minutes(random_.Between(1, 60)); }
  Duration Longest() const {
    return std::max(controls_.limits.recipient_period, controls_.system.recipient_period);
  }
  Instant Now() const { return world_ + offset_; }
  IpAddress DrawAddress() {
    return Address(static_cast<uint8_t>(random_.Below(addresses_))).address;
  }
  ScopeKey KeyFor(const Connection& connection) const {
    return KeyOf(controls_.scope, connection.address, 0);
  }
  void Pass(Duration at_most) { world_ += nanoseconds(random_.Below(at_most.count() + 1)); }
  size_t Write() { return keeper_.Write(*budget_, controls_, Now(), offset_); }

  // The clock of a process begins anywhere: after a boot, near nothing.
  void Start() {
    offset_ =
        random_.Chance(0.3) ? -world_.time_since_epoch() : Duration(hours(random_.Below(5000)));
    budget_.emplace(DestinationBudget::Windows::kKept);
    keeper_.Restore(*budget_, controls_, Now(), offset_);
    keeper_.SyncAll(*budget_);
  }

  void Step() {
    Pass(Longest() / (1 << random_.Between(4, 12)));
    if (changes_ && random_.Chance(0.02)) Rescope();
    if (random_.Chance(0.3)) Open();
    if (random_.Chance(0.7)) Send();
    if (random_.Chance(0.5)) EndAny();
    if (random_.Chance(0.05)) CloseAny();
    if (random_.Chance(0.8)) Write();
    if (random_.Chance(0.7)) {
      keeper_.Sync(*budget_, random_.Between(keeper_.durable(), keeper_.written()));
    }
  }

  void Rescope() {
    controls_.scope.each_address ^= true;
    budget_->BeginRescope(controls_.limits, controls_.limits, Now());
    for (const Connection& connection : connections_) {
      const uint32_t in_flight = connection.transaction ? connection.transaction->recipients : 0;
      budget_->Recount(KeyFor(connection), /*leaving=*/false, in_flight);
    }
  }

  void Open() {
    const Connection connection = {.address = DrawAddress(), .transaction = {}};
    if (!budget_->MayConnect(controls_, KeyFor(connection), Now())) return;
    budget_->ConnectionOpened(controls_, KeyFor(connection));
    connections_.push_back(connection);
  }

  // A connection that is busy, or is not; null: none drawn is.
  Connection* Draw(bool busy) {
    if (connections_.empty()) return nullptr;
    Connection& connection = connections_[random_.Below(connections_.size())];
    return connection.transaction.has_value() == busy ? &connection : nullptr;
  }

  void Send() {
    Connection* connection = Draw(/*busy=*/false);
    if (connection == nullptr) return;
    const auto wanted = static_cast<uint32_t>(random_.Between(1, 40));
    const Permit permit = budget_->MayStart(controls_, KeyFor(*connection), 0, wanted, Now());
    if (!permit) return;
    const auto recipients = static_cast<uint32_t>(random_.Between(1, permit.recipients));
    budget_->TransactionStarted(controls_, KeyFor(*connection), recipients, Now());
    connection->transaction = {.permitted = world_, .recipients = recipients};
  }

  // The receiver saw some of the transaction by now. Returns how many.
  uint32_t Sees(const Connection& connection) {
    const Transaction& transaction = *connection.transaction;
    const auto seen = static_cast<uint32_t>(
        random_.Chance(0.7) ? transaction.recipients : random_.Below(transaction.recipients + 1));
    const int64_t since = (world_ - transaction.permitted).count();
    for (uint32_t i = 0; i < seen; ++i) {
      Instant at = transaction.permitted + nanoseconds(random_.Below(since + 1));
      if (random_.Chance(0.2)) at = transaction.permitted;  // The extremes are the hard cases.
      if (random_.Chance(0.2)) at = world_;
      seen_[connection.address].push_back(at);
    }
    return seen;
  }

  void EndAny() {
    if (Connection* connection = Draw(/*busy=*/true)) End(*connection);
  }
  void End(Connection& connection) {
    const uint32_t seen = Sees(connection);
    budget_->TransactionEnded(controls_, KeyFor(connection), connection.transaction->recipients,
                              seen, Now());
    connection.transaction.reset();
  }

  void CloseAny() {
    if (Connection* connection = Draw(/*busy=*/false)) Close(*connection);
  }
  void Close(Connection& connection) {
    budget_->ConnectionClosed(KeyFor(connection), /*was_leaving=*/false);
    connection = connections_.back();
    connections_.pop_back();
  }

  void Crash() {
    for (const Connection& connection : connections_) {
      if (connection.transaction) Sees(connection);
    }
    connections_.clear();
    keeper_.Crash(random_);
  }

  // A clean stop: all ends, and the exact state is left.
  void Stop() {
    for (Connection& connection : connections_) {
      if (connection.transaction) End(connection);
    }
    while (!connections_.empty()) Close(connections_.front());
    keeper_.ending = true;
    for (int look = 0; look < 8; ++look) {
      keeper_.SyncAll(*budget_);
      Write();
    }
    keeper_.SyncAll(*budget_);
    EXPECT_EQ(Write(), 0u);
    EXPECT_TRUE(budget_->Idle(controls_, Now() + 2 * Longest()));
    keeper_.ending = false;
    keeper_.Crash(random_);
  }

  Random random_;
  const bool changes_;
  Controls controls_{.limits = {}, .messages_per_connection_max = 1000000};
  uint64_t addresses_ = 1;
  bool always_whole_ = false;
  Instant world_ = kNow;
  Duration offset_{};
  Keeper keeper_;
  std::optional<DestinationBudget> budget_;
  std::vector<Connection> connections_;
  std::map<IpAddress, std::vector<Instant>> seen_;
};

class KeptReceiver : public testing::TestWithParam<uint64_t> {};

TEST_P(KeptReceiver, SeesNeverMoreThanTheLimitOverAllLives) {
  Lives lives(GetParam(), /*changes=*/false);
  lives.Run(12);
  lives.Audit();
  lives.ExpectAllBack();
}

TEST_P(KeptReceiver, SeesNeverMoreThanTheLimitWhateverHasLimitsOfItsOwn) {
  Lives lives(GetParam(), /*changes=*/true);
  lives.Run(12);
  lives.Audit();
}

INSTANTIATE_TEST_SUITE_P(Seeds, KeptReceiver, testing::Range<uint64_t>(1, 301));

// Not by standing still: with one crash a period, a sender that always has mail gets almost all of
// the limit through.
TEST(KeptWindows, ACrashCostsNoMoreThanWhatWasReservedAhead) {
  Kept kept(1600);
  Instant now = kNow;
  Keeper& keeper = kept.keeper;
  uint32_t sent = 0;
  const auto send_all = [&](DestinationBudget& budget) {
    for (int look = 0; look < 1000; ++look) {
      const Permit permit = budget.MayStart(kept.controls, kWhole, 0, 1, now);
      if (permit.binds == Limit::kRecipients) return;
      if (permit) {
        budget.TransactionStarted(kept.controls, kWhole, 1, now);
        budget.TransactionEnded(kept.controls, kWhole, 1, 1, now);
        if (++sent == 800) return;
      }
      keeper.Write(budget, kept.controls, now, {});
      keeper.SyncAll(budget);
    }
  };
  send_all(kept.budget);
  ASSERT_EQ(sent, 800u);
  DestinationBudget next(DestinationBudget::Windows::kKept);
  keeper.Restore(next, kept.controls, now, {});
  next.ConnectionOpened(kept.controls, kWhole);
  for (int rounds = 0; rounds < 3; ++rounds) send_all(next);
  EXPECT_GE(sent, 1500u);  // At most a 16th was reserved and not used.
  EXPECT_LE(sent, 1600u);
}

}  // namespace
}  // namespace sluice::policy
