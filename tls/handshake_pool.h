// Threads for what is slow in TLS: handshakes and verdicts. Shards hand over a stream for one
// flight and get it back; meanwhile they serve their other connections.
//
//   shard: Submit ──► queue (bounded) ──► a thread: Feed, Handshake, Judge ──► Poll: shard
//
// Flights of our own connections and of injectors wait in queues of their own, served in turn: a
// flood at a listener takes half of the threads' time from delivery, and no place.
//
// Destroying it drops what is queued and waits for what is being worked on; nobody is woken after
// that.

#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "tls/handshaker.h"
#include "tls/verdict_cache.h"

namespace sluice::tls {

class HandshakePool final : public Handshaker {
 public:
  struct Options {
    uint32_t threads = 1;
    size_t jobs_max = 10'000;                      // In each queue.
    Duration spent_max = std::chrono::seconds(1);  // Processor time one peer may cost (F28).
    std::function<Instant()> now;                  // These on the pool's threads.
    std::function<WallTime()> wall;
    std::function<Duration()> thread_time;      // Processor time of the calling thread.
    std::vector<std::function<void()>> wakers;  // One a shard.
  };

  explicit HandshakePool(Options options);
  ~HandshakePool() override;
  HandshakePool(const HandshakePool&) = delete;
  HandshakePool& operator=(const HandshakePool&) = delete;

  bool Submit(std::unique_ptr<HandshakeJob> job) override;
  void Poll(uint32_t shard, std::vector<std::unique_ptr<HandshakeJob>>& done) override;
  SessionCache& sessions() override { return sessions_; }

 private:
  enum Side : size_t { kClients, kServers };
  using Queue = std::deque<std::unique_ptr<HandshakeJob>>;

  void Run();
  bool AnyQueued() const;
  std::unique_ptr<HandshakeJob> TakeQueued();
  void Work(HandshakeJob& job);
  void Begin(HandshakeJob& job);
  void JudgePeer(HandshakeJob& job);

  const Options options_;
  SessionCache sessions_;
  VerdictCache verdicts_;

  std::mutex mutex_;
  std::condition_variable queued_;
  std::array<Queue, 2> queues_;                                   // By Side.
  size_t next_ = kClients;                                        // Whose turn it is.
  std::vector<std::vector<std::unique_ptr<HandshakeJob>>> done_;  // By shard.
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace sluice::tls
