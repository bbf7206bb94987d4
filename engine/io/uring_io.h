// Io over one io_uring.
//
// Made, used and destroyed on the shard's thread: the kernel refuses other submitters
// (IORING_SETUP_SINGLE_ISSUER). Only waker() may be called from elsewhere, and must not be once the
// destruction begins. The destructor ends what is in flight, waits for it, and closes the sockets.
//
// Sockets are those that this object opened or accepted; others are a fault of the caller (CHECK).
//
// What it smooths over, so that an armed operation ends exactly once, for the caller's reasons
// only:
//   - a receive that ended for want of buffers is armed again when the buffers are back;
//   - a receive or accept that the kernel disarmed without an error is armed again at once;
//   - an accept that met a connection which died in the queue goes on;
//   - a send, write or read that was done in part goes on with the rest.

#pragma once

#include <liburing.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/intrusive_list.h"
#include "engine/io/buffer_ring.h"
#include "engine/io/descriptor_table.h"
#include "engine/io/event_waker.h"
#include "engine/io/io.h"
#include "engine/io/operation_table.h"

namespace sluice::io {

// Since the start. What rises under load says which size to raise.
struct UringCounters {
  uint64_t enters = 0;                  // System calls of Wait.
  uint64_t submissions_forced = 0;      // The submission queue was full within a turn.
  uint64_t completions_overflowed = 0;  // Enters that left completions waiting outside the queue.
  uint64_t receives_starved = 0;        // Receives that found no buffer.
  uint64_t rearmed = 0;                 // Accepts and receives that the kernel disarmed.
  uint64_t continued = 0;               // Sends, writes and reads that were done in part.
};

class UringIo : public Io {
 public:
  struct Options {
    // Two for each intake session and delivery connection (limits.h: 2 x 16,000), and the log's.
    uint32_t operations_max = 40'000;
    // Log writes of more than kSendPartsMax parts: a log has one in flight, recovery a few.
    uint32_t many_part_writes_max = 16;
    // Operations asked for in one turn; more cost one system call each time it is full.
    uint32_t submissions = 1024;
    // Completions of one turn; a burst beyond it is kept by the kernel, slowly.
    uint32_t completions = 16'384;
    // 16 MiB a shard. The unit is a body block; the number bounds what is received in one turn.
    uint32_t receive_buffers = 1024;
    uint32_t receive_buffer_bytes = 16 << 10;
    // Threads of the kernel for syncs and for writes that would block.
    uint32_t file_workers_max = 4;
  };

  // The error is one sentence for the operator, with the likely cause.
  static absl::StatusOr<std::unique_ptr<UringIo>> Create(const Options& options);
  ~UringIo() override;

  Socket Listen(const SocketAddress& address, ListenOptions options) override;
  SocketAddress LocalAddress(Socket socket) override;
  SocketAddress PeerAddress(Socket socket) override;
  Socket OpenStream(Family family, const IpAddress& local) override;

  void Accept(OpId op, Socket listener) override;
  void Connect(OpId op, Socket socket, const SocketAddress& to) override;
  void Receive(OpId op, Socket socket) override;
  void Send(OpId op, Socket socket, std::span<const Bytes> parts) override;
  void ShutdownSend(Socket socket) override;
  void Close(Socket socket) override;

  void Write(OpId op, File file, std::span<const Bytes> parts, uint64_t offset) override;
  void Read(OpId op, File file, std::span<std::byte> into, uint64_t offset) override;
  void Sync(OpId op, File file) override;

  void Cancel(OpId op) override;
  Waker& waker() override { return waker_; }
  void Wait(Instant until, std::vector<Completion>& completions) override;

  const UringCounters& counters() const { return counters_; }

 private:
  struct Private {};  // Only Create makes one.

 public:
  UringIo(Private, const Options& options);

 private:
  using Completions = std::vector<Completion>;

  absl::Status Start(const Options& options);

  Socket Opened(Socket socket);
  Operation& Begin(OpId op, OperationKind kind, int32_t descriptor);
  Operation& BeginOnSocket(OpId op, OperationKind kind, Socket socket);
  void Submit(Operation& operation);
  void ArmWake();
  io_uring_sqe& NextSubmission();

  void ArmStarved(Completions& completions);
  void Enter(Instant until);
  void Reap(Completions& completions);
  void ReapOnce(Completions& completions);

  void Take(const io_uring_cqe& cqe, Completions& completions);
  void TakeAccept(Operation& operation, const io_uring_cqe& cqe, Completions& completions);
  void TakeReceive(Operation& operation, const io_uring_cqe& cqe, Completions& completions);
  void TakeTransfer(Operation& operation, int32_t result, Completions& completions);
  void TakeWake(int32_t result);
  void Finish(Operation& operation, int32_t result, Completions& completions, Bytes received = {});

  void EndOperations();
  void CloseSockets();

  io_uring ring_{};
  bool ring_open_ = false;
  bool woken_ = false;
  size_t completions_max_;
  BufferRing buffers_;
  OperationTable operations_;
  DescriptorTable descriptors_;
  IntrusiveList<Operation, &Operation::starved> starved_;
  EventWaker waker_;
  UringCounters counters_;
};

}  // namespace sluice::io
