#include "engine/spool/trace.h"

#include <utility>

#include "engine/spool/beginning.h"
#include "engine/spool/readable_disk.h"

namespace sluice::spool {
namespace {

// An outcome counts wherever it stands; a deferral only behind the promise, which has those before.
struct Became {
  std::vector<OutcomeRecord> outcomes;
  std::vector<DeferredRecord> deferrals;
};

void Note(const PlacedRecord& record, SegmentId segment, MessageTrace& trace, Became& became) {
  const Bytes payload = record.view.payload;
  trace.records.push_back({.type = record.view.type,
                           .place = {.segment = segment,
                                     .offset = static_cast<uint32_t>(record.offset),
                                     .bytes = static_cast<uint32_t>(record.view.whole_bytes)}});
  if (record.view.type == RecordType::kDone) trace.done = true;
  if (record.view.type == RecordType::kAccepted) {
    if (std::optional<AcceptedRecord> accepted = DecodeAccepted(payload)) {
      trace.accepted = std::move(accepted);
      became.deferrals.clear();
    }
  }
  if (record.view.type == RecordType::kOutcome) {
    if (std::optional<OutcomeRecord> outcome = DecodeOutcome(payload)) {
      became.outcomes.push_back(*std::move(outcome));
    }
  }
  if (record.view.type == RecordType::kDeferred) {
    if (std::optional<DeferredRecord> deferred = DecodeDeferred(payload)) {
      became.deferrals.push_back(*std::move(deferred));
    }
  }
}

void Apply(const Became& became, AcceptedRecord& accepted) {
  std::vector<RecipientRecord>& recipients = accepted.recipients;
  for (const DeferredRecord& deferred : became.deferrals) {
    for (const uint32_t index : deferred.recipients) {
      if (index >= recipients.size()) continue;
      recipients[index].attempts = deferred.attempts;
      recipients[index].next_attempt = deferred.next_attempt;
      recipients[index].last_reply = deferred.last_reply;
    }
  }
  for (const OutcomeRecord& outcome : became.outcomes) {
    for (const uint32_t index : outcome.recipients) {
      if (index < recipients.size()) recipients[index].state = outcome.state;
    }
  }
}

}  // namespace

std::optional<MessageId> MessageOf(const RecordView& view) {
  switch (view.type) {
    case RecordType::kBody:
    case RecordType::kAccepted:
    case RecordType::kOutcome:
    case RecordType::kDeferred:
    case RecordType::kDone:
      // All of them begin with it, as the last of them ends.
      if (view.payload.size() < 8) return std::nullopt;
      return DecodeDone(view.payload.first(8));
    case RecordType::kSegment:
    case RecordType::kBatch:
    case RecordType::kWindow:
    case RecordType::kIndex:
      return std::nullopt;
  }
  return std::nullopt;
}

absl::StatusOr<MessageTrace> TraceMessage(ReadableDisk& disk, MessageId id) {
  const absl::StatusOr<std::vector<Beginning>> beginnings = ReadBeginnings(disk);
  if (!beginnings.ok()) return beginnings.status();
  MessageTrace trace;
  Became became;
  std::vector<std::byte> buffer;
  for (const Beginning& beginning : *beginnings) {
    trace.segments[beginning.segment.id.value] = beginning.segment;
    SegmentReader reader(disk, beginning.segment, beginning.records_end(), buffer);
    while (true) {
      const absl::StatusOr<std::optional<PlacedRecord>> record = reader.Next();
      if (!record.ok()) return record.status();
      if (!*record) break;
      if (MessageOf((*record)->view) != id) continue;
      Note(**record, beginning.segment.id, trace, became);
    }
  }
  if (trace.accepted) Apply(became, *trace.accepted);
  return trace;
}

}  // namespace sluice::spool
