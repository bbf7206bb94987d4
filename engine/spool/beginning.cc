#include "engine/spool/beginning.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"

namespace sluice::spool {
namespace {

absl::StatusOr<Beginning> ReadBeginning(Disk& disk, const OpenSegment& segment) {
  std::vector<std::byte> bytes(std::min<uint64_t>(segment.bytes, 128));
  const absl::StatusOr<size_t> read = disk.ReadAt(segment, bytes, 0);
  if (!read.ok()) return read.status();
  bytes.resize(*read);
  const std::optional<uint32_t> version = ShownVersion(bytes);
  if (version && *version != kFormatVersion && *version != kVersionCutOff) {
    return absl::FailedPreconditionError(absl::StrCat(
        "segment ", segment.id.sequence(), " of log ", segment.id.log(), " has format version ",
        *version, ", and this program reads version ", kFormatVersion,
        ". Start the program that wrote it, let it deliver what it holds, then change over. "
        "Nothing has been touched"));
  }
  Beginning beginning;
  beginning.segment = segment;
  if (const std::optional<RecordView> view = DecodeRecord(segment.id, bytes);
      view && view->type == RecordType::kSegment) {
    beginning.record = DecodeSegment(view->payload);
  }
  // Zeros or the front of a former life, with as much of its first record as was written before the
  // cut: where that reaches as far as the magic, it shows; before that, what is behind is as it
  // was.
  const Bytes behind = Bytes(bytes).subspan(std::min<size_t>(kShownBytes, bytes.size()));
  beginning.blank = version || std::all_of(behind.begin(), behind.end(),
                                           [](std::byte b) { return b == std::byte{0}; });
  return beginning;
}

void FindNext(std::vector<Beginning>& beginnings) {
  absl::flat_hash_map<uint64_t, Beginning*> by_id;
  for (Beginning& beginning : beginnings) by_id[beginning.segment.id.value] = &beginning;
  for (const Beginning& next : beginnings) {
    if (!next.record || next.record->previous.value == 0) continue;
    const auto found = by_id.find(next.record->previous.value);
    if (found != by_id.end()) found->second->next = next.record;
  }
}

}  // namespace

absl::StatusOr<std::vector<Beginning>> ReadBeginnings(Disk& disk) {
  absl::StatusOr<std::vector<OpenSegment>> opened = disk.OpenAll();
  if (!opened.ok()) return opened.status();
  std::sort(opened->begin(), opened->end(), [](const OpenSegment& a, const OpenSegment& b) {
    return std::tuple(a.id.sequence(), a.id.log()) < std::tuple(b.id.sequence(), b.id.log());
  });
  std::vector<Beginning> beginnings;
  for (const OpenSegment& segment : *opened) {
    absl::StatusOr<Beginning> beginning = ReadBeginning(disk, segment);
    if (!beginning.ok()) return beginning.status();
    beginnings.push_back(*std::move(beginning));
  }
  FindNext(beginnings);
  return beginnings;
}

}  // namespace sluice::spool
