// Delivers the parcels of the destinations that this shard owns, as fast as their controls allow.
//
// Everything that may change what a destination can do (a parcel, a route, a connection, a
// deadline, a new table) puts it on the list of those to be looked at; Turn looks at each: starts
// transactions on connections that are ready, opens connections that the waiting mail can use, asks
// for routes, or notes what binds and when to look again. Nothing here waits, and one turn's work
// is bounded.
//
// The body of the class is in two files: dispatcher.cc (destinations: what they may do next) and
// dispatcher_parcels.cc (transactions).
//
// One shard owns it. Parcels come by Take, go home by TakeReturned; bodies are asked for by
// TakeBodyWanted and come by OnBody.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/base/random.h"
#include "engine/base/slab.h"
#include "engine/base/timer_wheel.h"
#include "engine/delivery/connection.h"
#include "engine/delivery/destination.h"
#include "engine/delivery/destination_status.h"
#include "engine/delivery/parcel.h"
#include "engine/dns/resolver.h"
#include "engine/io/io.h"
#include "policy/bounce_profile.h"
#include "policy/controls_table.h"
#include "tls/environment.h"
#include "tls/handshaker.h"

namespace sluice::delivery {

class Dispatcher {
 public:
  struct Options {
    uint32_t shard = 0;
    absl::string_view hostname;  // EHLO name; lent.
    uint32_t destinations_max = limits::kDestinationsPerShardMax;
    uint32_t connections_max = limits::kDeliveryConnectionsPerShardMax;
    policy::BounceProfile bounce_profile;
  };

  // What the operator may change while the engine runs.
  struct Tables {
    const policy::ControlsTable* controls = nullptr;
    // What the controls name of TLS. Null only where all levels are off.
    std::shared_ptr<const tls::Environment> tls;
  };

  // All lent for the dispatcher's life; the table until the next UseTables. The wheel is not used
  // after the dispatcher's end: timers may still be armed then. `handshaker` may be null where all
  // levels are off.
  Dispatcher(const Options& options, io::Io& io, dns::Resolver& resolver,
             tls::Handshaker* handshaker, TimerWheel& timers, Random& random, Tables tables);

  // --- Parcels.
  void Take(Parcel& parcel, Now now);
  Parcel* TakeReturned() { return returned_.PopFront(); }
  Parcel* TakeBodyWanted() { return body_wanted_.PopFront(); }
  void OnBody(Parcel& parcel, Now now);

  // Appends what the operator is to be told.
  void TakeAlerts(std::vector<TlsAlert>& alerts);

  // --- The world.
  void OnRoute(dns::RouteAnswer answer, Now now);
  void OnCompletion(const io::Completion& completion, Now now);
  void OnHandshake(std::unique_ptr<tls::HandshakeJob> job, Now now);
  void OnTimer(Timer& timer, Now now);
  // From now on these hold, and the routes table may be another. The old controls are not used any
  // more when this returns; destinations take the new ones up when they next do anything, and all
  // of them within some turns.
  void UseTables(Tables tables);

  // Once a turn.
  void Turn(Now now);
  // There is more to do at once.
  bool busy() const {
    return !to_look_at_.empty() || !returned_.empty() || !body_wanted_.empty() ||
           refresh_next_ != Slab<Destination>::kNoSlot || connections_.has_events();
  }

  // Transactions under way may end; nothing new is begun, all else is given back.
  void BeginDrain(Now now);
  // Ends what is still under way.
  void AbortAll(Now now);
  bool AtRest() const { return connections_.open() == 0 && parcels_ == 0; }

  uint32_t destinations() const { return destinations_.taken(); }
  uint32_t connections() const { return connections_.open(); }
  uint32_t parcels() const { return parcels_; }  // In queues and on connections.
  Destination* FindDestination(absl::string_view domain);

  // nullopt: nothing is known of it here, and nothing waits for it.
  std::optional<DestinationStatus> Describe(absl::string_view domain, Now now);

