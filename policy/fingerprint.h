// A domain's name in 96 bits, by a keyed hash.
//
// Two names with one fingerprint are taken for one name. Of a million names no two have the same
// but once in 10^17 tables, and an unknown name is taken for one of them once in 10^23; README.md
// says why this is enough, and what the key is for.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace sluice::policy {

// Chance that nobody outside knows. The default one is the same in every process, for tests.
class FingerprintKey {
 public:
  explicit FingerprintKey(uint64_t seed_low = 0, uint64_t seed_high = 0);

  const void* data() const { return secret_.data(); }
  size_t size() const { return sizeof(secret_); }

 private:
  std::array<uint64_t, 24> secret_;  // As long as the hash's own.
};

struct Fingerprint {
  uint64_t high = 0;  // Where it belongs in a table.
  uint32_t low = 0;

  bool operator==(const Fingerprint&) const = default;
};

Fingerprint FingerprintOf(absl::string_view name, const FingerprintKey& key);

}  // namespace sluice::policy
