// The most recipients that were seen within any span of a given length, exactly: a limit of "100 a
// minute" is kept if no minute, wherever it begins, holds more than 100.
//
// A span holds its beginning and not its end: recipients at t and at t + length are never in one.
// Stamps are kept for the longest span; those of one instant (one turn of the sink's loop) share
// one.

#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "engine/base/time.h"

namespace sluice::tools {

class WindowPeaks {
 public:
  // `stamps_left` is what all destinations together may still keep, and outlives this. When there
  // is none left, the oldest recipients are let go too early, and exact() turns false: the peaks
  // may then be too low.
  WindowPeaks(std::span<const Duration> spans, uint64_t& stamps_left);
  WindowPeaks(WindowPeaks&&) = default;

  // `now` never goes back.
  void Add(uint32_t recipients, Instant now);

  Duration span(size_t window) const { return windows_[window].span; }
  uint64_t peak(size_t window) const { return windows_[window].peak; }
  size_t size() const { return windows_.size(); }
  bool exact() const { return exact_; }

 private:
  struct Stamp {
    Instant at;
    uint64_t recipients;
  };
  struct Window {
    Duration span;
    uint64_t oldest = 0;  // The number of the oldest stamp within, counted from the first ever.
    uint64_t recipients = 0;
    uint64_t peak = 0;
  };

  void LetGo(Window& window, Instant now);
  void LetGoOldest();
  void Forget();
  bool Keep(uint32_t recipients, Instant now);

  std::vector<Window> windows_;
  std::deque<Stamp> stamps_;
  uint64_t* stamps_left_;
  uint64_t forgotten_ = 0;  // Stamps that were kept once: the number of stamps_.front().
  bool exact_ = true;
};

}  // namespace sluice::tools
