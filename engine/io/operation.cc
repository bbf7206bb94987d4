#include "engine/io/operation.h"

#include <liburing.h>

#include "engine/base/check.h"

namespace sluice::io {
namespace {

// MSG_WAITALL lets the kernel go on by itself when the socket's buffer takes only a part.
constexpr int kSendFlags = MSG_NOSIGNAL | MSG_WAITALL;

void PrepareReceive(const Operation& operation, io_uring_sqe& sqe) {
  io_uring_prep_recv_multishot(&sqe, operation.descriptor, nullptr, 0, 0);
  sqe.flags |= IOSQE_BUFFER_SELECT;
  sqe.buf_group = kReceiveBufferGroup;
}

void PrepareSend(Operation& operation, io_uring_sqe& sqe) {
  const std::span<iovec> left = operation.left;
  if (left.size() == 1) {
    io_uring_prep_send(&sqe, operation.descriptor, left[0].iov_base, left[0].iov_len, kSendFlags);
    return;
  }
  operation.header = {};
  operation.header.msg_iov = left.data();
  operation.header.msg_iovlen = left.size();
  io_uring_prep_sendmsg(&sqe, operation.descriptor, &operation.header, kSendFlags);
}

void PrepareWrite(const Operation& operation, io_uring_sqe& sqe) {
  const std::span<iovec> left = operation.left;
  if (left.size() == 1) {
    io_uring_prep_write(&sqe, operation.descriptor, left[0].iov_base,
                        static_cast<unsigned>(left[0].iov_len), operation.offset);
    return;
  }
  io_uring_prep_writev(&sqe, operation.descriptor, left.data(), static_cast<unsigned>(left.size()),
                       operation.offset);
}

void PrepareRead(const Operation& operation, io_uring_sqe& sqe) {
  CHECK(operation.left.size() == 1);
  io_uring_prep_read(&sqe, operation.descriptor, operation.left[0].iov_base,
                     static_cast<unsigned>(operation.left[0].iov_len), operation.offset);
}

}  // namespace

void Prepare(Operation& operation, io_uring_sqe& sqe) {
  switch (operation.kind) {
    case OperationKind::kAccept:
      io_uring_prep_multishot_accept(&sqe, operation.descriptor, nullptr, nullptr, SOCK_CLOEXEC);
      return;
    case OperationKind::kConnect:
      io_uring_prep_connect(&sqe, operation.descriptor,
                            reinterpret_cast<const sockaddr*>(&operation.address),
                            operation.address_bytes);
      return;
    case OperationKind::kReceive:
      PrepareReceive(operation, sqe);
      return;
    case OperationKind::kSend:
      PrepareSend(operation, sqe);
      return;
    case OperationKind::kWrite:
      PrepareWrite(operation, sqe);
      return;
    case OperationKind::kRead:
      PrepareRead(operation, sqe);
      return;
    case OperationKind::kSync:
      io_uring_prep_fsync(&sqe, operation.descriptor, IORING_FSYNC_DATASYNC);
      return;
  }
  CHECK(false);
}

}  // namespace sluice::io
