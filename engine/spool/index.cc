#include "engine/spool/index.h"

#include <algorithm>
#include <tuple>

#include "absl/hash/hash.h"

namespace sluice::spool {
namespace {

// What a record of the index takes beside its entries: header, part, padding.
constexpr size_t kOverheadBytes = kRecordHeaderBytes + 1 + 7;

// What a payload holds at most: entries are not cut, and none is longer than half of this.
constexpr size_t kPayloadMax = kRecordPayloadBytesMax - 1;

// What entries take: kind and id alone, a moved promise, a window, the origins.
constexpr size_t kDoneEntryBytes = 1 + 8;
constexpr size_t kAgainEntryBytes = kDoneEntryBytes + 4 + 4;
constexpr size_t kWindowEntryBytes = 1 + 4 + 4;
constexpr size_t kOriginsEntryBytes = 1 + 8 + 4 * 8;

void PutKind(Writer& writer, EndKind kind, MessageId id) {
  writer.Number(static_cast<uint8_t>(kind));
  writer.Number(id.value);
}

void PutPlace(Writer& writer, const Extent& place) {
  writer.Number(place.offset);
  writer.Number(place.bytes);
}

Extent TakePlace(Decoder& decoder, SegmentId segment) {
  Extent place = {.segment = segment};
  place.offset = decoder.Number<uint32_t>();
  place.bytes = decoder.Number<uint32_t>();
  return place;
}

bool Waits(const RecipientRecord& recipient) {
  return recipient.state == RecipientState::kWaiting;
}

// Calls visit(first, count, waiting) for each run of recipients of one destination of which one
// waits; `waiting` is the first with the most attempts, since a round may have been cut off.
template <class Visit>
void ForEachGroup(const std::vector<RecipientRecord>& recipients, Visit visit) {
  for (uint32_t first = 0; first < recipients.size();) {
    uint32_t end = first;
    std::optional<uint32_t> waiting;
    while (end < recipients.size() &&
           recipients[end].destination == recipients[first].destination) {
      const RecipientRecord& recipient = recipients[end];
      const bool later = !waiting || recipient.attempts > recipients[*waiting].attempts;
      if (Waits(recipient) && later) waiting = end;
      ++end;
    }
    if (waiting) visit(first, end - first, *waiting);
    first = end;
  }
}

}  // namespace

void Index::Part::Added() {
  const size_t begin = cuts.empty() ? 0 : cuts.back();
  if (bytes.size() - begin > kPayloadMax) cuts.push_back(last);
  last = bytes.size();
}

void Index::Part::Clear() {
  bytes.clear();
  cuts.clear();
  last = 0;
}

void Index::Clear() {
  ends_.Clear();
  begins_.Clear();
  windows_.clear();
  origins_ = {};
  greatest_ = {};
}

void Index::Saw(MessageId id) {
  greatest_ = std::max(greatest_, id);
  const auto shard = static_cast<uint8_t>(id.value);
  origins_[shard / 64] |= uint64_t{1} << shard % 64;
}

void Index::AddAccepted(const AcceptedRecord& record, const Extent& place, bool again) {
  Saw(record.id);
  uint64_t log_bytes = place.bytes;
  for (const Extent& piece : record.body) {
    log_bytes += kBodyPrefixBytes + piece.bytes + PaddingFor(piece.bytes);
  }
  Writer writer(begins_.bytes);
  writer.Number(record.id.value);
  PutPlace(writer, place);
  writer.Number((record.body.empty() ? place : record.body.front()).segment.value);
  writer.Number(log_bytes);
  writer.Time(record.accepted_at);
  writer.Number(static_cast<uint32_t>(record.recipients.size()));
  uint32_t final = 0;
  for (const RecipientRecord& recipient : record.recipients) final += Waits(recipient) ? 0 : 1;
  writer.Number(final);
  for (uint32_t i = 0; final > 0 && i < record.recipients.size(); ++i) {
    if (!Waits(record.recipients[i])) writer.Number(i);
  }
  uint32_t groups = 0;
  ForEachGroup(record.recipients, [&](uint32_t, uint32_t, uint32_t) { ++groups; });
  writer.Number(groups);
  ForEachGroup(record.recipients, [&](uint32_t first, uint32_t count, uint32_t waiting) {
    writer.Number(first);
    writer.Number(count);
    writer.Number(record.recipients[waiting].attempts);
    writer.Time(record.recipients[waiting].next_attempt);
    writer.Text(record.recipients[first].destination);
  });
  writer.End();
  begins_.Added();
  if (!again) return;
  Writer ends(ends_.bytes, kAgainEntryBytes);
  PutKind(ends, EndKind::kAgain, record.id);
  PutPlace(ends, place);
  ends.End();
  ends_.Added();
}

void Index::AddOutcome(const OutcomeRecord& record) {
  Saw(record.id);
  Writer writer(ends_.bytes, kDoneEntryBytes + 1 + 4 + 4 * record.recipients.size());
  PutKind(writer, EndKind::kOutcome, record.id);
  writer.Number(static_cast<uint8_t>(record.state));
  writer.Indexes(record.recipients);
  writer.End();
  ends_.Added();
}

void Index::AddDeferred(const DeferredRecord& record, const Extent& place) {
  Saw(record.id);
  Writer writer(ends_.bytes, kAgainEntryBytes + 2 + 8 + 4 + 4 * record.recipients.size());
  PutKind(writer, EndKind::kDeferred, record.id);
  PutPlace(writer, place);
  writer.Number(record.attempts);
  writer.Time(record.next_attempt);
  writer.Indexes(record.recipients);
  writer.End();
  ends_.Added();
}

void Index::AddDone(MessageId id) {
  Saw(id);
  Writer writer(ends_.bytes, kDoneEntryBytes);
  PutKind(writer, EndKind::kDone, id);
  writer.End();
  ends_.Added();
}

void Index::AddWindow(const WindowRecord& record, const Extent& place) {
  windows_.push_back({absl::HashOf(record.key), record.number, place});
}

size_t Index::bytes_max() const {
  const size_t ends = ends_.bytes.size() + windows_.size() * kWindowEntryBytes + kOriginsEntryBytes;
  // Each payload but the last of a part is at least half full.
  const size_t records = 2 + 2 * (ends + begins_.bytes.size()) / kPayloadMax;
  return ends + begins_.bytes.size() + records * kOverheadBytes;
}

// What is known only at the end: of each window the record with the greatest number, of copies the
// last; and whose ids occur.
void Index::AddHeld() {
  std::sort(windows_.begin(), windows_.end(), [](const WindowPlace& a, const WindowPlace& b) {
    return std::tuple(a.key, a.number, a.place.offset) <
           std::tuple(b.key, b.number, b.place.offset);
  });
  for (size_t i = 0; i < windows_.size(); ++i) {
    if (i + 1 < windows_.size() && windows_[i + 1].key == windows_[i].key) continue;
    Writer writer(ends_.bytes, kWindowEntryBytes);
    writer.Number(static_cast<uint8_t>(EndKind::kWindow));
    PutPlace(writer, windows_[i].place);
    writer.End();
    ends_.Added();
  }
  windows_.clear();
  Writer writer(ends_.bytes, kOriginsEntryBytes);
  PutKind(writer, EndKind::kOrigins, greatest_);
  for (const uint64_t bits : origins_) writer.Number(bits);
  writer.End();
  ends_.Added();
}

void Index::Encode(Part& part, uint8_t number, SegmentId segment, std::vector<std::byte>& out) {
  part.cuts.push_back(part.bytes.size());
  size_t begin = 0;
  for (const size_t end : part.cuts) {
    Encoder encoder(segment, RecordType::kIndex, out);
    encoder.Number(number);
    encoder.Raw(Bytes(part.bytes).subspan(begin, end - begin));
    encoder.Finish();
    begin = end;
  }
  part.Clear();
}

void Index::EncodeEnds(SegmentId segment, std::vector<std::byte>& out) {
  AddHeld();
  Encode(ends_, kEndsPart, segment, out);
}

void Index::EncodeBegins(SegmentId segment, std::vector<std::byte>& out) {
  Encode(begins_, kBeginsPart, segment, out);
}

std::vector<std::byte> Index::TakeEnds() {
  AddHeld();
  std::vector<std::byte> taken = std::move(ends_.bytes);
  ends_.Clear();
  return taken;
}

std::vector<std::byte> Index::TakeBegins() {
  std::vector<std::byte> taken = std::move(begins_.bytes);
  begins_.Clear();
  return taken;
}

std::optional<uint8_t> IndexPart(Bytes payload) {
  if (payload.empty()) return std::nullopt;
  const auto part = static_cast<uint8_t>(payload.front());
  return part <= kBeginsPart ? std::optional(part) : std::nullopt;
}

bool EndsReader::Next(EndEntry& entry) {
  if (decoder_.Finished() || !decoder_.good()) return false;
  entry.kind = static_cast<EndKind>(decoder_.Number<uint8_t>());
  entry.id = {};
  entry.place = {};
  entry.recipients.clear();
  if (entry.kind != EndKind::kWindow) entry.id.value = decoder_.Number<uint64_t>();
  switch (entry.kind) {
    case EndKind::kOrigins:
      for (uint64_t& bits : entry.origins) bits = decoder_.Number<uint64_t>();
      return decoder_.good();
    case EndKind::kOutcome: {
      const auto state = decoder_.Number<uint8_t>();
      decoder_.Must(state == static_cast<uint8_t>(RecipientState::kDelivered) ||
                    state == static_cast<uint8_t>(RecipientState::kBounced));
      entry.state = static_cast<RecipientState>(state);
      return decoder_.Indexes(entry.recipients);
    }
    case EndKind::kDeferred:
      entry.place = TakePlace(decoder_, segment_);
      entry.attempts = decoder_.Number<uint16_t>();
      entry.next_attempt = decoder_.Time();
      return decoder_.Indexes(entry.recipients);
    case EndKind::kDone:
      return decoder_.good();
    case EndKind::kAgain:
    case EndKind::kWindow:
      entry.place = TakePlace(decoder_, segment_);
      return decoder_.good();
  }
  decoder_.Must(false);
  return false;
}

bool BeginsReader::Next(BeginEntry& entry) {
  if (decoder_.Finished() || !decoder_.good()) return false;
  entry.id.value = decoder_.Number<uint64_t>();
  entry.place = TakePlace(decoder_, segment_);
  entry.first_segment.value = decoder_.Number<uint64_t>();
  entry.log_bytes = decoder_.Number<uint64_t>();
  entry.accepted_at = decoder_.Time();
  entry.recipients = decoder_.Number<uint32_t>();
  decoder_.Must(entry.recipients <= kRecordPayloadBytesMax);  // Each took some of the promise.
  entry.final.clear();
  if (!decoder_.Indexes(entry.final)) return false;
  entry.groups.clear();
  const auto groups = decoder_.Number<uint32_t>();
  for (uint32_t i = 0; i < groups && decoder_.good(); ++i) {
    BeginEntry::Group& group = entry.groups.emplace_back();
    group.first = decoder_.Number<uint32_t>();
    group.count = decoder_.Number<uint32_t>();
    group.attempts = decoder_.Number<uint16_t>();
    group.next_attempt = decoder_.Time();
    group.destination = decoder_.Text();
    decoder_.Must(group.first < entry.recipients && group.count <= entry.recipients - group.first);
  }
  return decoder_.good();
}

}  // namespace sluice::spool
