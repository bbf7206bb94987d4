// A play: the whole engine in the simulator's world, over a disk that records, with notes of what
// was known outside. All that this folder knows of the simulator's engine stands here.
//
// The first play of a seed begins on an empty disk: mail of all sizes comes, is delivered,
// deferred, bounced and moved, with two restarts, each with another number of shards. A play after
// a crash begins on what the crash has left: no mail comes, every receiver is well, and all that
// is owed must be delivered to the end.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/crash/disk_past.h"
#include "tests/crash/known.h"
#include "tests/crash/recording_disk.h"
#include "tests/sim/check_policy.h"
#include "tests/sim/sim_engine.h"
#include "tests/sim/sim_handshaker.h"
#include "tests/sim/sim_injector.h"

namespace sluice::crash {

enum class EndOfLife : uint8_t { kDrain, kKill, kPowerCut };

// What is drawn for the plays of one recording.
struct Shape {
  uint32_t shards[3] = {1, 1, 1};  // Of each life of the engine.
  EndOfLife ends[2] = {};
  uint64_t segment_bytes = 64 << 10;
  uint32_t messages = 50;
  uint32_t body_bytes_max = 12000;
  double short_bodies = 0.5;
  Duration max_queue{};
  bool short_writes = false;  // The disk takes writes in pieces for a while.
};

// Of the recording with this number; each kind of engine's end, and of segment, comes soon.
Shape DrawShape(uint64_t seed, uint64_t number);

class Play {
 public:
  Play(uint64_t seed, const Shape& shape, Broken broken);
  // After a crash. `before` is lent for the call.
  Play(uint64_t seed, const Play& before, const Image& image, const Known& known, Instant when,
       uint32_t shards);
  Play(const Play&) = delete;

  // What went wrong; empty: nothing.
  std::string RunFirst();
  std::string RunToTheEnd();

  const Shape& shape() const { return shape_; }
  const Recording& recording() const { return disk_.recording(); }
  const Marks& marks() const { return marks_; }
  const std::vector<sim::MessageFacts>& facts() const { return ledger_.messages; }
  std::vector<KnownWindow> windows() const;
  WallTime WallOf(Instant instant) const {
    return world_.now().wall + (instant - world_.instant());
  }

 private:
  Play(uint64_t seed, const Shape& shape, Broken broken, bool after_crash, const Image* image);
  static sim::Options OptionsOf(const Shape& shape, Broken broken, bool after_crash);
  void MakeDomains(bool after_crash);
  void MakeTable();
  Instant Look();
  void EndLife(EndOfLife end);
  void StartLife();
  void ForgetWhatWasLost();

  const Shape shape_;
  const sim::Options options_;
  sim::World world_;
  sim::Network network_;
  sim::Ledger ledger_;
  sim::LimitsChecker limits_;
  sim::PolicyChecker policy_;
  sim::Scene scene_;
  sim::SimResolver resolver_;
  sim::SimHandshaker handshaker_;
  Marks marks_;
  RecordingDisk disk_;
  std::vector<std::unique_ptr<sim::PeerHost>> hosts_;
  std::unique_ptr<sim::EngineModel> engine_;
  std::unique_ptr<sim::Injectors> injectors_;
  uint32_t life_ = 0;
  bool last_drain_ = false;
};

}  // namespace sluice::crash
