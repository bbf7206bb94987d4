// Crashes at any step. A random stream of arrivals, outcomes, moves and reclaims runs on one to
// four logs; the process is killed or the power cut at a random step; the spool is recovered, with
// another number of shards as often as not; and a ledger outside of the logs says what must and
// what may be there:
//
//   a message whose promise was durable and that nobody said was done is there, with its bytes
//   a recipient whose outcome was durable has it; no recipient has an outcome that nobody gave
//   a message whose end was durable is not there, nor is one that an earlier recovery did not find
//   no message is half there
//   a window has the number that was last durable, or a later one
//
// What starts by the indexes finds the same as what reads every record (same_start.h). Then it goes
// on with what was recovered. Each seed replays its run.

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>

#include "engine/base/random.h"
#include "tests/engine/spool/same_start.h"
#include "tests/engine/spool/spool_words.h"

namespace sluice::spool {
namespace {

constexpr uint64_t kSegmentBytes = 8192;
constexpr int kCrashesPerSeed = 4;
constexpr uint64_t kSeedsPerTest = 250;

// Texts that a promise may be made long by: then its segment has no room for an index.
constexpr uint64_t kLongTextBytes = 5000;

struct LedgerRecipient {
  std::string destination;
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
  std::string envelope_id;
  std::vector<Extent> body;
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
  enum class Kind : uint8_t { kPromise, kFinal, kDeferred, kDone, kWindow } kind;
  uint64_t batch = 0;
  uint64_t id = 0;
  size_t recipient = 0;
  RecipientState state = RecipientState::kWaiting;
  uint16_t attempts = 0;
  std::string destination;  // Of a window,
  uint64_t place = 0;       // and which of its places.
};

// The record of a window that counts, and the ones before it until it is durable.
struct LedgerWindow {
  struct Place {
    uint64_t name = 0;  // Grows.
    uint64_t shard = 0;
    SegmentId segment;
    WindowRecord record;
  };
  uint64_t durable_number = 0;
  std::vector<Place> places;
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

  uint64_t indexed_segments() const { return indexed_segments_; }

 private:
  // --- Start and end.

