// The seam for I/O: all that the engine asks of the kernel while it runs.
//
// Two implementations: io_uring (uring_io.h) and the simulator's (tests/sim/sim_io.h). One object a
// shard, used by that shard's thread only, except Waker.
//
// Operations are asynchronous and named by an OpId of the caller's making, never by a pointer: slot
// and generation say whose it is, `tag` what it was. The same id must not be in flight twice. A
// completion for a slot that has been reused carries the old generation, and the caller drops it.
//
// Bytes that are lent to Send, Write and Read must stay where they are until the operation's
// completion has been returned. Bytes that a completion lends (`received`) are good until the next
// Wait.
//
// Order: nothing is promised between two operations. Who needs one after the other waits for the
// completion of the first: a Sync is asked for when the Write has completed.
//
// Ending a socket: Cancel what is in flight, wait until every completion (with `more` false) is
// back, then Close. Closing a socket with an operation in flight is a fault of the caller (CHECK):
// closing a descriptor does not end its receive (io_uring_cancelation(7)).

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/ip_address.h"
#include "engine/base/slab.h"
#include "engine/base/time.h"

namespace sluice::io {

using Bytes = std::span<const std::byte>;

// Lent, not copied.
inline Bytes BytesOf(absl::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline absl::string_view TextOf(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline uint64_t BytesIn(std::span<const Bytes> parts) {
  uint64_t bytes = 0;
  for (const Bytes part : parts) bytes += part.size();
  return bytes;
}

struct OpId {
  uint32_t slot = 0;
  uint32_t generation : 24 = 0;
  uint32_t tag : 8 = 0;  // The caller's own enum; 0xff is kept for the implementation.

  Handle handle() const { return {slot, generation}; }
};
static_assert(sizeof(OpId) == 8);

inline OpId MakeOpId(uint8_t tag, Handle handle) {
  return OpId{.slot = handle.slot, .generation = handle.generation & 0xffffff, .tag = tag};
}

struct Socket {
  int32_t descriptor = -1;
  explicit operator bool() const { return descriptor >= 0; }
};

struct File {
  int32_t descriptor = -1;
  explicit operator bool() const { return descriptor >= 0; }
};

struct Completion {
  OpId op;
  // Accept: the new socket, which is to be closed even by a caller that drops the completion.
  // Receive: bytes received, 0 when the peer has sent all. Send, Write: bytes taken (all of them,
  // else an error). Read: bytes read, fewer only at the end of the file. Connect, Sync: 0. Any of
  // them: -errno; -ECANCELED after Cancel.
  int32_t result = 0;
  bool more = false;  // Accept, Receive: still armed, further completions follow.
  Bytes received;     // Receive only; lent until the next Wait.
};

// The parts that one Send or one Write may gather (the kernel's IOV_MAX is 1,024).
inline constexpr size_t kSendPartsMax = 64;
inline constexpr size_t kWritePartsMax = 1024;

// Wakes the shard out of its Wait. The one thing here that any thread may call. Cheap to repeat: a
// wake that has not been taken yet absorbs the next ones.
class Waker {
 public:
  virtual ~Waker() = default;
  virtual void Wake() = 0;
};

class Io {
 public:
  virtual ~Io() = default;

  // --- Sockets. Opening is immediate; a negative descriptor in the result is -errno.

  // A listening TCP socket with SO_REUSEADDR and, if asked, SO_REUSEPORT.
  struct ListenOptions {
    bool reuse_port = false;
    int backlog = 4096;
  };
  virtual Socket Listen(const SocketAddress& address, ListenOptions options) = 0;
  virtual SocketAddress LocalAddress(Socket socket) = 0;  // For port 0.
  virtual SocketAddress PeerAddress(Socket socket) = 0;   // Of an accepted or connected socket.

  // A TCP socket of `family` with TCP_NODELAY; bound to `local` when its family is not kNone.
  virtual Socket OpenStream(Family family, const IpAddress& local) = 0;

  virtual void Accept(OpId op, Socket listener) = 0;  // Armed until cancelled or an error.
  virtual void Connect(OpId op, Socket socket, const SocketAddress& to) = 0;
  virtual void Receive(OpId op, Socket socket) = 0;  // Armed until cancelled, the end, or an error.
  // One at a time a socket: the kernel does not order two. At most kSendPartsMax parts, not all
  // empty.
  virtual void Send(OpId op, Socket socket, std::span<const Bytes> parts) = 0;
  virtual void ShutdownSend(Socket socket) = 0;  // Immediate: tells the peer that no more comes.
  virtual void Close(Socket socket) = 0;         // Immediate.

  // --- Files. Opened and made by spool::Disk, which is also where their blocking calls live.

  virtual void Write(OpId op, File file, std::span<const Bytes> parts, uint64_t offset) = 0;
  virtual void Read(OpId op, File file, std::span<std::byte> into, uint64_t offset) = 0;
  virtual void Sync(OpId op, File file) = 0;  // fdatasync.

  // --- The loop.

  // Asks for the end of an operation. Its completion comes all the same: -ECANCELED, or what it had
  // already become. An op that is not in flight is ignored.
  virtual void Cancel(OpId op) = 0;

  virtual Waker& waker() = 0;

  // Submits what was asked for, sleeps until something completes, somebody wakes us or `until`
  // passes (a past instant: does not sleep), and puts what has completed into `completions`
  // (cleared first). Called by the loop that runs the shard, never by the shard.
  virtual void Wait(Instant until, std::vector<Completion>& completions) = 0;
};

}  // namespace sluice::io
