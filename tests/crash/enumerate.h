// Goes through the crashes of one recording after another, each at every point, and judges what
// they leave.
//
// Of each recording as many states are drawn at each point as at any other, the plain ones first.
// All of them are recovered and judged. From a share of them the engine starts, delivers all that
// is owed and ends; and of what that start itself wrote, some crashes are judged too.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/crash/disk_past.h"

namespace sluice::crash {

struct Totals {
  uint64_t states = 0;  // Distinct, judged.
  uint64_t lost = 0;
  // Of them:
  uint64_t started = 0;         // From which the engine was started and ran to its end.
  uint64_t second_crashes = 0;  // Of what a start after a crash wrote.
  // For reading along.
  uint64_t recordings = 0;
  uint64_t points = 0;
  uint64_t recycled = 0;
  uint64_t removed = 0;
  uint64_t writes = 0;
};

// One state, for doing it again: "3/812/0,0:+,x17", or with a second crash
// "3/812/0,0:+,x17/40/0,0:-".
struct Place {
  uint64_t recording = 0;
  size_t point = 0;
  Choice choice;
  std::optional<size_t> second_point;
  Choice second_choice;

  std::string ToString() const;
  static std::optional<Place> Parse(const std::string& text);
};

struct Request {
  uint64_t seed = 1;
  uint64_t states = 10000;
  uint64_t lost_max = 20;  // Enough is enough.
  Broken broken = Broken::kNothing;
  bool starts = true;  // False: nothing is started from a state.
};

// Prints each state that is lost, with its place.
Totals Enumerate(const Request& request);

// What is wrong in one state; empty: nothing is.
std::string Replay(const Request& request, const Place& place);

// What is being looked at, if a CHECK ends the process.
const std::string& AtWork();

}  // namespace sluice::crash
