// The simulated network: connections as two streams of bytes, each with a drawn latency, cut into
// pieces down to one byte, with room for so much that the other end has not taken yet.
//
// An end is told that something has arrived and takes it when it likes. Connections are named by
// number and stay until the end of the simulation, so that whatever is still on its way finds them.
// A side is 0 (who called) or 1 (who was called).

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/ip_address.h"
#include "tests/sim/world.h"

namespace sluice::sim {

class Connection;

// Whoever holds one end.
class End {
 public:
  virtual ~End() = default;
  // Bytes, the end of them, or a reset have come.
  virtual void OnArrival(Connection& connection) = 0;
  // The other side has taken something: there is room again.
  virtual void OnRoom(Connection&) {}
};

class Connection {
 public:
  struct Options {
    SocketAddress from;
    SocketAddress to;
    Duration latency_min{};
    Duration latency_max{};
    uint64_t room_bytes = 64 << 10;
    double cut = 0;  // How often a write is cut into pieces.
  };
  Connection(World& world, uint32_t number, const Options& options)
      : world_(world), number_(number), options_(options) {}

  uint32_t number() const { return number_; }
  const SocketAddress& from() const { return options_.from; }
  const SocketAddress& to() const { return options_.to; }

  void Attach(int side, End* end) { streams_[1 - side].reader = end; }

  // --- What `side` sends.
  // `read_then`: what the writer had read when it decided to write this; by default, all by now.
  void Write(int side, absl::string_view bytes, uint64_t read_then = UINT64_MAX);
  uint64_t Room(int side) const;
  void Finish(int side);  // No more comes.
  // Breaks both directions. What is on its way still arrives, or is lost.
  void Reset(int side);
  // The side's machine is gone without a word: nothing arrives there, nothing comes from it.
  void Vanish(int side);

  // --- What has arrived for `side`.
  absl::string_view Unread(int side) const { return streams_[1 - side].unread; }
  void Take(int side, size_t bytes);
  bool finished(int side) const { return streams_[1 - side].end_arrived; }
  bool reset(int side) const { return reset_arrived_[side]; }

  // --- For judging.
  // The side has closed or lost the connection, or its machine is gone.
  bool gone(int side) const { return streams_[side].finished || broken_ || vanished_[side]; }
  // The side's program has been given so many bytes, and looks at them.
  void Heard(int side, size_t bytes) { streams_[1 - side].heard += bytes; }
  uint64_t bytes_heard(int side) const { return streams_[1 - side].heard; }
  uint64_t bytes_read(int side) const { return streams_[1 - side].taken; }
  uint64_t bytes_written(int side) const { return streams_[side].written; }
  // How much of the other stream the writer of byte `offset` of this one had read when it wrote it.
  uint64_t ReadWhenWriting(int side, uint64_t offset) const;
  Instant WrittenAt(int side, uint64_t offset) const;

 private:
  struct Written {
    uint64_t offset;  // Of the first byte.
    uint64_t read;
    Instant when;
  };
  struct Stream {
    End* reader = nullptr;
    std::string unread;
    uint64_t written = 0;
    uint64_t arrived = 0;
    uint64_t taken = 0;
    uint64_t heard = 0;
    Instant last_arrival{};
    bool finished = false;  // By the writer.
    bool end_arrived = false;
    std::vector<Written> history;
  };
  const Written& WriteOf(int side, uint64_t offset) const;
  Instant ArrivalOfNext(Stream& stream);
  void SendPiece(int side, std::string piece);
  void Tell(int side);

  World& world_;
  const uint32_t number_;
  const Options options_;
  Stream streams_[2];  // By writer.
  bool broken_ = false;
  bool reset_arrived_[2] = {false, false};
  bool vanished_[2] = {false, false};
  uint32_t epoch_ = 0;  // Pieces of an older one were lost in a reset.
};

// Who may be called, by address.
class Callee {
 public:
  virtual ~Callee() = default;
  virtual void OnCall(Connection& connection) = 0;  // Side 1 is the callee's.
};

class Network {
 public:
  struct Options {
    Duration latency_min = std::chrono::microseconds(50);
    Duration latency_max = std::chrono::milliseconds(40);
    double cut = 0;
    bool tight_rooms = false;  // Sometimes room for a few bytes only.
  };
  Network(World& world, const Options& options) : world_(world), options_(options) {}

  void Listen(const SocketAddress& address, Callee* callee) {
    callees_[address.ToString()] = callee;
  }
  void Unlisten(const SocketAddress& address) { callees_.erase(address.ToString()); }
  Callee* FindCallee(const SocketAddress& address) const;

  // A connection that has been established; the callee has not been told.
  Connection& Open(const SocketAddress& from, const SocketAddress& to);
  Connection& Get(uint32_t number) { return *connections_[number]; }
  size_t opened() const { return connections_.size(); }
  Duration DrawLatency() { return world_.Delay(options_.latency_min, options_.latency_max); }

 private:
  World& world_;
  const Options options_;
  std::map<std::string, Callee*> callees_;
  std::vector<std::unique_ptr<Connection>> connections_;
};

}  // namespace sluice::sim
