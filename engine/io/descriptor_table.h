// What is in flight on each descriptor, so that closing a socket too early is found where it
// happens: closing does not end an operation (io_uring_cancelation(7)), and its number would soon
// name another.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/base/check.h"

namespace sluice::io {

class DescriptorTable {
 public:
  explicit DescriptorTable(size_t descriptors_max) : entries_(descriptors_max) {}

  void Opened(int32_t socket) {
    CHECK(!At(socket).open);
    CHECK(At(socket).in_flight == 0);
    At(socket).open = true;
  }
  void Closed(int32_t socket) {
    CHECK(At(socket).open);
    CHECK(At(socket).in_flight == 0);
    At(socket).open = false;
  }
  bool open(int32_t socket) const { return At(socket).open; }

  // Each Began is followed by one Ended.
  void Began(int32_t descriptor) {
    CHECK(At(descriptor).in_flight < UINT16_MAX);
    ++At(descriptor).in_flight;
  }
  void Ended(int32_t descriptor) {
    CHECK(At(descriptor).in_flight > 0);
    --At(descriptor).in_flight;
  }

  // One send at a time a socket: the kernel does not order two.
  void SendBegan(int32_t socket) {
    CHECK(!At(socket).sending);
    At(socket).sending = true;
  }
  void SendEnded(int32_t socket) {
    CHECK(At(socket).sending);
    At(socket).sending = false;
  }

  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    uint16_t in_flight = 0;
    bool open = false;  // A socket that this Io opened or accepted.
    bool sending = false;
  };

  Entry& At(int32_t descriptor) {
    CHECK(descriptor >= 0);
    CHECK(static_cast<size_t>(descriptor) < entries_.size());
    return entries_[static_cast<size_t>(descriptor)];
  }
  const Entry& At(int32_t descriptor) const {
    return const_cast<DescriptorTable*>(this)->At(descriptor);
  }

  std::vector<Entry> entries_;
};

}  // namespace sluice::io
