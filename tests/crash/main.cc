// enumerate [--states N] [--seed S]
// enumerate [--seed S] [--broken KIND] --replay PLACE
// enumerate --broken sync|promise|recycle
//
// Crashes recorded runs of the engine at all of their points, in N distinct ways, and says what was
// lost. First the judge is tried on disks that are broken on purpose: what they lose must be found.
// --replay does one state again, by the words that it was reported with. The last line counts:
// `crash states N, lost M`.

#include <malloc.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

#include "tests/crash/enumerate.h"

namespace {

using sluice::crash::Broken;
using sluice::crash::Place;
using sluice::crash::Request;
using sluice::crash::Totals;

struct BrokenName {
  const char* name;
  Broken broken;
};
constexpr BrokenName kBroken[] = {
    {"sync", Broken::kSync}, {"promise", Broken::kPromise}, {"recycle", Broken::kRecycle}};

// Among so many states of a broken disk one must be lost.
constexpr uint64_t kStatesOfBroken = 3000;

struct Arguments {
  Request request;
  std::optional<Place> replay;
  std::string broken;
};

bool ParseOne(const std::string& word, const std::string& value, Arguments& arguments) {
  if (word == "--states") {
    arguments.request.states = std::strtoull(value.c_str(), nullptr, 10);
  } else if (word == "--seed") {
    arguments.request.seed = std::strtoull(value.c_str(), nullptr, 10);
  } else if (word == "--replay") {
    arguments.replay = Place::Parse(value);
    return arguments.replay.has_value();
  } else if (word == "--broken") {
    arguments.broken = value;
    for (const BrokenName& each : kBroken) {
      if (value == each.name) arguments.request.broken = each.broken;
    }
    return arguments.request.broken != Broken::kNothing;
  } else {
    return false;
  }
  return true;
}

bool Parse(int argc, char** argv, Arguments& arguments) {
  for (int i = 1; i + 1 < argc; i += 2) {
    if (!ParseOne(argv[i], argv[i + 1], arguments)) return false;
  }
  return argc % 2 == 1;
}

// A CHECK ends the process; then this says where.
void SayWhere(int) {
  std::printf("%s: the process was ended by a CHECK or a fault\n", sluice::crash::AtWork().c_str());
  std::fflush(stdout);
  std::_Exit(1);
}

bool CatchesBroken(const BrokenName& kind, uint64_t seed) {
  const Totals totals = sluice::crash::Enumerate({.seed = seed,
                                                  .states = kStatesOfBroken,
                                                  .lost_max = 1,
                                                  .broken = kind.broken,
                                                  .starts = false});
  if (totals.lost > 0) {
    std::printf("ok broken_%s is found in state %llu\n", kind.name,
                static_cast<unsigned long long>(totals.states));
    return true;
  }
  std::printf("FAILED broken_%s: not found in %llu states\n", kind.name,
              static_cast<unsigned long long>(totals.states));
  return false;
}

int Replay(const Arguments& arguments) {
  const std::string wrong = sluice::crash::Replay(arguments.request, *arguments.replay);
  std::printf("%s\n", wrong.empty() ? "nothing is wrong" : wrong.c_str());
  return wrong.empty() ? 0 : 1;
}

int Enumerate(const Arguments& arguments) {
  bool good = true;
  for (const BrokenName& kind : kBroken) good &= CatchesBroken(kind, arguments.request.seed);
  const Totals totals = sluice::crash::Enumerate(arguments.request);
  const auto number = [](uint64_t value) { return static_cast<unsigned long long>(value); };
  std::printf(
      "%llu points of %llu recordings, with %llu writes, %llu segments used again and %llu "
      "removed;\n%llu starts ran to their end, %llu crashes of starts\n",
      number(totals.points), number(totals.recordings), number(totals.writes),
      number(totals.recycled), number(totals.removed), number(totals.started),
      number(totals.second_crashes));
  std::printf("crash states %llu, lost %llu\n", number(totals.states), number(totals.lost));
  return good && totals.lost == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  if (!Parse(argc, argv, arguments)) {
    std::fprintf(stderr,
                 "usage: enumerate [--states N] [--seed S]\n"
                 "       enumerate [--seed S] [--broken KIND] --replay PLACE\n"
                 "       enumerate [--seed S] --broken sync|promise|recycle\n");
    return 2;
  }
  // Segments come and go by the thousand: their memory is not to go back to the kernel each time.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  std::signal(SIGABRT, SayWhere);
  std::signal(SIGSEGV, SayWhere);
  if (arguments.replay) return Replay(arguments);
  if (arguments.broken.empty()) return Enumerate(arguments);
  for (const BrokenName& kind : kBroken) {
    if (arguments.broken == kind.name) return CatchesBroken(kind, arguments.request.seed) ? 0 : 1;
  }
  return 2;
}
