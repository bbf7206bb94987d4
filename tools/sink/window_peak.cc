#include "tools/sink/window_peak.h"

#include <algorithm>

#include "engine/base/check.h"

namespace sluice::tools {

WindowPeaks::WindowPeaks(std::span<const Duration> spans, uint64_t& stamps_left)
    : stamps_left_(&stamps_left) {
  for (const Duration span : spans) {
    CHECK(span > Duration::zero());
    windows_.push_back({.span = span});
  }
}

void WindowPeaks::Add(uint32_t recipients, Instant now) {
  CHECK(stamps_.empty() || stamps_.back().at <= now);
  for (Window& window : windows_) LetGo(window, now);
  Forget();
  if (!Keep(recipients, now)) return;
  for (Window& window : windows_) {
    window.recipients += recipients;
    window.peak = std::max(window.peak, window.recipients);
  }
}

bool WindowPeaks::Keep(uint32_t recipients, Instant now) {
  if (!stamps_.empty() && stamps_.back().at == now) {
    stamps_.back().recipients += recipients;
    return true;
  }
  if (*stamps_left_ == 0) {
    exact_ = false;
    if (stamps_.empty()) return false;
    LetGoOldest();
  }
  CHECK(*stamps_left_ > 0);
  --*stamps_left_;
  stamps_.push_back({.at = now, .recipients = recipients});
  return true;
}

void WindowPeaks::LetGo(Window& window, Instant now) {
  while (window.oldest < forgotten_ + stamps_.size()) {
    const Stamp& stamp = stamps_[window.oldest - forgotten_];
    if (now - stamp.at < window.span) return;
    CHECK(window.recipients >= stamp.recipients);
    window.recipients -= stamp.recipients;
    ++window.oldest;
  }
}

void WindowPeaks::LetGoOldest() {
  for (Window& window : windows_) {
    if (window.oldest > forgotten_) continue;
    CHECK(window.recipients >= stamps_.front().recipients);
    window.recipients -= stamps_.front().recipients;
    window.oldest = forgotten_ + 1;
  }
  Forget();
}

// Of what no window holds any more.
void WindowPeaks::Forget() {
  uint64_t oldest = forgotten_ + stamps_.size();
  for (const Window& window : windows_) oldest = std::min(oldest, window.oldest);
  while (forgotten_ < oldest) {
    stamps_.pop_front();
    ++forgotten_;
    ++*stamps_left_;
  }
}

}  // namespace sluice::tools
