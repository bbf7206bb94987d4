#include "engine/spool/audit.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "engine/spool/beginning.h"
#include "engine/spool/index.h"
#include "engine/spool/readable_disk.h"
#include "engine/spool/segment_reader.h"
#include "engine/spool/stock.h"
#include "engine/spool/stored_body.h"
#include "engine/spool/trace.h"

namespace sluice::spool {
namespace {

// What is known of a message while the segments are read.
struct Seen {
  Extent promise;     // The last.
  uint16_t log = 0;   // Of its last piece or promise.
  bool body = false;  // A piece of it is there.
  bool done = false;
};

// A promise that an index has and the records have not.
struct Missing {
  MessageId message;
  Extent place;
};

class Auditor {
 public:
  explicit Auditor(ReadableDisk& disk) : disk_(disk) {}

  absl::StatusOr<SpoolAudit> Run();

 private:
  void TellOthers();
  void Audit(const Beginning& beginning);
  struct Reading {
    uint64_t records = 0;
    uint64_t used_bytes = 0;
    Index index;
    std::vector<Fault> faults;
  };
  Reading ReadRecords(const Beginning& beginning);
  Reading ReadAgain(const Beginning& beginning, const Reading& before);
  void NoteCutOff(const Beginning& beginning, uint64_t used_bytes);
  void CompareIndex(const Beginning& beginning, Index& index, std::vector<Fault>& faults);
  void Note(SegmentId segment, const PlacedRecord& record);
  void JudgeMissing();
  void JudgeMessages();
  void JudgeBody(MessageId id, const Extent& promise);
  bool StillHolds(const std::vector<Extent>& extents) const;

  LogAudit& LogOf(SegmentId segment);
  void Tell(Fault fault);

