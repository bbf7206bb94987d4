// The promise as the *receivers* would audit it, each for itself and all together: random controls
// of every scope with random limits of the system, random addresses and sources, connections that
// come, move and go, and tables that change the scopes meanwhile. Every recipient reaches its
// receiver at a random instant between its permit and the reply. Each connection and each
// transaction is held against the table of its instant: with it, no more than the limit may be up,
// in flight or seen within the period before, in its scope and in all. Nor is the promise kept by
// standing still: every refusal is held against what could justify it.

#include <algorithm>
#include <functional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/random.h"
#include "gtest/gtest.h"
#include "policy/destination_budget.h"

namespace sluice::policy {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::nanoseconds;

constexpr Instant kStart = Instant(hours(1000));
constexpr int kAddresses = 3;
constexpr uint32_t kSources = 3;

// Where something is: the scopes of any table can be told from it.
struct Place {
  IpAddress address;
  uint32_t source = 0;
};

struct Session {
  Place place;
  ScopeKey key;  // Where the budget was told that it counts.
  uint32_t recipients = 0;
  Instant permitted{};
};

struct Sight {
  Place place;
  Instant seen{};
  Instant ended{};  // When the budget was told.
};

// The periods stay, since a window may forget what a shorter one had let go.
class Audit {
 public:
  explicit Audit(uint64_t seed) : random_(seed) {
    scope_period_ = minutes(random_.Between(1, 60));
    system_period_ = minutes(random_.Between(1, 60));
    controls_ = DrawControls();
  }

  void Step() {
    const Duration least = std::min(scope_period_, system_period_);
    now_ += nanoseconds(random_.Below(least.count() >> random_.Between(2, 10)));
    switch (random_.Below(8)) {
      case 0:
      case 1:
        return Open();
      case 2:
      case 3:
      case 4:
        return Start();
      case 5:
        return End();
      case 6:
        return random_.Chance(0.3) ? Close() : End();
      case 7:
        return Move();
    }
  }

  void ChangeTable() {
    const Limits before = controls_.limits;
    const LimitScope scope = controls_.scope;
    controls_ = DrawControls();
    if (controls_.scope == scope) return;
    budget_.BeginRescope(before, controls_.limits, now_);
    last_rescope_ = now_;
    for (Session& session : sessions_) {
      session.key = KeyOf(session.place);
      budget_.Recount(session.key, /*leaving=*/false, session.recipients);
    }
    ASSERT_EQ(budget_.connections(), sessions_.size());
  }

  // All ends; a period and a bucket later, all of every limit is back.
  void EndAll() {
    while (!sessions_.empty()) {
      if (sessions_.back().recipients > 0) EndOf(sessions_.back());
      budget_.ConnectionClosed(sessions_.back().key, /*was_leaving=*/false);
      sessions_.pop_back();
    }
    now_ += std::max(scope_period_, system_period_) * 65 / 64 + nanoseconds(64);
    EXPECT_TRUE(budget_.Idle(controls_, now_));
    for (int i = 0; i < kAddresses; ++i) {
      const ScopeKey key = KeyOf(DrawPlace());
      ASSERT_TRUE(budget_.MayConnect(controls_, key, now_));
      budget_.ConnectionOpened(controls_, key);
      EXPECT_EQ(budget_.MayStart(controls_, key, 0, UINT32_MAX, now_).recipients,
                std::min(controls_.limits.recipients_max, controls_.system.recipients_max));
      budget_.ConnectionClosed(key, /*was_leaving=*/false);
    }
  }

  int starts() const { return starts_; }
  int refusals() const { return refusals_; }

 private:
  Limits DrawLimits(uint32_t connections, uint32_t recipients, Duration period) {
    return {.connections_max = static_cast<uint32_t>(random_.Between(1, connections)),
            .recipients_limited = true,
            .recipients_max = static_cast<uint32_t>(random_.Between(1, recipients)),
            .recipient_period = period};
  }
  Controls DrawControls() {
    return {.limits = DrawLimits(4, 40, scope_period_),
            .scope = {.each_address = random_.Chance(0.5), .each_source = random_.Chance(0.5)},
            .system = DrawLimits(12, 120, system_period_)};
  }
  IpAddress DrawAddress() {
    return *IpAddress::Parse(absl::StrCat("192.0.2.", random_.Below(kAddresses)));
  }
  Place DrawPlace() {
    return {.address = DrawAddress(), .source = static_cast<uint32_t>(random_.Below(kSources))};
  }
  ScopeKey KeyOf(const Place& place) const {
    return policy::KeyOf(controls_.scope, place.address, place.source);
  }

