// The body of a message, read from where its promise says that it lies, a piece at a time.

#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "engine/spool/disk.h"
#include "engine/spool/record.h"

namespace sluice::spool {

using SegmentsById = absl::flat_hash_map<uint64_t, OpenSegment>;

// Hands its wire form to `put`, if there is one, piece by piece. Returns where it does not hold:
// the piece that is not there, or the first, if all are there and the promise's checksum is not
// theirs; nothing: it is whole. An error: the disk could not be read.
absl::StatusOr<std::optional<Extent>> ReadBody(Disk& disk, const SegmentsById& segments,
                                               const AcceptedRecord& accepted,
                                               const std::function<void(Bytes)>& put = nullptr);

}  // namespace sluice::spool
