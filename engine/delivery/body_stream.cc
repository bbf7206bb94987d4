#include "engine/delivery/body_stream.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "engine/base/check.h"
#include "engine/base/xxh3.h"

namespace sluice::delivery {
namespace {

constexpr absl::string_view kEnd = "\r\n.\r\n";
constexpr uint64_t kDotBytes = 3;  // The end without the line's before it, which is the message's.

}  // namespace

void BodyStream::Begin(std::span<const BodyPlace> places, uint64_t bytes, uint64_t checksum) {
  uint64_t places_bytes = 0;
  for (const BodyPlace& place : places) {
    CHECK(place.bytes > 0);
    places_bytes += place.bytes;
  }
  CHECK(places_bytes == bytes);
  CHECK(bytes >= kDotBytes);
  CHECK(!reading());
  places_ = places;
  place_offset_ = 0;
  bytes_ = bytes;
  checksum_ = checksum;
  read_bytes_ = 0;
  sent_bytes_ = 0;
  damaged_ = false;
  XXH3_64bits_reset(&state_);
  std::memcpy(before_, "\0\0\r\n", sizeof(before_));  // What comes first begins a line.
}

std::optional<BodyStream::Read> BodyStream::NextRead() {
  if (reading() || damaged_ || places_.empty()) return std::nullopt;
  const uint64_t room = kRingBytes - (read_bytes_ - sent_bytes_);
  if (room < std::min<uint64_t>(kReadBytesMax, bytes_ - read_bytes_)) return std::nullopt;
  const size_t at = read_bytes_ % kRingBytes;
  const BodyPlace& place = places_.front();
  const uint64_t bytes = std::min(
      {uint64_t{kReadBytesMax}, room, uint64_t{kRingBytes - at}, place.bytes - place_offset_});
  asked_ = static_cast<uint32_t>(bytes);
  return Read{.descriptor = place.descriptor,
              .offset = place.offset + place_offset_,
              .into = std::span(ring_).subspan(at, bytes)};
}

void BodyStream::OnRead(int32_t result) {
  CHECK(reading());
  const uint32_t asked = asked_;
  asked_ = 0;
  if (result != static_cast<int32_t>(asked)) {
    damaged_ = true;
    return;
  }
  const size_t at = read_bytes_ % kRingBytes;
  read_bytes_ += asked;
  place_offset_ += asked;
  if (place_offset_ == places_.front().bytes) {
    places_ = places_.subspan(1);
    place_offset_ = 0;
  }
  Judge(std::span(ring_).subspan(at, asked));
}

void BodyStream::Judge(std::span<const std::byte> bytes) {
  XXH3_64bits_update(&state_, bytes.data(), bytes.size());
  const bool all = read_bytes_ == bytes_;
  damaged_ = EndsIn(all ? bytes.first(bytes.size() - 1) : bytes) ||
             (all && XXH3_64bits_digest(&state_) != checksum_);
}

// Whether a receiver would take what ends in these bytes for the end of the data.
bool BodyStream::EndsIn(std::span<const std::byte> bytes) {
  const absl::string_view text = io::TextOf(bytes);
  // Over the border to what was read before: all but one of the end's bytes on either side.
  std::string border(before_, sizeof(before_));
  border.append(text.data(), std::min(text.size(), sizeof(before_)));
  const absl::string_view last = text.size() < sizeof(before_) ? border : text;
  last.copy(before_, sizeof(before_), last.size() - sizeof(before_));
  return absl::StrContains(border, kEnd) || absl::StrContains(text, kEnd);
}

size_t BodyStream::Gather(uint64_t bytes_max, std::span<io::Bytes> parts) const {
  CHECK(parts.size() >= 2);
  if (damaged_) return 0;
  const uint64_t end = whole() ? bytes_ : std::min(read_bytes_, bytes_ - kDotBytes);
  uint64_t left = std::min(bytes_max, end - sent_bytes_);
  size_t count = 0;
  for (uint64_t offset = sent_bytes_; left > 0;) {
    const size_t at = offset % kRingBytes;
    const uint64_t take = std::min<uint64_t>(left, kRingBytes - at);
    parts[count++] = std::span(ring_).subspan(at, take);
    offset += take;
    left -= take;
  }
  return count;
}

void BodyStream::Sent(uint64_t bytes) {
  CHECK(bytes <= read_bytes_ - sent_bytes_);
  sent_bytes_ += bytes;
}

}  // namespace sluice::delivery
