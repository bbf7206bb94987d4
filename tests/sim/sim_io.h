// The simulator's io::Io: one a shard, over the simulated network and disk.
//
// It completes as late as, and in any order that, the seam allows: bytes that were lent are looked
// at when the operation is carried out, not when it is asked for; a multishot receive brings pieces
// of any size in buffers that are gone at the next turn; a cancel races with the completion. It
// holds its user to the contract of io.h: no id twice in flight, one send at a time, no close with
// anything in flight. Descriptors are reused, the least one first, as the kernel does.
//
// It outlives the shard that used it: what is still on its way must find it.

#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/io/io.h"
#include "tests/engine/spool/memory_disk.h"
#include "tests/sim/network.h"
#include "tests/sim/world.h"

namespace sluice::sim {

// What is told of the connections that a shard opens and closes, as they leave the machine.
class CallObserver {
 public:
  virtual ~CallObserver() = default;
  // `to` is called. False: nobody is there, or nothing comes back (`hangs`).
  enum class Answer : uint8_t { kTaken, kRefused, kHangs };
  // `from`: of family kNone where the system chooses.
  virtual Answer OnCalling(uint32_t shard, int32_t descriptor, const IpAddress& from,
                           const SocketAddress& to) = 0;
  // The machine has it.
  virtual bool HasAddress(const IpAddress& address) const = 0;
  virtual void OnConnected(uint32_t shard, int32_t descriptor, Connection& connection) = 0;
  virtual void OnClosed(uint32_t shard, int32_t descriptor) = 0;
};

class SimIo : public io::Io, public End, public Callee {
 public:
  struct Options {
    uint32_t shard = 0;
    Duration file_latency_max = std::chrono::milliseconds(5);
    Duration sync_latency_max = std::chrono::milliseconds(30);
    double accept_error = 0;  // That an accept ends with EMFILE,
    double open_error = 0;    // and that no socket can be opened for a call.
    bool reorders = false;
  };
  // All lent. `wake` is called when there is something to take a turn for.
  SimIo(const Options& options, World& world, Network& network, spool::MemoryDisk& disk,
        CallObserver& observer, std::function<void()> wake);

  // --- The loop's side, which is the simulation's.
  bool has_completions() const { return !completions_.empty(); }
  // What has completed. What was lent before is gone.
  void TakeCompletions(std::vector<io::Completion>& completions);
  // Overwrites what the last completions lent.
  void EndTurn();
  // The process stops here: of the file operations in flight some have happened.
  void Crash();
  // The ring is closed after an orderly end.
  void End();

  size_t operations() const { return operations_.size(); }
  size_t sockets() const { return open_sockets_; }
  uint64_t syncs() const { return syncs_; }

  // --- io::Io
  io::Socket Listen(const SocketAddress& address, ListenOptions options) override;
  SocketAddress LocalAddress(io::Socket socket) override;
  SocketAddress PeerAddress(io::Socket socket) override;
  io::Socket OpenStream(Family family, const IpAddress& local) override;
  void Accept(io::OpId op, io::Socket listener) override;
  void Connect(io::OpId op, io::Socket socket, const SocketAddress& to) override;
  void Receive(io::OpId op, io::Socket socket) override;
  void Send(io::OpId op, io::Socket socket, std::span<const io::Bytes> parts) override;
  void ShutdownSend(io::Socket socket) override;
  void Close(io::Socket socket) override;
  void Write(io::OpId op, io::File file, std::span<const io::Bytes> parts,
             uint64_t offset) override;
  void Read(io::OpId op, io::File file, std::span<std::byte> into, uint64_t offset) override;
  void Sync(io::OpId op, io::File file) override;
  void Cancel(io::OpId op) override;
  io::Waker& waker() override { return waker_; }
  void Wait(Instant, std::vector<io::Completion>&) override;

  // --- End, Callee
  void OnArrival(Connection& connection) override;
  void OnRoom(Connection& connection) override;
  void OnCall(Connection& connection) override;

 private:
  enum class Kind : uint8_t { kAccept, kConnect, kReceive, kSend, kWrite, kRead, kSync };
  struct Operation {
    io::OpId op;
    Kind kind{};
    uint64_t serial = 0;  // Tells this use of the id from others.
    int32_t descriptor = -1;
    bool done = false;  // Its last completion waits to be taken.
    bool cancelled = false;
    bool scheduled = false;       // Receive: a piece is about to be taken.
    bool waits_for_room = false;  // Send.
    std::vector<io::Bytes> parts;
    std::span<std::byte> into;
    uint64_t offset = 0;
    uint64_t bytes_done = 0;
    uint64_t read_then = 0;  // Send: what had been read when it was asked for.
  };
  struct Socket {
    bool open = false;
    bool listens = false;
    SocketAddress address;  // Own, of a listener, or what it was bound to.
    Connection* connection = nullptr;
    int side = 0;
    bool called_out = false;
    uint32_t in_flight = 0;
    uint64_t receive = 0;  // Keys of operations; 0: none.
    uint64_t send = 0;
    uint64_t accept = 0;
    std::deque<uint32_t> backlog;
  };
  class WakerOf : public io::Waker {
   public:
    explicit WakerOf(std::function<void()>& wake) : wake_(wake) {}
    void Wake() override { wake_(); }

   private:
    std::function<void()>& wake_;
  };

  static uint64_t Key(io::OpId op);
  Operation& Begin(io::OpId op, Kind kind, int32_t descriptor);
  Operation* Find(uint64_t key, uint64_t serial);
  // Later, if the operation is still in flight then.
  void Later(const Operation& operation, Duration low, Duration high,
             void (SimIo::*act)(Operation&));
  void Complete(Operation& operation, int32_t result, bool more = false, std::string bytes = {});
  Socket& SocketOf(int32_t descriptor);
  int32_t NewSocket();

  void TryAccept(Socket& socket);
  void DoConnect(Operation& operation);
  void DoRefuse(Operation& operation);
  void TryReceive(Socket& socket);
  void DoReceive(Operation& operation);
  void DoSend(Operation& operation);
  void FinishSend(Operation& operation);
  void DoWrite(Operation& operation);
  void DoRead(Operation& operation);
  void DoSync(Operation& operation);
  void DoCancel(Operation& operation);
  io::Bytes Gathered(const Operation& operation, std::string& buffer, uint64_t most) const;

  const Options options_;
  World& world_;
  Network& network_;
  spool::MemoryDisk& disk_;
  CallObserver& observer_;
  std::function<void()> wake_;
  WakerOf waker_{wake_};

  absl::flat_hash_map<uint64_t, std::unique_ptr<Operation>> operations_;  // Look-up only.
  uint64_t next_serial_ = 1;
  std::vector<Socket> sockets_;  // By descriptor, less kFirstDescriptor.
  std::set<int32_t> free_descriptors_;
  absl::flat_hash_map<uint32_t, int32_t> by_connection_;
  size_t open_sockets_ = 0;
  uint64_t syncs_ = 0;
  std::map<uint64_t, SocketAddress> connecting_;

  std::vector<io::Completion> completions_;
  std::deque<std::string> lending_;
  std::deque<std::string> lent_;
};

}  // namespace sluice::sim
