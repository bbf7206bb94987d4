// The engine, without its threads: shards with their post, recovered from the simulated disk, each
// taking its turns in virtual time as engine/shard/runner.cc would have it. It can be drained,
// aborted, and stopped dead between any two turns.

#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "engine/shard/post.h"
#include "engine/shard/shard.h"
#include "policy/controls_table.h"
#include "policy/sources.h"
#include "tests/engine/spool/memory_disk.h"
#include "tests/sim/sim_events.h"
#include "tests/sim/sim_handshaker.h"
#include "tests/sim/sim_io.h"
#include "tests/sim/sim_peer.h"
#include "tests/sim/sim_resolver.h"

namespace sluice::sim {

class EngineModel : public CallObserver {
 public:
  enum class State : uint8_t { kDown, kRunning, kEnding };

  // All lent. `ended` is called when it is down after a drain.
  EngineModel(Scene& scene, SimResolver& resolver, SimHandshaker& handshaker,
              spool::MemoryDisk& disk, policy::BounceProfile profile, std::function<void()> ended);
  ~EngineModel() override;

  void AddHost(const SocketAddress& address, PeerHost* host) { hosts_[address.ToString()] = host; }

  // Recovers and starts. False: a checker has been violated.
  bool Start(uint32_t shards);
  void Crash(bool power);
  void BeginDrain();
  void Abort();
  void UseTable(std::vector<policy::ControlsEntry> entries);

  // The machine has the address of a source no more, or again.
  static IpAddress AddressOfSource(uint32_t source);
  void LoseAddress(const IpAddress& address) { lost_.insert(address); }
  void GetAddressBack(const IpAddress& address) { lost_.erase(address); }

  State state() const { return state_; }
  uint32_t shards() const { return static_cast<uint32_t>(nodes_.size()); }
  uint32_t number_of_starts() const { return starts_; }
  // Nothing is queued, said or connected.
  bool Empty() const;
  // What is held of what there is room for.
  struct Holding {
    std::string what;
    uint64_t held = 0;
    uint64_t most = 0;
  };
  std::vector<Holding> Holdings() const;
  // What is still held where nothing should be; empty: nothing.
  std::string Leftovers() const;
  const policy::Controls& InForce(const std::string& domain) const;
  // Of any shard that listens.
  const SocketAddress* DrawListener();

  // --- CallObserver
  Answer OnCalling(uint32_t shard, int32_t descriptor, const IpAddress& from,
                   const SocketAddress& to) override;
  bool HasAddress(const IpAddress& address) const override { return !lost_.contains(address); }
  void OnConnected(uint32_t shard, int32_t descriptor, Connection& connection) override;
  void OnClosed(uint32_t shard, int32_t descriptor) override;

 private:
  struct Node {
    std::unique_ptr<SimIo> io;
    std::unique_ptr<SimEvents> events;
    std::unique_ptr<shard::Shard> shard;
    SocketAddress listener;
    Instant next_turn = kNever;
    uint64_t turn_serial = 0;
    uint64_t turns = 0;
    shard::Shard::Options options;  // As it was started.
    uint64_t table_version = 0;
    bool ended = false;
    // Turns that changed nothing, one after another: a shard that spins.
    uint64_t idle_turns = 0;
    Instant last_turn{};
    // The last thing that happened, and how often the log had been synced by then.
    uint64_t happenings = 0;
    uint64_t syncs = 0;
    Instant syncs_since{};
  };

  void MakeSources();
  uint32_t ConnectionsCap() const { return scene_.options.scopes ? 30 : 0; }  // 0: none.
  uint32_t HandshakesCap() const { return scene_.options.scopes ? 10 : 0; }
  bool StartShard(uint32_t number, shard::Shard::Inheritance inheritance);
  shard::Shard::Options ShardOptions(uint32_t number);
  void ScheduleTurn(uint32_t number, Instant when);
  void TakeTurn(uint32_t number);
  bool Spins(Node& node, bool without_completions, Instant until);
  bool WritesForNothing(Node& node);
  void Tell(const shard::Mail& mail);
  void Bury();
  uint64_t CallNumber(uint32_t shard, int32_t descriptor);

  Scene& scene_;
  SimResolver& resolver_;
  SimHandshaker& handshaker_;
  const std::shared_ptr<const tls::Environment> tls_;  // Null: no TLS.
  spool::MemoryDisk& disk_;
  const policy::BounceProfile profile_;
  policy::Sources sources_;
  std::set<IpAddress> lost_;
  std::unique_ptr<delivery::EngineCaps> caps_;  // Of one life.
  const std::function<void()> ended_;
  std::map<std::string, PeerHost*> hosts_;

  State state_ = State::kDown;
  bool orderly_ = true;      // How the last life ended.
  bool log_failed_ = false;  // In this one.
  uint32_t starts_ = 0;
  std::unique_ptr<shard::Post> post_;
  std::vector<Node> nodes_;
  std::deque<std::unique_ptr<policy::ControlsTable>> tables_;  // By version.
  std::deque<delivery::Dispatcher::Tables> told_;              // Lent to the shards.
  std::vector<std::unique_ptr<SimIo>> buried_;                 // What is on its way finds them.
  std::vector<io::Completion> completions_;
  std::map<std::pair<uint32_t, int32_t>, uint64_t> calls_;
  std::map<uint64_t, PeerHost*> called_;
  uint64_t next_call_ = 1;
};

}  // namespace sluice::sim
