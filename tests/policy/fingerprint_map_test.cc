// From fingerprints to numbers: against the map of the standard library, through growth, where
// lines are full and wrap around, and where fingerprints differ in few bits.

#include "policy/fingerprint_map.h"

#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/random.h"
#include "gtest/gtest.h"

namespace sluice::policy {
namespace {

TEST(FingerprintMap, AnEmptyOneHasNothing) {
  const FingerprintMap map;
  EXPECT_EQ(map.Find({.high = 0, .low = 0}), std::nullopt);
  EXPECT_EQ(map.size(), 0u);
}

TEST(FingerprintMap, AllBitsTell) {
  FingerprintMap map;
  EXPECT_TRUE(map.Put({.high = 0, .low = 0}, 0));
  EXPECT_EQ(map.Find({.high = 0, .low = 0}), 0u);
  EXPECT_EQ(map.Find({.high = 0, .low = 1}), std::nullopt);
  EXPECT_EQ(map.Find({.high = 1, .low = 0}), std::nullopt);
  EXPECT_EQ(map.Find({.high = uint64_t{1} << 63, .low = 0}), std::nullopt);
  EXPECT_FALSE(map.Put({.high = 0, .low = 0}, FingerprintMap::kValueMax));
  EXPECT_EQ(map.Find({.high = 0, .low = 0}), FingerprintMap::kValueMax);
  EXPECT_EQ(map.size(), 1u);
}

// All belong to the last line: the rest goes to the first ones.
TEST(FingerprintMap, AFullLineSendsOnAcrossTheEnd) {
  FingerprintMap map;
  map.Reserve(100);
  for (uint32_t i = 0; i < 20; ++i) EXPECT_TRUE(map.Put({.high = UINT64_MAX, .low = i}, i));
  for (uint32_t i = 0; i < 20; ++i) EXPECT_EQ(map.Find({.high = UINT64_MAX, .low = i}), i);
  EXPECT_EQ(map.Find({.high = UINT64_MAX, .low = 20}), std::nullopt);
  EXPECT_EQ(map.Find({.high = 0, .low = 0}), std::nullopt);
}

TEST(FingerprintMap, AsAPlainMap) {
  Random random(1);
  FingerprintMap map;
  std::map<std::pair<uint64_t, uint32_t>, uint32_t> plain;
  for (uint32_t i = 0; i < 20'000; ++i) {
    // Few different ones, and of those many in one line.
    const Fingerprint fingerprint = {.high = random.Below(64) << 58,
                                     .low = static_cast<uint32_t>(random.Below(100))};
    const std::pair key(fingerprint.high, fingerprint.low);
    EXPECT_EQ(map.Put(fingerprint, i), !plain.contains(key));
    plain[key] = i;
    ASSERT_EQ(map.size(), plain.size());
  }
  for (const auto& [key, value] : plain) {
    ASSERT_EQ(map.Find({.high = key.first, .low = key.second}), value);
  }
  size_t visited = 0;
  map.ForEach([&](const Fingerprint& fingerprint, uint32_t value) {
    ++visited;
    EXPECT_EQ(plain.at({fingerprint.high, fingerprint.low}), value);
  });
  EXPECT_EQ(visited, plain.size());
}

TEST(Fingerprint, TheKeyDecides) {
  const FingerprintKey key(1, 2);
  const FingerprintKey others[] = {FingerprintKey(), FingerprintKey(2, 2), FingerprintKey(1, 3)};
  for (const char* name : {"", "a", "mail.example.com"}) {
    EXPECT_EQ(FingerprintOf(name, key), FingerprintOf(name, FingerprintKey(1, 2)));
    for (const FingerprintKey& other : others) {
      EXPECT_NE(FingerprintOf(name, key), FingerprintOf(name, other));
    }
  }
  EXPECT_NE(FingerprintOf("a.example", key), FingerprintOf(".a.example", key));
}

// Names as they come: no two of them are one.
TEST(Fingerprint, TellsNamesApart) {
  const FingerprintKey key(1, 2);
  FingerprintMap map;
  for (uint32_t i = 0; i < 200'000; ++i) {
    EXPECT_TRUE(map.Put(FingerprintOf(absl::StrCat("customer-", i, ".example.com"), key), i));
  }
}

}  // namespace
}  // namespace sluice::policy