 private:
  // Destinations.
  Destination* DestinationFor(absl::string_view domain, Now now);
  void LookAt(Destination& destination);
  void Advance(Destination& destination, Now now);
  void RefreshControls(Destination& destination);
  void RefreshSome();
  bool HaveRoute(Destination& destination, Now now);
  bool RouteServes(const Destination& destination) const;
  void HoldForFamily(Destination& destination, Now now);
  void EndHoldForFamily(Destination& destination, Now now);
  bool Excess(const Destination& destination) const;
  void EndExcess(Destination& destination, Now now);
  void EndStrayed(Destination& destination, Now now);
  bool StillServes(Destination& destination, Connection& connection);
  bool InRoute(const Destination& destination, const SocketAddress& address) const;
  bool MayTryRest(const Destination& destination, const Connection& connection) const;
  const std::shared_ptr<const TlsIntent>& IntentFor(Destination& destination);
  void StartTransactions(Destination& destination, Now now);
  void OpenConnections(Destination& destination, Now now);
  bool WantsAnother(const Destination& destination) const;
  bool Useful(const Destination& destination, uint64_t coming, uint64_t opening) const;
  void LookAgainAt(Destination& destination, Instant when);
  void ForgetIfIdle(Destination& destination, Now now);
  void FailQueue(Destination& destination, Now now);
  void BackOff(Destination& destination, const smtp::Reply& why, bool final, Now now);
  void Pause(Destination& destination, const smtp::Reply& why, Now now);

  // Parcels.
  void Enqueue(Destination& destination, Parcel& parcel, bool front);
  Parcel* Dequeue(Destination& destination);
  void GiveBack(Parcel& parcel, ParcelResult result);
  void RefuseParcel(Destination& destination, Parcel& parcel, smtp::MessageResult result,
                    const smtp::Reply& reply, Now now);
  void Start(Connection& connection, Parcel& parcel, uint32_t recipients, Now now);
  bool HostsFail(const Destination& destination, Now now) const;
  void OnConnectionLost(Parcel& parcel, Now now);

  // Connections.
  void HandleEvents(Now now);
  void OnReady(Connection& connection, Now now);
  void OnAttempted(Connection& connection, Parcel& parcel, Now now);
  void OnReturned(Connection& connection, Parcel& parcel, Now now);
  void OnTried(Connection& connection, Now now);
  void EndTransaction(Connection& connection, Now now);
  void Leave(Connection& connection, Now now);
  void EndSession(Connection& connection, Now now);
  void OnBetween(Connection& connection, Now now);
  void OnEnded(Connection& connection, Now now);
  void JudgeEnd(Destination& destination, const Connection& connection, Now now);
  void OnStepFailed(Connection& connection, const SocketAddress& address, Now now);
  void NoteStepFailed(Destination& destination, const SocketAddress& address, uint32_t failures,
                      Now now);
  void NoteStepWorks(Destination& destination, const SocketAddress& address);
  void Alert(Destination& destination, const Connection& connection, Now now);
  void OnTlsBroken(Destination& destination, const SocketAddress& address, Now now);
  AddressHealth* HealthOf(Destination& destination, const SocketAddress& address) const;
  bool Avoided(Destination& destination, const SocketAddress& address, Now now) const;
  bool AllAvoided(Destination& destination, Now now) const;
  bool LeaveOutAvoided(Destination& destination, std::vector<dns::RouteStep>& steps, Now now) const;
  Destination& DestinationOf(const Connection& connection);

  const Options options_;
  dns::Resolver& resolver_;
  TimerWheel& timers_;
  Random& random_;
  const policy::ControlsTable* controls_;
  std::shared_ptr<const tls::Environment> tls_;

  Slab<Destination> destinations_;
  absl::flat_hash_map<std::string, Handle> by_domain_;  // Look-up only: its order decides nothing.
  Connections connections_;
  IntrusiveList<Destination, &Destination::hook> to_look_at_;
  uint32_t refresh_next_ = Slab<Destination>::kNoSlot;  // A new table is taken up from here on.
  IntrusiveList<Parcel, &Parcel::hook> returned_;
  IntrusiveList<Parcel, &Parcel::hook> body_wanted_;
  std::vector<TlsAlert> alerts_;
  Attempt unsent_;  // For parcels that are refused without a transaction.
  uint32_t parcels_ = 0;
  bool draining_ = false;
};

}  // namespace sluice::delivery
