// Crashes at any step. A random stream of arrivals, outcomes, moves and reclaims runs on one to
// four logs; the process is killed or the power cut at a random step; the spool is recovered, with
// another number of shards as often as not; and a ledger outside of the logs says what must and
// what may be there:
//
//   a message whose promise was durable and that nobody said was done is there, with its bytes
//   a recipient whose outcome was durable has it; no recipient has an outcome that nobody gave
//   a message whose end was durable is not there, nor is one that an earlier recovery did not find
//   no message is half there
//
// Then it goes on with what was recovered. Each seed replays its run.

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>

#include "engine/base/random.h"
#include "tests/engine/spool/spool_words.h"

namespace sluice::spool {
namespace {

constexpr uint64_t kSegmentBytes = 8192;
constexpr int kCrashesPerSeed = 4;
constexpr uint64_t kSeedsPerTest = 250;

struct LedgerRecipient {
  RecipientState durable = RecipientState::kWaiting;
  RecipientState said = RecipientState::kWaiting;
  uint16_t attempts_durable = 0;
  uint16_t attempts_said = 0;
};

struct LedgerMessage {
  uint64_t shard = 0;
  std::string wire;
  uint64_t appended_bytes = 0;  // Of its body; all of it: it is accepted.
  bool accepted = false;
  bool promised = false;  // Its batch is durable.
  bool done_said = false;
  bool done_durable = false;
  SegmentId first_segment;
  uint64_t log_bytes = 0;
  std::vector<LedgerRecipient> recipients;

  bool Waits() const {
    return std::any_of(recipients.begin(), recipients.end(),
                       [](const LedgerRecipient& r) { return r.said == RecipientState::kWaiting; });
  }
};

// What becomes true when a batch is durable.
struct Pending {
  enum class Kind : uint8_t { kPromise, kFinal, kDeferred, kDone } kind;
  uint64_t batch = 0;
  uint64_t id = 0;
  size_t recipient = 0;
  RecipientState state = RecipientState::kWaiting;
  uint16_t attempts = 0;
};

struct Shard {
  std::unique_ptr<Log> log;
  Step step;  // In flight.
  std::vector<Pending> pending;
};

class World {
 public:
  explicit World(uint64_t seed) : random_(seed) {
    free_segments_kept_ = random_.Below(4);
    if (random_.Chance(0.3)) disk_.faults.capacity_bytes = kSegmentBytes * random_.Between(6, 20);
    if (random_.Chance(0.3)) disk_.faults.write_bytes_max = random_.Between(1, 3000);
  }

  void Run() {
    Start();
    for (int crash = 0; crash < kCrashesPerSeed && !testing::Test::HasFailure(); ++crash) {
      const uint64_t actions = random_.Between(1, 250);
      for (uint64_t i = 0; i < actions; ++i) Act();
      End();
      Start();
    }
  }

 private:
  // --- Start and end.

  void Start() {
    absl::StatusOr<Recovered> recovered = Recover(disk_);
    ASSERT_TRUE(recovered.ok()) << recovered.status();
    if (!power_cut_) {
      EXPECT_EQ(recovered->damaged_records, 0u);
    }
    Compare(*recovered);
    shards_ = std::vector<Shard>(random_.Between(1, 4));
    for (uint64_t number = 0; number < shards_.size(); ++number) StartShard(number, *recovered);
  }

  void StartShard(uint64_t number, const Recovered& recovered) {
    std::vector<Log::LiveSegment> segments;
    for (const Log::LiveSegment& live : recovered.segments) {
      if (live.keeper % shards_.size() == number) segments.push_back(live);
    }
    Shard& shard = shards_[number];
    shard.log = std::make_unique<Log>(Log::Options{.number = static_cast<uint16_t>(number),
                                                   .segment_bytes = kSegmentBytes,
                                                   .outcome_reserve_bytes = 1024,
                                                   .free_segments_kept = free_segments_kept_},
                                      disk_, segments, recovered.next_sequence);
    for (const RecoveredMessage& message : recovered.messages) {
      if (message.keeper % shards_.size() != number) continue;
      shard.log->Lives(message.first_segment, message.log_bytes);
      messages_.at(message.accepted.id.value).shard = number;
    }
    // A disk that the test has made too small to begin on grows by what is needed.
    absl::Status begun = shard.log->Begin(At(0));
    if (absl::IsResourceExhausted(begun)) {
      disk_.faults.capacity_bytes += 8 * kSegmentBytes;
      begun = shard.log->Begin(At(0));
    }
    ASSERT_TRUE(begun.ok()) << begun;
  }

