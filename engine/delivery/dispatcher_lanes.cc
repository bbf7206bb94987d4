// What a lane does next: which connections start a transaction, and which are opened; and what the
// mail that waits is told.

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/delivery/dispatcher.h"
#include "engine/delivery/route_reply.h"

namespace sluice::delivery {
namespace {

// Parcels of a lane whose destination has no host, given back in one turn.
constexpr int kFailuresPerLookMax = 256;

// When the engine has no connection left to give: the time to look again.
constexpr Duration kShortWait = std::chrono::seconds(1);

bool Permanent(dns::RouteResult result) {
  return result != dns::RouteResult::kFound && result != dns::RouteResult::kTemporary;
}

absl::string_view BindingOf(Want want) {
  switch (want) {
    case Want::kNothing:
      break;
    case Want::kFamily:
      return "ip_preference";
    case Want::kSourceFamily:
      return "source_family";
    case Want::kSource:
      return "source_suspended";
  }
  return "";
}

}  // namespace

// The one place where a lane decides what it does next.
void Dispatcher::Advance(Lane& lane, Now now) {
  timers_.Disarm(lane.timer);
  const absl::string_view bound_before = std::exchange(lane.binding, "");
  Destination& destination = *lane.destination;
  RefreshControls(destination, now);
  EndExcess(destination, now);
  if (destination.idle_version != destination.table_version) EndStrayed(destination, now);
  if (draining_ || lane.queue.empty()) return EndIfIdle(lane, now);
  AdvanceQueue(lane, now);
  if (lane.queue.empty()) lane.binding = "";
  if (lane.binding != bound_before) lane.binding_since = now.instant;
}

void Dispatcher::AdvanceQueue(Lane& lane, Now now) {
  Destination& destination = *lane.destination;
  if (Suspended(lane, now)) return;
  if (!HaveRoute(lane, now)) return;
  if (Permanent(destination.route.result)) return FailQueue(lane, now);
  const Want want = WantOf(lane);
  if (want != Want::kNothing) return HoldFor(lane, want, now);
  EndHold(lane, now);
  // Once: those before it may be looked at again and again without taking anything.
  lane.gave_way = !lane.gave_way && OthersFirst(lane);
  if (lane.gave_way) return LookAt(lane);
  StartTransactions(lane, now);
  OpenConnections(lane, now);
}

// Its lanes take turns: another one that has waited longer is about to look, too.
bool Dispatcher::OthersFirst(const Lane& lane) const {
  const IntrusiveList<Lane, &Lane::destination_hook>& lanes = lane.destination->lanes;
  for (const Lane* one = lanes.Front(); one != &lane; one = lanes.Next(*one)) {
    if (one->hook.linked() && !one->queue.empty()) return true;
  }
  return false;
}

// The operator has said so. Sessions that are up would wait for nothing.
bool Dispatcher::Suspended(Lane& lane, Now now) {
  if (suspensions_ == nullptr || suspensions_->empty()) return false;
  const policy::Suspension* suspension = suspensions_->Find(lane.destination->domain, now.wall);
  if (suspension == nullptr) return false;
  lane.binding = "suspended";
  while (Connection* connection = lane.ready.Front()) Leave(*connection, now);
  if (suspension->until) LookAgainAt(lane, now.instant + (*suspension->until - now.wall));
  return true;
}

// -------------------------------------------------------------------------------------------------
// Transactions on connections that are up.

void Dispatcher::StartTransactions(Lane& lane, Now now) {
  for (Connection* connection = lane.ready.Front(); connection != nullptr && !lane.queue.empty();) {
    Connection* next = lane.ready.Next(*connection);
    const bool bound = !StartOn(lane, *connection, now);
    if (bound && lane.destination->controls.scope.whole()) return;  // So would be all others.
    connection = next;
  }
}

// False: a limit binds that is not the connection's own.
bool Dispatcher::StartOn(Lane& lane, Connection& connection, Now now) {
  Destination& destination = *lane.destination;
  if (connection.state != ConnectionState::kReady) {  // The host has just ended it.
    TakeReady(lane, connection);
    connection.unneeded = true;
    return true;
  }
  if (!StillServes(destination, connection, now)) {  // New tables ask for another level of TLS.
    Leave(connection, now);
    return true;
  }
  const policy::Permit permit = PermitFor(connection, *lane.queue.Front(), now);
  if (permit) {
    Start(connection, *Dequeue(lane), permit.recipients, now);
    return true;
  }
  if (permit.binds == policy::Limit::kMessagesPerConnection) {
    Leave(connection, now);
    return true;
  }
  NoteBinding(lane, permit);
  return false;
}

void Dispatcher::NoteBinding(Lane& lane, const policy::Permit& permit) {
  lane.binding = policy::LimitName(permit.binds);
  LookAgainAt(lane, permit.look_again);
}

void Dispatcher::LookAgainAt(Lane& lane, Instant when) {
  if (when == kNever) return;
  if (lane.timer.armed() && lane.timer.due <= when) return;
  timers_.Arm(lane.timer, when);
}

// -------------------------------------------------------------------------------------------------
// New connections.

// Beside `opening` others, for what waits and `coming` more: another connection is worth opening
// when that is more than those being opened will take.
bool Dispatcher::Useful(const Lane& lane, uint64_t coming, uint64_t opening) const {
  const uint64_t worth = std::min(limits::kMessagesWorthAConnection,
                                  lane.destination->controls.messages_per_connection_max);
  return lane.queue.size() + coming > opening * worth;
}

// No connection that is ready could take what waits (StartTransactions).
void Dispatcher::OpenConnections(Lane& lane, Now now) {
  Destination& destination = *lane.destination;
  while (Useful(lane, 0, lane.opening)) {
    if (now.instant < lane.not_before) {
      lane.binding = "hosts";
      return LookAgainAt(lane, lane.not_before);
    }
    if (WantOf(lane) != Want::kNothing) return LookAt(lane);  // The last one has just shown it.
    Opening opening;
    const policy::Permit permit = FindOpening(lane, opening, now);
    if (!permit) {
      AskForRoom(lane, permit.binds, now);
      return NoteBinding(lane, permit);
    }
    const std::shared_ptr<const TlsIntent>& intent = IntentFor(destination, now);
    if (!TakeEngineRoom(lane, intent != nullptr, now)) return;
    const policy::ScopeKey scope =
        policy::KeyOf(destination.controls.scope, opening.steps.front().address.ip, opening.source);
    destination.budget.ConnectionOpened(destination.controls, scope);
    ++lane.opening;
    HasTakenTurn(lane);
    Connection* connection = connections_.Open(
        lanes_.HandleOf(lane),
        {.steps = std::move(opening.steps),
         .source = opening.source,
         .local = &sources_.source(opening.source),
         .whole_route = opening.whole_route,
         .tls = intent,
         .tls_broken = destination.health.TlsBrokenOf(opening.source, now.instant)},
        now);
    connection->scope = scope;
    connection->counts_handshake = intent != nullptr && options_.caps != nullptr;
    connection->route_version = destination.route_version;
    lane.connections.PushBack(*connection);
    HandleEvents(now);  // It may have failed at once.
  }
}

// Who has opened a connection or started a transaction goes to the end of the order.
void Dispatcher::HasTakenTurn(Lane& lane) {
  lane.destination->lanes.Remove(lane);
  lane.destination->lanes.PushBack(lane);
}

// Where connections are what there are too many of, one that is kept for mail of another lane that
// may come is ended for the mail of this one that is there.
void Dispatcher::AskForRoom(const Lane& lane, policy::Limit binds, Now now) {
  if (binds != policy::Limit::kConnections && binds != policy::Limit::kSystemConnections) return;
  Destination& destination = *lane.destination;
  const bool any_source =
      binds == policy::Limit::kSystemConnections || !destination.controls.scope.each_source;
  const std::vector<policy::SourceShare>& ours = sources_.pool(lane.pool).members;
  for (Lane* other = destination.lanes.Front(); other != nullptr;
       other = destination.lanes.Next(*other)) {
    Connection* idle = other->ready.Front();
    if (other == &lane || idle == nullptr || !other->queue.empty()) continue;
    const bool helps =
        any_source || std::any_of(ours.begin(), ours.end(), [&](const policy::SourceShare& share) {
          return share.source == idle->source;
        });
    if (helps) return Leave(*idle, now);
  }
}

// A connection's place in what the shard and the engine may have. False: `binding` says of what
// there is none, and the lane looks again.
bool Dispatcher::TakeEngineRoom(Lane& lane, bool with_tls, Now now) {
  EngineCaps* caps = options_.caps;
  if (connections_.full() || (caps != nullptr && !caps->connections.Take())) {
    lane.binding = "engine_connections";
    AwaitPlace(lane, now);
    return false;
  }
  if (with_tls && caps != nullptr && !caps->handshakes.Take()) {
    caps->connections.Give();
    lane.binding = "engine_handshakes";
    LookAgainAt(lane, now.instant + kShortWait);
    return false;
  }
  if (lane.room_hook.linked()) short_of_room_.Remove(lane);
  // The last places are made free ahead: a polite end takes its time.
  const uint32_t last_places = options_.connections_max / 16;
  if (lane.connections.empty() && connections_.open() >= options_.connections_max - last_places) {
    EndLongestIdle(now);
  }
  lane.binding = "";
  return true;
}

// One of those that wait for no mail is ended for a lane that has no connection, which is called
// when a place is free. It looks for itself, too, since that may come of another shard. Where a
// lane has some, its mail moves: more of them at the cost of others' would only be opened and
// closed.
void Dispatcher::AwaitPlace(Lane& lane, Now now) {
  LookAgainAt(lane, now.instant + kShortWait);
  if (!lane.connections.empty() || lane.room_hook.linked()) return;
  short_of_room_.PushBack(lane);
  EndLongestIdle(now);
}

// Kept for mail that may come, where there is mail of others that has come.
void Dispatcher::EndLongestIdle(Now now) {
  if (!idle_.empty()) Leave(*idle_.Front(), now);
}

void Dispatcher::GiveEngineRoom() {
  while (!short_of_room_.empty()) {
    Lane& lane = *short_of_room_.PopFront();
    if (!lane.queue.empty()) return LookAt(lane);
  }
}

// -------------------------------------------------------------------------------------------------
// What there is none of.

Want Dispatcher::WantOf(const Lane& lane) const {
  const Destination& destination = *lane.destination;
  if (!RouteServes(destination)) return Want::kFamily;
  bool suspended = false;
  for (const policy::SourceShare& share : sources_.pool(lane.pool).members) {
    if (Reaches(destination, share.source, /*suspended_too=*/false)) return Want::kNothing;
    suspended |= Reaches(destination, share.source, /*suspended_too=*/true);
  }
  return suspended ? Want::kSource : Want::kSourceFamily;
}

smtp::Reply Dispatcher::WantReply(const Lane& lane, Want want) const {
  const Destination& destination = *lane.destination;
  const std::string& pool = sources_.pool(lane.pool).name;
  switch (want) {
    case Want::kNothing:
      break;
    case Want::kFamily:
      return NoAddressReply(destination.route,
                            policy::FamilyOf(destination.controls.ip_preference));
    case Want::kSourceFamily:
      return NoSourceFamilyReply(destination.route, pool);
    case Want::kSource:
      return NoSourceReply(pool);
  }
  CHECK(want != Want::kNothing);
  return {};
}

// No connection can even be tried. As when no host gives a session, the parcel at the front goes
// home with the reason, and the others wait for the next look, or for a route, controls or a source
// that differ.
void Dispatcher::HoldFor(Lane& lane, Want want, Now now) {
  lane.binding = BindingOf(want);
  if (lane.want != want || now.instant >= lane.not_before) {
    const smtp::Reply why = WantReply(lane, want);
    Pause(lane, why, now);
    lane.want = want;
    lane.failure_tls = TlsOutcome{};
    Parcel* parcel = Dequeue(lane);
    CHECK(parcel != nullptr);
    parcel->binding_limit.assign(lane.binding.data(), lane.binding.size());
    RefuseParcel(lane, *parcel, smtp::MessageResult::kSessionLost, why, now);
  }
  LookAgainAt(lane, lane.not_before);
}

// The wait was for that alone: the hosts have not been tried.
void Dispatcher::EndHold(Lane& lane, Now now) {
  if (lane.want == Want::kNothing) return;
  lane.want = Want::kNothing;
  lane.failures = 0;
  lane.failure = smtp::Reply{};
  lane.not_before = now.instant;
}

// -------------------------------------------------------------------------------------------------
// Mail that is told no.

// Nothing can be delivered there, says the route: all that waits is refused, some each turn.
void Dispatcher::FailQueue(Lane& lane, Now now) {
  const smtp::Reply reply = RouteReply(lane.destination->route);
  for (int i = 0; i < kFailuresPerLookMax; ++i) {
    Parcel* parcel = Dequeue(lane);
    if (parcel == nullptr) break;
    RefuseParcel(lane, *parcel, smtp::MessageResult::kRefused, reply, now);
  }
  LookAt(lane);
}

// No session could be had. The parcel at the front has had its attempt and goes home with the
// reason; the others wait in the queue for the next try, at growing intervals. A host that refuses
// sessions with 5xx defers the mail, since that speaks of us more often than of the recipient (case
// Z3); only "takes no mail at all" (521, 556: RFC 7504) of every host is final.
void Dispatcher::BackOff(Lane& lane, const smtp::Reply& why, bool final, Now now) {
  Pause(lane, why, now);
  Parcel* parcel = Dequeue(lane);
  if (parcel == nullptr) return;
  RefuseParcel(lane, *parcel,
               final ? smtp::MessageResult::kRefused : smtp::MessageResult::kSessionLost, why, now);
}

// No connection for a while, longer each time in a row.
void Dispatcher::Pause(Lane& lane, const smtp::Reply& why, Now now) {
  lane.want = Want::kNothing;
  KeepReply(why, lane.failure);
  ++lane.failures;
  lane.not_before = now.instant + options_.bounce_profile.RetryDelay(lane.failures, random_);
}

}  // namespace sluice::delivery
