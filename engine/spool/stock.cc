#include "engine/spool/stock.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/spool/keepers.h"
#include "engine/spool/segment_reader.h"

namespace sluice::spool {
namespace {

constexpr uint32_t kShards = 256;  // A message id has 8 bits for them.

// The entries of one part of an index, without the headers between them. False: it does not check.
absl::StatusOr<bool> ReadPart(Disk& disk, const OpenSegment& segment, uint8_t part, uint64_t from,
                              uint64_t to, std::vector<std::byte>& entries) {
  entries.resize(to - from);
  const absl::StatusOr<size_t> read = disk.ReadAt(segment, entries, from);
  if (!read.ok()) return read.status();
  if (*read < entries.size()) return false;
  std::byte* end = entries.data();
  for (Bytes rest = entries; !rest.empty();) {
    const std::optional<RecordView> view = DecodeRecord(segment.id, rest);
    const bool is_of_part =
        view && view->type == RecordType::kIndex && IndexPart(view->payload) == part;
    if (!is_of_part) return false;
    const Bytes payload = view->payload.subspan(1);
    std::memmove(end, payload.data(), payload.size());  // Over what has been checked.
    end += payload.size();
    rest = rest.subspan(view->whole_bytes);
  }
  entries.resize(static_cast<size_t>(end - entries.data()));
  return true;
}

// Fills in a Stock, segment by segment, oldest first.
class StockTaker {
 public:
  explicit StockTaker(Disk& disk) : disk_(disk) {}

  absl::Status Take(const Beginning& beginning);
  Stock Finish();

 private:
  absl::StatusOr<bool> TakeIndexed(const Beginning& beginning);
  absl::Status TakeRecords(const Beginning& beginning);
  absl::StatusOr<bool> TakeEnds(const OpenSegment& segment, Bytes ends);
  absl::StatusOr<bool> TakeWindow(const OpenSegment& segment, const Extent& place);