  uint32_t ConnectionsIn(const ScopeKey& key) const {
    return static_cast<uint32_t>(
        std::count_if(sessions_.begin(), sessions_.end(),
                      [&](const Session& session) { return KeyOf(session.place) == key; }));
  }
  // In flight, and seen or ended since; of one scope, or of all (null).
  uint64_t InFlight(const ScopeKey* key) const {
    uint64_t count = 0;
    for (const Session& session : sessions_) {
      if (key == nullptr || KeyOf(session.place) == *key) count += session.recipients;
    }
    return count;
  }
  uint64_t Since(const ScopeKey* key, Instant Sight::*when, Instant since) const {
    return static_cast<uint64_t>(
        std::count_if(sights_.begin(), sights_.end(), [&](const Sight& sight) {
          return sight.*when >= since && (key == nullptr || KeyOf(sight.place) == *key);
        }));
  }

  void Open() {
    const Place place = DrawPlace();
    const ScopeKey key = KeyOf(place);
    const Permit permit = budget_.MayConnect(controls_, key, now_);
    if (!permit) return Judge(permit, key);
    budget_.ConnectionOpened(controls_, key);
    sessions_.push_back({.place = place, .key = key});
    ASSERT_LE(ConnectionsIn(key), controls_.limits.connections_max);
    ASSERT_LE(sessions_.size(), controls_.system.connections_max);
    ASSERT_EQ(budget_.connections(), sessions_.size());
  }

  void Start() {
    Session* session = Draw([](const Session& s) { return s.recipients == 0; });
    if (session == nullptr) return;
    const auto wanted = static_cast<uint32_t>(random_.Between(1, 30));
    const Permit permit = budget_.MayStart(controls_, session->key, 0, wanted, now_);
    if (!permit) return Judge(permit, session->key);
    ASSERT_GE(permit.recipients, 1u);
    ASSERT_LE(permit.recipients, wanted);
    session->recipients = static_cast<uint32_t>(random_.Between(1, permit.recipients));
    session->permitted = now_;
    budget_.TransactionStarted(controls_, session->key, session->recipients, now_);
    const ScopeKey key = session->key;
    ASSERT_LE(InFlight(&key) + Since(&key, &Sight::seen, now_ - scope_period_),
              controls_.limits.recipients_max);
    ASSERT_LE(InFlight(nullptr) + Since(nullptr, &Sight::seen, now_ - system_period_),
              controls_.system.recipients_max);
    ++starts_;
  }

  void End() {
    if (Session* session = Draw([](const Session& s) { return s.recipients > 0; })) {
      EndOf(*session);
    }
  }
  void EndOf(Session& session) {
    const auto seen = static_cast<uint32_t>(
        random_.Chance(0.7) ? session.recipients : random_.Below(session.recipients + 1));
    budget_.TransactionEnded(controls_, session.key, session.recipients, seen, now_);
    for (uint32_t i = 0; i < seen; ++i) {
      Instant at =
          session.permitted + nanoseconds(random_.Below((now_ - session.permitted).count() + 1));
      if (random_.Chance(0.2)) at = session.permitted;
      if (random_.Chance(0.2)) at = now_;
      sights_.push_back({.place = session.place, .seen = at, .ended = now_});
    }
    session.recipients = 0;
  }

  void Close() {
    Session* session = Draw([](const Session& s) { return s.recipients == 0; });
    if (session == nullptr) return;
    budget_.ConnectionClosed(session->key, /*was_leaving=*/false);
    sessions_.erase(sessions_.begin() + (session - sessions_.data()));
  }

