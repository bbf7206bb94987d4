// Delivers the parcels of the destinations that this shard owns, as fast as their controls allow.
//
// Everything that may change what a lane can do (a parcel, a route, a connection, a deadline, a new
// table) puts it on the list of those to be looked at; Turn looks at each: starts transactions on
// connections that are ready, opens connections that the waiting mail can use, asks for routes, or
// notes what binds and when to look again. Nothing here waits, and one turn's work is bounded.
//
// The body of the class is in four files, in the order of a message's way: dispatcher.cc
// (destinations: their controls, routes and lanes), dispatcher_lanes.cc (what a lane does next, and
// by which source), dispatcher_parcels.cc (transactions), dispatcher_connections.cc (what becomes
// of connections).
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
#include "engine/delivery/engine_caps.h"
#include "engine/delivery/lane.h"
#include "engine/delivery/parcel.h"
#include "engine/delivery/source_states.h"
#include "engine/delivery/window_keeper.h"
#include "engine/dns/resolver.h"
#include "engine/io/io.h"
#include "policy/bounce_profile.h"
#include "policy/bounce_tag.h"
#include "policy/controls_table.h"
#include "policy/sources.h"
#include "policy/suspensions.h"
#include "tls/environment.h"
#include "tls/handshaker.h"

namespace sluice::delivery {

class Dispatcher {
 public:
  struct Options {
    uint32_t shard = 0;
    absl::string_view hostname;                    // EHLO name; lent.
    const policy::Sources* sources = nullptr;      // Lent; null: the system chooses.
    EngineCaps* caps = nullptr;                    // Lent; null: none.
    const policy::BounceTagger* tagger = nullptr;  // Lent; null: no sender is tagged.
    ActiveMessages* active = nullptr;  // Lent; null: nobody asks what we were at work on.
    // Lent; null: what was counted against recipient limits is forgotten with the process.
    WindowKeeper* windows = nullptr;
    uint32_t destinations_max = limits::kDestinationsPerShardMax;
    uint32_t lanes_max = limits::kLanesPerShardMax;
    uint32_t connections_max = limits::kDeliveryConnectionsPerShardMax;
    uint32_t streams_max = limits::kBodyStreamsPerShardMax;
    policy::BounceProfile bounce_profile;
    std::shared_ptr<const policy::Suspensions> suspensions;  // From the start; null: none.
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
  // Its body is to be asked for, then given by OnBody; at once where it came with the parcel
  // (kLent).
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

  // What the operator has suspended from now on; null: nothing. Transactions under way end,
  // sessions that are up are left, and nothing new is begun for what is suspended.
  void UseSuspensions(std::shared_ptr<const policy::Suspensions> suspensions);
  // Waits for hosts and routes are over, of one destination or of all (empty), some of these each
  // turn. `resets_limits`: what has been counted against recipient limits is forgotten too.
  void DeliverNow(absl::string_view domain, bool resets_limits, Now now);

  // Once a turn.
  void Turn(Now now);
  // There is more to do at once.
  bool busy() const {
    return !to_look_at_.empty() || !returned_.empty() || !body_wanted_.empty() ||
           refresh_next_ != Slab<Destination>::kNoSlot ||
           deliver_next_ != Slab<Destination>::kNoSlot || connections_.has_events();
  }

  // Transactions under way may end; nothing new is begun, all else is given back.
  void BeginDrain(Now now);
  // Ends what is still under way.
  void AbortAll(Now now);
  bool AtRest();

  uint32_t destinations() const { return destinations_.taken(); }
  uint32_t connections() const { return connections_.open(); }
  uint32_t streams() const { return connections_.streams(); }
  uint32_t parcels() const { return parcels_; }  // In queues and on connections.
  Destination* FindDestination(absl::string_view domain);

  // nullopt: nothing is known of it here, and nothing waits for it.
  std::optional<DestinationStatus> Describe(absl::string_view domain, Now now);
  // Appends the gauges of those that have connections or are down, of some of the destinations;
  // returns where to go on, 0 when all have been seen.
  uint32_t CopyGauges(uint32_t first, uint32_t count, std::vector<DestinationGauges>& copies);

