// The files' side of io::Io over a disk in memory, as late as a test wants it.
//
// What is asked for stays in flight until the test lets it complete; only then are the bytes that
// were lent looked at, or written to. So who lets go of lent bytes too early shows on the disk.

#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "engine/io/io.h"
#include "tests/engine/spool/memory_disk.h"

namespace sluice::delivery {

class HeldIo : public io::Io {
 public:
  enum class Kind : uint8_t { kWrite, kRead, kSync };

  explicit HeldIo(spool::MemoryDisk& disk) : disk_(disk) {}

  // While a kind is held, its operations stay in flight.
  void Hold(Kind kind) { held_[Index(kind)] = true; }
  void Free(Kind kind) { held_[Index(kind)] = false; }

  size_t in_flight(Kind kind) const {
    return static_cast<size_t>(
        std::count_if(operations_.begin(), operations_.end(),
                      [kind](const Operation& operation) { return operation.kind == kind; }));
  }
  size_t in_flight() const { return operations_.size(); }
  uint64_t reads_begun() const { return reads_begun_; }
  bool CanComplete() const {
    return std::any_of(operations_.begin(), operations_.end(),
                       [this](const Operation& operation) { return !IsHeld(operation); });
  }

  // Carries out what is not held, in the order in which it was asked for.
  std::vector<io::Completion> Take() {
    std::vector<io::Completion> completions;
    std::erase_if(operations_, [&](const Operation& operation) {
      if (IsHeld(operation)) return false;
      completions.push_back({.op = operation.op, .result = Perform(operation)});
      return true;
    });
    return completions;
  }

  // Carries out the oldest operation, held or not.
  io::Completion TakeOne() {
    CHECK(!operations_.empty());
    const Operation operation = operations_.front();
    operations_.erase(operations_.begin());
    return {.op = operation.op, .result = Perform(operation)};
  }

  // The process is gone: nobody waits for anything.
  void Forget() { operations_.clear(); }

  // --- io::Io

  void Write(io::OpId op, io::File file, std::span<const io::Bytes> parts,
             uint64_t offset) override {
    CHECK(in_flight(Kind::kWrite) + in_flight(Kind::kSync) == 0);  // The log's steps are ordered.
    Begin({.op = op,
           .kind = Kind::kWrite,
           .descriptor = file.descriptor,
           .parts = {parts.begin(), parts.end()},
           .offset = offset});
  }
  void Read(io::OpId op, io::File file, std::span<std::byte> into, uint64_t offset) override {
    CHECK(!into.empty());
    ++reads_begun_;
    Begin({.op = op,
           .kind = Kind::kRead,
           .descriptor = file.descriptor,
           .into = into,
           .offset = offset});
  }
  void Sync(io::OpId op, io::File file) override {
    CHECK(in_flight(Kind::kWrite) + in_flight(Kind::kSync) == 0);
    Begin({.op = op, .kind = Kind::kSync, .descriptor = file.descriptor});
  }

  io::Socket Listen(const SocketAddress&, ListenOptions) override { return Never(); }
  SocketAddress LocalAddress(io::Socket) override { return {}; }
  SocketAddress PeerAddress(io::Socket) override { return {}; }
  io::Socket OpenStream(Family, const IpAddress&) override { return Never(); }
  void Accept(io::OpId, io::Socket) override { Never(); }
  void Connect(io::OpId, io::Socket, const SocketAddress&) override { Never(); }
  void Receive(io::OpId, io::Socket) override { Never(); }
  void Send(io::OpId, io::Socket, std::span<const io::Bytes>) override { Never(); }
  void ShutdownSend(io::Socket) override { Never(); }
  void Close(io::Socket) override { Never(); }
  void Cancel(io::OpId) override { Never(); }
  io::Waker& waker() override { std::abort(); }
  void Wait(Instant, std::vector<io::Completion>&) override { Never(); }

 private:
  struct Operation {
    io::OpId op;
    Kind kind{};
    int32_t descriptor = -1;
    std::vector<io::Bytes> parts = {};
    std::span<std::byte> into = {};
    uint64_t offset = 0;
  };

  static size_t Index(Kind kind) { return static_cast<size_t>(kind); }
  bool IsHeld(const Operation& operation) const { return held_[Index(operation.kind)]; }

  static io::Socket Never() {
    CHECK(!"a home asks for nothing but its files");
    return {};
  }

  void Begin(Operation operation) {
    for (const Operation& other : operations_) {
      CHECK(other.op.slot != operation.op.slot || other.op.generation != operation.op.generation ||
            other.op.tag != operation.op.tag);
    }
    operations_.push_back(std::move(operation));
  }

  int32_t Perform(const Operation& operation) {
    switch (operation.kind) {
      case Kind::kWrite:
        return disk_.Write(operation.descriptor, operation.parts, operation.offset);
      case Kind::kRead:
        return disk_.Read(operation.descriptor, operation.into, operation.offset);
      case Kind::kSync:
        return disk_.Sync(operation.descriptor);
    }
    CHECK(false);
    return 0;
  }

  spool::MemoryDisk& disk_;
  std::vector<Operation> operations_;
  bool held_[3] = {};
  uint64_t reads_begun_ = 0;
};

}  // namespace sluice::delivery
