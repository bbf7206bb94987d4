#include "policy/suspensions.h"

namespace sluice::policy {

Suspensions::Suspensions(const std::vector<Suspension>& all) {
  for (const Suspension& one : all) by_domain_.insert_or_assign(one.domain, one);
}

const Suspension* Suspensions::Of(absl::string_view key, WallTime now) const {
  const auto found = by_domain_.find(key);
  if (found == by_domain_.end()) return nullptr;
  const Suspension& one = found->second;
  return one.until && *one.until <= now ? nullptr : &one;
}

const Suspension* Suspensions::Find(absl::string_view domain, WallTime now) const {
  if (by_domain_.empty()) return nullptr;
  if (const Suspension* exact = Of(domain, now)) return exact;
  for (size_t dot = domain.find('.'); dot != absl::string_view::npos;
       dot = domain.find('.', dot + 1)) {
    if (const Suspension* partial = Of(domain.substr(dot), now)) return partial;
  }
  return Of("", now);
}

}  // namespace sluice::policy