  void Start() {
    absl::StatusOr<Recovered> recovered = Recover(disk_);
    ASSERT_TRUE(recovered.ok()) << recovered.status();
    if (!power_cut_) {
      EXPECT_EQ(recovered->damaged_records, 0u);
    }
    Compare(*recovered);
    indexed_segments_ +=
        ExpectSameStart(disk_, *recovered, {.shards = random_.Between(1, 4), .damaged = false});
    disk_.Kill();
    recovered = Recover(disk_);
    ASSERT_TRUE(recovered.ok()) << recovered.status();
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
    for (const RecoveredWindow& window : recovered.windows) {
      if (window.keeper % shards_.size() != number) continue;
      shard.log->Lives(window.segment, WindowRecordBytes(window.record));
      windows_.at(window.record.key.destination).places = {
          {.name = 0, .shard = number, .segment = window.segment, .record = window.record}};
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
    std::map<std::string, uint64_t> numbers;
    for (const RecoveredWindow& window : recovered.windows) {
      numbers[window.record.key.destination] = window.record.number;
    }
    for (auto& [destination, window] : windows_) {
      EXPECT_GE(numbers[destination], window.durable_number) << destination;
      window.durable_number = numbers[destination];
      window.places.clear();
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
      EXPECT_EQ(is.destination, was.destination);
      was = {.destination = is.destination,
             .durable = is.state,
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
    } else if (dice < 47) {
      Decide(number);
    } else if (dice < 50) {
      WriteWindow(number);
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
    if (pending.kind == Pending::Kind::kWindow) return WindowIsDurable(pending);
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
      case Pending::Kind::kWindow:
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
    if (random_.Chance(0.03)) message.envelope_id.resize(random_.Between(0, kLongTextBytes), 'e');
    message.recipients.resize(random_.Between(1, 5));
    for (size_t i = 0; i < message.recipients.size();
         ++i) {  // One destination, or runs of several.
      const bool as_before = i > 0 && random_.Chance(0.6);
      message.recipients[i].destination =
          as_before ? message.recipients[i - 1].destination : Destination();
    }
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
    const uint64_t promise_bytes = PromiseBytes(message);
    if (!log.MayAccept(bytes + promise_bytes, At(clock_++))) return;
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
    if (message.appended_bytes == 0) message.body.clear();
    message.body.push_back(extent);
    if (message.appended_bytes == 0) {
      message.first_segment = extent.segment;
      message.log_bytes = message.wire.size();
      log.Lives(message.first_segment, message.log_bytes);
    }
    message.appended_bytes += bytes;
  }

  static uint64_t PromiseBytes(const LedgerMessage& message) {
    return 400 + 50 * message.recipients.size() + message.envelope_id.size();
  }

  std::string Destination() { return "d" + std::to_string(random_.Below(3)) + ".example"; }

  void AppendPromise(Log& log, uint64_t id, const LedgerMessage& message, bool again = false) {
    AcceptedRecord record =
        Accepted(id, message.wire.size(), static_cast<int>(message.recipients.size()));
    for (size_t i = 0; i < message.recipients.size(); ++i) {
      record.recipients[i].state = message.recipients[i].said;
      record.recipients[i].destination = message.recipients[i].destination;
      record.recipients[i].attempts = message.recipients[i].attempts_said;
      if (record.recipients[i].attempts > 0) {
        record.recipients[i].next_attempt = At(record.recipients[i].attempts);
      }
    }
    record.envelope_id = message.envelope_id;
    record.body = message.body;
    log.AppendAccepted(record, At(0), again);
  }

  // Recipients of a promised message at one destination are delivered, bounced or deferred; the
  // last one ends it.
  void Decide(uint64_t number) {
    Shard& shard = shards_[number];
    auto* picked = Pick(number, [](const LedgerMessage& m) { return m.promised && !m.done_said; });
    if (picked == nullptr) return;
    auto& [id, message] = *picked;
    std::vector<uint32_t> waiting = WaitingGroup(message);
    if (!waiting.empty() && random_.Chance(0.4)) {
      Defer(shard, id, message, waiting);
    } else if (!waiting.empty()) {
      waiting.resize(random_.Between(1, waiting.size()));
      Finish(shard, id, message, waiting);
    }
    if (message.Waits() || shard.log->failed()) return;
    shard.log->AppendDone({id}, At(0));
    message.done_said = true;
    shard.pending.push_back(
        {.kind = Pending::Kind::kDone, .batch = shard.log->open_batch(), .id = id});
    if (!shard.log->failed()) shard.log->Died(message.first_segment, message.log_bytes);
  }

  // Those who wait of the recipients around a drawn one that have its destination.
  std::vector<uint32_t> WaitingGroup(const LedgerMessage& message) {
    const std::vector<LedgerRecipient>& recipients = message.recipients;
    const size_t drawn = random_.Below(recipients.size());
    const auto same = [&](size_t i) {
      return recipients[i].destination == recipients[drawn].destination;
    };
    size_t first = drawn;
    while (first > 0 && same(first - 1)) --first;
    std::vector<uint32_t> waiting;
    for (size_t i = first; i < recipients.size() && same(i); ++i) {
      if (recipients[i].said == RecipientState::kWaiting) {
        waiting.push_back(static_cast<uint32_t>(i));
      }
    }
    return waiting;
  }

  // One round: a record for each reply, and sometimes a step of the log between two.
  void Defer(Shard& shard, uint64_t id, LedgerMessage& message,
             const std::vector<uint32_t>& waiting) {
    uint16_t attempts = 0;
    for (const uint32_t index : waiting) {
      attempts = std::max(attempts, message.recipients[index].attempts_said);
    }
    ++attempts;
    for (size_t begin = 0, replies = 0; begin < waiting.size() && !shard.log->failed(); ++replies) {
      const size_t end = begin + random_.Between(1, waiting.size() - begin);
      const std::vector<uint32_t> some(waiting.begin() + static_cast<std::ptrdiff_t>(begin),
                                       waiting.begin() + static_cast<std::ptrdiff_t>(end));
      DeferSome(shard, id, message, some, attempts, "450 " + std::to_string(replies));
      begin = end;
      if (random_.Chance(0.1)) DoStep(shard);
    }
  }

  void DeferSome(Shard& shard, uint64_t id, LedgerMessage& message,
                 const std::vector<uint32_t>& some, uint16_t attempts, const std::string& reply) {
    shard.log->AppendDeferred({.id = {id},
                               .attempts = attempts,
                               .next_attempt = At(attempts),
                               .last_reply = reply,
                               .peer_name = "mx.example",
                               .command = "DATA",
                               .recipients = some},
                              At(0));
    for (const uint32_t index : some) {
      message.recipients[index].attempts_said = attempts;
      shard.pending.push_back({.kind = Pending::Kind::kDeferred,
                               .batch = shard.log->open_batch(),
                               .id = id,
                               .recipient = index,
                               .attempts = attempts});
    }
  }

  void Finish(Shard& shard, uint64_t id, LedgerMessage& message,
              const std::vector<uint32_t>& some) {
    const RecipientState state =
        random_.Chance(0.8) ? RecipientState::kDelivered : RecipientState::kBounced;
    shard.log->AppendOutcome({.id = {id}, .state = state, .recipients = some}, At(0));
    for (const uint32_t index : some) {
      message.recipients[index].said = state;
      shard.pending.push_back({.kind = Pending::Kind::kFinal,
                               .batch = shard.log->open_batch(),
                               .id = id,
                               .recipient = index,
                               .state = state});
    }
  }

  // --- Windows. A destination's are written by the shard that owns it; the one before may stand in
  // the log of another, and lives until the new one is durable.

  void WriteWindow(uint64_t number) {
    const std::string destination = Destination();
    if (std::hash<std::string>()(destination) % shards_.size() != number) return;
    AppendWindow(number, {.key = {.destination = destination},
                          .number = next_window_++,
                          .at = At(clock_),
                          .period = std::chrono::minutes(60),
                          .reserved = static_cast<uint32_t>(random_.Below(1000))});
  }

  void AppendWindow(uint64_t number, const WindowRecord& record) {
    Shard& shard = shards_[number];
    const uint64_t bytes = WindowRecordBytes(record);
    if (!shard.log->MayMove(bytes, At(clock_++))) return;
    const SegmentId segment = shard.log->AppendWindow(record, At(0));
    if (shard.log->failed()) return;
    shard.log->Lives(segment, bytes);
    windows_[record.key.destination].places.push_back(
        {.name = ++places_, .shard = number, .segment = segment, .record = record});
    shard.pending.push_back({.kind = Pending::Kind::kWindow,
                             .batch = shard.log->open_batch(),
                             .destination = record.key.destination,
                             .place = places_});
  }

  // The places before it are no longer needed.
  void WindowIsDurable(const Pending& pending) {
    LedgerWindow& window = windows_.at(pending.destination);
    for (const LedgerWindow::Place& place : window.places) {
      if (place.name < pending.place) {
        shards_[place.shard].log->Died(place.segment, WindowRecordBytes(place.record));
      } else if (place.name == pending.place) {
        window.durable_number = place.record.number;
      }
    }
    std::erase_if(window.places, [&](const auto& place) { return place.name < pending.place; });
  }

  // Only the one that counts is moved; the others are about to die.
  void MoveWindows(uint64_t number, SegmentId oldest) {
    for (auto& [destination, window] : windows_) {
      if (window.places.empty()) continue;
      const LedgerWindow::Place place = window.places.back();
      if (place.shard == number && place.segment == oldest) AppendWindow(number, place.record);
    }
  }

  // Some of what lives in the oldest segment goes to the end; mostly when the log wants it.
  void Move(uint64_t number) {
    Log& log = *shards_[number].log;
    const std::optional<SegmentId> oldest = log.MoveWanted();
    if (oldest) MoveWindows(number, *oldest);
    if (log.failed()) return;
    auto* picked = Pick(number, [&](const LedgerMessage& m) {
      return m.promised && !m.done_said && (!oldest || m.first_segment == *oldest);
    });
    if (picked == nullptr || (!oldest && random_.Chance(0.8))) return;
    auto& [id, message] = *picked;
    if (!log.MayMove(message.wire.size() + PromiseBytes(message), At(clock_++))) return;
    const bool died_first = random_.Chance(0.5);  // The order within a turn is the owner's.
    const LedgerMessage old = message;
    if (died_first) log.Died(old.first_segment, old.log_bytes);
    message.appended_bytes = 0;
    while (message.appended_bytes < message.wire.size() && !log.failed()) {
      AppendBytes(log, id, message,
                  std::min(log.piece_bytes_max(), message.wire.size() - message.appended_bytes));
    }
    if (log.failed()) return;
    AppendPromise(log, id, message, /*again=*/true);
    if (!died_first && !log.failed()) log.Died(old.first_segment, old.log_bytes);
  }

  Random random_;
  MemoryDisk disk_;
  size_t free_segments_kept_ = 0;
  bool power_cut_ = false;  // Ever: a power cut may leave good records behind bad ones.
  int64_t clock_ = 0;
  uint64_t next_id_ = 1;
  uint64_t next_window_ = 1;
  uint64_t places_ = 0;
  uint64_t indexed_segments_ = 0;
  std::map<std::string, LedgerWindow> windows_;  // By destination.
  std::vector<Shard> shards_;
  std::map<uint64_t, LedgerMessage> messages_;
  std::set<uint64_t> gone_;
  std::deque<std::string> lent_;
};

class Crash : public testing::TestWithParam<uint64_t> {};

TEST_P(Crash, LosesNothingAndWakesNoDead) {
  uint64_t indexed_segments = 0;
  for (uint64_t seed = GetParam(); seed < GetParam() + kSeedsPerTest; ++seed) {
    World world(seed);
    world.Run();
    indexed_segments += world.indexed_segments();
    if (HasFailure()) FAIL() << "seed " << seed;
  }
  EXPECT_GT(indexed_segments, kSeedsPerTest);  // Or the indexes have not been tested.
}

INSTANTIATE_TEST_SUITE_P(Seeds, Crash, testing::Range(uint64_t{0}, uint64_t{3000}, kSeedsPerTest));

}  // namespace
}  // namespace sluice::spool