  void Move() {
    Session* session = Draw([](const Session& s) { return s.recipients == 0; });
    if (session == nullptr) return;
    const Place place = {.address = DrawAddress(), .source = session->place.source};
    const ScopeKey key = KeyOf(place);
    if (!(key == session->key) && !budget_.MayMove(controls_, key, now_)) return;
    budget_.ConnectionMoved(controls_, session->key, key, /*leaving=*/false);
    const bool moved = !(key == session->key);
    session->place = place;
    session->key = key;
    if (moved) {
      ASSERT_LE(ConnectionsIn(key), controls_.limits.connections_max);
    }
    ASSERT_EQ(budget_.connections(), sessions_.size());
  }

  // A refusal: by a limit that is reached, and with something to wait for.
  void Judge(const Permit& no, const ScopeKey& key) {
    ++refusals_;
    switch (no.binds) {
      case Limit::kConnections:
        ASSERT_GE(ConnectionsIn(key), controls_.limits.connections_max);
        break;
      case Limit::kSystemConnections:
        ASSERT_GE(sessions_.size(), controls_.system.connections_max);
        break;
      case Limit::kRecipients: {
        // Before the last new scopes, any recipient; and it then counted as if it were new.
        const Duration held = Held(scope_period_);
        const uint64_t here = Since(&key, &Sight::ended, now_ - held) + InFlight(&key);
        const bool rescoped = now_ - last_rescope_ <= held;
        const uint64_t all = Since(nullptr, &Sight::ended, now_ - 2 * held) + InFlight(&key);
        ASSERT_GE(rescoped ? all : here, controls_.limits.recipients_max);
        if (no.look_again == kNever) {
          ASSERT_GT(InFlight(&key), 0u);
        }
        break;
      }
      case Limit::kSystemRecipients:
        ASSERT_GE(Since(nullptr, &Sight::ended, now_ - Held(system_period_)) + InFlight(nullptr),
                  controls_.system.recipients_max);
        if (no.look_again == kNever) {
          ASSERT_GT(InFlight(nullptr), 0u);
        }
        break;
      case Limit::kNone:
      case Limit::kMessagesPerConnection:
      case Limit::kScopes:
      case Limit::kKeeping:
        FAIL() << LimitName(no.binds);
    }
    ASSERT_GT(no.look_again, now_);
    // As the shard does, at the very instant that was named.
    if (no.look_again != kNever && random_.Chance(0.3)) now_ = no.look_again;
  }
  // Room comes back up to a bucket late, and a bucket's width is rounded up.
  static Duration Held(Duration period) { return period * 65 / 64 + nanoseconds(64); }

  Session* Draw(const std::function<bool(const Session&)>& which) {
    std::vector<Session*> fit;
    for (Session& session : sessions_) {
      if (which(session)) fit.push_back(&session);
    }
    return fit.empty() ? nullptr : fit[random_.Below(fit.size())];
  }

  Random random_;
  Duration scope_period_{};
  Duration system_period_{};
  Controls controls_;
  Instant now_ = kStart;
  Instant last_rescope_ = kStart - hours(10);
  DestinationBudget budget_;
  std::vector<Session> sessions_;
  std::vector<Sight> sights_;
  int starts_ = 0;
  int refusals_ = 0;
};

class ReceiverOfScopes : public testing::TestWithParam<uint64_t> {};

TEST_P(ReceiverOfScopes, SeesNeverMoreThanTheLimits) {
  Audit audit(GetParam());
  for (int step = 0; step < 3000 && !HasFatalFailure(); ++step) audit.Step();
  if (HasFatalFailure()) return;
  audit.EndAll();
  EXPECT_GT(audit.starts(), 50);
  EXPECT_GT(audit.refusals(), 50);  // The limits were put to the test.
}

TEST_P(ReceiverOfScopes, SeesNeverMoreThanTheTableOfTheHourAllows) {
  Audit audit(GetParam());
  Random changes(GetParam() + 1000);
  for (int step = 0; step < 3000 && !HasFatalFailure(); ++step) {
    if (changes.Chance(0.02)) audit.ChangeTable();
    audit.Step();
  }
  if (HasFatalFailure()) return;
  audit.EndAll();
  EXPECT_GT(audit.starts(), 50);
  EXPECT_GT(audit.refusals(), 50);
}

INSTANTIATE_TEST_SUITE_P(Seeds, ReceiverOfScopes, testing::Range<uint64_t>(1, 61));

}  // namespace
}  // namespace sluice::policy
