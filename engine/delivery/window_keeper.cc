#include "engine/delivery/window_keeper.h"

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

#include "engine/base/check.h"

namespace sluice::delivery {
namespace {

// What one turn moves, writes that was left, and looks at for its age.
constexpr int kMovesPerTurnMax = 64;
constexpr int kWritesPerTurnMax = 256;
constexpr int kLooksPerTurnMax = 16;

// A clock that is set, not one that is slewed.
constexpr Duration kWallStep = std::chrono::seconds(1);

// Since then, as far as the wall clock knows: never less than nothing.
Duration Since(WallTime then, Now now) {
  return std::max(Duration(now.wall - then), Duration::zero());
}

// What was reserved may have been seen until now; what is a period old counts no more.
void Fold(spool::WindowRecord& record, Now now) {
  std::erase_if(record.seen,
                [&](const spool::SeenBy& seen) { return Since(seen.by, now) >= record.period; });
  for (spool::SeenBy& seen : record.seen) seen.by = std::min(seen.by, now.wall);
  if (record.reserved > 0) record.seen.push_back({.by = now.wall, .recipients = record.reserved});
  // Each at a time of its own, and no more than a record takes: the later of two stands for both.
  std::vector<spool::SeenBy> merged;
  const size_t over = record.seen.size() - std::min(record.seen.size(), spool::kSeenPairsMax);
  for (size_t i = 0; i < record.seen.size(); ++i) {
    const spool::SeenBy& seen = record.seen[i];
    if (merged.empty() || (merged.back().by != seen.by && i > over)) {
      merged.push_back(seen);
      continue;
    }
    spool::SeenBy& last = merged.back();
    last.by = seen.by;
    last.recipients += std::min(seen.recipients, UINT32_MAX - last.recipients);
  }
  record.seen = std::move(merged);
  record.reserved = 0;
  record.at = now.wall;
}

bool IsEnd(const spool::WindowRecord& record) {
  return record.seen.empty() && record.reserved == 0;
}

}  // namespace

WindowKeeper::WindowKeeper(const Options& options, spool::Log& log,
                           std::vector<InheritedWindow> inherited, uint64_t greatest, Now now)
    : options_(options),
      log_(log),
      last_number_(greatest),
      wall_ahead_(now.wall.time_since_epoch() - now.instant.time_since_epoch()) {
  const auto age = [](const InheritedWindow& window) {
    return std::tuple(window.segment.sequence(), window.segment.log(), window.record.number);
  };
  std::sort(inherited.begin(), inherited.end(),
            [&](const auto& a, const auto& b) { return age(a) < age(b); });
  for (InheritedWindow& window : inherited) Inherit(window, now);
}

// What this shard owns is written anew: by then it counts from this start, whatever comes.
void WindowKeeper::Inherit(InheritedWindow& inherited, Now now) {
  CHECK(inherited.owned || inherited.segment.value != 0);
  const uint64_t log_bytes = spool::WindowRecordBytes(inherited.record);
  spool::WindowRecord folded = inherited.record;
  Fold(folded, now);
  if (folded.seen.empty()) return;
  restored_until_ = std::max(restored_until_, now.instant + folded.period);
  auto window = std::make_unique<Window>();
  window->own = inherited.owned;
  window->segment = inherited.segment;
  window->expires = ExpiryOf(folded, now);
  if (inherited.segment.value != 0) {
    window->log_bytes = log_bytes;
    log_.Lives(inherited.segment, log_bytes);
  }
  if (inherited.owned) {
    folded.number = ++last_number_;
    restored_[folded.key.destination].push_back(folded);
    window->record = std::move(folded);
    window->written = false;
    unwritten_.PushBack(*window);
  } else {
    window->record = std::move(inherited.record);
    written_.PushBack(*window);
  }
  const auto [at, is_new] = windows_.try_emplace(window->record.key, nullptr);
  CHECK(is_new);
  at->second = std::move(window);
}

std::vector<spool::WindowRecord> WindowKeeper::TakeRestored(absl::string_view destination,
                                                            Now now) {
  FollowWallClock(now);
  const auto found = restored_.find(std::string(destination));
  if (found == restored_.end()) return {};
  std::vector<spool::WindowRecord> records = std::move(found->second);
  restored_.erase(found);
  if (now.instant >= restored_until_) records.clear();
  return records;
}

uint64_t WindowKeeper::Keep(spool::WindowRecord record, Now now) {
  if (log_.failed()) return 0;
  FollowWallClock(now);
  auto found = windows_.find(record.key);
  const bool known = found != windows_.end();
  if (!known && IsEnd(record)) {  // Of what has no record: it needs none.
    awaited_.push_back({log_.durable(), {record.key.destination, ++last_number_}});
    return last_number_;
  }
  if (!known && windows_.size() >= options_.windows_max) return 0;
  const bool may_write = log_.MayMove(spool::WindowRecordBytes(record), now.wall);
  const bool may_wait = known && record.reserved == 0;
  if (!may_write && !may_wait) return 0;

  if (!known) found = windows_.emplace(record.key, std::make_unique<Window>()).first;
  Window& window = *found->second;
  window.own = true;
  window.awaited = true;
  window.record = std::move(record);
  window.record.number = ++last_number_;
  window.record.at = now.wall;
  window.expires = ExpiryOf(window.record, now);
  const uint64_t number = window.record.number;
  if (may_write) {
    Write(window, now);
  } else {
    Leave(window);
    window.written = false;
    unwritten_.PushBack(window);
  }
  return number;
}

void WindowKeeper::TakeKept(std::vector<KeptWindow>& kept) {
  while (busy()) {
    kept.push_back(std::move(awaited_.front().kept));
    awaited_.pop_front();
  }
}

// Nothing follows in the log for a window that has ended: its record stands behind all others of it
// there, and segments go in order.
void WindowKeeper::Write(Window& window, Now now) {
  const spool::SegmentId segment = log_.AppendWindow(window.record, now.wall);
  if (log_.failed()) return;
  if (window.awaited) {
    awaited_.push_back({log_.open_batch(), {window.record.key.destination, window.record.number}});
    window.awaited = false;
  }
  Leave(window);
  LeaveSegment(window);
  if (IsEnd(window.record)) return Forget(window);
  window.segment = segment;
  window.log_bytes = spool::WindowRecordBytes(window.record);
  log_.Lives(segment, window.log_bytes);
  window.written = true;
  written_.PushBack(window);
}

void WindowKeeper::Leave(Window& window) {
  if (!window.hook.linked()) return;
  if (&window == look_next_) look_next_ = written_.Next(window);
  (window.written ? written_ : unwritten_).Remove(window);
}

void WindowKeeper::LeaveSegment(Window& window) {
  if (window.segment.value == 0) return;
  log_.Died(window.segment, window.log_bytes);
  window.segment = {};
}

void WindowKeeper::Forget(Window& window) {
  Leave(window);
  LeaveSegment(window);
  windows_.erase(windows_.find(window.record.key));
}

Instant WindowKeeper::ExpiryOf(const spool::WindowRecord& record, Now now) const {
  if (record.reserved > 0) return kNever;
  if (record.seen.empty()) return now.instant;
  const Duration since = std::min(Since(record.seen.back().by, now), record.period);
  return now.instant + (record.period - since);
}

// -------------------------------------------------------------------------------------------------
// Once a turn.

void WindowKeeper::Turn(Now now) {
  if (log_.failed()) return;
  FollowWallClock(now);
  ExpireSome(now);
  MoveSome(now);
  WriteSome(now);
}

void WindowKeeper::ExpireSome(Now now) {
  for (int i = 0; i < kLooksPerTurnMax; ++i) {
    if (look_next_ == nullptr) look_next_ = written_.Front();
    if (look_next_ == nullptr) return;
    Window& window = *look_next_;
    look_next_ = written_.Next(window);
    if (now.instant >= window.expires) Forget(window);
  }
}

// Those of the oldest segment stand in front. A copy says what the record did, and has its number.
void WindowKeeper::MoveSome(Now now) {
  const std::optional<spool::SegmentId> oldest = log_.MoveWanted();
  if (!oldest) return;
  for (int i = 0; i < kMovesPerTurnMax && !log_.failed(); ++i) {
    Window* window = written_.Front();
    if (window == nullptr || window->segment != *oldest) return;
    if (now.instant >= window->expires) {
      Forget(*window);
      continue;
    }
    if (!log_.MayMove(spool::WindowRecordBytes(window->record), now.wall)) return;
    Write(*window, now);
  }
}

// What has grown old meanwhile need not be written, unless somebody waits for it.
void WindowKeeper::WriteSome(Now now) {
  for (int i = 0; i < kWritesPerTurnMax && !log_.failed(); ++i) {
    Window* window = unwritten_.Front();
    if (window == nullptr) return;
    if (!window->awaited && now.instant >= window->expires) {
      Forget(*window);
      continue;
    }
    if (!log_.MayMove(spool::WindowRecordBytes(window->record), now.wall)) return;
    Write(*window, now);
  }
}

// The next start reckons by the wall clock how long ago all was: times of the old reckoning would
// mislead it. Of another shard's windows the owner knows better, and has written them by now.
void WindowKeeper::FollowWallClock(Now now) {
  const Duration ahead = now.wall.time_since_epoch() - now.instant.time_since_epoch();
  const Duration step = ahead - wall_ahead_;
  if (step < kWallStep && step > -kWallStep) return;
  wall_ahead_ = ahead;
  for (auto& [domain, records] : restored_) {
    for (spool::WindowRecord& record : records) Reckon(record, step);
  }
  for (Window* w = unwritten_.Front(); w != nullptr; w = unwritten_.Next(*w)) {
    Reckon(w->record, step);
  }
  for (Window* w = written_.Front(); w != nullptr;) {
    Window& window = *w;
    w = written_.Next(window);
    if (!window.own) continue;
    Leave(window);
    Reckon(window.record, step);
    window.record.number = ++last_number_;
    window.written = false;
    unwritten_.PushBack(window);
  }
}

void WindowKeeper::Reckon(spool::WindowRecord& record, Duration step) const {
  record.at += step;
  for (spool::SeenBy& seen : record.seen) seen.by += step;
}

}  // namespace sluice::delivery
