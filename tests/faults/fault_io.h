// Io with faults: passes everything to the real one, but what the plan says.
//
// A call that fails without having done anything never reaches the real Io. An armed operation
// (accept, receive) that fails is cancelled there first, so that the engine may close its socket at
// once, as after a real error.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/io/io.h"
#include "tests/faults/fault_plan.h"
#include "tests/faults/unsynced.h"

namespace sluice::faults {

class FaultIo : public io::Io {
 public:
  FaultIo(std::unique_ptr<io::Io> real, uint32_t shard, FaultPlan& plan, Unsynced& unsynced)
      : real_(std::move(real)), shard_(static_cast<int>(shard)), plan_(plan), unsynced_(unsynced) {}

  io::Socket Listen(const SocketAddress& address, ListenOptions options) override;
  SocketAddress LocalAddress(io::Socket socket) override { return real_->LocalAddress(socket); }
  SocketAddress PeerAddress(io::Socket socket) override { return real_->PeerAddress(socket); }
  io::Socket OpenStream(Family family, const IpAddress& local) override;

  void Accept(io::OpId op, io::Socket listener) override { real_->Accept(op, listener); }
  void Connect(io::OpId op, io::Socket socket, const SocketAddress& to) override;
  void Receive(io::OpId op, io::Socket socket) override { real_->Receive(op, socket); }
  void Send(io::OpId op, io::Socket socket, std::span<const io::Bytes> parts) override;
  void ShutdownSend(io::Socket socket) override { real_->ShutdownSend(socket); }
  void Close(io::Socket socket) override { real_->Close(socket); }

  void Write(io::OpId op, io::File file, std::span<const io::Bytes> parts,
             uint64_t offset) override;
  void Read(io::OpId op, io::File file, std::span<std::byte> into, uint64_t offset) override;
  void Sync(io::OpId op, io::File file) override;

  void Cancel(io::OpId op) override { real_->Cancel(op); }
  io::Waker& waker() override { return real_->waker(); }
  void Wait(Instant until, std::vector<io::Completion>& completions) override;

 private:
  void Point();
  Fate Next(Call call) { return plan_.Next(call, shard_); }
  void Complete(io::OpId op, int32_t result);
  void ChangeResult(io::OpId op, const Fate& fate);
  bool Take(io::Completion& completion);
  bool TakeArmed(io::Completion& completion, Call call);
  void OnSynced(io::OpId op, int32_t result);

  std::unique_ptr<io::Io> real_;
  const int shard_;
  FaultPlan& plan_;
  Unsynced& unsynced_;
  std::vector<io::Completion> own_;                 // For the next Wait.
  absl::flat_hash_map<uint64_t, int32_t> changed_;  // By operation: the result that is told.
  absl::flat_hash_map<uint64_t, int32_t> ending_;   // Armed ones that end with this.
  absl::flat_hash_map<uint64_t, int> syncing_;      // Their descriptors.
};

}  // namespace sluice::faults
