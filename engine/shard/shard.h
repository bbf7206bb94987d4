// A shard: the destinations and the messages that it owns, and the one place where they meet the
// world.
//
//   completions ─► dispatch by tag ─► mail ─► routes ─► timers ─► parcels out ─► transactions,
//   connections
//        ▲                                                                             │
//        └───────── wait (runner.h) ◄── the log's batch ◄── promises ◄── bodies ◄──────┘
//
// Step runs each phase once; no phase waits, none calls another, each is bounded. A shard is an
// object: a thread is a loop around Step (runner.h), and a simulation is another loop around many
// of them.

#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "engine/base/random.h"
#include "engine/base/timer_wheel.h"
#include "engine/delivery/dispatcher.h"
#include "engine/delivery/event.h"
#include "engine/delivery/home.h"
#include "engine/delivery/window_keeper.h"
#include "engine/dns/resolver.h"
#include "engine/intake/intake.h"
#include "engine/io/io.h"
#include "engine/shard/post.h"
#include "engine/spool/log.h"
#include "engine/spool/stock.h"
#include "policy/bounce_profile.h"
#include "tls/handshaker.h"

namespace sluice::shard {

class Shard {
 public:
  struct Options {
    uint32_t number = 0;
    absl::string_view hostname;  // Lent.
    bool sync = true;
    uint64_t random_seed = 0;
    policy::BounceProfiles bounce_profiles;
    std::string alert_address;  // Gets alerts; empty: nobody.
    intake::Intake::Options intake;
    delivery::Home::Options home;              // shard, hostname, sync and profile are filled in.
    delivery::Dispatcher::Options dispatcher;  // The same.
    delivery::WindowKeeper::Options windows;
    spool::Log::Options log;  // The same for its number.
  };
  // What the shard works with; all lent for its life.
  struct World {
    io::Io* io = nullptr;
    spool::Disk* disk = nullptr;
    dns::Resolver* resolver = nullptr;
    tls::Handshaker* handshaker = nullptr;  // Null: no destination and no listener has TLS.
    delivery::EventSink* events = nullptr;
    delivery::EngineCaps* caps = nullptr;          // Null: none.
    const policy::Sources* sources = nullptr;      // Null: the system chooses.
    const policy::BounceTagger* tagger = nullptr;  // Null: no sender is tagged.
    delivery::ActiveMessages* active = nullptr;    // Null: nobody asks what it died of.
    Post* post = nullptr;
  };
  // What the start found for this shard.
  struct Inheritance {
    std::vector<spool::StockSegment> segments;
    std::shared_ptr<const spool::Changes> changes;
    std::vector<delivery::InheritedWindow> windows;
    uint64_t next_sequence = 1;
    MessageId greatest_id;
    uint64_t greatest_window = 0;
  };
  // What each of so many shards takes on from the spool, whoever wrote it: segments, and the
  // messages in them, go by their keeper, windows to who owns the destination and to who keeps
  // their segment.
  static std::vector<Inheritance> Divide(spool::Stock stock, uint32_t shards);

  Shard(Options options, const World& world, delivery::Dispatcher::Tables tables, Now now);

  // Begins the log, takes up what was inherited, opens the listeners.
  absl::Status Start(Inheritance inheritance, Now now);

  // One turn. Returns when the next is due at the latest; an instant in the past: at once.
  Instant Step(Now now, const std::vector<io::Completion>& completions);

  // Everything under way has ended after a drain: nothing in flight, all outcomes in the log.
  bool AtRest() const;
  bool log_failed() const { return home_->log_failed(); }

  delivery::Home& home() { return *home_; }
  delivery::Dispatcher& dispatcher() { return *dispatcher_; }
  intake::Intake& intake() { return *intake_; }

  // Which shard owns a normalised domain.
  static uint32_t OwnerOf(absl::string_view destination, uint32_t shards);

 private:
  absl::Status BeginLog(const Inheritance& inheritance, Now now);
  void Dispatch(const io::Completion& completion, Now now);
  void TakeMail(Now now);
  void OnMail(const Mail& mail, Now now);
  void ExpireTimers(Now now);
  void TakeRoutes(Now now);
  void TakeHandshakes(Now now);
  void SendParcelsOut(Now now);
  void SendParcelsHome(Now now);
  void AskForBodies(Now now);
  void GiveBodies(Now now);
  void SendAlerts(Now now);
  void KeepPromises(Now now);
  void BeginDrain(Now now);
  void Send(uint32_t to, const Mail& mail);
  void FlushMail();

  const Options options_;
  const World world_;
  Random random_;
  TimerWheel timers_;
  std::unique_ptr<spool::Log> log_;
  std::unique_ptr<delivery::WindowKeeper> windows_;
  std::unique_ptr<delivery::Home> home_;
  std::unique_ptr<delivery::Dispatcher> dispatcher_;
  std::unique_ptr<intake::Intake> intake_;
  delivery::Dispatcher::Tables tables_;

  std::vector<dns::RouteAnswer> routes_;
  std::vector<std::unique_ptr<tls::HandshakeJob>> handshakes_;
  std::vector<delivery::TlsAlert> alerts_;
  std::vector<delivery::Promise> promises_;
  std::vector<std::deque<Mail>> unsent_;  // By shard: what its mailbox had no room for.
  bool unsent_any_ = false;
  bool draining_ = false;
  bool told_taken_up_ = false;
};

}  // namespace sluice::shard
