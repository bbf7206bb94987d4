// A seeded source of chance (xoshiro256**, Blackman and Vigna, public domain). Handed in, so that a
// simulation replays from its seed. Not for secrets.

#pragma once

#include <cstdint>

#include "engine/base/check.h"

namespace sluice {

class Random {
 public:
  explicit Random(uint64_t seed) {
    for (uint64_t& word : state_) {  // SplitMix64, as the authors of xoshiro advise.
      seed += 0x9e3779b97f4a7c15;
      uint64_t z = seed;
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
      z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
      word = z ^ (z >> 31);
    }
  }

  uint64_t Next() {
    const uint64_t result = RotateLeft(state_[1] * 5, 7) * 9;
    const uint64_t t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = RotateLeft(state_[3], 45);
    return result;
  }

  // Even over [0, bound); bound > 0.
  uint64_t Below(uint64_t bound) {
    CHECK(bound > 0);
    __extension__ using Wide = unsigned __int128;
    return static_cast<uint64_t>((Wide{Next()} * bound) >> 64);
  }

  // Even over [low, high], both included.
  uint64_t Between(uint64_t low, uint64_t high) {
    CHECK(low <= high);
    return low + Below(high - low + 1);
  }

  // Even over [0, 1).
  double Fraction() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }

  bool Chance(double probability) { return Fraction() < probability; }

 private:
  static uint64_t RotateLeft(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }
  uint64_t state_[4];
};

}  // namespace sluice
