// Which call of this process fails, or at which point of its I/O the process is killed.
//
// One a process, since wrapped system calls have no other way to it. Any thread. Counting begins
// with Arm: what is read before (the configuration) is nobody's promise.
//
// A point is an instant between two states of what others can see: before and after each write,
// sync, send and change of a name.

#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "tests/faults/call.h"

namespace sluice::faults {

// What the call does all the same before it fails.
enum class Done : uint8_t { kNothing, kPart, kWhole };

struct Fate {
  bool hit = false;
  int error = 0;  // 0, with Done::kPart: done in part, without an error.
  Done done = Done::kNothing;
};

class FaultPlan {
 public:
  struct Options {
    std::optional<Call> call;
    uint64_t nth = 0;
    int error = 0;
    Done done = Done::kNothing;
    bool from_then_on = false;     // The n-th and all that come after it.
    bool told_as_success = false;  // Syncs: the fault that a judge must find.
    uint64_t kill_at = 0;          // A point; 0: none.
    bool power_cut = false;        // What was not synced is lost by the kill.
  };

  // CALL:N:ERROR, then any of :part, :whole, :on. The error is a name of errno(3), or "none".
  static std::optional<Options> Parse(absl::string_view text);

  static FaultPlan& OfProcess();

  void Arm(const Options& options);
  bool armed() const { return armed_.load(std::memory_order_acquire); }
  const Options& options() const { return options_; }

  // One more call; what is to become of it. Each hit is told on standard error, with the shard that
  // the call is of, if one is known.
  Fate Next(Call call, int shard = -1);

  // One more point. True: it is the one; then Die, after what must still be done.
  bool ReachesPoint();
  [[noreturn]] void Die();
  void Point() {
    if (ReachesPoint()) Die();
  }

  // On standard error: how often each call came, and how many points.
  void TellCounts() const;

 private:
  // While the process dies no other thread goes on.
  void StopIfDying() const;

  Options options_;
  std::atomic<bool> armed_{false};
  std::atomic<bool> dying_{false};
  std::array<std::atomic<uint64_t>, kCallNames.size()> counts_{};
  std::atomic<uint64_t> points_{0};
};

}  // namespace sluice::faults
