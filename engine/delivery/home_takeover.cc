// After a restart: the messages that the log holds are taken up, some each turn, while mail flows.

#include "engine/delivery/home.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "engine/base/check.h"

namespace sluice::delivery {

void Home::TakeUp(std::unique_ptr<spool::Takeover> takeover, MessageId greatest) {
  ids_.Seen(greatest);
  takeover_ = std::move(takeover);
  log_.Hold();
}

void Home::TakeUpSome(Now now) {
  if (takeover_ == nullptr || !takeover_failure_.ok()) return;
  takeover_waits_ = false;
  for (int i = 0; i < kTakenUpPerTurnMax; ++i) {
    if (next_taken_ == nullptr) {
      const absl::StatusOr<const spool::TakenMessage*> taken = takeover_->Next();
      if (!taken.ok()) return FailTakeover(taken.status());
      next_taken_ = *taken;
    }
    if (next_taken_ == nullptr) {
      if (quarantined_ > kQuarantinedToldMax) {
        std::fprintf(stderr, "sluice: ALARM: shard %u has %u messages in quarantine\n",
                     options_.shard, quarantined_);
      }
      takeover_.reset();
      log_.LetGo();
      return;
    }
    // What is delivered makes room.
    const uint32_t free = kept_parcels_.capacity() - kept_parcels_.taken() - parcels_promised_;
    takeover_waits_ = kept_messages_.full() || next_taken_->groups.size() > free;
    if (takeover_waits_) return;
    TakeUpMessage(*std::exchange(next_taken_, nullptr), now);
  }
}

void Home::FailTakeover(const absl::Status& failure) {
  takeover_failure_ = failure;
  std::fprintf(stderr, "sluice: shard %u cannot read the spool: %s\n", options_.shard,
               std::string(failure.message()).c_str());
}

void Home::TakeUpMessage(const spool::TakenMessage& taken, Now now) {
  ++taken_up_;
  KeptMessage& kept = *kept_messages_.Take();
  kept = KeptMessage{};
  kept.id = taken.id;
  kept.accepted = taken.accepted;
  kept.first_segment = taken.first_segment;
  kept.log_bytes = static_cast<uint32_t>(taken.log_bytes);
  kept.kept_since = now.instant + (taken.accepted_at - now.wall);
  kept.parcels = static_cast<uint32_t>(taken.groups.size());
  JoinSegment(kept);
  log_.Lives(kept.first_segment, kept.log_bytes);
  if (!taken.delivered.empty() || !taken.bounced.empty()) {
    final_[&kept] = {.delivered = taken.delivered, .bounced = taken.bounced};
  }
  // A crash came between the last outcome and the end.
  if (taken.groups.empty()) return Bury(kept, now);
  const bool quarantined = options_.active != nullptr && options_.active->Quarantined(kept.id);
  if (quarantined) TellQuarantined(kept.id);
  for (const spool::TakenMessage::Group& group : taken.groups) {
    KeptParcel& parcel = MakeKeptParcel(kept, group.destination, group.first, group.count);
    parcel.attempts = group.attempts;
    parcel.deferred = group.deferred;
    parcel.destination->counters.active += group.waiting;
    const policy::BounceProfile& profile = ProfileOf(parcel);
    const Instant due = DueAfterRestart(group, profile, now);
    // A clock that is ahead does not bounce it: it gets a try, and a while for that.
    kept.kept_since = std::max(kept.kept_since, due + profile.initial_retry - profile.max_queue);
    if (quarantined) continue;  // It is scheduled for no time.
    if (due <= now.instant) {
      Place(parcel, now);
    } else {
      Schedule(parcel, due, now);
    }
  }
}

void Home::TellQuarantined(MessageId id) {
  ++quarantined_;
  if (quarantined_ > kQuarantinedToldMax) return;
  std::fprintf(stderr,
               "sluice: ALARM: message %s was at work in several crashes in a row and is in "
               "quarantine: it is kept and not tried; see sluice spool show %s, and release it by "
               "sluice spool release %s\n",
               id.ToString().c_str(), id.ToString().c_str(), id.ToString().c_str());
}

// When the log says; what is overdue, perhaps for hours, is spread over the first retry's delay so
// that it does not all come at once (case R21).
Instant Home::DueAfterRestart(const spool::TakenMessage::Group& group,
                              const policy::BounceProfile& profile, Now now) {
  if (group.attempts == 0) return now.instant;
  Instant due = now.instant + (group.next_attempt - now.wall);
  const auto spread = static_cast<uint64_t>(profile.initial_retry.count());
  if (due < now.instant) due = now.instant + Duration(random_.Below(spread + 1));
  // A clock that was set back does not make mail sleep for as long.
  return std::min(due, now.instant + profile.max_retry / 4 * 5);
}

}  // namespace sluice::delivery
