#include "policy/allowance.h"

#include <algorithm>

#include "engine/base/check.h"

namespace sluice::policy {

int64_t Allowance::Left() const {
  return asking() ? std::min(kept_left_, asked_left_) : kept_left_;
}

void Allowance::Take(uint32_t recipients) {
  kept_left_ -= recipients;
  asked_left_ -= recipients;
}

void Allowance::Return(uint32_t recipients) {
  kept_left_ += recipients;
  asked_left_ += recipients;
}

void Allowance::Asked(uint64_t number, Duration period, uint32_t ahead, bool reserves) {
  CHECK(number != 0);
  CHECK(!asking());
  asked_ = number;
  asked_left_ = ahead;
  recorded_ = true;
  open_ = reserves;
  period_ = period;
}

bool Allowance::Kept(uint64_t number) {
  if (!asking() || number != asked_) return false;
  kept_left_ = asked_left_;
  asked_ = 0;
  return true;
}

}  // namespace sluice::policy
