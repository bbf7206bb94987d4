#include "engine/spool/log.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"

namespace sluice::spool {
namespace {

// How often a full disk is asked again: each time is a blocking call of the loop.
constexpr auto kSpareRetry = std::chrono::seconds(1);

// A record's header and fields beside a body's bytes, and its padding.
constexpr uint64_t kPieceOverheadBytes = kBodyPrefixBytes + 8;

// A record's entry in the index is not longer than the record and this.
constexpr uint64_t kIndexEntryOverheadBytes = 96;

// The order in which segments came to be. The logs of one run take their sequence numbers above all
// those of former runs, so that this holds over logs too.
auto Age(SegmentId segment) {
  return std::tuple(segment.sequence(), segment.log());
}

std::string Name(SegmentId segment) {
  return absl::StrCat("segment ", segment.sequence(), " of log ", segment.log());
}

absl::Status StepFailure(StepKind kind, SegmentId segment, int error) {
  const absl::string_view what = kind == StepKind::kSync ? "sync of " : "write to ";
  const absl::Status named =
      absl::ErrnoToStatus(error, absl::StrCat(what, Name(segment), " failed"));
  return absl::Status(
      named.code(),
      absl::StrCat(named.message(), " (errno ", error,
                   "); this log takes nothing more, and nothing that was not synced has been "
                   "promised. See to the disk (dmesg names it), then start again"));
}

}  // namespace

Log::Log(const Options& options, Disk& disk, std::vector<LiveSegment> segments,
         uint64_t next_sequence)
    : options_(options), disk_(disk), next_sequence_(next_sequence) {
  CHECK(options.segment_bytes % 8 == 0);
  CHECK(options.segment_bytes <= UINT32_MAX);  // An extent's offset.
  CHECK(options.segment_bytes >= 4096);
  CHECK(options.outcome_reserve_bytes <= options.segment_bytes / 2);
  std::sort(segments.begin(), segments.end(), [](const LiveSegment& a, const LiveSegment& b) {
    return Age(a.segment.id) < Age(b.segment.id);
  });
  for (const LiveSegment& live : segments) {
    CHECK(live.segment.id.sequence() < next_sequence);
    if (live.used_bytes == 0) {
      empty_.push_back(live.segment);
      continue;
    }
    row_.push_back({.segment = live.segment, .used_bytes = live.used_bytes});
    log_bytes_ += live.segment.bytes;
    if (live.segment.id.log() != options.number) continue;
    previous_ = live.segment.id;
    previous_bytes_ = live.used_bytes;
  }
}

absl::Status Log::Begin(WallTime now) {
  CHECK(!begun_);
  GiveBackEmpty();
  GiveBackDead();
  if (failed()) return failure_;
  if (absl::Status opened = OpenNext(now); !opened.ok()) return opened;
  begun_ = true;
  return absl::OkStatus();
}

// -------------------------------------------------------------------------------------------------
// Appending.

Extent Log::AppendBody(MessageId id, uint64_t body_offset, std::span<const Bytes> parts,
                       WallTime now) {
  uint64_t bytes = 0;
  for (const Bytes part : parts) bytes += part.size();
  CHECK(bytes > 0);
  CHECK(bytes <= piece_bytes_max());
  const size_t padding = PaddingFor(bytes);
  if (!MakeRoom(kBodyPrefixBytes + bytes + padding, 0, now)) return {};

  const RowSegment& newest = Newest();
  const Extent extent = {.segment = newest.segment.id,
                         .offset = static_cast<uint32_t>(newest.used_bytes + kBodyPrefixBytes),
                         .bytes = static_cast<uint32_t>(bytes)};
  EncodeBodyPrefix(newest.segment.id, id, body_offset, parts, open_.arena());
  open_.Take();
  for (const Bytes part : parts) open_.Lend(part);
  open_.arena().resize(open_.arena().size() + padding);
  open_.Take();
  Advance(kBodyPrefixBytes + bytes + padding);
  index_.AddBody(id);
  return extent;
}

Extent Log::AppendAccepted(const AcceptedRecord& record, WallTime now, bool again) {
  const Extent place =
      Append([&](SegmentId segment, auto& out) { EncodeAccepted(segment, record, out); }, now);
  if (place.bytes > 0) index_.AddAccepted(record, place, again);
  return place;
}

Extent Log::AppendDeferred(const DeferredRecord& record, WallTime now) {
  const Extent place =
      Append([&](SegmentId segment, auto& out) { EncodeDeferred(segment, record, out); }, now);
  if (place.bytes > 0) index_.AddDeferred(record, place);
  return place;
}

void Log::AppendOutcome(const OutcomeRecord& record, WallTime now) {
  const Extent place =
      Append([&](SegmentId segment, auto& out) { EncodeOutcome(segment, record, out); }, now);
  if (place.bytes > 0) index_.AddOutcome(record);
}

void Log::AppendDone(MessageId id, WallTime now) {
  const Extent place =
      Append([&](SegmentId segment, auto& out) { EncodeDone(segment, id, out); }, now);
  if (place.bytes > 0) index_.AddDone(id);
}

SegmentId Log::AppendWindow(const WindowRecord& record, WallTime now) {
  const Extent place =
      Append([&](SegmentId segment, auto& out) { EncodeWindow(segment, record, out); }, now);
  if (place.bytes > 0) index_.AddWindow(record, place);
  return place.segment;
}

// The checksum's seed is the segment's, so a record that turns out too long is encoded once more.
// Nowhere: the log has failed.
template <class Encode>
Extent Log::Append(Encode encode, WallTime now) {
  if (!MakeRoom(kRecordHeaderBytes, kIndexEntryOverheadBytes, now)) return {};
  encode(Newest().segment.id, open_.arena());
  const uint64_t bytes = open_.untaken_bytes();
  const uint64_t index_bytes = bytes + kIndexEntryOverheadBytes;
  if (bytes + index_bytes > LeftInNewest()) {
    open_.Drop();
    if (!MakeRoom(bytes, index_bytes, now)) return {};
    encode(Newest().segment.id, open_.arena());
    CHECK(open_.untaken_bytes() == bytes);
  }
  open_.Take();
  const Extent place = {.segment = Newest().segment.id,
                        .offset = static_cast<uint32_t>(Newest().used_bytes),
                        .bytes = static_cast<uint32_t>(bytes)};
  Advance(bytes);
  return place;
}

// What the newest segment has left for records, when its index is to fit behind them, each behind a
// record that begins its batch.
uint64_t Log::LeftInNewest() const {
  const RowSegment& newest = row_.back();
  const uint64_t taken = newest.used_bytes + 2 * kBatchRecordBytes + index_.bytes_max();
  return newest.segment.bytes - std::min(newest.segment.bytes, taken);
}

// Makes the newest segment one that has `bytes` left, and `index_bytes` more for their index, and
// the batch one that writes to it. One that was begun by this very call needs no room for an index:
// without one, the start reads its records.
bool Log::MakeRoom(uint64_t bytes, uint64_t index_bytes, WallTime now) {
  CHECK(begun_);
  CHECK(bytes <= options_.segment_bytes - kSegmentRecordBytes);
  if (failed()) return false;
  const bool fresh = Newest().used_bytes == kSegmentRecordBytes;
  if (!fresh && bytes + index_bytes > LeftInNewest()) {
    Seal();
    if (absl::Status opened = OpenNext(now); !opened.ok()) {
      Fail(absl::Status(opened.code(), absl::StrCat("no space is left in the log, not even for "
                                                    "outcomes: ",
                                                    opened.message())));
      return false;
    }
    return true;
  }
  WriteToNewest();
  return true;
}

// What a batch writes to a segment begins with a record that says so, unless it begins the segment.
void Log::WriteToNewest() {
  if (open_.WritesTo(Newest().segment.id)) return;
  open_.WriteTo(Newest().segment.id, Newest().segment.descriptor, Newest().used_bytes);
  EncodeBatch(Newest().segment.id, open_batch_, open_.arena());
  CHECK(open_.untaken_bytes() == kBatchRecordBytes);
  open_.Take();
  Advance(kBatchRecordBytes);
}

// The newest segment is full: its index goes behind its records. Records that were longer than was
// reckoned with (one in a segment of its own) may have left no room for it.
void Log::Seal() {
  previous_ = Newest().segment.id;
  previous_ends_ = previous_begins_ = 0;
  const uint64_t room = Newest().segment.bytes - Newest().used_bytes;
  if (kBatchRecordBytes + index_.bytes_max() <= room) {
    WriteToNewest();
    previous_ends_ = Newest().used_bytes;
    index_.EncodeEnds(previous_, open_.arena());
    previous_begins_ = previous_ends_ + open_.untaken_bytes();
    index_.EncodeBegins(previous_, open_.arena());
    const uint64_t bytes = open_.untaken_bytes();
    open_.Take();
    Advance(bytes);
  }
  previous_bytes_ = Newest().used_bytes;
}

absl::Status Log::OpenNext(WallTime now) {
  if (spares_.empty()) {
    if (absl::Status added = AddSpare(); !added.ok()) return added;
  }
  row_.push_back({.segment = spares_.front()});
  spares_.pop_front();
  index_.Clear();
  const OpenSegment& segment = Newest().segment;
  log_bytes_ += segment.bytes;
  open_.WriteTo(segment.id, segment.descriptor, 0);
  EncodeSegment({.id = segment.id,
                 .created = now,
                 .previous = previous_,
                 .previous_bytes = previous_bytes_,
                 .previous_ends = previous_ends_,
                 .previous_begins = previous_begins_},
                open_.arena());
  CHECK(open_.untaken_bytes() == kSegmentRecordBytes);
  open_.Take();
  Advance(kSegmentRecordBytes);
  return absl::OkStatus();
}

void Log::Advance(uint64_t bytes) {
  RowSegment& newest = Newest();
  newest.used_bytes += bytes;
  CHECK(newest.used_bytes <= newest.segment.bytes);
  newest.last_batch = open_batch_;
}

uint64_t Log::piece_bytes_max() const {
  return std::min<uint64_t>(kBodyPieceBytesMax, options_.segment_bytes / 4);
}

// -------------------------------------------------------------------------------------------------
// Space.

bool Log::MayAccept(uint64_t bytes, WallTime now) {
  const bool may = EnsureSpace(bytes, options_.outcome_reserve_bytes, /*accepting=*/true, now);
  low_space_ |= !may && !failed();
  return may;
}

void Log::LookForSpace(WallTime now) {
  if (failed()) return;
  const uint64_t bytes = options_.segment_bytes / 4;
  low_space_ = !EnsureSpace(bytes, options_.outcome_reserve_bytes, /*accepting=*/true, now);
}

bool Log::MayMove(uint64_t bytes, WallTime now) {
  return EnsureSpace(bytes, options_.outcome_reserve_bytes / 2, /*accepting=*/false, now);
}

bool Log::EnsureSpace(uint64_t bytes, uint64_t kept_bytes, bool accepting, WallTime now) {
  CHECK(begun_);
  if (failed()) return false;
  const size_t kept_back = accepting ? options_.spares_kept_back : 0;
  const auto may_add = [&] { return (!accepting || AboveFloor(now)) && TryAddSpare(now); };
  if (spares_.size() <= kept_back && HalfFull()) may_add();
  // Of each record that the reserve is kept for, the entry in the index is not longer than itself.
  while (spares_.size() < kept_back || SpaceFor(bytes, kept_back) < 2 * kept_bytes) {
    if (!may_add()) return false;
  }
  return true;
}

// Whether one segment more leaves as much free as is to stay free.
bool Log::AboveFloor(WallTime now) {
  if (options_.min_free_bytes == 0) return true;
  const bool fresh =
      free_asked_at_ && *free_asked_at_ <= now && now - *free_asked_at_ < kSpareRetry;
  if (!fresh) {
    free_bytes_ = disk_.FreeBytes();
    free_asked_at_ = now;
  }
  return free_bytes_ >= options_.segment_bytes &&
         free_bytes_ - options_.segment_bytes >= options_.min_free_bytes;
}

// What would be left of the newest segment and the spares, or 0 if they do not hold `bytes` in
// pieces, and an index entry for them. No record spans two segments: at the end of each is lost
// what one that needs an entry (a promise as long as a piece) asks for.
uint64_t Log::SpaceFor(uint64_t bytes, size_t spares_kept_back) const {
  const uint64_t piece = std::min(bytes, piece_bytes_max()) + kPieceOverheadBytes;
  const uint64_t pieces = bytes / piece_bytes_max() + 1;
  const uint64_t lost = 2 * piece + kIndexEntryOverheadBytes;
  const uint64_t left = LeftInNewest();
  uint64_t space = left > lost ? left - lost : 0;
  space += (spares_.size() - std::min(spares_.size(), spares_kept_back)) * (SpareBytes() - lost);
  const uint64_t needed = bytes + pieces * kPieceOverheadBytes + piece;
  return space > needed ? space - needed : 0;
}

// What LeftInNewest says of a spare once it is begun.
uint64_t Log::SpareBytes() const {
  return options_.segment_bytes - kSegmentRecordBytes - 2 * kBatchRecordBytes - Index().bytes_max();
}

bool Log::TryAddSpare(WallTime now) {
  const bool stepped_back = now < spare_tried_at_;
  if (!spare_failure_.ok() && !stepped_back && now - spare_tried_at_ < kSpareRetry) return false;
  spare_tried_at_ = now;
  return AddSpare().ok();
}

absl::Status Log::AddSpare() {
  const SegmentId id = SegmentId::Of(options_.number, next_sequence_++);
  absl::StatusOr<OpenSegment> created = disk_.Create(id, options_.segment_bytes);
  spare_failure_ = created.status();
  if (!created.ok()) return spare_failure_;
  CHECK(created->bytes == options_.segment_bytes);
  free_bytes_ -= std::min(free_bytes_, options_.segment_bytes);
  spares_.push_back(*created);
  return absl::OkStatus();
}

bool Log::HalfFull() const {
  return row_.back().used_bytes > row_.back().segment.bytes / 2;
}

// -------------------------------------------------------------------------------------------------
// Writing.

Step Log::NextStep() {
  if (failed() || in_flight_.kind != StepKind::kNone) return {};
  if (!is_writing_) {
    if (open_.empty()) return {};
    std::swap(open_, writing_);
    writing_.Seal();
    is_writing_ = true;
    ++open_batch_;
  }
  in_flight_ = writing_.Next();
  return in_flight_;
}

void Log::OnDone(int32_t result) {
  CHECK(in_flight_.kind != StepKind::kNone);
  const StepKind kind = std::exchange(in_flight_, {}).kind;
  if (failed()) return;
  if (result < 0) return Fail(StepFailure(kind, writing_.segment(), -result));
  if (kind == StepKind::kWrite) {
    if (result == 0) return Fail(StepFailure(kind, writing_.segment(), EIO));
    writing_.Written(static_cast<size_t>(result));
    return;
  }
  writing_.Synced();
  if (!writing_.done()) return;
  writing_.Clear();
  is_writing_ = false;
  ++durable_;
  CHECK(durable_ + 1 == open_batch_);
}

// -------------------------------------------------------------------------------------------------
// What lives, and what is given back.

void Log::Lives(SegmentId first_segment, uint64_t bytes) {
  if (failed()) return;  // The record that the message begins with may have found no place.
  RowSegment* segment = Find(first_segment);
  CHECK(segment != nullptr);
  ++segment->living_messages;
  segment->living_bytes += bytes;
  living_bytes_ += bytes;
}

// The open batch is waited for even while it is empty: what ends the message may be about to be
// appended to it.
void Log::Died(SegmentId first_segment, uint64_t bytes) {
  if (failed()) return;
  RowSegment* segment = Find(first_segment);
  CHECK(segment != nullptr);
  CHECK(segment->living_messages > 0);
  CHECK(segment->living_bytes >= bytes);
  --segment->living_messages;
  segment->living_bytes -= bytes;
  living_bytes_ -= bytes;
  segment->last_batch = std::max(segment->last_batch, open_batch_);
}

std::optional<SegmentId> Log::MoveWanted() const {
  if (failed() || held_ || row_.size() < 2) return std::nullopt;
  const RowSegment& oldest = row_.front();
  if (oldest.living_messages == 0) return std::nullopt;  // Reclaim has it.
  const uint64_t dead_bytes = log_bytes_ - std::min(log_bytes_, living_bytes_);
  if (dead_bytes <= std::max(2 * options_.segment_bytes, living_bytes_)) return std::nullopt;
  return oldest.segment.id;
}

void Log::Reclaim() {
  if (failed()) return;
  CHECK(begun_);
  GiveBackDead();
  // Ahead of need; and what is kept back for the next start.
  const size_t wanted = std::max<size_t>(options_.spares_kept_back, HalfFull() ? 1 : 0);
  if (!failed() && spares_.size() < wanted && spare_failure_.ok()) AddSpare().IgnoreError();
}

// In order, so that of a message's records the last is the last to go.
void Log::GiveBackDead() {
  if (held_) return;
  const size_t kept = begun_ ? 1 : 0;  // The one that is written to.
  while (row_.size() > kept && !failed()) {
    const RowSegment& oldest = row_.front();
    if (oldest.living_messages > 0 || oldest.last_batch > durable_) return;
    CHECK(oldest.living_bytes == 0);
    GiveBack(oldest.segment);
    log_bytes_ -= oldest.segment.bytes;
    row_.pop_front();
  }
}

void Log::GiveBackEmpty() {
  for (const OpenSegment& segment : empty_) {
    if (!failed()) GiveBack(segment);
  }
  empty_.clear();
}

// A name that could not be changed for certain is a disk that cannot be relied upon: no second try.
void Log::GiveBack(const OpenSegment& dead) {
  const bool reusable = dead.bytes == options_.segment_bytes && !dead.set_aside;
  if (reusable && spares_.size() < options_.free_segments_kept) {
    const SegmentId id = SegmentId::Of(options_.number, next_sequence_++);
    absl::StatusOr<OpenSegment> spare = disk_.Recycle(dead, id);
    if (!spare.ok()) return Fail(spare.status());
    spares_.push_back(*spare);
    return;
  }
  if (absl::Status removed = disk_.Remove(dead); !removed.ok()) Fail(removed);
}

absl::StatusOr<std::string> Log::SetAside(SegmentId segment) {
  RowSegment* row = Find(segment);
  CHECK(row != nullptr);
  absl::StatusOr<std::string> where = disk_.SetAside(row->segment);
  if (where.ok()) row->segment.set_aside = true;
  return where;
}

Log::RowSegment* Log::Find(SegmentId segment) {
  return const_cast<RowSegment*>(std::as_const(*this).Find(segment));
}

const Log::RowSegment* Log::Find(SegmentId segment) const {
  const auto found = std::lower_bound(
      row_.begin(), row_.end(), segment,
      [](const RowSegment& row, SegmentId id) { return Age(row.segment.id) < Age(id); });
  if (found == row_.end() || found->segment.id != segment) return nullptr;
  return &*found;
}

int32_t Log::DescriptorOf(SegmentId segment) const {
  const RowSegment* row = Find(segment);
  return row == nullptr ? -1 : row->segment.descriptor;
}

}  // namespace sluice::spool
