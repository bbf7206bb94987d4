#include "tests/sim/world.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/check.h"

namespace sluice::sim {

World::World(uint64_t seed, bool prints_trace) : random_(seed), prints_trace_(prints_trace) {}

void World::At(Instant when, Act act) {
  if (when == kNever) return;
  auto slot = static_cast<uint32_t>(acts_.size());
  if (free_acts_.empty()) {
    acts_.push_back(std::move(act));
  } else {
    slot = free_acts_.back();
    free_acts_.pop_back();
    acts_[slot] = std::move(act);
  }
  events_.push_back({std::max(when, now_), sequence_++, slot});
  std::push_heap(events_.begin(), events_.end(), Later());
}

bool World::RunUntil(Instant end, const std::function<bool()>& enough) {
  while (!violated()) {
    if (enough != nullptr && enough()) return true;
    if (events_.empty() || events_.front().when > end) {
      now_ = std::max(now_, end);
      return true;
    }
    std::pop_heap(events_.begin(), events_.end(), Later());
    const Event event = events_.back();
    events_.pop_back();
    now_ = event.when;
    Act act = std::move(acts_[event.act]);  // Acts that it asks for may move the others.
    free_acts_.push_back(event.act);
    act();
  }
  return false;
}

Duration World::Delay(Duration low, Duration high) {
  CHECK(low <= high);
  const double fraction = random_.Fraction();
  const double spread = static_cast<double>((high - low).count()) * fraction * fraction * fraction;
  return low + Duration(static_cast<int64_t>(spread));
}

namespace {

uint64_t Mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0xbf58476d1ce4e5b9;
  return hash ^ (hash >> 29);
}

}  // namespace

void World::Note(absl::string_view what, uint64_t a, uint64_t b, absl::string_view text) {
  hash_ = Mix(hash_, static_cast<uint64_t>(now_.time_since_epoch().count()));
  for (const char c : what) hash_ = Mix(hash_, static_cast<uint8_t>(c));
  hash_ = Mix(Mix(hash_, a), b);
  for (const char c : text) hash_ = Mix(hash_, static_cast<uint8_t>(c));
  if (!prints_trace_) return;
  std::string line = absl::StrCat(TimeText(now_), "  ", what, " ", a, " ", b, "  ");
  for (const char c : text.substr(0, 160)) line += (c >= ' ' && c <= '~') ? c : '|';
  std::printf("%s\n", line.c_str());
}

void World::Violated(absl::string_view checker, std::string what) {
  if (violated()) return;
  checker_ = std::string(checker);
  violation_ = absl::StrCat("at ", TimeText(now_), ": ", what);
}

std::string TimeText(Instant instant) {
  const int64_t us = instant.time_since_epoch().count() / 1000 - 1000 * int64_t{1'000'000};
  const int64_t s = us / 1'000'000;
  return absl::StrFormat("%d d %02d:%02d:%02d.%06d", s / 86400, s / 3600 % 24, s / 60 % 60, s % 60,
                         us % 1'000'000);
}

}  // namespace sluice::sim
