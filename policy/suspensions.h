// Destinations whose delivery the operator has suspended: all, some domains, or the domains under a
// partial domain (".example.com"), each until it is resumed or until its time has passed.
//
// Immutable once built; shards share it. The nearest one speaks: the exact domain, then the longest
// partial domain, then all.

#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "engine/base/time.h"

namespace sluice::policy {

struct Suspension {
  std::string domain;  // Normalised; ".example.com" for a partial one; empty: all.
  WallTime since{};
  std::optional<WallTime> until;  // It has ended then.
  std::string reason;

  bool operator==(const Suspension&) const = default;
};

class Suspensions {
 public:
  Suspensions() = default;
  // Of several of one domain the last counts.
  explicit Suspensions(const std::vector<Suspension>& all);

  bool empty() const { return by_domain_.empty(); }
  // Null: nothing holds the domain's mail back now.
  const Suspension* Find(absl::string_view domain, WallTime now) const;

 private:
  const Suspension* Of(absl::string_view key, WallTime now) const;

  absl::flat_hash_map<std::string, Suspension> by_domain_;
};

}  // namespace sluice::policy
