// simulate [--seed N] [--seeds COUNT] [--set OPTION=VALUE]… [--known FILE] [--jobs N] [--twice]
//          [--progress] [--trace] [--minimise]
//
// Runs COUNT simulations from seed N on, after those of FILE, in so many processes, and says which
// failed. --set: otherwise than the seed draws it. --twice runs each twice and fails one whose
// trace differs. --trace runs them here, one after another, and prints everything that happens.
// --minimise: of one seed, the least options with which it fails.

#include <sys/prctl.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "tests/sim/minimise.h"
#include "tests/sim/options.h"
#include "tests/sim/simulation.h"
#include "tests/sim/workers.h"

namespace {

using sluice::sim::Case;
using sluice::sim::Minimised;
using sluice::sim::Options;
using sluice::sim::SimulationResult;
using sluice::sim::Totals;
using sluice::sim::Work;

constexpr uint64_t kProgressEach = 10'000;

struct Arguments {
  Case first = {.seed = 1};
  uint64_t seeds = 1;
  std::vector<Case> known;
  uint32_t jobs = 1;
  bool progress = false;
  bool trace = false;
  bool twice = false;
  bool minimise = false;

  uint64_t count() const { return known.size() + seeds; }
  Case CaseOf(uint64_t index) const {
    if (index < known.size()) return known[index];
    Case drawn = first;
    drawn.seed += index - known.size();
    return drawn;
  }
};

bool ReadKnown(const std::string& path, std::vector<Case>& cases) {
  std::ifstream file(path);
  if (!file) return false;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    if (Case::Parse(line, cases.emplace_back())) continue;
    std::fprintf(stderr, "%s: not a seed: %s\n", path.c_str(), line.c_str());
    return false;
  }
  return true;
}

bool TakeSwitch(const std::string& word, Arguments& arguments) {
  if (word == "--progress") return arguments.progress = true;
  if (word == "--trace") return arguments.trace = true;
  if (word == "--twice") return arguments.twice = true;
  if (word == "--minimise") return arguments.minimise = true;
  return false;
}

bool TakeValue(const std::string& word, const std::string& value, Arguments& arguments) {
  if (word == "--seed") return absl::SimpleAtoi(value, &arguments.first.seed);
  if (word == "--seeds") return absl::SimpleAtoi(value, &arguments.seeds);
  if (word == "--set") return arguments.first.Set(value);
  if (word == "--known") return ReadKnown(value, arguments.known);
  if (word == "--jobs") {
    return absl::SimpleAtoi(value, &arguments.jobs) && arguments.jobs >= 1 && arguments.jobs <= 256;
  }
  return false;
}

bool Parse(int argc, char** argv, Arguments& arguments) {
  for (int i = 1; i < argc; ++i) {
    if (TakeSwitch(argv[i], arguments)) continue;
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(argv[i], absl::MaxSplits('=', 1));
    const bool joined = parts.first.size() < absl::string_view(argv[i]).size();
    if (!joined && i + 1 == argc) return false;
    if (!TakeValue(parts.first, joined ? parts.second : argv[++i], arguments)) return false;
  }
  return true;
}

SimulationResult Run(const Case& which, const Arguments& arguments) {
  SimulationResult result = Simulate(which, arguments.trace);
  if (!result.good() || !arguments.twice) return result;
  const SimulationResult again = sluice::sim::Simulate(which);
  if (again.trace_hash == result.trace_hash) return result;
  result.checker = "replay";
  result.violation = "the same seed went another way";
  return result;
}

class Campaign {
 public:
  explicit Campaign(const Arguments& arguments) : arguments_(arguments) {}

  uint64_t Run() {
    if (arguments_.trace) {
      for (uint64_t i = 0; i < arguments_.count(); ++i) {
        Ended(i, ::Run(arguments_.CaseOf(i), arguments_), "");
      }
      return failed_;
    }
    RunApart(Work{.count = arguments_.count(),
                  .run = [this](uint64_t i) { return ::Run(arguments_.CaseOf(i), arguments_); },
                  .ended = [this](uint64_t i, const SimulationResult& result,
                                  const std::string& said) { Ended(i, result, said); }},
             arguments_.jobs);
    return failed_;
  }

  std::string TotalsText() const {
    return absl::StrCat(total_.messages, " messages injected, ", total_.deliveries,
                        " deliveries over ", total_.calls, " connections (", total_.sealed_calls,
                        " under TLS), ", total_.in_doubt, " of them in doubt, ", total_.duplicates,
                        " of them again; ", total_.starts, " starts, ",
                        absl::StrFormat("%.1f", total_.virtual_seconds / 86400), " days");
  }

 private:
  void Ended(uint64_t index, const SimulationResult& result, const std::string& said) {
    total_.Add(result.totals);
    ++ended_;
    if (!result.good()) {
      ++failed_;
      const Case which = arguments_.CaseOf(index);
      std::printf("seed %s failed: %s %s\n  options: %s\n", which.ToString().c_str(),
                  result.checker.c_str(), result.violation.c_str(),
                  which.Draw().ToString().c_str());
      for (const absl::string_view line : absl::StrSplit(said, '\n', absl::SkipEmpty())) {
        std::printf("  said: %s\n", std::string(line).c_str());
      }
    }
    if (arguments_.progress && ended_ % kProgressEach == 0) {
      std::printf("%llu seeds so far, %llu bad: %s\n", static_cast<unsigned long long>(ended_),
                  static_cast<unsigned long long>(failed_), TotalsText().c_str());
    }
    std::fflush(stdout);
  }

  const Arguments& arguments_;
  Totals total_;
  uint64_t ended_ = 0;
  uint64_t failed_ = 0;
};

int RunMinimise(const Arguments& arguments) {
  const Minimised found = Minimise(arguments.CaseOf(0), arguments.jobs);
  if (found.checker.empty()) {
    std::printf("it does not fail\n");
    return 1;
  }
  std::string words = absl::StrCat("simulate --seed ", found.least.seed,
                                   found.least.from_least ? " --set least" : "");
  for (const auto& [name, value] : found.least.settings) {
    absl::StrAppend(&words, " --set ", name, "=", value);
  }
  std::printf("%llu tried; the least: %s %s\n  options: %s\n  by hand: %s\n  for seeds.txt: %s\n",
              static_cast<unsigned long long>(found.tried), found.checker.c_str(),
              found.violation.c_str(), found.least.Draw().ToString().c_str(), words.c_str(),
              found.least.ToString().c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  // Slabs are large and hold little here: pages of 2 MiB would be cleared for nothing.
  prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  Arguments arguments;
  if (!Parse(argc, argv, arguments)) {
    std::fprintf(
        stderr,
        "usage: simulate [--seed N] [--seeds COUNT] [--set OPTION=VALUE]... [--known FILE]\n"
        "                [--jobs N] [--twice] [--progress] [--trace] [--minimise]\n");
    return 2;
  }
  if (arguments.minimise) return RunMinimise(arguments);
  Campaign campaign(arguments);
  const uint64_t failed = campaign.Run();
  std::printf("%s\n", campaign.TotalsText().c_str());
  std::printf("simulate: %llu seeds, %llu failed\n",
              static_cast<unsigned long long>(arguments.count()),
              static_cast<unsigned long long>(failed));
  return failed == 0 ? 0 : 1;
}
