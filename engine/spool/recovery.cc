#include "engine/spool/recovery.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/spool/beginning.h"
#include "engine/spool/index.h"
#include "engine/spool/keepers.h"
#include "engine/spool/segment_reader.h"

namespace sluice::spool {
namespace {

// One copy of a message's body, as its pieces are met.
struct Body {
  std::vector<Extent> pieces;
  uint64_t bytes = 0;
  uint64_t log_bytes = 0;
};

// All that the logs say about one message that is not done.
struct History {
  std::optional<AcceptedRecord> accepted;
  std::vector<OutcomeRecord> early_outcomes;  // Met before the promise.
  Body open;                                  // Pieces that no promise has followed yet.
  std::optional<Body> whole;                  // The last one that a promise found whole.
};

struct Entry {
  std::unique_ptr<History> history;  // Null once the message is done.
  uint16_t log = 0;
};

// Puts the logs' records together, whichever order they come in.
class Replay {
 public:
  // False: its payload is not what its type says.
  bool Apply(const OpenSegment& segment, const PlacedRecord& record);

  void Finish(Recovered& recovered);

 private:
  History* HistoryOf(MessageId id, SegmentId segment);  // Null: the message is done.
  bool ApplyBody(SegmentId segment, const PlacedRecord& record);
  bool ApplyAccepted(SegmentId segment, const RecordView& view);
  bool ApplyOutcome(SegmentId segment, Bytes payload);
  bool ApplyDeferred(SegmentId segment, Bytes payload);
  bool ApplyDone(SegmentId segment, Bytes payload);
  bool ApplyWindow(SegmentId segment, Bytes payload);

