#include "policy/fingerprint_map.h"

#include <utility>

#include "engine/base/check.h"

namespace sluice::policy {
namespace {

// So full are the lines at most: of four slots 2.4. Then one line in ten has sent one on to the
// next, and a fingerprint takes 27 bytes.
constexpr size_t kSlotsTenths = 24;

size_t LinesFor(size_t fingerprints) {
  return fingerprints * 10 / kSlotsTenths + 1;
}

}  // namespace

void FingerprintMap::Reserve(size_t fingerprints) {
  const size_t lines = LinesFor(fingerprints);
  if (lines <= lines_.size()) return;
  FingerprintMap larger;
  larger.lines_.resize(lines);
  ForEach([&larger](const Fingerprint& fingerprint, uint32_t value) {
    larger.Put(fingerprint, value);
  });
  *this = std::move(larger);
}

bool FingerprintMap::Put(const Fingerprint& fingerprint, uint32_t value) {
  CHECK(value <= kValueMax);
  if (LinesFor(size_ + 1) > lines_.size()) Reserve(2 * size_ + 1);
  for (size_t at = Home(fingerprint);; at = at + 1 == lines_.size() ? 0 : at + 1) {
    for (Slot& slot : lines_[at].slots) {
      if (slot.value == 0) {
        slot = {.high = fingerprint.high, .low = fingerprint.low, .value = value + 1};
        ++size_;
        return true;
      }
      if (slot.high == fingerprint.high && slot.low == fingerprint.low) {
        slot.value = value + 1;
        return false;
      }
    }
  }
}

}  // namespace sluice::policy
