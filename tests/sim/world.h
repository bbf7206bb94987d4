// The simulated world: its clock, what is going to happen, its one source of chance, and the trace.
//
// The next event is the one of the least (instant, sequence): events of one instant happen in the
// order in which they were asked for. Nothing else moves the clock. Everything random comes from
// random(), so that a seed replays; the hash of the trace says whether it did.

#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/random.h"
#include "engine/base/time.h"
#include "tests/sim/act.h"

namespace sluice::sim {

class World {
 public:
  explicit World(uint64_t seed, bool prints_trace = false);
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  Now now() const { return {now_, WallTime(kWallStart + wall_step_ + now_.time_since_epoch())}; }
  // Somebody sets the wall clock.
  void StepWall(Duration step) { wall_step_ += step; }
  Instant instant() const { return now_; }
  Random& random() { return random_; }

  // --- What is going to happen.
  void At(Instant when, Act act);
  void After(Duration delay, Act act) { At(now_ + delay, std::move(act)); }
  // Lets everything up to `end` happen, or until `enough` says so (asked after each event). The
  // clock is at `end` then, or where it was enough. False: a checker has been violated.
  bool RunUntil(Instant end, const std::function<bool()>& enough = nullptr);

  // --- Chance, in the terms of a simulation.
  bool Chance(double probability) { return probability > 0 && random_.Chance(probability); }
  uint64_t Between(uint64_t low, uint64_t high) { return random_.Between(low, high); }
  // Between the two, small ones far more often than large ones.
  Duration Delay(Duration low, Duration high);

  // --- The trace. `what` is a literal; the numbers say of what.
  void Note(absl::string_view what, uint64_t a = 0, uint64_t b = 0, absl::string_view text = "");
  uint64_t trace_hash() const { return hash_; }
  // The same of what concerns the outside or a message: while there is none of these, nothing
  // happens.
  void Happens(absl::string_view what, uint64_t a = 0, uint64_t b = 0,
               absl::string_view text = "") {
    ++happenings_;
    Note(what, a, b, text);
  }
  uint64_t happenings() const { return happenings_; }

  // --- Checkers. The first violation counts, and ends the run.
  void Violated(absl::string_view checker, std::string what);
  bool violated() const { return !checker_.empty(); }
  const std::string& violated_checker() const { return checker_; }
  const std::string& violation() const { return violation_; }

 private:
  static constexpr Duration kWallStart = std::chrono::seconds(1'767'225'600);  // 2026-01-01.

  struct Event {
    Instant when;
    uint64_t sequence = 0;
    uint32_t act = 0;  // In acts_.
  };
  struct Later {
    bool operator()(const Event& a, const Event& b) const {
      return a.when != b.when ? a.when > b.when : a.sequence > b.sequence;
    }
  };

  Duration wall_step_{};
  Instant now_ = Instant(std::chrono::seconds(1000));
  Random random_;
  std::vector<Event> events_;  // A heap, the next one in front.
  std::vector<Act> acts_;
  std::vector<uint32_t> free_acts_;
  uint64_t sequence_ = 0;
  bool prints_trace_;
  uint64_t happenings_ = 0;
  uint64_t hash_ = 0x9e3779b97f4a7c15;
  std::string checker_;
  std::string violation_;
};

// "12 d 03:04:05.678901" since the simulation began.
std::string TimeText(Instant instant);

}  // namespace sluice::sim
