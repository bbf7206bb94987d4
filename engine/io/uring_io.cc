#include "engine/io/uring_io.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "engine/base/check.h"
#include "engine/io/clock.h"
#include "engine/io/gather.h"
#include "engine/io/tcp_socket.h"
#include "engine/io/uring_probe.h"

namespace sluice::io {
namespace {

constexpr unsigned kSetupFlags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL |
                                 IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;

// One enter runs at most 20 pieces of deferred work. A turn goes back for more this often, so that
// the shard's other phases run once for up to 320 completions rather than once for 20.
constexpr int kReapRoundsMax = 16;

// The kernel can be short of memory for a moment; beyond this it is not a moment.
constexpr int kSubmitTriesMax = 1000;

// A descriptor's entry has four bytes; a process with more open descriptors than this has another
// fault.
constexpr rlim_t kDescriptorsMax = 1 << 22;

// Who a completion is for: the top byte of its user_data. The rest is an operation's handle.
enum class Source : uint8_t { kOperation = 0, kWake = 1, kCancel = 2 };

uint64_t UserData(Source source, Handle handle) {
  return uint64_t{static_cast<uint8_t>(source)} << 56 | uint64_t{handle.generation} << 32 |
         handle.slot;
}
Source SourceOf(uint64_t user_data) {
  return static_cast<Source>(user_data >> 56);
}
Handle HandleOf(uint64_t user_data) {
  return {.slot = static_cast<uint32_t>(user_data),
          .generation = static_cast<uint32_t>(user_data >> 32) & 0xffffff};
}

// For answers of the kernel that leave no way on.
[[noreturn]] void EndProcess(const char* call, int error) {
  const char* name = strerrorname_np(error);
  std::fprintf(stderr, "sluice: io_uring: %s says %s (%d), which cannot be\n", call,
               name != nullptr ? name : "an unknown error", error);
  std::abort();
}

// accept(2): a connection that died in the queue, or the network's pending errors, which say
// nothing about the listener.
bool IsOfOneConnection(int error) {
  switch (error) {
    case ECONNABORTED:
    case EINTR:
    case EPROTO:
    case EPERM:  // A firewall rule.
    case ENOPROTOOPT:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
      return true;
    default:
      return false;
  }
}

// Descriptors may be raised to the hard limit while we run.
size_t DescriptorsMax() {
  rlimit limit{};
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  return static_cast<size_t>(std::min(limit.rlim_max, kDescriptorsMax));
}

__kernel_timespec TimeTo(Instant until) {
  const Instant now = ReadClock().instant;
  const Duration left = until <= now ? Duration::zero() : until - now;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
  return {.tv_sec = seconds.count(), .tv_nsec = (left - seconds).count()};
}

}  // namespace

// --- Start and end.

absl::StatusOr<std::unique_ptr<UringIo>> UringIo::Create(const Options& options) {
  auto io = std::make_unique<UringIo>(Private{}, options);
  const absl::Status status = io->Start(options);
  if (!status.ok()) return status;
  return io;
}

UringIo::UringIo(Private, const Options& options)
    : completions_max_(options.completions),
      buffers_(options.receive_buffers, options.receive_buffer_bytes),
      operations_(
          {.operations = options.operations_max, .many_parts = options.many_part_writes_max}),
      descriptors_(DescriptorsMax()) {}

absl::Status UringIo::Start(const Options& options) {
  const UringSurroundings surroundings = ReadUringSurroundings();
  const auto refused = [&surroundings](absl::string_view call, int result) {
    return UringRefused(call, -result, surroundings);
  };

  io_uring_params params{};
  params.flags = kSetupFlags;
  params.cq_entries = options.completions;
  int result = io_uring_queue_init_params(options.submissions, &ring_, &params);
  if (result < 0) return refused("io_uring_setup", result);
  ring_open_ = true;
  const absl::Status able = CheckUringAbilities(ring_, surroundings);
  if (!able.ok()) return able;

  result = io_uring_ring_dontfork(&ring_);
  if (result < 0) return refused("madvise of the ring", result);
  result = io_uring_register_ring_fd(&ring_);  // Spares a look-up in each enter.
  if (result < 0) return refused("registering the ring's descriptor", result);
  result = buffers_.Register(ring_, kReceiveBufferGroup);
  if (result < 0) return refused("registering the receive buffers", result);
  unsigned workers[] = {options.file_workers_max, options.file_workers_max};
  result = io_uring_register_iowq_max_workers(&ring_, workers);
  if (result < 0) return refused("bounding the file workers", result);
  result = waker_.Open();
  if (result < 0) return refused("eventfd", result);
  ArmWake();
  return absl::OkStatus();
}

UringIo::~UringIo() {
  if (!ring_open_) return;
  EndOperations();
  CloseSockets();
  io_uring_queue_exit(&ring_);
}

// The kernel must not write into the callers' memory after us.
void UringIo::EndOperations() {
  for (const OpId op : operations_.Ids()) Cancel(op);
  Completions completions;
  while (operations_.size() > 0) Wait(kNever, completions);
}

void UringIo::CloseSockets() {
  for (size_t i = 0; i < descriptors_.size(); ++i) {
    const auto descriptor = static_cast<int32_t>(i);
    if (descriptors_.open(descriptor)) Close(Socket{descriptor});
  }
}

// --- Sockets.

Socket UringIo::Listen(const SocketAddress& address, ListenOptions options) {
  return Opened(ListenTcp(address, options));
}

SocketAddress UringIo::LocalAddress(Socket socket) {
  return LocalAddressOf(socket);
}
SocketAddress UringIo::PeerAddress(Socket socket) {
  return PeerAddressOf(socket);
}

Socket UringIo::OpenStream(Family family, const IpAddress& local) {
  return Opened(OpenTcp(family, local));
}

void UringIo::Accept(OpId op, Socket listener) {
  Submit(BeginOnSocket(op, OperationKind::kAccept, listener));
}

void UringIo::Connect(OpId op, Socket socket, const SocketAddress& to) {
  Operation& operation = BeginOnSocket(op, OperationKind::kConnect, socket);
  sockaddr_storage storage{};
  operation.address_bytes = to.ToSystem(storage);
  CHECK(operation.address_bytes <= sizeof(operation.address));
  memcpy(&operation.address, &storage, operation.address_bytes);
  Submit(operation);
}

void UringIo::Receive(OpId op, Socket socket) {
  Submit(BeginOnSocket(op, OperationKind::kReceive, socket));
}

void UringIo::Send(OpId op, Socket socket, std::span<const Bytes> parts) {
  CHECK(parts.size() <= kSendPartsMax);
  Operation& operation = BeginOnSocket(op, OperationKind::kSend, socket);
  descriptors_.SendBegan(socket.descriptor);
  operations_.SetParts(operation, parts);
  Submit(operation);
}

void UringIo::ShutdownSend(Socket socket) {
  CHECK(descriptors_.open(socket.descriptor));
  // A peer that reset the connection has left nothing to shut down; its receive says so.
  if (shutdown(socket.descriptor, SHUT_WR) != 0) CHECK(errno == ENOTCONN);
}

void UringIo::Close(Socket socket) {
  descriptors_.Closed(socket.descriptor);
  // On Linux the descriptor is gone whatever close says; EBADF would be another's fault.
  if (close(socket.descriptor) != 0) CHECK(errno != EBADF);
}

Socket UringIo::Opened(Socket socket) {
  if (socket) descriptors_.Opened(socket.descriptor);
  return socket;
}

// --- Files.

void UringIo::Write(OpId op, File file, std::span<const Bytes> parts, uint64_t offset) {
  Operation& operation = Begin(op, OperationKind::kWrite, file.descriptor);
  operation.offset = offset;
  operations_.SetParts(operation, parts);
  Submit(operation);
}

void UringIo::Read(OpId op, File file, std::span<std::byte> into, uint64_t offset) {
  Operation& operation = Begin(op, OperationKind::kRead, file.descriptor);
  operation.offset = offset;
  const Bytes part = into;
  operations_.SetParts(operation, {&part, 1});
  Submit(operation);
}

void UringIo::Sync(OpId op, File file) {
  Submit(Begin(op, OperationKind::kSync, file.descriptor));
}

// --- Asking the kernel.

Operation& UringIo::BeginOnSocket(OpId op, OperationKind kind, Socket socket) {
  CHECK(descriptors_.open(socket.descriptor));
  return Begin(op, kind, socket.descriptor);
}

Operation& UringIo::Begin(OpId op, OperationKind kind, int32_t descriptor) {
  descriptors_.Began(descriptor);
  return operations_.Begin(op, kind, descriptor);
}

void UringIo::Submit(Operation& operation) {
  CHECK(!operation.cancelled);
  io_uring_sqe& sqe = NextSubmission();
  Prepare(operation, sqe);
  sqe.user_data = UserData(Source::kOperation, operations_.HandleOf(operation));
}

void UringIo::Cancel(OpId op) {
  Operation* operation = operations_.Find(op);
  if (operation == nullptr || operation->cancelled) return;
  operation->cancelled = true;
  if (operation->starved.linked()) return;  // Not in the kernel; the next Wait ends it.
  io_uring_sqe& sqe = NextSubmission();
  io_uring_prep_cancel64(&sqe, UserData(Source::kOperation, operations_.HandleOf(*operation)), 0);
  sqe.user_data = UserData(Source::kCancel, {});
  sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
}

void UringIo::ArmWake() {
  io_uring_sqe& sqe = NextSubmission();
  waker_.PrepareRead(sqe);
  sqe.user_data = UserData(Source::kWake, {});
}

io_uring_sqe& UringIo::NextSubmission() {
  for (int tries = 0; tries < kSubmitTriesMax; ++tries) {
    if (io_uring_sqe* sqe = io_uring_get_sqe(&ring_)) return *sqe;
    ++counters_.submissions_forced;
    const int result = io_uring_submit(&ring_);
    if (result >= 0) continue;
    switch (-result) {
      case EAGAIN:  // No memory for a request at this moment.
      case EBUSY:
      case EINTR:
        continue;
      default:
        EndProcess("io_uring_submit", -result);
    }
  }
  EndProcess("io_uring_submit", EAGAIN);
}

// --- The loop.

void UringIo::Wait(Instant until, std::vector<Completion>& completions) {
  completions.clear();
  buffers_.TakeBack();
  woken_ = false;
  // More than once only when what completed was our own: the answer to a cancel, the first half of
  // a write.
  do {
    ArmStarved(completions);
    Enter(completions.empty() ? until : Instant::min());
    Reap(completions);
  } while (completions.empty() && !woken_ && ReadClock().instant < until);
}

void UringIo::ArmStarved(Completions& completions) {
  while (Operation* operation = starved_.PopFront()) {
    if (operation->cancelled) {
      Finish(*operation, -ECANCELED, completions);
    } else {
      Submit(*operation);
    }
  }
}

void UringIo::Enter(Instant until) {
  ++counters_.enters;
  int result = 0;
  if (until == kNever) {
    result = io_uring_submit_and_wait(&ring_, 1);
  } else if (__kernel_timespec left = TimeTo(until); left.tv_sec == 0 && left.tv_nsec == 0) {
    result = io_uring_submit_and_get_events(&ring_);
  } else {
    io_uring_cqe* first = nullptr;
    result = io_uring_submit_and_wait_timeout(&ring_, &first, 1, &left, nullptr);
  }
  if (result >= 0) return;
  switch (-result) {
    case ETIME:
    case EINTR:
    case EAGAIN:  // No memory for a request at this moment: it stays queued for the next turn.
    case EBUSY:   // Completions wait to be reaped first.
      return;
    default:
      EndProcess("io_uring_enter", -result);
  }
}

void UringIo::Reap(Completions& completions) {
  for (int round = 0; round < kReapRoundsMax; ++round) {
    ReapOnce(completions);
    if (completions.size() >= completions_max_) return;
    const unsigned flags = IO_URING_READ_ONCE(*ring_.sq.kflags);
    if ((flags & IORING_SQ_CQ_OVERFLOW) != 0) ++counters_.completions_overflowed;
    if ((flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) == 0) return;
    ++counters_.enters;
    const int result = io_uring_get_events(&ring_);
    if (result < 0 && result != -EINTR && result != -EBUSY && result != -EAGAIN) {
      EndProcess("io_uring_enter", -result);
    }
  }
}

void UringIo::ReapOnce(Completions& completions) {
  unsigned head = 0;
  unsigned taken = 0;
  io_uring_cqe* cqe = nullptr;
  io_uring_for_each_cqe(&ring_, head, cqe) {
    if (completions.size() >= completions_max_) break;
    Take(*cqe, completions);
    ++taken;
  }
  io_uring_cq_advance(&ring_, taken);
}

// --- What the kernel says.

void UringIo::Take(const io_uring_cqe& cqe, Completions& completions) {
  switch (SourceOf(cqe.user_data)) {
    case Source::kWake:
      TakeWake(cqe.res);
      return;
    case Source::kCancel:
      // -ENOENT: it had ended. -EALREADY: it runs, and will end by itself.
      CHECK(cqe.res == -ENOENT || cqe.res == -EALREADY);
      return;
    case Source::kOperation:
      break;
  }
  Operation* operation = operations_.Find(HandleOf(cqe.user_data));
  CHECK(operation != nullptr);
  switch (operation->kind) {
    case OperationKind::kAccept:
      TakeAccept(*operation, cqe, completions);
      return;
    case OperationKind::kReceive:
      TakeReceive(*operation, cqe, completions);
      return;
    case OperationKind::kSend:
    case OperationKind::kWrite:
    case OperationKind::kRead:
      TakeTransfer(*operation, cqe.res, completions);
      return;
    case OperationKind::kConnect:
    case OperationKind::kSync:
      Finish(*operation, cqe.res, completions);
      return;
  }
  CHECK(false);
}

void UringIo::TakeAccept(Operation& operation, const io_uring_cqe& cqe, Completions& completions) {
  const bool armed = (cqe.flags & IORING_CQE_F_MORE) != 0;
  if (cqe.res >= 0) descriptors_.Opened(cqe.res);
  const bool goes_on = cqe.res >= 0 || IsOfOneConnection(-cqe.res);
  if (!armed && (operation.cancelled || !goes_on)) {
    Finish(operation, cqe.res, completions);
    return;
  }
  if (!armed) {
    ++counters_.rearmed;
    Submit(operation);
  }
  if (cqe.res < 0) return;
  completions.push_back({.op = operation.op, .result = cqe.res, .more = true, .received = {}});
}

void UringIo::TakeReceive(Operation& operation, const io_uring_cqe& cqe, Completions& completions) {
  Bytes received;
  if ((cqe.flags & IORING_CQE_F_BUFFER) != 0) {
    const auto id = static_cast<uint16_t>(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
    received = buffers_.Lend(id, static_cast<size_t>(std::max(cqe.res, 0)));
  }
  const bool armed = (cqe.flags & IORING_CQE_F_MORE) != 0;
  if (cqe.res == -ENOBUFS && !operation.cancelled) {
    CHECK(!armed);
    ++counters_.receives_starved;
    starved_.PushBack(operation);
    return;
  }
  if (!armed && (operation.cancelled || cqe.res <= 0)) {
    Finish(operation, cqe.res, completions, received);
    return;
  }
  if (!armed) {
    ++counters_.rearmed;
    Submit(operation);
  }
  completions.push_back(
      {.op = operation.op, .result = cqe.res, .more = true, .received = received});
}

void UringIo::TakeTransfer(Operation& operation, int32_t result, Completions& completions) {
  if (result > 0) {
    operation.left = DropFront(operation.left, static_cast<size_t>(result));
    operation.offset += static_cast<uint32_t>(result);
    operation.bytes_done += static_cast<uint32_t>(result);
  }
  const auto bytes_done = static_cast<int32_t>(operation.bytes_done);
  if (operation.left.empty()) {
    Finish(operation, bytes_done, completions);
  } else if (result == 0) {
    // A read has come to the end of the file. A write that takes nothing would go on for ever.
    const bool reads = operation.kind == OperationKind::kRead;
    Finish(operation, reads ? bytes_done : -EIO, completions);
  } else if (result < 0 && result != -EINTR) {
    Finish(operation, result, completions);
  } else if (operation.cancelled) {
    Finish(operation, -ECANCELED, completions);
  } else {
    ++counters_.continued;
    Submit(operation);
  }
}

void UringIo::TakeWake(int32_t result) {
  CHECK(result == sizeof(uint64_t));
  waker_.TookWake();
  woken_ = true;
  ArmWake();
}

void UringIo::Finish(Operation& operation, int32_t result, Completions& completions,
                     Bytes received) {
  // How a running operation answers to its cancellation; the caller knows one word for it.
  if (operation.cancelled && (result == -EINTR || result == -ENOBUFS)) result = -ECANCELED;
  completions.push_back(
      {.op = operation.op, .result = result, .more = false, .received = received});
  descriptors_.Ended(operation.descriptor);
  if (operation.kind == OperationKind::kSend) descriptors_.SendEnded(operation.descriptor);
  operations_.End(operation);
}

}  // namespace sluice::io