  void End() {
    for (Shard& shard : shards_) {
      // A step that was in flight may have been done, or not.
      if (shard.step.kind == StepKind::kWrite && random_.Chance(0.5)) disk_.Perform(shard.step);
    }
    disk_.faults.write_error = 0;
    disk_.faults.sync_error = 0;
    if (random_.Chance(0.7)) {
      disk_.Crash(random_);
      power_cut_ = true;
    } else {
      disk_.Kill();
    }
    shards_.clear();
    lent_.clear();
  }

  // --- The ledger against what was found.

  void Compare(const Recovered& recovered) {
    std::set<uint64_t> found;
    for (const RecoveredMessage& message : recovered.messages) {
      found.insert(message.accepted.id.value);
      CompareMessage(message);
    }
    for (auto at = messages_.begin(); at != messages_.end();) {
      if (found.contains(at->first)) {
        ++at;
        continue;
      }
      EXPECT_TRUE(!at->second.promised || at->second.done_said) << "lost: " << at->first;
      gone_.insert(at->first);
      at = messages_.erase(at);
    }
  }

  void CompareMessage(const RecoveredMessage& message) {
    const uint64_t id = message.accepted.id.value;
    EXPECT_FALSE(gone_.contains(id)) << "has risen: " << id;
    const auto known = messages_.find(id);
    ASSERT_NE(known, messages_.end()) << id;
    LedgerMessage& ledger = known->second;
    EXPECT_TRUE(ledger.accepted) << "half there: " << id;
    EXPECT_FALSE(ledger.done_durable) << "has risen: " << id;
    EXPECT_EQ(BodyOnDisk(disk_, message), ledger.wire);
    ASSERT_EQ(message.accepted.recipients.size(), ledger.recipients.size());
    for (size_t i = 0; i < ledger.recipients.size(); ++i) {
      const RecipientRecord& is = message.accepted.recipients[i];
      LedgerRecipient& was = ledger.recipients[i];
      if (was.durable != RecipientState::kWaiting) {
        EXPECT_EQ(is.state, was.durable) << id;
      }
      if (is.state != RecipientState::kWaiting) {
        EXPECT_EQ(is.state, was.said) << id;
      }
      EXPECT_GE(is.attempts, was.attempts_durable) << id;
      EXPECT_LE(is.attempts, was.attempts_said) << id;
      was = {.durable = is.state,
             .said = is.state,
             .attempts_durable = is.attempts,
             .attempts_said = is.attempts};
    }
    ledger.promised = true;
    ledger.done_said = false;
    ledger.first_segment = message.first_segment;
    ledger.log_bytes = message.log_bytes;
  }

  // --- One action of one shard.

  void Act() {
    const uint64_t number = random_.Below(shards_.size());
    Shard& shard = shards_[number];
    if (shard.log->failed()) return;
    const uint64_t dice = random_.Below(100);
    if (dice < 30) {
      Arrive(number);
    } else if (dice < 50) {
      Decide(number);
    } else if (dice < 85) {
      DoStep(shard);
    } else if (dice < 93) {
      shard.log->Reclaim();
    } else if (dice < 99) {
      Move(number);
    } else if (random_.Chance(0.02)) {
      (random_.Chance(0.5) ? disk_.faults.write_error : disk_.faults.sync_error) = EIO;
    }
  }

  void DoStep(Shard& shard) {
    if (shard.step.kind == StepKind::kNone) {
      shard.step = shard.log->NextStep();
      return;
    }
    const int32_t result = disk_.Perform(shard.step);
    shard.step = {};
    shard.log->OnDone(result);
    for (const Pending& pending : shard.pending) {
      if (pending.batch <= shard.log->durable()) BecomesTrue(pending);
    }
    std::erase_if(shard.pending,
                  [&](const Pending& pending) { return pending.batch <= shard.log->durable(); });
  }

