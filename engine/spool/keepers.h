// Which logs must stay with one shard after a restart (recovery.h): those with records of the same
// message. One thread, memory only.

#pragma once

#include <algorithm>
#include <cstdint>

#include "absl/container/flat_hash_map.h"

namespace sluice::spool {

class Keepers {
 public:
  // The smallest of the logs that stay with this one; its own number, if it is alone.
  uint16_t Of(uint16_t log) const {
    auto found = nearer_.find(log);
    while (found != nearer_.end()) {
      log = found->second;
      found = nearer_.find(log);
    }
    return log;
  }

  void Join(uint16_t a, uint16_t b) {
    a = Of(a);
    b = Of(b);
    if (a != b) nearer_[std::max(a, b)] = std::min(a, b);
  }

 private:
  absl::flat_hash_map<uint16_t, uint16_t> nearer_;  // To a smaller one; the smallest has none.
};

}  // namespace sluice::spool