 private:
  using Way = HostHealth::Way;

  // Destinations.
  Destination* DestinationFor(absl::string_view domain, Now now);
  Lane* LaneFor(Destination& destination, uint32_t pool, Now now);
  Lane* FindLane(Destination& destination, uint32_t pool) const;
  void LookAt(Lane& lane);
  void LookAt(Destination& destination);
  static bool AnyToLookAt(const Destination& destination);
  void RefreshControls(Destination& destination, Now now);
  void Rescope(Destination& destination, const policy::Limits& before, Now now);
  void RefreshSome();
  bool HaveRoute(Lane& lane, Now now);
  bool RouteServes(const Destination& destination) const;
  void EndExcess(Destination& destination, Now now);
  void EndStrayed(Destination& destination, Now now);
  bool StillServes(Destination& destination, Connection& connection, Now now);
  bool InRoute(const Destination& destination, const SocketAddress& address) const;
  const std::shared_ptr<const TlsIntent>& IntentFor(Destination& destination, Now now);
  void ForgetIfIdle(Destination& destination, Now now);
  void RestoreWindows(Destination& destination, Now now);
  void KeepWindows(Destination& destination, Now now);
  void TakeKeptWindows(Now now);
  bool Unwritten(const Destination& destination) const;
  LaneStatus StatusOf(const Lane& lane, Now now) const;

  // Lanes.
  void Advance(Lane& lane, Now now);
  void AdvanceQueue(Lane& lane, Now now);
  void StartTransactions(Lane& lane, Now now);
  bool StartOn(Lane& lane, Connection& connection, Now now);
  void OpenConnections(Lane& lane, Now now);
  bool OthersFirst(const Lane& lane) const;
  void HasTakenTurn(Lane& lane);
  void AskForRoom(const Lane& lane, policy::Limit binds, Now now);
  bool Useful(const Lane& lane, uint64_t coming, uint64_t opening) const;
  bool TakeEngineRoom(Lane& lane, bool with_tls, Now now);
  void AwaitPlace(Lane& lane, Now now);
  void EndLongestIdle(Now now);
  void GiveEngineRoom();
  Want WantOf(const Lane& lane) const;
  smtp::Reply WantReply(const Lane& lane, Want want) const;
  void HoldFor(Lane& lane, Want want, Now now);
  void EndHold(Lane& lane, Now now);
  void NoteBinding(Lane& lane, const policy::Permit& permit);
  void LookAgainAt(Lane& lane, Instant when);
  void FailQueue(Lane& lane, Now now);
  void BackOff(Lane& lane, const smtp::Reply& why, bool final, Now now);
  void Pause(Lane& lane, const smtp::Reply& why, Now now);
  void EndIfIdle(Lane& lane, Now now);
  bool Suspended(Lane& lane, Now now);
  void DeliverNow(Destination& destination, bool resets_limits, Now now);
  void DeliverSome(Now now);

  // From which source, and to which addresses (dispatcher_openings.cc).
  struct Opening {
    uint32_t source = 0;
    std::vector<dns::RouteStep> steps;
    bool whole_route = true;  // No address of the route was left out.
  };
  policy::Permit FindOpening(const Lane& lane, Opening& opening, Now now);
  policy::Permit FindSteps(Destination& destination, uint32_t source, Opening& opening, Now now);
  uint16_t LastPreference(Destination& destination, uint32_t source, policy::Permit& permit,
                          Now now);
  bool AllAvoided(const Destination& destination, uint32_t source, Now now) const;
  Instant AllAvoidedUntil(const Destination& destination, uint32_t source) const;
  bool OtherSource(const Lane& lane, uint32_t source, Now now) const;
  std::vector<uint32_t> SourcesInOrder(const Lane& lane, Instant& tried_again, Now now);
  std::optional<dns::FamilyOrder> FamiliesOf(const Destination& destination, uint32_t source) const;
  bool Reaches(const Destination& destination, uint32_t source, bool suspended_too) const;

