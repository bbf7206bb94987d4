// From fingerprints to small numbers, in one array that is made for one miss of the cache a
// look-up.
//
// Open addressing over lines of four slots, 64 bytes each. A fingerprint belongs to the line that
// its high bits say, and stands there or in the next lines that had room; a line with room ends the
// search. Nothing is taken out, so that this stays true. The lines are in the order of the
// fingerprints, so that one map is copied into another without a miss.
//
// One thread may write; any number may read what nobody writes any more.

#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "engine/base/huge_pages.h"
#include "policy/fingerprint.h"

namespace sluice::policy {

class FingerprintMap {
 public:
  static constexpr uint32_t kValueMax = UINT32_MAX - 1;

  // Makes room for so many; it grows beyond.
  void Reserve(size_t fingerprints);

  // False: it was there already, with another value or the same.
  bool Put(const Fingerprint& fingerprint, uint32_t value);

  std::optional<uint32_t> Find(const Fingerprint& fingerprint) const {
    const uint32_t* value = ValueOf(fingerprint);
    return value == nullptr ? std::nullopt : std::optional<uint32_t>(*value - 1);
  }

  // Asks for the memory that Find will read.
  void Prefetch(const Fingerprint& fingerprint) const {
    if (size_ > 0) __builtin_prefetch(&lines_[Home(fingerprint)]);
  }

  // In the order of the lines.
  template <class Visit>
  void ForEach(Visit visit) const {
    for (const Line& line : lines_) {
      for (const Slot& slot : line.slots) {
        if (slot.value != 0) visit(Fingerprint{slot.high, slot.low}, slot.value - 1);
      }
    }
  }

  size_t size() const { return size_; }
  size_t memory_bytes() const { return lines_.capacity() * sizeof(Line); }

 private:
  struct Slot {
    uint64_t high = 0;
    uint32_t low = 0;
    uint32_t value = 0;  // One more than it is; 0: no fingerprint stands here.
  };
  struct alignas(64) Line {
    std::array<Slot, 4> slots;
  };
  static_assert(sizeof(Line) == 64);

  size_t Home(const Fingerprint& fingerprint) const {
    __extension__ using Wide = unsigned __int128;
    return static_cast<size_t>((Wide{fingerprint.high} * lines_.size()) >> 64);
  }

  // All slots of a line are compared before one branch: which of them it is nobody can foresee.
  // They fill in order, so that a line has room if its last slot is free.
  const uint32_t* ValueOf(const Fingerprint& fingerprint) const {
    if (size_ == 0) return nullptr;
    for (size_t at = Home(fingerprint);; at = at + 1 == lines_.size() ? 0 : at + 1) {
      const std::array<Slot, 4>& slots = lines_[at].slots;
      uint32_t equal = 0;
      for (uint32_t i = 0; i < slots.size(); ++i) {
        const uint64_t differs = (slots[i].high ^ fingerprint.high) |
                                 (slots[i].low ^ fingerprint.low) | (slots[i].value == 0 ? 1 : 0);
        equal |= static_cast<uint32_t>(differs == 0) << i;
      }
      if (equal != 0) return &slots[static_cast<size_t>(std::countr_zero(equal))].value;
      if (slots.back().value == 0) return nullptr;
    }
  }

  std::vector<Line, HugePageAllocator<Line>> lines_;
  size_t size_ = 0;
};

}  // namespace sluice::policy
