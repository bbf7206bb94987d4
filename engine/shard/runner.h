// The thread around a shard: pinned to a core, it makes its ring and starts the shard; once it is
// told to serve, it waits and steps until the shard is at rest after a drain.

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/io/io.h"
#include "engine/shard/shard.h"

namespace sluice::shard {

// Makes a shard's Io, on the shard's thread.
using MakeIo = std::function<absl::StatusOr<std::unique_ptr<io::Io>>(uint32_t shard)>;

absl::StatusOr<std::unique_ptr<io::Io>> MakeUringIo(uint32_t shard);

class Runner {
 public:
  struct Options {
    Shard::Options shard;
    int core = -1;                      // -1: not pinned.
    std::vector<SocketAddress> listen;  // One for each of shard.intake.listeners.
    MakeIo make_io = MakeUringIo;
  };

  // Starts the thread. It makes the ring, listens, and starts the shard. What is lent by `world`
  // (its io is made here) and the controls outlive the runner.
  Runner(Options options, const Shard::World& world, delivery::Dispatcher::Tables tables,
         Shard::Inheritance inheritance);
  // Ends the thread, which does not serve, and its ring with it. Before, nobody may be left who
  // could wake the shard: the other runners do not serve either, and the resolver is gone.
  ~Runner();

  // Waits until the shard can serve, or says why it cannot. Before: nothing else.
  absl::Status WaitUntilStarted();
  // The addresses on which it listens (for port 0). After WaitUntilStarted.
  const std::vector<SocketAddress>& listening() const { return listening_; }

  // It takes its first turn now, and ends once all are at rest. To be told when every shard has
  // started: mail that is sent to one that never serves does not come home.
  void Serve();
  // False: not yet, or no more; its ring is there all the same.
  bool serves() const { return serves_.load(std::memory_order_acquire); }

 private:
  enum class Order : uint8_t { kWait, kServe, kEnd };

  void Run();
  absl::Status Prepare(std::unique_ptr<io::Io>& io, std::unique_ptr<Shard>& shard);
  void TakeTurns(io::Io& io, Shard& shard);
  void Tell(Order order);

  Options options_;
  Shard::World world_;
  delivery::Dispatcher::Tables tables_;
  Shard::Inheritance inheritance_;
  std::vector<SocketAddress> listening_;
  absl::Status started_;
  std::atomic<int> phase_{0};  // 0: starting. 1: started_ says how it went.
  std::atomic<Order> order_{Order::kWait};
  std::atomic<bool> serves_{false};
  std::thread thread_;
};

}  // namespace sluice::shard
