// A connection from its plan to its greeting: one address after the other, until one lets us in.

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/delivery/connection.h"
#include "engine/delivery/tags.h"

namespace sluice::delivery {
namespace {

// How long an address may take to answer the connect: Postfix's smtp_connect_timeout.
constexpr Duration kConnectTimeout = std::chrono::seconds(30);

// What is no fault of any host: we have run out of something.
bool OurShortage(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

// What says nothing of the address but that we have no way to it (S8).
bool NoWayThere(int error) {
  return error == EAFNOSUPPORT || error == ENETUNREACH || error == EADDRNOTAVAIL;
}

smtp::Reply ConnectFailure(const dns::RouteStep& step, int error) {
  return OwnReply(absl::StrCat("451 4.4.1 ", step.host, " [", step.address.ip.ToString(),
                               "]:", step.address.port, ": ", std::strerror(error)));
}

}  // namespace

Connection* Connections::Open(Handle lane, Plan plan, Now now) {
  CHECK(!plan.steps.empty());
  Connection* connection = slab_.Take();
  if (connection == nullptr) return nullptr;
  CHECK(!connection->attempt.active());
  CHECK(!connection->next.active());
  CHECK(!connection->hook.linked());
  CHECK(plan.local != nullptr);
  connection->state = ConnectionState::kConnecting;
  connection->lane = lane;
  connection->source = plan.source;
  connection->local = plan.local;
  connection->counted_ready = false;
  connection->counts_handshake = false;
  connection->leaving = false;
  connection->unneeded = false;
  connection->granted = connection->granted_ahead = 0;
  connection->awaited = nullptr;
  connection->tried = false;
  connection->final = plan.whole_route;
  connection->our_fault = false;
  connection->held_count = 0;
  connection->holds_ready = false;
  connection->steps = std::move(plan.steps);
  connection->step = 0;
  connection->tls = std::move(plan.tls);
  connection->tls_broken = std::move(plan.tls_broken);
  connection->step_try = StepTry::kFirst;
  connection->socket = io::Socket{};
  connection->failure = smtp::Reply{};
  connection->timer.owner = connection;
  connection->timer.kind = static_cast<uint8_t>(TimerKind::kConnection);
  TryStep(*connection, now);
  return connection;
}

void Connections::TryStep(Connection& connection, Now now) {
  connection.state = ConnectionState::kConnecting;
  connection.was_ready = false;
  connection.host_failed = false;
  connection.source_missing = false;
  connection.successes = 0;
  connection.offered_ahead = connection.untried = 0;
  connection.send_broken = false;
  connection.retry_step = false;
  connection.next_try = StepTry::kFirst;
  connection.offered_session = false;
  connection.sending_body = false;
  connection.channel.Begin();
  connection.tls_failed = false;
  connection.closed_early = false;
  // In clear after STARTTLS had failed: the log says why.
  const policy::TlsReason reason = connection.step_try == StepTry::kInClear
                                       ? connection.tls_outcome.decision.reason
                                       : policy::TlsReason::kNone;
  connection.tls_outcome = TlsOutcome{};
  connection.tls_outcome.decision.reason = reason;
  connection.tls_detail.clear();
  connection.tls_time = Duration{};
  if (connection.tls != nullptr) connection.tls_outcome.level = connection.tls->controls.level;
  const dns::RouteStep& step = connection.current_step();
  const Family family = step.address.ip.family;
  connection.socket = io_.OpenStream(family, connection.local->AddressOf(family));
  if (!connection.socket) return OnNoSocket(connection, -connection.socket.descriptor, now);
  connection.step_started = now.instant;
  connection.connect_in_flight = true;
  io_.Connect(Op(connection, static_cast<uint8_t>(Tag::kConnect)), connection.socket, step.address);
  timers_.Arm(connection.timer, now.instant + kConnectTimeout);
}

// Of the ways to fail before anything is asked of the host, a missing address of ours is told.
void Connections::OnNoSocket(Connection& connection, int error, Now now) {
  connection.our_fault = OurShortage(error);
  connection.source_missing = error == EADDRNOTAVAIL;
  connection.failure = ConnectFailure(connection.current_step(), error);
  if (connection.source_missing) Push(ConnectionEventKind::kSourceMissing, connection);
  if (!connection.our_fault) NextStep(connection, connection.failure);
  BeginClose(connection, now);
}

// The address did not give a session: tells it, and makes ready for the next one, if there is one.
void Connections::FailStep(Connection& connection, const smtp::Reply& why) {
  Push(ConnectionEventKind::kStepFailed, connection);
  NextStep(connection, why);
}

void Connections::NextStep(Connection& connection, const smtp::Reply& why) {
  connection.was_ready = false;
  connection.failure = why;
  connection.final &= why.code == 521 || why.code == 556;
  connection.retry_step = connection.step + 1 < connection.steps.size();
}

void Connections::OnConnected(Connection& connection, int32_t result, Now now) {
  connection.connect_in_flight = false;
  if (connection.state == ConnectionState::kClosing) return JoinClose(connection, now);
  if (result < 0) {
    const smtp::Reply why = ConnectFailure(connection.current_step(), -result);
    if (NoWayThere(-result)) {
      NextStep(connection, why);
    } else {
      FailStep(connection, why);
    }
    return BeginClose(connection, now);
  }
  connection.state = ConnectionState::kTalking;
  connection.connect_time = now.instant - connection.step_started;
  const std::string& name = connection.local->hostname;
  connection.session.Begin(
      {.ehlo_name = name.empty() ? options_.ehlo_name : name, .start_tls = AsksForTls(connection)},
      now);
  connection.receive_in_flight = true;
  io_.Receive(Op(connection, static_cast<uint8_t>(Tag::kReceive)), connection.socket);
  Drive(connection, now);
}

void Connections::OnConnectTimeout(Connection& connection, Now now) {
  FailStep(connection, ConnectFailure(connection.current_step(), ETIMEDOUT));
  BeginClose(connection, now);
}

void Connections::Continue(Connection& connection, Now now) {
  CHECK(connection.retry_step);
  CHECK(!connection.socket);
  connection.step_try = connection.next_try;
  if (connection.step_try == StepTry::kFirst) ++connection.step;
  TryStep(connection, now);
}

}  // namespace sluice::delivery