  absl::flat_hash_map<uint64_t, Entry> entries_;
  absl::flat_hash_map<WindowKey, RecoveredWindow> windows_;
  Keepers keepers_;
  MessageId greatest_;
};

// A final state stays, whatever comes after.
bool SetFinal(AcceptedRecord& accepted, const OutcomeRecord& outcome) {
  bool good = true;
  for (const uint32_t index : outcome.recipients) {
    if (index < accepted.recipients.size()) {
      accepted.recipients[index].state = outcome.state;
    } else {
      good = false;
    }
  }
  return good;
}

bool SetDeferred(AcceptedRecord& accepted, const DeferredRecord& deferred) {
  bool good = true;
  for (const uint32_t index : deferred.recipients) {
    if (index >= accepted.recipients.size()) {
      good = false;
      continue;
    }
    RecipientRecord& recipient = accepted.recipients[index];
    recipient.attempts = deferred.attempts;
    recipient.next_attempt = deferred.next_attempt;
    recipient.last_reply = deferred.last_reply;
  }
  return good;
}

// Whether a promise can be that of the same message, moved.
bool SameMessage(const AcceptedRecord& a, const AcceptedRecord& b) {
  return a.wire_bytes == b.wire_bytes && a.body_checksum == b.body_checksum &&
         a.recipients.size() == b.recipients.size();
}

void KeepFinal(const AcceptedRecord& before, AcceptedRecord& after) {
  CHECK(before.recipients.size() == after.recipients.size());
  for (size_t i = 0; i < before.recipients.size(); ++i) {
    if (before.recipients[i].state != RecipientState::kWaiting) {
      after.recipients[i].state = before.recipients[i].state;
    }
  }
}

bool Replay::Apply(const OpenSegment& segment, const PlacedRecord& record) {
  switch (record.view.type) {
    case RecordType::kSegment: {
      const std::optional<SegmentRecord> begins = DecodeSegment(record.view.payload);
      return begins && begins->id == segment.id && record.offset == 0;
    }
    case RecordType::kBody:
      return ApplyBody(segment.id, record);
    case RecordType::kAccepted:
      return ApplyAccepted(segment.id, record.view);
    case RecordType::kOutcome:
      return ApplyOutcome(segment.id, record.view.payload);
    case RecordType::kDeferred:
      return ApplyDeferred(segment.id, record.view.payload);
    case RecordType::kDone:
      return ApplyDone(segment.id, record.view.payload);
    case RecordType::kBatch:
      return DecodeBatch(record.view.payload).has_value();
    case RecordType::kWindow:
      return ApplyWindow(segment.id, record.view.payload);
    case RecordType::kIndex:
      return IndexPart(record.view.payload).has_value();
  }
  return false;
}

History* Replay::HistoryOf(MessageId id, SegmentId segment) {
  greatest_ = std::max(greatest_, id);
  const auto [found, is_new] = entries_.try_emplace(id.value);
  Entry& entry = found->second;
  if (is_new) {
    entry.log = segment.log();
    entry.history = std::make_unique<History>();
  }
  keepers_.Join(entry.log, segment.log());
  return entry.history.get();
}

bool Replay::ApplyBody(SegmentId segment, const PlacedRecord& record) {
  const std::optional<BodyRecord> piece = DecodeBody(record.view.payload);
  if (!piece || piece->bytes.empty()) return false;
  History* history = HistoryOf(piece->id, segment);
  if (history == nullptr) return true;
  Body& open = history->open;
  if (piece->body_offset != open.bytes) open = Body{};  // From the front again: it is being moved.
  if (piece->body_offset != open.bytes) return true;    // The pieces before it are gone.
  open.pieces.push_back({.segment = segment,
                         .offset = static_cast<uint32_t>(record.offset + kBodyPrefixBytes),
                         .bytes = static_cast<uint32_t>(piece->bytes.size())});
  open.bytes += piece->bytes.size();
  open.log_bytes += record.view.whole_bytes;
  return true;
}

bool Replay::ApplyAccepted(SegmentId segment, const RecordView& view) {
  std::optional<AcceptedRecord> accepted = DecodeAccepted(view.payload);
  if (!accepted) return false;
  History* history = HistoryOf(accepted->id, segment);
  if (history == nullptr) return true;
  Body open = std::exchange(history->open, Body{});
  if (history->accepted) {
    if (!SameMessage(*history->accepted, *accepted)) return false;
    KeepFinal(*history->accepted, *accepted);
  }
  history->accepted = std::move(accepted);
  bool good = true;
  for (const OutcomeRecord& outcome : history->early_outcomes) {
    good = SetFinal(*history->accepted, outcome) && good;
  }
  history->early_outcomes.clear();

  // A body is never empty: it ends with a dot and CRLF.
  if (open.pieces.empty() || open.bytes != history->accepted->wire_bytes) return good;
  open.log_bytes += view.whole_bytes;
  history->whole = std::move(open);
  return good;
}

bool Replay::ApplyOutcome(SegmentId segment, Bytes payload) {
  std::optional<OutcomeRecord> outcome = DecodeOutcome(payload);
  if (!outcome) return false;
  History* history = HistoryOf(outcome->id, segment);
  if (history == nullptr) return true;
  if (history->accepted) return SetFinal(*history->accepted, *outcome);
  history->early_outcomes.push_back(*std::move(outcome));
  return true;
}

bool Replay::ApplyDeferred(SegmentId segment, Bytes payload) {
  std::optional<DeferredRecord> deferred = DecodeDeferred(payload);
  if (!deferred) return false;
  History* history = HistoryOf(deferred->id, segment);
  if (history == nullptr) return true;
  // Met before the promise, it is older than the promise that stands where the message was moved
  // to.
  return !history->accepted || SetDeferred(*history->accepted, *deferred);
}

bool Replay::ApplyDone(SegmentId segment, Bytes payload) {
  const std::optional<MessageId> id = DecodeDone(payload);
  if (!id) return false;
  HistoryOf(*id, segment);
  entries_[id->value].history.reset();
  return true;
}

bool Replay::ApplyWindow(SegmentId segment, Bytes payload) {
  std::optional<WindowRecord> record = DecodeWindow(payload);
  if (!record) return false;
  const auto [found, is_new] = windows_.try_emplace(record->key);
  RecoveredWindow& window = found->second;
  if (!is_new && record->number < window.record.number) return true;
  window.record = *std::move(record);
  window.segment = segment;
  return true;
}

void Replay::Finish(Recovered& recovered) {
  for (auto& [id, entry] : entries_) {
    if (entry.history == nullptr) continue;
    History& history = *entry.history;
    if (!history.accepted || !history.whole) {
      // What only ends a message whose beginning has been given back is no message.
      if (history.accepted || !history.open.pieces.empty()) ++recovered.incomplete_messages;
      continue;
    }
    const SegmentId first_segment = history.whole->pieces.front().segment;
    recovered.messages.push_back({.accepted = *std::move(history.accepted),
                                  .body = std::move(history.whole->pieces),
                                  .first_segment = first_segment,
                                  .log_bytes = history.whole->log_bytes,
                                  .keeper = keepers_.Of(entry.log)});
  }
  std::sort(recovered.messages.begin(), recovered.messages.end(),
            [](const RecoveredMessage& a, const RecoveredMessage& b) {
              return a.accepted.id < b.accepted.id;
            });
  for (auto& [key, window] : windows_) {
    window.keeper = keepers_.Of(window.segment.log());
    recovered.greatest_window = std::max(recovered.greatest_window, window.record.number);
    recovered.windows.push_back(std::move(window));
  }
  std::sort(recovered.windows.begin(), recovered.windows.end(),
            [](const RecoveredWindow& a, const RecoveredWindow& b) {
              return std::tuple(a.record.number, a.segment, a.record.key.destination) <
                     std::tuple(b.record.number, b.segment, b.record.key.destination);
            });
  for (Log::LiveSegment& live : recovered.segments)
    live.keeper = keepers_.Of(live.segment.id.log());
  recovered.greatest_id = greatest_;
}

absl::Status ReadSegment(Disk& disk, const Beginning& beginning, std::vector<std::byte>& buffer,
                         Replay& replay, Recovered& recovered) {
  SegmentReader reader(disk, beginning.segment, beginning.records_end(), buffer);
  while (true) {
    const absl::StatusOr<std::optional<PlacedRecord>> record = reader.Next();
    if (!record.ok()) return record.status();
    if (!*record) break;
    ++recovered.records;
    if (!replay.Apply(beginning.segment, **record)) ++recovered.damaged_records;
  }
  recovered.damaged_records += reader.damaged();
  uint64_t used_bytes = std::max(reader.used_bytes(), beginning.records_end().value_or(0));
  if (used_bytes == 0 && !beginning.blank) {
    // Something was here, and nothing of it checks. It is not taken for a segment that is free.
    ++recovered.damaged_records;
    used_bytes = beginning.segment.bytes;
  }
  recovered.segments.push_back({.segment = beginning.segment, .used_bytes = used_bytes});
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Recovered> Recover(Disk& disk) {
  absl::StatusOr<std::vector<Beginning>> beginnings = ReadBeginnings(disk);
  if (!beginnings.ok()) return beginnings.status();
  Recovered recovered;
  Replay replay;
  std::vector<std::byte> buffer;
  for (const Beginning& beginning : *beginnings) {
    recovered.next_sequence =
        std::max(recovered.next_sequence, beginning.segment.id.sequence() + 1);
    if (absl::Status read = ReadSegment(disk, beginning, buffer, replay, recovered); !read.ok()) {
      return read;
    }
  }
  replay.Finish(recovered);
  return recovered;
}

}  // namespace sluice::spool