  void BecomesTrue(const Pending& pending) {
    LedgerMessage& message = messages_.at(pending.id);
    switch (pending.kind) {
      case Pending::Kind::kPromise:
        message.promised = true;
        return;
      case Pending::Kind::kFinal:
        message.recipients[pending.recipient].durable = pending.state;
        return;
      case Pending::Kind::kDeferred:
        message.recipients[pending.recipient].attempts_durable = pending.attempts;
        return;
      case Pending::Kind::kDone:
        message.done_durable = true;
        return;
    }
  }

  // A message on this shard for which `fits`, or none.
  template <class Fits>
  std::pair<const uint64_t, LedgerMessage>* Pick(uint64_t number, Fits fits) {
    std::vector<std::pair<const uint64_t, LedgerMessage>*> fitting;
    for (auto& entry : messages_) {
      if (entry.second.shard == number && fits(entry.second)) fitting.push_back(&entry);
    }
    return fitting.empty() ? nullptr : fitting[random_.Below(fitting.size())];
  }

  static bool Arriving(const LedgerMessage& message) {
    return !message.accepted && message.appended_bytes < message.wire.size();
  }

  void Arrive(uint64_t number) {
    Log& log = *shards_[number].log;
    if (auto* arriving = Pick(number, Arriving); arriving != nullptr && random_.Chance(0.8)) {
      if (random_.Chance(0.1)) return Abandon(log, *arriving);
      return AppendPiece(number, arriving->first, arriving->second);
    }
    const uint64_t id = next_id_++;
    LedgerMessage& message = messages_[id];
    message.shard = number;
    message.wire = BodyOf(id, random_.Between(1, random_.Chance(0.1) ? 30000 : 3000));
    message.recipients.resize(random_.Between(1, 3));
    AppendPiece(number, id, message);
    while (random_.Chance(0.7) && Arriving(message)) AppendPiece(number, id, message);
  }

  // The injector went away.
  void Abandon(Log& log, std::pair<const uint64_t, LedgerMessage>& entry) {
    if (entry.second.appended_bytes > 0)
      log.Died(entry.second.first_segment, entry.second.log_bytes);
    gone_.insert(entry.first);
    messages_.erase(entry.first);
  }

  void AppendPiece(uint64_t number, uint64_t id, LedgerMessage& message) {
    Log& log = *shards_[number].log;
    const uint64_t left = message.wire.size() - message.appended_bytes;
    const uint64_t bytes = std::min(left, random_.Between(1, log.piece_bytes_max()));
    if (!log.MayAccept(bytes + 400, At(clock_++))) return;
    AppendBytes(log, id, message, bytes);
    if (log.failed() || Arriving(message)) return;
    message.accepted = true;
    AppendPromise(log, id, message);
    shards_[number].pending.push_back(
        {.kind = Pending::Kind::kPromise, .batch = log.open_batch(), .id = id});
  }

  void AppendBytes(Log& log, uint64_t id, LedgerMessage& message, uint64_t bytes) {
    lent_.push_back(message.wire);
    const Bytes piece = AsBytes(lent_.back()).subspan(message.appended_bytes, bytes);
    const uint64_t cut = random_.Below(bytes + 1);
    const Bytes parts[] = {piece.first(cut), piece.subspan(cut)};
    const Extent extent = log.AppendBody({id}, message.appended_bytes, parts, At(0));
    if (log.failed()) return;
    if (message.appended_bytes == 0) {
      message.first_segment = extent.segment;
      message.log_bytes = message.wire.size();
      log.Lives(message.first_segment, message.log_bytes);
    }
    message.appended_bytes += bytes;
  }

  void AppendPromise(Log& log, uint64_t id, const LedgerMessage& message) {
    AcceptedRecord record =
        Accepted(id, message.wire.size(), static_cast<int>(message.recipients.size()));
    for (size_t i = 0; i < message.recipients.size(); ++i) {
      record.recipients[i].state = message.recipients[i].said;
      record.recipients[i].attempts = message.recipients[i].attempts_said;
    }
    log.AppendAccepted(record, At(0));
  }

