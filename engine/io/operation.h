// One operation in flight: who asked for it, and the memory that the kernel looks at until it is
// done. No submission may point at anything that dies before its completion, so addresses, message
// headers and parts stand here, in a slot that does not move.

#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <span>

#include "engine/base/intrusive_list.h"
#include "engine/io/io.h"

struct io_uring_sqe;

namespace sluice::io {

enum class OperationKind : uint8_t { kAccept, kConnect, kReceive, kSend, kWrite, kRead, kSync };

using FewParts = std::array<iovec, kSendPartsMax>;
using ManyParts = std::array<iovec, kWritePartsMax>;

inline constexpr uint16_t kReceiveBufferGroup = 0;

struct Operation {
  OpId op;
  OperationKind kind = OperationKind::kSync;
  bool cancelled = false;  // The caller asked for its end; it is never submitted again.
  int32_t descriptor = -1;

  // Connect.
  sockaddr_in6 address{};  // Either family fits.
  socklen_t address_bytes = 0;

  // Send, Write, Read: what is left to do, in one of the three places below.
  std::span<iovec> left;
  uint64_t offset = 0;  // In the file, of what is left.
  uint32_t bytes_done = 0;
  iovec one_part{};
  FewParts* few_parts = nullptr;
  ManyParts* many_parts = nullptr;
  msghdr header{};

  ListHook starved;  // Receive: ended for want of buffers, and to be armed again.
};

// Fills the submission with what is (still) to be done, except for its user_data.
void Prepare(Operation& operation, io_uring_sqe& sqe);

}  // namespace sluice::io
