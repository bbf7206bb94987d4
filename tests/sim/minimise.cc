#include "tests/sim/minimise.h"

#include <algorithm>
#include <cstdio>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/sim/workers.h"

namespace sluice::sim {
namespace {

// Ways that are tried before an option is held to be needed.
constexpr uint32_t kWays = 8;

// The line of a CHECK tells crashes apart.
std::string NameOf(const SimulationResult& result, const std::string& said) {
  if (result.checker != "a crash") return result.checker;
  const size_t at = said.rfind("CHECK(");
  if (at == std::string::npos) return result.checker;
  return absl::StrCat(result.checker, ": ", said.substr(at, said.find('\n', at) - at));
}

class Minimiser {
 public:
  explicit Minimiser(uint32_t processes) : processes_(processes) {}

  Minimised Run(const Case& which) {
    found_.least = which;
    Try({which});
    found_.checker = last_name_;
    found_.violation = last_violation_;
    SayWhatDiffers();
    while (!found_.checker.empty() && MakeSimpler()) {
    }
    return found_;
  }

 private:
  // The same case by what it has beyond the least. Rates are rounded so, which may lead elsewhere.
  void SayWhatDiffers() {
    if (found_.checker.empty() || found_.least.from_least) return;
    const Case same = {
        .seed = found_.least.seed, .from_least = true, .settings = found_.least.Draw().Differing()};
    TakeIfFailing(same);
  }

  // One pass over all options. False: none could be made simpler.
  bool MakeSimpler() {
    bool any = false;
    for (const Options::Simpler& option : found_.least.Draw().SimplerOnes()) {
      for (const std::string& value : option.values) {
        Case with = found_.least;
        with.settings[option.name] = value;
        if (!TakeIfFailing(with)) continue;
        any = true;
        std::fprintf(stderr, "%s=%s\n", option.name.c_str(), value.c_str());
        break;
      }
    }
    return any;
  }

  // It fails the same way, along one of its ways: it is the least one then.
  bool TakeIfFailing(const Case& which) {
    std::vector<Case> ways = {which};
    size_t failed = Try(ways);  // Alone: most options have nothing to do with it.
    if (failed == ways.size()) {
      ways.clear();
      const uint32_t salt = which.Draw().salt;
      for (uint32_t way = 1; way < kWays; ++way) {
        ways.push_back(which);
        ways.back().settings["salt"] = absl::StrCat(salt + way);
      }
      failed = Try(ways);
      if (failed == ways.size()) return false;
    }
    found_.least = ways[failed];
    for (auto at = found_.least.settings.begin(); at != found_.least.settings.end();) {
      Case without = found_.least;
      without.settings.erase(at->first);
      const bool needless = without.Draw().ToString() == found_.least.Draw().ToString();
      at = needless ? found_.least.settings.erase(at) : std::next(at);
    }
    found_.violation = last_violation_;
    return true;
  }

  // The first of them that fails the same way; their number: none.
  size_t Try(const std::vector<Case>& cases) {
    size_t first = cases.size();
    found_.tried += cases.size();
    const Work work = {
        .count = cases.size(),
        .run = [&](uint64_t index) { return Simulate(cases[index]); },
        .ended =
            [&](uint64_t index, const SimulationResult& result, const std::string& said) {
              const std::string name = NameOf(result, said);
              if (name.empty() || index > first) return;
              if (!found_.checker.empty() && name != found_.checker) return;
              first = index;
              last_name_ = name;
              last_violation_ = result.violation;
            }};
    RunApart(work, processes_);
    return first;
  }

  const uint32_t processes_;
  Minimised found_;
  std::string last_name_;
  std::string last_violation_;
};

}  // namespace

Minimised Minimise(const Case& which, uint32_t processes) {
  return Minimiser(processes).Run(which);
}

}  // namespace sluice::sim
