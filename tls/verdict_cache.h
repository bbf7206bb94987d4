// Verdicts that need not be found again: the same certificates, references, options and trust
// store, before the earliest date that could change the answer, and for an hour at most.
//
// Of a fixed size and with a fixed amount of work: a key belongs to one of four slots, and where
// all four are taken, the one that ends first makes room. Shared by the threads of the handshake
// pool: it has its own lock, which is held for a comparison and a copy.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/base/time.h"
#include "tls/certificate_limits.h"
#include "tls/verify.h"

namespace sluice::tls {

class VerdictCache {
 public:
  using Key = std::array<uint8_t, 32>;

  // The SHA-256 of all that a verdict depends on but the time.
  static Key KeyOf(const Chain& chain, const References& references, const JudgeOptions& options,
                   uint64_t trust_store_version);

  explicit VerdictCache(size_t verdicts_max = limits::kVerdictsMax);

  std::optional<Verdict> Find(const Key& key, WallTime now);
  void Keep(const Key& key, const Verdict& verdict, WallTime now);

 private:
  static constexpr size_t kWays = 4;

  struct Slot {
    Key key{};
    WallTime kept_at{};
    WallTime until{};  // Free where it isn't after kept_at.
    Verdict verdict;
  };
  using Set = std::array<Slot, kWays>;

  Set& SetOf(const Key& key);

  std::mutex mutex_;
  std::vector<Set> sets_;
};

}  // namespace sluice::tls
