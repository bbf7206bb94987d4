#include "tests/faults/fault_plan.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "tests/faults/unsynced.h"

namespace sluice::faults {
namespace {

constexpr int kErrnosMax = 134;

std::optional<int> ErrorNamed(absl::string_view name) {
  if (name == "none") return 0;
  for (int error = 1; error < kErrnosMax; ++error) {
    const char* known = strerrorname_np(error);
    if (known != nullptr && name == known) return error;
  }
  return std::nullopt;
}

// Of the clock that the test's own ledger is kept by (CLOCK_MONOTONIC).
long long MonotonicNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

}  // namespace

std::optional<FaultPlan::Options> FaultPlan::Parse(absl::string_view text) {
  const std::vector<absl::string_view> words = absl::StrSplit(text, ':');
  if (words.size() < 3) return std::nullopt;
  Options options;
  options.call = CallNamed(words[0]);
  const std::optional<int> error = ErrorNamed(words[2]);
  if (!options.call || !absl::SimpleAtoi(words[1], &options.nth) || !error) return std::nullopt;
  options.error = *error;
  for (size_t i = 3; i < words.size(); ++i) {
    if (words[i] == "part") {
      options.done = Done::kPart;
    } else if (words[i] == "whole") {
      options.done = Done::kWhole;
    } else if (words[i] == "on") {
      options.from_then_on = true;
    } else {
      return std::nullopt;
    }
  }
  return options;
}

FaultPlan& FaultPlan::OfProcess() {
  static FaultPlan plan;
  return plan;
}

void FaultPlan::Arm(const Options& options) {
  options_ = options;
  armed_.store(true, std::memory_order_release);
}

Fate FaultPlan::Next(Call call, int shard) {
  if (!armed()) return {};
  StopIfDying();
  const uint64_t count = ++counts_[static_cast<size_t>(call)];
  if (options_.call != call || count < options_.nth) return {};
  if (count > options_.nth && !options_.from_then_on) return {};
  std::fprintf(stderr, "fault: hit %s %llu of shard %d at %lld\n", NameOf(call).data(),
               static_cast<unsigned long long>(count), shard, MonotonicNs());
  return {.hit = true, .error = options_.error, .done = options_.done};
}

bool FaultPlan::ReachesPoint() {
  if (!armed()) return false;
  StopIfDying();
  return ++points_ == options_.kill_at;
}

void FaultPlan::Die() {
  dying_.store(true);
  std::fprintf(stderr, "fault: killed at point %llu\n",
               static_cast<unsigned long long>(options_.kill_at));
  if (options_.power_cut) Unsynced::OfProcess().LoseAll();
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

void FaultPlan::StopIfDying() const {
  while (dying_.load()) pause();
}

void FaultPlan::TellCounts() const {
  std::fprintf(stderr, "fault: counted points=%llu",
               static_cast<unsigned long long>(points_.load()));
  for (size_t i = 0; i < counts_.size(); ++i) {
    std::fprintf(stderr, " %s=%llu", kCallNames[i].data(),
                 static_cast<unsigned long long>(counts_[i].load()));
  }
  std::fprintf(stderr, "\n");
}

}  // namespace sluice::faults
