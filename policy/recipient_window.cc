#include "policy/recipient_window.h"

#include <algorithm>

#include "engine/base/check.h"

namespace sluice::policy {

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

std::vector<WindowStamp> RecipientWindow::Stamps(Duration period, Instant now) {
  std::vector<WindowStamp> stamps;
  if (!stamped_) return stamps;
  stamped_->Advance(period, now);
  stamped_->AppendStamps(now, stamps);
  return stamps;
}

void RecipientWindow::Restore(std::span<const WindowStamp> stamps, Duration period, Instant now) {
  if (stamps.empty()) return;
  if (!stamped_) stamped_ = std::make_unique<Stamped>(period, now);
  stamped_->Advance(period, now);
  for (const WindowStamp& seen : stamps) stamped_->AddSeen(seen, now);
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
void RecipientWindow::Stamped::AddTo(int64_t bucket, uint64_t recipients) {
  uint32_t& count = CountOf(bucket);
  const auto added = static_cast<uint32_t>(std::min<uint64_t>(recipients, UINT32_MAX - count));
  count += added;
  total_ += added;
}

void RecipientWindow::Stamped::AddSeen(const WindowStamp& seen, Instant now) {
  const int64_t bucket = BucketAt(std::min(seen.by, now));
  if (bucket <= newest_ - kSlots) return;  // Has left.
  AddTo(bucket, seen.recipients);
}

// Each bucket's end says it for all in it, but the one that is being filled has come to now.
void RecipientWindow::Stamped::AppendStamps(Instant now, std::vector<WindowStamp>& stamps) {
  for (int64_t bucket = newest_ - kBuckets; bucket <= newest_; ++bucket) {
    const uint32_t recipients = CountOf(bucket);
    if (recipients == 0) continue;
    const Instant by = std::min(EndOf(bucket), now);
    if (!stamps.empty() && stamps.back().by == by) {  // Now is where the newest one begins.
      const uint32_t added = std::min(recipients, UINT32_MAX - stamps.back().recipients);
      stamps.back().recipients += added;
    } else {
      stamps.push_back({.by = by, .recipients = recipients});
    }
  }
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
  CHECK(now >= Instant{});
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

// Numbered so that the oldest bucket at the beginning of time is not negative. What was seen by
// another process may lie before the beginning of this one's time.
int64_t RecipientWindow::Stamped::BucketAt(Instant at) const {
  const Duration since = at.time_since_epoch();
  const bool before = since < Duration::zero() && since % bucket_width_ != Duration::zero();
  return since / bucket_width_ - (before ? 1 : 0) + kBuckets;
}

Instant RecipientWindow::Stamped::EndOf(int64_t bucket) const {
  return Instant((bucket + 1 - kBuckets) * bucket_width_);
}

}  // namespace sluice::policy
