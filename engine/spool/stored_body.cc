#include "engine/spool/stored_body.h"

#include <vector>

#include "engine/base/check.h"
#include "engine/base/xxh3.h"

namespace sluice::spool {

absl::StatusOr<std::optional<Extent>> ReadBody(Disk& disk, const SegmentsById& segments,
                                               const AcceptedRecord& accepted,
                                               const std::function<void(Bytes)>& put) {
  XXH3_state_t state;
  XXH3_INITSTATE(&state);
  CHECK(XXH3_64bits_reset(&state) == XXH_OK);
  std::vector<std::byte> piece;
  uint64_t bytes = 0;
  for (const Extent& extent : accepted.body) {
    const auto found = segments.find(extent.segment.value);
    if (found == segments.end() || extent.bytes > kBodyPieceBytesMax) return std::optional(extent);
    piece.resize(extent.bytes);
    const absl::StatusOr<size_t> read = disk.ReadAt(found->second, piece, extent.offset);
    if (!read.ok()) return read.status();
    if (*read < piece.size()) return std::optional(extent);
    XXH3_64bits_update(&state, piece.data(), piece.size());
    bytes += piece.size();
    if (put != nullptr) put(piece);
  }
  const bool whole = !accepted.body.empty() && bytes == accepted.wire_bytes &&
                     XXH3_64bits_digest(&state) == accepted.body_checksum;
  if (whole) return std::optional<Extent>();
  return std::optional(accepted.body.empty() ? Extent{} : accepted.body.front());
}

}  // namespace sluice::spool