  // A recipient of a promised message is delivered, bounced or deferred; the last one ends it.
  void Decide(uint64_t number) {
    Shard& shard = shards_[number];
    auto* picked = Pick(number, [](const LedgerMessage& m) { return m.promised && !m.done_said; });
    if (picked == nullptr) return;
    auto& [id, message] = *picked;
    const size_t recipient = random_.Below(message.recipients.size());
    LedgerRecipient& to = message.recipients[recipient];
    if (to.said == RecipientState::kWaiting) {
      random_.Chance(0.3) ? Defer(shard, id, recipient, to) : Finish(shard, id, recipient, to);
    }
    if (message.Waits() || shard.log->failed()) return;
    shard.log->AppendDone({id}, At(0));
    message.done_said = true;
    shard.pending.push_back(
        {.kind = Pending::Kind::kDone, .batch = shard.log->open_batch(), .id = id});
    if (!shard.log->failed()) shard.log->Died(message.first_segment, message.log_bytes);
  }

  void Defer(Shard& shard, uint64_t id, size_t recipient, LedgerRecipient& to) {
    ++to.attempts_said;
    shard.log->AppendDeferred({.id = {id},
                               .attempts = to.attempts_said,
                               .next_attempt = At(to.attempts_said),
                               .last_reply = "450",
                               .recipients = {static_cast<uint32_t>(recipient)}},
                              At(0));
    shard.pending.push_back({.kind = Pending::Kind::kDeferred,
                             .batch = shard.log->open_batch(),
                             .id = id,
                             .recipient = recipient,
                             .attempts = to.attempts_said});
  }

  void Finish(Shard& shard, uint64_t id, size_t recipient, LedgerRecipient& to) {
    to.said = random_.Chance(0.8) ? RecipientState::kDelivered : RecipientState::kBounced;
    shard.log->AppendOutcome(
        {.id = {id}, .state = to.said, .recipients = {static_cast<uint32_t>(recipient)}}, At(0));
    shard.pending.push_back({.kind = Pending::Kind::kFinal,
                             .batch = shard.log->open_batch(),
                             .id = id,
                             .recipient = recipient,
                             .state = to.said});
  }

  // Some of what lives in the oldest segment goes to the end; mostly when the log wants it.
  void Move(uint64_t number) {
    Log& log = *shards_[number].log;
    const std::optional<SegmentId> oldest = log.MoveWanted();
    auto* picked = Pick(number, [&](const LedgerMessage& m) {
      return m.promised && !m.done_said && (!oldest || m.first_segment == *oldest);
    });
    if (picked == nullptr || (!oldest && random_.Chance(0.8))) return;
    auto& [id, message] = *picked;
    if (!log.MayMove(message.wire.size() + 400, At(clock_++))) return;
    const bool died_first = random_.Chance(0.5);  // The order within a turn is the owner's.
    const LedgerMessage old = message;
    if (died_first) log.Died(old.first_segment, old.log_bytes);
    message.appended_bytes = 0;
    while (message.appended_bytes < message.wire.size() && !log.failed()) {
      AppendBytes(log, id, message,
                  std::min(log.piece_bytes_max(), message.wire.size() - message.appended_bytes));
    }
    if (log.failed()) return;
    AppendPromise(log, id, message);
    if (!died_first && !log.failed()) log.Died(old.first_segment, old.log_bytes);
  }

  Random random_;
  MemoryDisk disk_;
  size_t free_segments_kept_ = 0;
  bool power_cut_ = false;  // Ever: a power cut may leave good records behind bad ones.
  int64_t clock_ = 0;
  uint64_t next_id_ = 1;
  std::vector<Shard> shards_;
  std::map<uint64_t, LedgerMessage> messages_;
  std::set<uint64_t> gone_;
  std::deque<std::string> lent_;
};

class Crash : public testing::TestWithParam<uint64_t> {};

TEST_P(Crash, LosesNothingAndWakesNoDead) {
  for (uint64_t seed = GetParam(); seed < GetParam() + kSeedsPerTest; ++seed) {
    World(seed).Run();
    if (HasFailure()) FAIL() << "seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Crash, testing::Range(uint64_t{0}, uint64_t{3000}, kSeedsPerTest));

}  // namespace
}  // namespace sluice::spool
