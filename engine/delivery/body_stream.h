// A large body on its way from the log to a host: read ahead in pieces, checked, and handed on.
//
// No I/O of its own. The connection asks for the next read, carries it out, and sends what may be
// sent, while the next read is in flight: one at a time, into a ring of fixed size. So a body of
// any size costs the ring.
//
// The receiver must not take a damaged message for a whole one. So the end of the body, its final
// dot, may be sent only when all of it has been read and its checksum holds; and what looks like
// that end anywhere before it is damage that must not be sent at all.

#pragma once

#include <xxhash.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "engine/io/io.h"

namespace sluice::delivery {

// Where a piece of a body lies. The file stays open, and the piece in it, while the body is lent.
struct BodyPlace {
  int32_t descriptor = -1;
  uint32_t offset = 0;
  uint32_t bytes = 0;
};

class BodyStream {
 public:
  // Twice the largest read: one half is filled while the other is sent. The log has bodies in
  // pieces of 256 KiB, and larger reads gain nothing.
  static constexpr size_t kReadBytesMax = 256 << 10;
  static constexpr size_t kRingBytes = 2 * kReadBytesMax;

  BodyStream() {}  // The ring is not touched before it is used.

  // The places, in order, hold `bytes`; they are lent to the end of the stream. `checksum`: of the
  // wire form.
  void Begin(std::span<const BodyPlace> places, uint64_t bytes, uint64_t checksum);

  struct Read {
    int32_t descriptor = -1;
    uint64_t offset = 0;
    std::span<std::byte> into;
  };
  // The next read, if there is room for one; it is in flight from here on until OnRead.
  std::optional<Read> NextRead();
  // Bytes read, or -errno. Whatever is not what was asked for is damage.
  void OnRead(int32_t result);

  bool reading() const { return asked_ > 0; }
  bool damaged() const { return damaged_; }
  bool whole() const { return read_bytes_ == bytes_ && !damaged_; }  // Read and checked.

  // What may be sent next, up to `bytes_max`, as at most two parts. Returns how many; 0: nothing
  // yet.
  size_t Gather(uint64_t bytes_max, std::span<io::Bytes> parts) const;
  // The first of these are not needed any more.
  void Sent(uint64_t bytes);

 private:
  void Judge(std::span<const std::byte> bytes);
  bool EndsIn(std::span<const std::byte> bytes);

  std::span<const BodyPlace> places_;  // Not wholly read yet.
  uint64_t place_offset_ = 0;          // In the first of them.
  uint64_t bytes_ = 0;
  uint64_t checksum_ = 0;
  uint64_t read_bytes_ = 0;
  uint64_t sent_bytes_ = 0;
  uint32_t asked_ = 0;  // By the read in flight.
  bool damaged_ = false;
  XXH3_state_t state_;
  char before_[4];  // The last bytes read.
  std::byte ring_[kRingBytes];
};

}  // namespace sluice::delivery
