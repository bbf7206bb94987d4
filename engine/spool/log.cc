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

// What a segment's first record takes: header and 48 bytes.
constexpr uint64_t kSegmentRecordBytes = kRecordHeaderBytes + 48;

// A record's header and fields beside a body's bytes, and its padding.
constexpr uint64_t kPieceOverheadBytes = kBodyPrefixBytes + 8;

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
  if (!MakeRoom(kBodyPrefixBytes + bytes + padding, now)) return {};

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
  return extent;
}

void Log::AppendAccepted(const AcceptedRecord& record, WallTime now) {
  Append([&](SegmentId segment, auto& out) { EncodeAccepted(segment, record, out); }, now);
}

void Log::AppendOutcome(const OutcomeRecord& record, WallTime now) {
  Append([&](SegmentId segment, auto& out) { EncodeOutcome(segment, record, out); }, now);
}

void Log::AppendDeferred(const DeferredRecord& record, WallTime now) {
  Append([&](SegmentId segment, auto& out) { EncodeDeferred(segment, record, out); }, now);
}

void Log::AppendDone(MessageId id, WallTime now) {
  Append([&](SegmentId segment, auto& out) { EncodeDone(segment, id, out); }, now);
}

SegmentId Log::AppendWindow(const WindowRecord& record, WallTime now) {
  const bool appended =
      Append([&](SegmentId segment, auto& out) { EncodeWindow(segment, record, out); }, now);
  return appended ? Newest().segment.id : SegmentId{};
}

// The checksum's seed is the segment's, so a record that turns out too long is encoded once more.
// False: the log has failed.
template <class Encode>
bool Log::Append(Encode encode, WallTime now) {
  if (!MakeRoom(kRecordHeaderBytes, now)) return false;
  encode(Newest().segment.id, open_.arena());
  const SegmentId first_choice = Newest().segment.id;
  const uint64_t bytes = open_.untaken_bytes();
  if (bytes > Newest().segment.bytes - Newest().used_bytes) {
    open_.Drop();
    if (!MakeRoom(bytes, now)) return false;
    CHECK(Newest().segment.id != first_choice);
    encode(Newest().segment.id, open_.arena());
    CHECK(open_.untaken_bytes() == bytes);
  }
  open_.Take();
  Advance(bytes);
  return true;
}

// Makes the newest segment one that has `bytes` left, and the batch one that writes to it. What a
// batch writes to a segment begins with a record that says so, unless it begins the segment.
bool Log::MakeRoom(uint64_t bytes, WallTime now) {
  CHECK(begun_);
  CHECK(bytes <= options_.segment_bytes - kSegmentRecordBytes);
  if (failed()) return false;
  const bool writes_there = open_.WritesTo(Newest().segment.id);
  const uint64_t needed = bytes + (writes_there ? 0 : kBatchRecordBytes);
  if (needed > Newest().segment.bytes - Newest().used_bytes) {
    previous_ = Newest().segment.id;
    previous_bytes_ = Newest().used_bytes;
    if (absl::Status opened = OpenNext(now); !opened.ok()) {
      Fail(absl::Status(opened.code(), absl::StrCat("no space is left in the log, not even for "
                                                    "outcomes: ",
                                                    opened.message())));
      return false;
    }
    return true;
  }
  if (writes_there) return true;
  open_.WriteTo(Newest().segment.id, Newest().segment.descriptor, Newest().used_bytes);
  EncodeBatch(Newest().segment.id, open_batch_, open_.arena());
  CHECK(open_.untaken_bytes() == kBatchRecordBytes);
  open_.Take();
  Advance(kBatchRecordBytes);
  return true;
}

absl::Status Log::OpenNext(WallTime now) {
  if (spares_.empty()) {
    if (absl::Status added = AddSpare(); !added.ok()) return added;
  }
  row_.push_back({.segment = spares_.front()});
  spares_.pop_front();
  const OpenSegment& segment = Newest().segment;
  log_bytes_ += segment.bytes;
  open_.WriteTo(segment.id, segment.descriptor, 0);
  EncodeSegment(
      {.id = segment.id, .created = now, .previous = previous_, .previous_bytes = previous_bytes_},
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
  return std::min<uint64_t>(kRecordPayloadBytesMax, options_.segment_bytes / 4);
}

// -------------------------------------------------------------------------------------------------
// Space.

bool Log::MayAccept(uint64_t bytes, WallTime now) {
  return EnsureSpace(bytes, options_.outcome_reserve_bytes, now);
}

bool Log::MayMove(uint64_t bytes, WallTime now) {
  return EnsureSpace(bytes, options_.outcome_reserve_bytes / 2, now);
}

bool Log::EnsureSpace(uint64_t bytes, uint64_t kept_bytes, WallTime now) {
  CHECK(begun_);
  if (failed()) return false;
  if (spares_.empty() && HalfFull()) TryAddSpare(now);
  while (SpaceFor(bytes) < kept_bytes) {
    if (!TryAddSpare(now)) return false;
  }
  return true;
}

// What would be left of the newest segment and the spares, or 0 if they do not hold `bytes` in
// pieces. No record spans two segments: up to a piece is lost at the end of each.
uint64_t Log::SpaceFor(uint64_t bytes) const {
  const uint64_t piece = std::min(bytes, piece_bytes_max()) + kPieceOverheadBytes;
  const uint64_t pieces = bytes / piece_bytes_max() + 1;
  const RowSegment& newest = row_.back();
  const uint64_t left = newest.segment.bytes - newest.used_bytes;
  uint64_t space = left > piece ? left - piece : 0;
  for (const OpenSegment& spare : spares_) space += spare.bytes - kSegmentRecordBytes - piece;
  const uint64_t needed = bytes + pieces * kPieceOverheadBytes;
  return space > needed ? space - needed : 0;
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
  if (failed() || row_.size() < 2) return std::nullopt;
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
  if (!failed() && spares_.empty() && HalfFull() && spare_failure_.ok()) AddSpare().IgnoreError();
}

// In order, so that of a message's records the last is the last to go.
void Log::GiveBackDead() {
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
  if (spares_.size() < options_.free_segments_kept && dead.bytes == options_.segment_bytes) {
    const SegmentId id = SegmentId::Of(options_.number, next_sequence_++);
    absl::StatusOr<OpenSegment> spare = disk_.Recycle(dead, id);
    if (!spare.ok()) return Fail(spare.status());
    spares_.push_back(*spare);
    return;
  }
  if (absl::Status removed = disk_.Remove(dead); !removed.ok()) Fail(removed);
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
