#include "policy/recipient_window.h"

#include <algorithm>

#include "engine/base/check.h"

namespace sluice::policy {

void RecipientWindow::Take(uint32_t recipients) {
  in_flight_ += recipients;
}

void RecipientWindow::Return(uint32_t recipients) {
  CHECK(recipients <= in_flight_);
  in_flight_ -= recipients;
}

void RecipientWindow::Stamp(uint32_t recipients, Duration period, Instant now) {
  Return(recipients);
  if (recipients > 0) Add(recipients, period, now);
}

void RecipientWindow::Add(uint64_t recipients, Duration period, Instant now) {
  if (!stamped_) stamped_ = std::make_unique<Stamped>(period, now);
  stamped_->Advance(period, now);
  stamped_->Add(recipients);
}

uint64_t RecipientWindow::Counted(Duration period, Instant now) {
  if (!stamped_) return in_flight_;
  stamped_->Advance(period, now);
  return in_flight_ + stamped_->total();
}

Instant RecipientWindow::NextRelease(Duration period, Instant now) {
  if (!stamped_) return kNever;
  stamped_->Advance(period, now);
  return stamped_->NextRelease();
}

RecipientWindow::Stamped::Stamped(Duration period, Instant now) {
  SetPeriod(period, now);
}

void RecipientWindow::Stamped::Advance(Duration period, Instant now) {
  if (period != period_) SetPeriod(period, now);
  if (now < newest_end_) return;
  EnterBucket(BucketAt(now));
}

// No limit is greater than what fits: a bucket that is full holds the mail as well as a fuller one.
void RecipientWindow::Stamped::Add(uint64_t recipients) {
  uint32_t& count = CountOf(newest_);
  const auto added = static_cast<uint32_t>(std::min<uint64_t>(recipients, UINT32_MAX - count));
  count += added;
  total_ += added;
}

Instant RecipientWindow::Stamped::NextRelease() const {
  if (total_ == 0) return kNever;
  int64_t oldest = newest_ - kBuckets;
  while (counts_[oldest % kSlots] == 0) ++oldest;
  return EndOf(oldest + kBuckets);  // Its end, and then a whole period.
}

// What is counted was stamped before now: it goes where the stamps of now go.
void RecipientWindow::Stamped::SetPeriod(Duration period, Instant now) {
  CHECK(period > Duration::zero());
  if (total_ > 0) Advance(period_, now);  // What had left the old window is not brought back.
  total_ = std::min<uint64_t>(total_, UINT32_MAX);
  period_ = period;
  bucket_width_ = (period + Duration(kBuckets - 1)) / kBuckets;
  newest_ = BucketAt(now);
  newest_end_ = EndOf(newest_);
  counts_.fill(0);
  CountOf(newest_) = static_cast<uint32_t>(total_);
}

// Each bucket that begins takes the slot of the one that leaves the window.
void RecipientWindow::Stamped::EnterBucket(int64_t bucket) {
  const int64_t begin = std::min<int64_t>(bucket - newest_, kSlots);
  for (int64_t i = 1; i <= begin; ++i) {
    uint32_t& leaving = CountOf(newest_ + i);
    CHECK(leaving <= total_);
    total_ -= leaving;
    leaving = 0;
  }
  newest_ = bucket;
  newest_end_ = EndOf(bucket);
}

// Numbered so that the oldest bucket at the beginning of time is not negative.
int64_t RecipientWindow::Stamped::BucketAt(Instant now) const {
  CHECK(now >= Instant{});
  return now.time_since_epoch() / bucket_width_ + kBuckets;
}

Instant RecipientWindow::Stamped::EndOf(int64_t bucket) const {
  return Instant((bucket + 1 - kBuckets) * bucket_width_);
}

}  // namespace sluice::policy
