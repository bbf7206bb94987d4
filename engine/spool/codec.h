// How records are put together from numbers and texts, and taken apart again: for what writes or
// reads the payload of a record (record.cc, index.cc).

#pragma once

#include <xxhash.h>

#include <algorithm>
#include <concepts>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/check.h"
#include "engine/spool/record.h"

namespace sluice::spool {

// Where the header's fields lie. The checksum comes first, so that all it covers is one run of
// bytes.
inline constexpr size_t kChecksumAt = 0;
inline constexpr size_t kLengthAt = 8;
inline constexpr size_t kTypeAt = 12;  // And three zeros.
inline constexpr size_t kSegmentAt = 16;
inline constexpr size_t kCheckedFrom = kLengthAt;
static_assert(kSegmentAt + 8 == kRecordHeaderBytes);

inline constexpr size_t kBodyFieldsBytes = kBodyPrefixBytes - kRecordHeaderBytes;
inline constexpr size_t kPayloadBytesMax = kRecordPayloadBytesMax;
static_assert(kRecordHeaderBytes % 8 == 0 && kPayloadBytesMax % 8 == 0);

template <std::unsigned_integral T>
void Put(T value, std::byte* at) {
  for (size_t i = 0; i < sizeof(T); ++i) at[i] = static_cast<std::byte>(value >> (8 * i));
}

template <std::unsigned_integral T>
T Get(const std::byte* at) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(value | static_cast<T>(static_cast<T>(at[i]) << (8 * i)));
  }
  return value;
}

inline void PutHeader(SegmentId segment, RecordType type, size_t length, std::byte* at) {
  CHECK(length <= kPayloadBytesMax);
  Put<uint64_t>(0, at + kChecksumAt);
  Put(static_cast<uint32_t>(length), at + kLengthAt);
  Put<uint32_t>(static_cast<uint8_t>(type), at + kTypeAt);
  Put(segment.value, at + kSegmentAt);
}

inline uint64_t Checksum(SegmentId segment, const std::byte* record, size_t length) {
  return XXH3_64bits_withSeed(record + kCheckedFrom, kRecordHeaderBytes - kCheckedFrom + length,
                              segment.value);
}

// Appends numbers and texts to `out`. Until End, `out` is longer than what has been written, and
// nobody else touches it: growing a vector for each number costs more than the number.
class Writer {
 public:
  // Has room for so many bytes; for more it is made when they come.
  explicit Writer(std::vector<std::byte>& out, size_t expected_bytes = kUsualBytes) : out_(out) {
    const size_t before = out.size();
    out.resize(before + expected_bytes);
    at_ = out.data() + before;
    end_ = at_ + expected_bytes;
  }

  void End() {
    if (at_ != end_) out_.resize(used());
  }

  template <std::unsigned_integral T>
  void Number(T value) {
    Put(value, Grow(sizeof(T)));
  }

  void Time(WallTime time) { Number(static_cast<uint64_t>(time.time_since_epoch().count())); }

  void Text(absl::string_view text) {
    CHECK(text.size() <= UINT16_MAX);
    Number(static_cast<uint16_t>(text.size()));
    if (!text.empty()) std::memcpy(Grow(text.size()), text.data(), text.size());
  }

  void Indexes(const std::vector<uint32_t>& indexes) {
    Number(static_cast<uint32_t>(indexes.size()));
    std::byte* at = Grow(indexes.size() * sizeof(uint32_t));
    for (const uint32_t index : indexes) {
      Put(index, at);
      at += sizeof(uint32_t);
    }
  }

  void Raw(Bytes bytes) {
    if (!bytes.empty()) std::memcpy(Grow(bytes.size()), bytes.data(), bytes.size());
  }

 protected:
  // Most promises take less.
  static constexpr size_t kUsualBytes = 256;

  // So many bytes more, all zero.
  std::byte* Grow(size_t bytes) {
    if (static_cast<size_t>(end_ - at_) < bytes) [[unlikely]] {
      const size_t before = used();
      MakeRoom(out_, before + bytes + kUsualBytes);
      at_ = out_.data() + before;
      end_ = out_.data() + out_.size();
    }
    return std::exchange(at_, at_ + bytes);
  }

  size_t used() const { return static_cast<size_t>(at_ - out_.data()); }

  std::vector<std::byte>& out_;

 private:
  // Static, so that a writer's pointers can stay in registers.
  [[gnu::noinline]] static void MakeRoom(std::vector<std::byte>& out, size_t bytes) {
    out.resize(bytes);
  }

  std::byte* at_;
  std::byte* end_;
};

// Writes one record behind what `out` holds. The header is filled in by Finish, which ends it.
class Encoder : public Writer {
 public:
  Encoder(SegmentId segment, RecordType type, std::vector<std::byte>& out,
          size_t payload_bytes_expected = kUsualBytes)
      : Writer(out,
               kRecordHeaderBytes + payload_bytes_expected + PaddingFor(payload_bytes_expected)),
        segment_(segment),
        type_(type),
        begin_(used()) {
    Grow(kRecordHeaderBytes);
  }

  void Finish() {
    const size_t length = used() - begin_ - kRecordHeaderBytes;
    Grow(PaddingFor(length));
    std::byte* record = out_.data() + begin_;
    PutHeader(segment_, type_, length, record);
    Put<uint64_t>(Checksum(segment_, record, length), record + kChecksumAt);
    End();
  }

 private:
  SegmentId segment_;
  RecordType type_;
  size_t begin_;
};

// Reads a payload from its front. After the first thing that is not there, all else is zero and
// Finished() is false.
class Decoder {
 public:
  explicit Decoder(Bytes payload) : rest_(payload) {}

  template <std::unsigned_integral T>
  T Number() {
    const std::byte* at = Take(sizeof(T));
    return at == nullptr ? T{0} : Get<T>(at);
  }

  WallTime Time() { return WallTime(Wall::duration(static_cast<int64_t>(Number<uint64_t>()))); }

  void Text(std::string& text) {
    const absl::string_view lent = Text();
    if (!lent.empty()) text.assign(lent.data(), lent.size());
  }
  // Lent by the payload.
  absl::string_view Text() {
    const size_t size = Number<uint16_t>();
    const std::byte* at = Take(size);
    if (at == nullptr) return {};
    return {reinterpret_cast<const char*>(at), size};
  }

  bool Indexes(std::vector<uint32_t>& indexes) {
    const size_t count = Number<uint32_t>();
    if (count > rest_.size() / sizeof(uint32_t)) return good_ = false;
    indexes.reserve(count);
    for (size_t i = 0; i < count; ++i) indexes.push_back(Number<uint32_t>());
    return good_;
  }

  void Zero(uint64_t value) { Must(value == 0); }
  void Must(bool holds) { good_ = good_ && holds; }

  size_t left() const { return rest_.size(); }
  bool good() const { return good_; }
  bool Finished() const { return good_ && rest_.empty(); }

 private:
  const std::byte* Take(size_t bytes) {
    if (!good_ || bytes > rest_.size()) {
      good_ = false;
      return nullptr;
    }
    const std::byte* at = rest_.data();
    rest_ = rest_.subspan(bytes);
    return at;
  }

  Bytes rest_;
  bool good_ = true;
};

}  // namespace sluice::spool
