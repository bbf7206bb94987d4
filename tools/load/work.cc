#include "tools/load/work.h"

#include <algorithm>

#include "engine/base/check.h"

namespace sluice::tools {
namespace {

// A load that has fallen behind its rate makes up for no more than this much time.
constexpr Duration kBehindMax = std::chrono::seconds(1);

}  // namespace

Work::Work(const Options& options, const SizeMix& sizes, const DomainChoice& domains, Instant start)
    : options_(options),
      sizes_(sizes),
      domains_(domains),
      chance_(options.seed),
      fresh_(options.messages),
      next_start_(start) {}

std::optional<Piece> Work::Take(Instant now) {
  if (now < next_start_ || !AnyDue(now)) return std::nullopt;
  if (options_.rate_per_s > 0) {
    const Duration apart(static_cast<int64_t>(1e9 / options_.rate_per_s));
    next_start_ = std::max(next_start_, now - kBehindMax) + apart;
  }
  ++taken_;
  Piece piece;
  if (!at_once_.empty()) {
    piece = at_once_.front();
    at_once_.pop_front();
  } else if (!waiting_.empty() && waiting_.front().due <= now) {
    piece = waiting_.front().piece;
    waiting_.pop_front();
  } else {
    --fresh_;
    piece = {.domain = domains_.Choose(chance_),
             .size = static_cast<uint16_t>(sizes_.Choose(chance_)),
             .recipients = options_.recipients_per_message};
  }
  return piece;
}

void Work::Finish() {
  CHECK(taken_ > 0);
  --taken_;
}

bool Work::Later(const Piece& piece, Instant due) {
  if (waiting_.size() >= kWaitingMax) return false;
  CHECK(waiting_.empty() || waiting_.back().due <= due);
  waiting_.push_back({.piece = piece, .due = due});
  return true;
}

bool Work::AnyDue(Instant now) const {
  if (fresh_ > 0 || !at_once_.empty()) return true;
  return !waiting_.empty() && waiting_.front().due <= now;
}

Instant Work::NextDue() const {
  if (fresh_ > 0 || !at_once_.empty()) return next_start_;
  return waiting_.empty() ? kNever : std::max(next_start_, waiting_.front().due);
}

}  // namespace sluice::tools
