// Parcels: into the queue of their lane, onto a connection, and home again.

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/delivery/dispatcher.h"
#include "engine/delivery/tags.h"

namespace sluice::delivery {

void Dispatcher::Take(Parcel& parcel, Now now) {
  ++parcels_;
  parcel.queued_at = now.instant;
  parcel.connection = Handle{};
  parcel.timer.kind = static_cast<uint8_t>(TimerKind::kParcelExpiry);
  Destination* destination = draining_ ? nullptr : DestinationFor(parcel.destination(), now);
  if (destination == nullptr) return GiveBack(parcel, ParcelResult::kRecalled);
  Lane* lane = LaneFor(*destination, parcel.message->pool, now);
  if (lane == nullptr) {
    ForgetIfIdle(*destination, now);
    return GiveBack(parcel, ParcelResult::kRecalled);
  }
  // It was lost with its session while it was on its way: that was its attempt.
  if (parcel.continues && HostsFail(*lane, now)) {
    return RefuseParcel(*lane, parcel, smtp::MessageResult::kSessionLost, lane->failure, now);
  }
  Enqueue(*lane, parcel, parcel.continues);
}

// No session could be had lately, and none is tried now.
bool Dispatcher::HostsFail(const Lane& lane, Now now) const {
  return lane.connections.empty() && lane.failure.code != 0 && now.instant < lane.not_before;
}

void Dispatcher::Enqueue(Lane& lane, Parcel& parcel, bool front) {
  if (front) {
    lane.queue.PushFront(parcel);
  } else {
    lane.queue.PushBack(parcel);
  }
  timers_.Arm(parcel.timer, parcel.expires);
  LookAt(lane);
}

Parcel* Dispatcher::Dequeue(Lane& lane) {
  Parcel* parcel = lane.queue.PopFront();
  if (parcel != nullptr) timers_.Disarm(parcel->timer);
  return parcel;
}

void Dispatcher::GiveBack(Parcel& parcel, ParcelResult result) {
  CHECK(parcels_ > 0);
  --parcels_;
  parcel.result = result;
  returned_.PushBack(parcel);
}

// An attempt that came to nothing before any transaction: for all recipients alike.
void Dispatcher::RefuseParcel(Lane& lane, Parcel& parcel, smtp::MessageResult result,
                              const smtp::Reply& reply, Now now) {
  Destination& destination = *lane.destination;
  unsent_.Begin(parcel, parcel.recipients, now.instant);
  unsent_.Finish(result, reply, "", now.instant);
  parcel.peer_name.clear();
  parcel.peer_address = SocketAddress{};
  parcel.source = 0;
  parcel.tls = lane.failure_tls;
  parcel.tls.level = destination.controls.tls.level;
  parcel.table_version = destination.table_version;
  parcel.stages.dns = destination.route_time;
  GiveBack(parcel, ParcelResult::kAttempted);
}

// The last piece of a body waits: the next message may begin with it, without a round trip between
// them (RFC 2920 3.1).
void Dispatcher::OnBodyEnds(Connection& connection, Now now) {
  Destination& destination = DestinationOf(connection, now);
  Lane& lane = LaneOf(connection);
  Parcel* next = MayGoOn(lane, connection, now) ? lane.queue.Front() : nullptr;
  policy::Permit permit;
  if (next != nullptr) {
    permit = PermitFor(connection, *next, now);
    if (!permit) next = nullptr;
  }
  if (next != nullptr) TagSender(*next, destination, now);
  const uint32_t recipients = std::min(permit.recipients, limits::kRecipientsPerTransactionMax);
  if (!connections_.EndBody(connection, next, recipients, now)) return;
  CHECK(Dequeue(lane) == next);
  HasTakenTurn(lane);
  CHECK(connection.granted_ahead == 0);
  connection.granted_ahead = recipients;
  TakeRecipients(connection, *next, recipients, now);
}

// A connection may begin the next message while the reply to its last one is awaited: there is more
// than the lane's others will take, its body need not be asked for, and nothing is to be decided
// that is decided when a connection is ready.
bool Dispatcher::MayGoOn(const Lane& lane, Connection& connection, Now now) {
  Destination& destination = *lane.destination;
  if (lane.queue.empty() || lane.queue.size() < lane.connections.size()) return false;
  const Parcel& next = *lane.queue.Front();
  if (next.body_state != BodyState::kLent || !next.body_places.empty()) return false;
  if (draining_ || destination.ahead_refused == kAheadRefusedMax) return false;
  if (lane.want != Want::kNothing || OthersFirst(lane)) return false;
  const bool suspended =
      suspensions_ != nullptr && suspensions_->Find(destination.domain, now.wall) != nullptr;
  return !suspended && !destination.budget.Excess(destination.controls, connection.scope) &&
         StillServes(destination, connection, now);
}

// By the budget, for the next transaction of the connection.
policy::Permit Dispatcher::PermitFor(const Connection& connection, const Parcel& parcel, Now now) {
  Destination& destination = *LaneOf(connection).destination;
  return destination.budget.MayStart(destination.controls, connection.scope,
                                     connection.session.transactions(), Attempt::Untried(parcel),
                                     now.instant);
}

// Out of the budget, for a transaction that starts.
void Dispatcher::TakeRecipients(Connection& connection, Parcel& parcel, uint32_t recipients,
                                Now now) {
  Destination& destination = *LaneOf(connection).destination;
  destination.budget.TransactionStarted(destination.controls, connection.scope, recipients,
                                        now.instant);
  parcel.table_version = destination.table_version;
  parcel.stages.dns = std::exchange(destination.route_time, Duration{});
}

// Takes the connection and the recipients; the transaction starts when the body is lent.
void Dispatcher::Start(Connection& connection, Parcel& parcel, uint32_t recipients, Now now) {
  Lane& lane = LaneOf(connection);
  TakeReady(lane, connection);
  HasTakenTurn(lane);
  timers_.Disarm(connection.timer);
  CHECK(connection.granted == 0);
  connection.granted = std::min(recipients, limits::kRecipientsPerTransactionMax);
  TakeRecipients(connection, parcel, connection.granted, now);
  connection.awaited = &parcel;
  parcel.connection = connections_.HandleOf(connection);
  if (parcel.body_state != BodyState::kLent) parcel.body_state = BodyState::kAsked;
  body_wanted_.PushBack(parcel);
}

void Dispatcher::OnBody(Parcel& parcel, Now now) {
  Connection* connection = connections_.Find(parcel.connection);
  parcel.connection = Handle{};
  // It may have gone to another host meanwhile, and there have been given another parcel.
  bool usable = connection != nullptr && connection->awaited == &parcel &&
                connection->state == ConnectionState::kReady;
  // New tables may have come while the body was fetched.
  if (usable && !StillServes(DestinationOf(*connection, now), *connection, now)) {
    EndTransaction(*connection, now);
    Leave(*connection, now);
    usable = false;
  }
  const bool sendable =
      parcel.body_state == BodyState::kLent && connections_.HasStreamFor(parcel) && !draining_;
  if (usable && sendable) {
    connection->awaited = nullptr;
    Destination& destination = DestinationOf(*connection, now);
    TagSender(parcel, destination, now);
    return connections_.Offer(*connection, parcel, connection->granted,
                              now.instant >= destination.data_only_until, now);
  }
  if (usable) {
    EndTransaction(*connection, now);
    OnReady(*connection, now);
  }
  switch (parcel.body_state) {
    case BodyState::kLent:
      if (!connections_.HasStreamFor(parcel)) return GiveBack(parcel, ParcelResult::kRecalled);
      return OnConnectionLost(parcel, now);
    case BodyState::kNoRoom:
      return GiveBack(parcel, ParcelResult::kRecalled);
    case BodyState::kDamaged:
      unsent_.Begin(parcel, parcel.recipients, now.instant);
      unsent_.FinishDeferred("451 4.3.0 the message cannot be read back from the spool",
                             now.instant);
      return GiveBack(parcel, ParcelResult::kAttempted);
    case BodyState::kLost:
      unsent_.Begin(parcel, parcel.recipients, now.instant);
      unsent_.Finish(smtp::MessageResult::kRefused,
                     OwnReply("554 5.3.0 the message was damaged in the spool"), "", now.instant);
      return GiveBack(parcel, ParcelResult::kAttempted);
    case BodyState::kNotAsked:
    case BodyState::kAsked:
      CHECK(parcel.body_state == BodyState::kLent);
  }
}

void Dispatcher::TagSender(Parcel& parcel, const Destination& destination, Now now) const {
  parcel.tagged_sender.clear();
  if (options_.tagger == nullptr || !destination.controls.tag_sender) return;
  options_.tagger->Tag(parcel.message->envelope.sender, now.wall, parcel.tagged_sender);
}

// Its connection was lost while the body was fetched. Another one is tried at once, unless none is
// to be had now: then this was its attempt.
void Dispatcher::OnConnectionLost(Parcel& parcel, Now now) {
  if (draining_) return GiveBack(parcel, ParcelResult::kRecalled);
  Destination* destination = FindDestination(parcel.destination());
  Lane* lane = destination == nullptr ? nullptr : FindLane(*destination, parcel.message->pool);
  if (lane == nullptr || !HostsFail(*lane, now)) return GiveBack(parcel, ParcelResult::kAgain);
  RefuseParcel(*lane, parcel, smtp::MessageResult::kSessionLost, lane->failure, now);
}

// Its time is up in the queue.
void Dispatcher::OnParcelExpired(Parcel& parcel, Now) {
  Destination* destination = FindDestination(parcel.destination());
  CHECK(destination != nullptr);
  Lane* lane = FindLane(*destination, parcel.message->pool);
  CHECK(lane != nullptr);
  lane->queue.Remove(parcel);
  parcel.binding_limit.assign(lane->binding.data(), lane->binding.size());
  if (lane->failure.code != 0) parcel.reply = lane->failure;
  parcel.tls = lane->failure_tls;
  GiveBack(parcel, ParcelResult::kExpired);
  LookAt(*lane);
}

}  // namespace sluice::delivery