  // Parcels.
  void Enqueue(Lane& lane, Parcel& parcel, bool front);
  Parcel* Dequeue(Lane& lane);
  void GiveBack(Parcel& parcel, ParcelResult result);
  void RefuseParcel(Lane& lane, Parcel& parcel, smtp::MessageResult result,
                    const smtp::Reply& reply, Now now);
  void OnBodyEnds(Connection& connection, Now now);
  bool MayGoOn(const Lane& lane, Connection& connection, Now now);
  policy::Permit PermitFor(const Connection& connection, const Parcel& parcel, Now now);
  void TakeRecipients(Connection& connection, Parcel& parcel, uint32_t recipients, Now now);
  void Start(Connection& connection, Parcel& parcel, uint32_t recipients, Now now);
  bool HostsFail(const Lane& lane, Now now) const;
  void TagSender(Parcel& parcel, const Destination& destination, Now now) const;
  void OnConnectionLost(Parcel& parcel, Now now);
  void OnParcelExpired(Parcel& parcel, Now now);

  // Connections.
  void HandleEvents(Now now);
  void OnReady(Connection& connection, Now now);
  void OnAttempted(Connection& connection, Parcel& parcel, Now now);
  void OnUntried(Connection& connection, Parcel& parcel, Now now);
  void JudgeAhead(const Connection& connection);
  void JudgeChunks(const Connection& connection, Now now);
  void OnReturned(Connection& connection, Parcel& parcel, Now now);
  void OnTried(Connection& connection, Now now);
  void EndTransaction(Connection& connection, Now now);
  void KeepReady(Lane& lane, Connection& connection);
  void TakeReady(Lane& lane, Connection& connection);
  void Leave(Connection& connection, Now now);
  void EndSession(Connection& connection, Now now);
  void OnBetween(Connection& connection, Now now);
  bool MoveOn(Connection& connection, Now now);
  void OnEnded(Connection& connection, Now now);
  void JudgeEnd(Lane& lane, const Connection& connection, Now now);
  void OnStepFailed(Connection& connection, const SocketAddress& address, Now now);
  void OnTlsBroken(Connection& connection, const SocketAddress& address, Now now);
  void AwaitSources(Now now);
  void LookForSources();
  bool BlocksSource(const Lane& lane, const Connection& connection, Now now) const;
  void TakeHandshake(Connection& connection);
  void GiveHandshake(Connection& connection);
  void Alert(Connection& connection, Now now);
  Lane& LaneOf(const Connection& connection);
  Destination& DestinationOf(const Connection& connection, Now now);

  const Options options_;
  const policy::Sources& sources_;
  dns::Resolver& resolver_;
  TimerWheel& timers_;
  Random& random_;
  const policy::ControlsTable* controls_;
  std::shared_ptr<const tls::Environment> tls_;
  std::shared_ptr<const policy::Suspensions> suspensions_;

  Slab<Destination> destinations_;
  Slab<Lane> lanes_;
  absl::flat_hash_map<std::string, Handle> by_domain_;  // Look-up only: its order decides nothing.
  Connections connections_;
  SourceStates source_states_;
  Timer sources_timer_;  // When to look for the missing ones.
  IntrusiveList<Lane, &Lane::hook> to_look_at_;
  IntrusiveList<Connection, &Connection::idle_hook> idle_;  // Longest idle first.
  IntrusiveList<Lane, &Lane::room_hook> short_of_room_;     // In the order in which they asked.
  uint32_t refresh_next_ = Slab<Destination>::kNoSlot;      // A new table is taken up from here on.
  uint32_t deliver_next_ = Slab<Destination>::kNoSlot;      // DeliverNow of all goes on from here,
  bool deliver_resets_limits_ = false;                      // and does that.
  IntrusiveList<Parcel, &Parcel::hook> returned_;
  IntrusiveList<Parcel, &Parcel::hook> body_wanted_;
  std::vector<TlsAlert> alerts_;
  std::vector<policy::WindowState> window_states_;  // Reused.
  std::vector<KeptWindow> kept_windows_;            // The same.
  Attempt unsent_;  // For parcels that are refused without a transaction.
  uint32_t parcels_ = 0;
  bool draining_ = false;
};

}  // namespace sluice::delivery
