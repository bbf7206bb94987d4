#include "engine/spool/takeover.h"

#include <algorithm>
#include <utility>

namespace sluice::spool {
namespace {

bool IsSound(Bytes begins, SegmentId segment) {
  BeginsReader reader(begins, segment);
  BeginEntry entry;
  while (reader.Next(entry)) {
  }
  return !reader.damaged();
}

bool StandsBefore(const Extent& a, const Extent& b) {
  return a.segment == b.segment && uint64_t{a.offset} + a.bytes == b.offset;
}

}  // namespace

Takeover::Takeover(Disk& disk, std::vector<StockSegment> segments,
                   std::shared_ptr<const Changes> changes)
    : disk_(disk), segments_(std::move(segments)), changes_(std::move(changes)) {}

absl::StatusOr<const TakenMessage*> Takeover::Next() {
  while (true) {
    while (reader_ && reader_->Next(entry_)) {
      if (!Current(entry_)) continue;
      Apply(entry_);
      return &message_;
    }
    reader_.reset();
    if (next_segment_ == segments_.size()) {
      segments_.clear();
      next_segment_ = 0;
      changes_.reset();
      return nullptr;
    }
    if (absl::Status loaded = Load(); !loaded.ok()) return loaded;
  }
}

absl::Status Takeover::Load() {
  StockSegment& segment = segments_[next_segment_++];
  begins_ = std::exchange(segment.begins, {});
  const OpenSegment& open = segment.live.segment;
  if (segment.begins_at < segment.begins_end) {
    absl::StatusOr<std::optional<std::vector<std::byte>>> read =
        ReadIndexPart(disk_, open, kBeginsPart, segment.begins_at, segment.begins_end);
    if (!read.ok()) return read.status();
    if (*read && IsSound(**read, open.id)) {
      begins_ = **std::move(read);
    } else {
      // Its ends did check, its begins do not: the records have it all.
      const Beginning beginning = {
          .segment = open, .next = SegmentRecord{.previous_bytes = segment.live.used_bytes}};
      Index index;
      uint64_t damaged_records = 0;
      const absl::StatusOr<uint64_t> records =
          ReadRecords(disk_, beginning, begins_, index, damaged_records);
      if (!records.ok()) return records.status();
      begins_ = index.TakeBegins();
    }
  }
  reader_.emplace(begins_, open.id);
  return absl::OkStatus();
}

// Not done, and not the older copy of a message that has been moved.
bool Takeover::Current(const BeginEntry& entry) const {
  if (changes_->Done(entry.id)) return false;
  for (const Changes::Change* change = changes_->Last(entry.id); change != nullptr;
       change = changes_->Before(*change)) {
    if (change->kind == EndKind::kAgain) return change->place == entry.place;
  }
  return true;
}

void Takeover::Apply(const BeginEntry& entry) {
  message_.id = entry.id;
  message_.accepted = entry.place;
  message_.first_segment = entry.first_segment;
  message_.log_bytes = entry.log_bytes;
  message_.accepted_at = entry.accepted_at;
  message_.delivered.clear();
  message_.bounced.clear();
  message_.groups.clear();
  final_.assign(entry.recipients, 0);
  deferred_.assign(entry.recipients, 0);
  for (const uint32_t index : entry.final) {
    if (index < entry.recipients) final_[index] = 1;
  }
  for (const BeginEntry::Group& group : entry.groups) {
    message_.groups.push_back({.destination = group.destination,
                               .first = group.first,
                               .count = group.count,
                               .attempts = group.attempts,
                               .next_attempt = group.next_attempt});
  }
  // Outcomes first, so that it is known who waits.
  for (const Changes::Change* change = changes_->Last(entry.id); change != nullptr;
       change = changes_->Before(*change)) {
    if (change->kind == EndKind::kAgain) break;
    if (change->kind != EndKind::kOutcome) continue;
    const bool delivered = change->state == RecipientState::kDelivered;
    for (const uint32_t index : changes_->RecipientsOf(*change)) {
      if (index >= entry.recipients || final_[index] != 0) continue;
      final_[index] = 1;
      (delivered ? message_.delivered : message_.bounced).push_back(index);
    }
  }
  for (TakenMessage::Group& group : message_.groups) {
    group.waiting = static_cast<uint32_t>(std::count(
        final_.begin() + group.first, final_.begin() + group.first + group.count, uint8_t{0}));
  }
  std::erase_if(message_.groups,
                [](const TakenMessage::Group& group) { return group.waiting == 0; });
  for (const Changes::Change* change = changes_->Last(entry.id); change != nullptr;
       change = changes_->Before(*change)) {
    if (change->kind == EndKind::kAgain) break;
    if (change->kind == EndKind::kDeferred) ApplyDeferral(*change);
  }
}

// Met from the last to the first: of each recipient the last one counts. A round that was recorded
// in several records, one behind the other, is one deferral; the round before it, which may stand
// there too, is not.
void Takeover::ApplyDeferral(const Changes::Change& change) {
  for (const uint32_t index : changes_->RecipientsOf(change)) {
    if (index >= final_.size() || final_[index] != 0 || deferred_[index] != 0) continue;
    deferred_[index] = 1;
    const auto group = std::find_if(message_.groups.begin(), message_.groups.end(),
                                    [index](const TakenMessage::Group& each) {
                                      return index >= each.first && index - each.first < each.count;
                                    });
    if (group == message_.groups.end()) continue;  // The promise says nothing of who waits there.
    Extent& deferred = group->deferred;
    if (deferred.bytes == 0) {
      group->attempts = change.attempts;
      group->next_attempt = change.next_attempt;
      deferred = change.place;
    } else if (change.attempts == group->attempts && StandsBefore(change.place, deferred)) {
      deferred.offset = change.place.offset;
      deferred.bytes += change.place.bytes;
    }
  }
}

}  // namespace sluice::spool
