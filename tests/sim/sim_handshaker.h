// The simulated pool of handshakes: each flight takes a drawn while, in any order, and may come
// back when its connection is long gone; some are refused, some find no room. It makes toy streams,
// and its verdict on a toy certificate is the one that a reader of its text reaches.

#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "tests/sim/sim_peer.h"
#include "tests/sim/toy_tls.h"
#include "tls/handshaker.h"

namespace sluice::sim {

class SimHandshaker : public tls::Handshaker {
 public:
  explicit SimHandshaker(Scene& scene) : scene_(scene) {}

  // For a new life of the engine: the jobs of the old one are lost. `wake` wakes a shard.
  void Begin(uint32_t shards, std::function<void(uint32_t)> wake);
  // What an engine that has ended had given away, and was not back.
  void Drop() { Begin(0, nullptr); }

  bool Submit(std::unique_ptr<tls::HandshakeJob> job) override;
  void Poll(uint32_t shard, std::vector<std::unique_ptr<tls::HandshakeJob>>& done) override;
  tls::SessionCache& sessions() override { return sessions_; }

 private:
  void Work(tls::HandshakeJob& job);
  tls::Verdict Judge(const tls::StreamFacts& facts, const tls::References& references) const;

  Scene& scene_;
  tls::SessionCache sessions_;
  std::vector<std::vector<std::unique_ptr<tls::HandshakeJob>>> done_;  // By shard.
  std::function<void(uint32_t)> wake_;
  uint32_t life_ = 0;
};

}  // namespace sluice::sim