  Disk& disk_;
  Stock stock_;
  Changes changes_;
  Keepers keepers_;  // Told from the shards that made the messages: coarser, and at hand here.
  absl::flat_hash_map<WindowKey, RecoveredWindow> windows_;
  std::vector<std::byte> buffer_;
  std::vector<std::byte> ends_;  // Of one segment after another.
  EndEntry entry_;
};

absl::Status StockTaker::Take(const Beginning& beginning) {
  stock_.next_sequence = std::max(stock_.next_sequence, beginning.segment.id.sequence() + 1);
  absl::StatusOr<bool> taken = TakeIndexed(beginning);
  if (!taken.ok()) return taken.status();
  return *taken ? absl::OkStatus() : TakeRecords(beginning);
}

// False: it has no index, or one that does not check.
absl::StatusOr<bool> StockTaker::TakeIndexed(const Beginning& beginning) {
  if (!beginning.next || beginning.next->previous_ends == 0) return false;
  const SegmentRecord& next = *beginning.next;
  const bool sound = next.previous_ends < next.previous_begins &&
                     next.previous_begins <= next.previous_bytes &&
                     next.previous_bytes <= beginning.segment.bytes;
  if (!sound) return false;
  absl::StatusOr<bool> read = ReadPart(disk_, beginning.segment, kEndsPart, next.previous_ends,
                                       next.previous_begins, ends_);
  if (!read.ok() || !*read) return read;
  absl::StatusOr<bool> taken = TakeEnds(beginning.segment, ends_);
  if (!taken.ok() || !*taken) return taken;
  stock_.segments.push_back(
      {.live = {.segment = beginning.segment, .used_bytes = next.previous_bytes},
       .begins_at = next.previous_begins,
       .begins_end = next.previous_bytes});
  return true;
}

absl::Status StockTaker::TakeRecords(const Beginning& beginning) {
  Index index;
  absl::StatusOr<uint64_t> used_bytes =
      ReadRecords(disk_, beginning, buffer_, index, stock_.damaged_records);
  if (!used_bytes.ok()) return used_bytes.status();
  const absl::StatusOr<bool> taken = TakeEnds(beginning.segment, index.TakeEnds());
  if (!taken.ok()) return taken.status();
  if (!*taken) {
    return absl::DataLossError(absl::StrCat(
        "segment ", beginning.segment.id.sequence(), " of log ", beginning.segment.id.log(),
        " reads differently the second time. See to the disk (dmesg names it), then start again"));
  }
  stock_.segments.push_back({.live = {.segment = beginning.segment, .used_bytes = *used_bytes},
                             .begins = index.TakeBegins()});
  return absl::OkStatus();
}

// False: it is damaged. What has been taken until then is true all the same, and is met again.
absl::StatusOr<bool> StockTaker::TakeEnds(const OpenSegment& segment, Bytes ends) {
  EndsReader reader(ends, segment.id);
  while (reader.Next(entry_)) {
    if (entry_.kind == EndKind::kWindow) {
      absl::StatusOr<bool> taken = TakeWindow(segment, entry_.place);
      if (!taken.ok() || !*taken) return taken;
    } else if (entry_.kind == EndKind::kOrigins) {
      stock_.greatest_id = std::max(stock_.greatest_id, entry_.id);
      for (uint32_t shard = 0; shard < kShards; ++shard) {
        if ((entry_.origins[shard / 64] >> shard % 64 & 1) == 0) continue;
        keepers_.Join(static_cast<uint16_t>(shard), segment.id.log());
      }
    } else {
      changes_.Add(entry_);
    }
  }
  return !reader.damaged();
}

// False: it does not check. The one before it, which would count then, is found by reading all.
absl::StatusOr<bool> StockTaker::TakeWindow(const OpenSegment& segment, const Extent& place) {
  const bool may_be =
      place.bytes <= kRecordBytesMax && uint64_t{place.offset} + place.bytes <= segment.bytes;
  if (!may_be) return false;
  std::vector<std::byte> bytes(place.bytes);
  const absl::StatusOr<size_t> read = disk_.ReadAt(segment, bytes, place.offset);
  if (!read.ok()) return read.status();
  const std::optional<RecordView> view = DecodeRecord(segment.id, Bytes(bytes).first(*read));
  std::optional<WindowRecord> record;
  if (view && view->type == RecordType::kWindow) record = DecodeWindow(view->payload);
  if (!record) return false;
  const auto [found, is_new] = windows_.try_emplace(record->key);
  RecoveredWindow& window = found->second;
  if (!is_new && record->number < window.record.number) return true;
  window.record = *std::move(record);
  window.segment = segment.id;
  return true;
}

Stock StockTaker::Finish() {
  for (StockSegment& segment : stock_.segments) {
    segment.live.keeper = keepers_.Of(segment.live.segment.id.log());
  }
  for (auto& [key, window] : windows_) {
    window.keeper = keepers_.Of(window.segment.log());
    stock_.greatest_window = std::max(stock_.greatest_window, window.record.number);
    stock_.windows.push_back(std::move(window));
  }
  std::sort(stock_.windows.begin(), stock_.windows.end(),
            [](const RecoveredWindow& a, const RecoveredWindow& b) {
              return std::tuple(a.record.number, a.segment, a.record.key.destination) <
                     std::tuple(b.record.number, b.segment, b.record.key.destination);
            });
  stock_.changes = std::make_shared<const Changes>(std::move(changes_));
  return std::move(stock_);
}

}  // namespace

bool AddToIndex(const OpenSegment& segment, const PlacedRecord& record, Index& index) {
  const Bytes payload = record.view.payload;
  const Extent place = {.segment = segment.id,
                        .offset = static_cast<uint32_t>(record.offset),
                        .bytes = static_cast<uint32_t>(record.view.whole_bytes)};
  switch (record.view.type) {
    case RecordType::kSegment: {
      const std::optional<SegmentRecord> begins = DecodeSegment(payload);
      return begins && begins->id == segment.id && record.offset == 0;
    }
    case RecordType::kBody: {
      const std::optional<BodyRecord> piece = DecodeBody(payload);
      if (!piece || piece->bytes.empty()) return false;
      index.AddBody(piece->id);
      return true;
    }
    case RecordType::kAccepted: {
      const std::optional<AcceptedRecord> accepted = DecodeAccepted(payload);
      if (!accepted) return false;
      index.AddAccepted(*accepted, place, /*again=*/true);
      return true;
    }
    case RecordType::kOutcome: {
      const std::optional<OutcomeRecord> outcome = DecodeOutcome(payload);
      if (outcome) index.AddOutcome(*outcome);
      return outcome.has_value();
    }
    case RecordType::kDeferred: {
      const std::optional<DeferredRecord> deferred = DecodeDeferred(payload);
      if (deferred) index.AddDeferred(*deferred, place);
      return deferred.has_value();
    }
    case RecordType::kDone: {
      const std::optional<MessageId> id = DecodeDone(payload);
      if (id) index.AddDone(*id);
      return id.has_value();
    }
    case RecordType::kBatch:
      return DecodeBatch(payload).has_value();
    case RecordType::kWindow: {
      const std::optional<WindowRecord> window = DecodeWindow(payload);
      if (window) index.AddWindow(*window, place);
      return window.has_value();
    }
    case RecordType::kIndex:
      return IndexPart(payload).has_value();
  }
  return false;
}

void Changes::Add(const EndEntry& entry) {
  uint32_t& last = last_.try_emplace(entry.id.value, 0).first->second;
  if (last == kDone) return;
  if (entry.kind == EndKind::kDone) {
    last = kDone;
    return;
  }
  changes_.push_back({.kind = entry.kind,
                      .state = entry.state,
                      .attempts = entry.attempts,
                      .before = last,
                      .first_recipient = static_cast<uint32_t>(recipients_.size()),
                      .recipients = static_cast<uint32_t>(entry.recipients.size()),
                      .place = entry.place,
                      .next_attempt = entry.next_attempt});
  recipients_.insert(recipients_.end(), entry.recipients.begin(), entry.recipients.end());
  last = static_cast<uint32_t>(changes_.size() - 1);
}

bool Changes::Done(MessageId id) const {
  const auto found = last_.find(id.value);
  return found != last_.end() && found->second == kDone;
}

const Changes::Change* Changes::Last(MessageId id) const {
  const auto found = last_.find(id.value);
  if (found == last_.end() || found->second == 0 || found->second == kDone) return nullptr;
  return &changes_[found->second];
}

const Changes::Change* Changes::Before(const Change& change) const {
  return change.before == 0 ? nullptr : &changes_[change.before];
}

std::span<const uint32_t> Changes::RecipientsOf(const Change& change) const {
  return std::span(recipients_).subspan(change.first_recipient, change.recipients);
}

absl::StatusOr<uint64_t> ReadRecords(Disk& disk, const Beginning& beginning,
                                     std::vector<std::byte>& buffer, Index& index,
                                     uint64_t& damaged_records) {
  SegmentReader reader(disk, beginning.segment, beginning.records_end(), buffer);
  while (true) {
    const absl::StatusOr<std::optional<PlacedRecord>> record = reader.Next();
    if (!record.ok()) return record.status();
    if (!*record) break;
    if (!AddToIndex(beginning.segment, **record, index)) ++damaged_records;
  }
  damaged_records += reader.damaged();
  const uint64_t used_bytes = std::max(reader.used_bytes(), beginning.records_end().value_or(0));
  if (used_bytes > 0 || beginning.blank) return used_bytes;
  // Something was here, and nothing of it checks. It is not taken for a segment that is free.
  ++damaged_records;
  return beginning.segment.bytes;
}

absl::StatusOr<std::optional<std::vector<std::byte>>> ReadIndexPart(Disk& disk,
                                                                    const OpenSegment& segment,
                                                                    uint8_t part, uint64_t from,
                                                                    uint64_t to) {
  std::optional<std::vector<std::byte>> entries(std::in_place);
  const absl::StatusOr<bool> read = ReadPart(disk, segment, part, from, to, *entries);
  if (!read.ok()) return read.status();
  if (!*read) entries.reset();
  return entries;
}

absl::StatusOr<Stock> TakeStock(Disk& disk) {
  const absl::StatusOr<std::vector<Beginning>> beginnings = ReadBeginnings(disk);
  if (!beginnings.ok()) return beginnings.status();
  StockTaker taker(disk);
  for (const Beginning& beginning : *beginnings) {
    if (absl::Status taken = taker.Take(beginning); !taken.ok()) return taken;
  }
  return taker.Finish();
}

}  // namespace sluice::spool
