#include "policy/fingerprint.h"

#define XXH_INLINE_ALL  // A call through the library takes as long as the hash of a short name.
#include <xxhash.h>

namespace sluice::policy {

// Words of chance out of two: each is the hash of its place.
FingerprintKey::FingerprintKey(uint64_t seed_low, uint64_t seed_high) {
  for (uint64_t i = 0; i < secret_.size(); ++i) {
    const std::array<uint64_t, 2> place = {seed_high, i};
    secret_[i] = XXH3_64bits_withSeed(place.data(), sizeof(place), seed_low);
  }
}

Fingerprint FingerprintOf(absl::string_view name, const FingerprintKey& key) {
  const XXH128_hash_t hash =
      XXH3_128bits_withSecret(name.data(), name.size(), key.data(), key.size());
  return {.high = hash.high64, .low = static_cast<uint32_t>(hash.low64)};
}

}  // namespace sluice::policy