  ReadableDisk& disk_;
  SegmentsById segments_;
  std::map<uint16_t, LogAudit> logs_;
  absl::flat_hash_map<uint64_t, Seen> messages_;
  std::vector<Missing> missing_;
  std::vector<std::byte> buffer_;
  SpoolAudit audit_;
};

Fault RecordsFault(SegmentId segment, uint64_t offset, uint64_t end) {
  return {.kind = FaultKind::kRecords,
          .place = {.segment = segment,
                    .offset = static_cast<uint32_t>(offset),
                    .bytes = static_cast<uint32_t>(end - offset)}};
}

bool SameEnd(const EndEntry& a, const EndEntry& b) {
  if (a.kind != b.kind || a.id != b.id || a.place != b.place) return false;
  switch (a.kind) {
    case EndKind::kOrigins:
      return a.origins == b.origins;
    case EndKind::kOutcome:
      return a.state == b.state && a.recipients == b.recipients;
    case EndKind::kDeferred:
      return a.attempts == b.attempts && a.next_attempt == b.next_attempt &&
             a.recipients == b.recipients;
    case EndKind::kDone:
    case EndKind::kAgain:
    case EndKind::kWindow:
      return true;
  }
  return false;
}

// The next entry that is not a word of a promise: those are told of all promises by records that
// are read, and only of moved messages by an index that was written.
bool NextEnd(EndsReader& reader, EndEntry& entry) {
  while (reader.Next(entry)) {
    if (entry.kind != EndKind::kAgain) return true;
  }
  return false;
}

// Windows are in the order of a hash that is another one in each process.
bool EndsAgree(Bytes written, Bytes read, SegmentId segment) {
  EndsReader writer(written, segment);
  EndsReader reader(read, segment);
  std::vector<std::pair<uint32_t, uint32_t>> windows_written;
  std::vector<std::pair<uint32_t, uint32_t>> windows_read;
  const auto next = [](EndsReader& entries, EndEntry& entry, auto& windows) {
    while (NextEnd(entries, entry)) {
      if (entry.kind != EndKind::kWindow) return true;
      windows.emplace_back(entry.place.offset, entry.place.bytes);
    }
    return false;
  };
  EndEntry a;
  EndEntry b;
  while (next(writer, a, windows_written)) {
    if (!next(reader, b, windows_read) || !SameEnd(a, b)) return false;
  }
  if (next(reader, b, windows_read) || writer.damaged()) return false;
  std::sort(windows_written.begin(), windows_written.end());
  std::sort(windows_read.begin(), windows_read.end());
  return windows_written == windows_read;
}

absl::StatusOr<SpoolAudit> Auditor::Run() {
  TellOthers();
  const absl::StatusOr<std::vector<Beginning>> beginnings = ReadBeginnings(disk_);
  if (!beginnings.ok()) return beginnings.status();
  for (const Beginning& beginning : *beginnings) {
    segments_[beginning.segment.id.value] = beginning.segment;
  }
  for (const Beginning& beginning : *beginnings) Audit(beginning);
  JudgeMissing();
  JudgeMessages();
  for (auto& [number, log] : logs_) {
    audit_.faults += log.faults_found;
    audit_.logs.push_back(std::move(log));
  }
  return std::move(audit_);
}

void Auditor::TellOthers() {
  for (const ReadableDisk::Other& other : disk_.others()) {
    LogAudit& log = LogOf(other.segment.id);
    ++log.segments;
    log.bytes += other.segment.bytes;
    Tell({.kind = other.version ? FaultKind::kVersion : FaultKind::kUnreadable,
          .place = {.segment = other.segment.id},
          .version = other.version.value_or(0),
          .error = other.error});
  }
}

void Auditor::Audit(const Beginning& beginning) {
  const OpenSegment& segment = beginning.segment;
  LogAudit& log = LogOf(segment.id);
  ++log.segments;
  log.bytes += segment.bytes;
  if (segment.set_aside) log.set_aside.push_back(segment.id);
  Reading reading = ReadRecords(beginning);
  if (!reading.faults.empty()) reading = ReadAgain(beginning, reading);
  std::vector<Fault> faults = std::move(reading.faults);
  log.records += reading.records;
  CompareIndex(beginning, reading.index, faults);
  if (!faults.empty() && !disk_.StillHolds(segment)) {
    ++audit_.given_back;
    return;
  }
  if (!beginning.next) NoteCutOff(beginning, reading.used_bytes);
  for (Fault& fault : faults) Tell(std::move(fault));
}

// What was being written when it was read may have looked like damage, with what was written next
// behind it. It does not the second time.
Auditor::Reading Auditor::ReadAgain(const Beginning& beginning, const Reading& before) {
  Reading again = ReadRecords(beginning);
  std::erase_if(again.faults, [&before](const Fault& fault) {
    return std::none_of(before.faults.begin(), before.faults.end(), [&fault](const Fault& other) {
      return other.kind == fault.kind && other.place.offset == fault.place.offset;
    });
  });
  return again;
}

Auditor::Reading Auditor::ReadRecords(const Beginning& beginning) {
  const SegmentId id = beginning.segment.id;
  SegmentReader reader(disk_, beginning.segment, beginning.records_end(), buffer_);
  Reading reading;
  uint64_t stretches = 0;
  while (true) {
    const absl::StatusOr<std::optional<PlacedRecord>> read = reader.Next();
    if (!read.ok()) {
      Fault fault = RecordsFault(id, reading.used_bytes, reading.used_bytes);
      fault.kind = FaultKind::kUnreadable;
      fault.error = std::string(read.status().message());
      reading.faults.push_back(std::move(fault));
      return reading;
    }
    if (!*read) break;
    const PlacedRecord& record = **read;
    const uint64_t end = record.offset + record.view.whole_bytes;
    if (record.offset > reading.used_bytes) {
      ++stretches;
      reading.faults.push_back(RecordsFault(id, reading.used_bytes, record.offset));
    }
    reading.used_bytes = end;
    ++reading.records;
    if (AddToIndex(beginning.segment, record, reading.index)) {
      Note(id, record);
    } else {
      reading.faults.push_back(RecordsFault(id, record.offset, end));
    }
  }
  const uint64_t until = beginning.records_end().value_or(beginning.segment.bytes);
  const bool nothing_checks = reading.used_bytes == 0 && !beginning.blank;
  if (reader.damaged() > stretches || nothing_checks) {
    reading.faults.push_back(RecordsFault(id, reading.used_bytes, until));
  }
  return reading;
}

// What begins as a record of this segment and does not check is a write that was cut off.
void Auditor::NoteCutOff(const Beginning& beginning, uint64_t used_bytes) {
  std::vector<std::byte> header(kRecordHeaderBytes);
  const absl::StatusOr<size_t> read = disk_.ReadAt(beginning.segment, header, used_bytes);
  if (!read.ok()) return;
  const std::optional<size_t> claimed =
      ClaimedBytes(beginning.segment.id, Bytes(header).first(*read));
  if (!claimed || used_bytes == 0) return;
  LogOf(beginning.segment.id).cut_off = Extent{.segment = beginning.segment.id,
                                               .offset = static_cast<uint32_t>(used_bytes),
                                               .bytes = static_cast<uint32_t>(*claimed)};
}

void Auditor::CompareIndex(const Beginning& beginning, Index& index, std::vector<Fault>& faults) {
  if (!beginning.next || beginning.next->previous_ends == 0) return;
  const SegmentRecord& next = *beginning.next;
  const SegmentId id = beginning.segment.id;
  ++LogOf(id).indexed;
  const auto tell = [&](uint64_t from, uint64_t to) {
    Fault fault = RecordsFault(id, from, to);
    fault.kind = FaultKind::kIndex;
    faults.push_back(std::move(fault));
  };
  const bool sound = next.previous_ends < next.previous_begins &&
                     next.previous_begins <= next.previous_bytes &&
                     next.previous_bytes <= beginning.segment.bytes;
  if (!sound) return tell(next.previous_ends, next.previous_ends);
  // Damage within the index is told as that.
  std::erase_if(faults, [&](const Fault& fault) {
    return fault.kind == FaultKind::kRecords && fault.place.offset >= next.previous_ends;
  });
  const auto ends =
      ReadIndexPart(disk_, beginning.segment, kEndsPart, next.previous_ends, next.previous_begins);
  const auto begins = ReadIndexPart(disk_, beginning.segment, kBeginsPart, next.previous_begins,
                                    next.previous_bytes);
  const bool records_whole = faults.empty();
  if (!ends.ok() || !*ends || (records_whole && !EndsAgree(**ends, index.TakeEnds(), id))) {
    tell(next.previous_ends, next.previous_begins);
  }
  if (!begins.ok() || !*begins || (records_whole && **begins != index.TakeBegins())) {
    tell(next.previous_begins, next.previous_bytes);
  } else if (!records_whole) {
    BeginsReader reader(**begins, id);
    BeginEntry entry;
    while (reader.Next(entry)) missing_.push_back({entry.id, entry.place});
  }
}

void Auditor::Note(SegmentId segment, const PlacedRecord& record) {
  const std::optional<MessageId> id = MessageOf(record.view);
  if (!id) return;
  const bool begins =
      record.view.type == RecordType::kBody || record.view.type == RecordType::kAccepted;
  Seen& seen = messages_[id->value];
  if (begins) seen.log = segment.log();
  if (record.view.type == RecordType::kBody) seen.body = true;
  if (record.view.type == RecordType::kDone) seen.done = true;
  if (record.view.type != RecordType::kAccepted) return;
  seen.promise = {.segment = segment,
                  .offset = static_cast<uint32_t>(record.offset),
                  .bytes = static_cast<uint32_t>(record.view.whole_bytes)};
}

void Auditor::JudgeMissing() {
  for (const Missing& missing : missing_) {
    const Seen& seen = messages_[missing.message.value];
    if (seen.done || seen.promise.bytes > 0) continue;
    Tell({.kind = FaultKind::kPromise, .place = missing.place, .message = missing.message});
  }
}

// Bodies in the order in which they lie, roughly.
void Auditor::JudgeMessages() {
  std::vector<std::pair<Extent, MessageId>> waiting;
  for (const auto& [value, seen] : messages_) {
    if (seen.done) continue;
    if (seen.promise.bytes > 0) {
      waiting.emplace_back(seen.promise, MessageId{value});
    } else if (seen.body) {
      ++LogOf(SegmentId::Of(seen.log, 0)).incomplete;
    }
  }
  messages_.clear();
  std::sort(waiting.begin(), waiting.end(), [](const auto& a, const auto& b) {
    return std::tuple(a.first.segment, a.first.offset) <
           std::tuple(b.first.segment, b.first.offset);
  });
  for (const auto& [promise, id] : waiting) JudgeBody(id, promise);
}

void Auditor::JudgeBody(MessageId id, const Extent& promise) {
  ++LogOf(promise.segment).waiting;
  std::vector<std::byte> bytes(promise.bytes);
  const absl::StatusOr<size_t> read =
      disk_.ReadAt(segments_[promise.segment.value], bytes, promise.offset);
  Fault fault = {.kind = FaultKind::kBody, .place = promise, .message = id};
  if (!read.ok()) {
    fault.error = std::string(read.status().message());
    return Tell(std::move(fault));
  }
  const std::optional<RecordView> view = DecodeRecord(promise.segment, Bytes(bytes).first(*read));
  const std::optional<AcceptedRecord> accepted =
      view ? DecodeAccepted(view->payload) : std::nullopt;
  if (!accepted) {
    if (StillHolds({promise})) Tell(std::move(fault));  // It did check a moment ago.
    return;
  }
  const absl::StatusOr<std::optional<Extent>> wrong = ReadBody(disk_, segments_, *accepted);
  if (wrong.ok() && !*wrong) return;
  if (!StillHolds(accepted->body)) return;
  if (wrong.ok()) {
    fault.place = **wrong;
  } else {
    fault.error = std::string(wrong.status().message());
  }
  Tell(std::move(fault));
}

// A segment that was not there at the beginning holds nothing that was promised then; one that has
// been given back since is nobody's fault.
bool Auditor::StillHolds(const std::vector<Extent>& extents) const {
  return std::all_of(extents.begin(), extents.end(), [this](const Extent& extent) {
    const auto found = segments_.find(extent.segment.value);
    return found == segments_.end() || disk_.StillHolds(found->second);
  });
}

LogAudit& Auditor::LogOf(SegmentId segment) {
  LogAudit& log = logs_[segment.log()];
  log.log = segment.log();
  return log;
}

void Auditor::Tell(Fault fault) {
  LogAudit& log = LogOf(fault.place.segment);
  ++log.faults_found;
  if (log.faults.size() < kFaultsToldMax) log.faults.push_back(std::move(fault));
}

}  // namespace

absl::StatusOr<SpoolAudit> AuditSpool(Disk& disk) {
  absl::StatusOr<ReadableDisk> readable = ReadableDisk::Of(disk);
  if (!readable.ok()) return readable.status();
  return Auditor(*readable).Run();
}

}  // namespace sluice::spool
