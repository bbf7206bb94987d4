// simulate --seed N [--seeds COUNT] [--known FILE] [--trace] [--twice]
//
// Runs COUNT simulations from seed N on, and says which failed. --trace prints everything that
// happens; --twice runs each seed twice and fails one whose trace differs.

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "tests/sim/options.h"
#include "tests/sim/simulation.h"

namespace {

using sluice::sim::SimulationResult;

// A CHECK ends the process; then this says under which seed.
volatile uint64_t seed_running = 0;

void SayWhichSeed(int) {
  std::printf("seed %llu failed: the process was ended by a CHECK or a fault\n",
              static_cast<unsigned long long>(seed_running));
  std::fflush(stdout);
  std::_Exit(1);
}

struct Arguments {
  uint64_t seed = 1;
  uint64_t seeds = 1;
  std::string known;  // A file of seeds, one in front of each line, which are run first.
  bool trace = false;
  bool twice = false;
};

bool Parse(int argc, char** argv, Arguments& arguments) {
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    std::string value;
    if (const size_t equals = word.find('='); equals != std::string::npos) {
      value = word.substr(equals + 1);
      word.resize(equals);
    }
    const bool takes_value = word == "--seed" || word == "--seeds" || word == "--known";
    if (takes_value && value.empty() && i + 1 < argc) value = argv[++i];
    if (word == "--seed") {
      arguments.seed = std::strtoull(value.c_str(), nullptr, 10);
    } else if (word == "--seeds") {
      arguments.seeds = std::strtoull(value.c_str(), nullptr, 10);
    } else if (word == "--known") {
      arguments.known = value;
    } else if (word == "--trace") {
      arguments.trace = true;
    } else if (word == "--twice") {
      arguments.twice = true;
    } else {
      return false;
    }
  }
  return true;
}

std::vector<uint64_t> Seeds(const Arguments& arguments) {
  std::vector<uint64_t> seeds;
  std::ifstream known(arguments.known);
  for (std::string line; std::getline(known, line);) {
    if (!line.empty() && line[0] != '#') seeds.push_back(std::strtoull(line.c_str(), nullptr, 10));
  }
  for (uint64_t i = 0; i < arguments.seeds; ++i) seeds.push_back(arguments.seed + i);
  return seeds;
}

bool RunSeed(uint64_t seed, const Arguments& arguments, SimulationResult& total) {
  std::string options = sluice::sim::DrawOptions(seed).ToString();
  seed_running = seed;
  SimulationResult result = sluice::sim::Simulate(seed, arguments.trace);
  if (result.good && arguments.twice) {
    const SimulationResult again = sluice::sim::Simulate(seed);
    if (again.trace_hash != result.trace_hash) {
      result.good = false;
      result.violation = "replay: the same seed went another way";
    }
  }
  total.messages += result.messages;
  total.deliveries += result.deliveries;
  total.calls += result.calls;
  total.starts += result.starts;
  total.virtual_seconds += result.virtual_seconds;
  if (!result.good) {
    std::printf("seed %llu failed: %s\n  options: %s\n", static_cast<unsigned long long>(seed),
                result.violation.c_str(), options.c_str());
  }
  return result.good;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  if (!Parse(argc, argv, arguments)) {
    std::fprintf(stderr,
                 "usage: simulate --seed N [--seeds COUNT] [--known FILE] [--trace] [--twice]\n");
    return 2;
  }
  std::signal(SIGABRT, SayWhichSeed);
  std::signal(SIGSEGV, SayWhichSeed);
  uint64_t failed = 0;
  SimulationResult total;
  const std::vector<uint64_t> seeds = Seeds(arguments);
  for (const uint64_t seed : seeds) failed += RunSeed(seed, arguments, total) ? 0 : 1;
  std::printf(
      "%llu messages injected, %llu taken by peers over %llu connections, %llu starts, %.0f days\n",
      static_cast<unsigned long long>(total.messages),
      static_cast<unsigned long long>(total.deliveries),
      static_cast<unsigned long long>(total.calls), static_cast<unsigned long long>(total.starts),
      total.virtual_seconds / 86400);
  std::printf("simulate: %llu seeds, %llu failed\n", static_cast<unsigned long long>(seeds.size()),
              static_cast<unsigned long long>(failed));
  return failed == 0 ? 0 : 1;
}
