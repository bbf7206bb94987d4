// Sockets: opened, connected, closed, and what the ring says of them.

#include "engine/base/check.h"
#include "tools/load/load.h"
#include "tools/lost_connection.h"

namespace sluice::tools {
namespace {

// Before a server that took no message on the last connection, or none at all, is tried again.
constexpr Duration kReopenAfter = std::chrono::milliseconds(200);

}  // namespace

void Load::OpenAway() {
  if (stopping_) return;
  for (uint64_t left = work_.unassigned(); left > 0; --left) {
    Connection* connection = away_.Front();
    if (connection == nullptr || connection->open_from > now_.instant) return;
    away_.Remove(*connection);
    Open(*connection);
  }
}

void Load::Open(Connection& connection) {
  CHECK(connection.phase == Phase::kAway);
  connection.socket = io_.OpenStream(options_.to.ip.family, {});
  if (!connection.socket) {
    ++results_.connections_failed;
    connection.open_from = now_.instant + kReopenAfter;
    away_.PushBack(connection);
    return;
  }
  connection.phase = Phase::kConnecting;
  connection.accepted = 0;
  connection.ready_after_send = connection.body_pending = connection.quitting = false;
  CHECK(!connection.ahead);
  connection.connect_in_flight = true;
  io_.Connect(OpOf(connection, Tag::kConnect), connection.socket, options_.to);
}

void Load::OnCompletion(const io::Completion& completion) {
  Connection& connection = connections_[completion.op.slot];
  CHECK(completion.op.handle() == connection.handle);
  switch (static_cast<Tag>(completion.op.tag)) {
    case Tag::kConnect:
      return OnConnect(connection, completion);
    case Tag::kReceive:
      return OnReceive(connection, completion);
    case Tag::kSend:
      return OnSend(connection, completion);
  }
}

void Load::OnConnect(Connection& connection, const io::Completion& completion) {
  connection.connect_in_flight = false;
  if (connection.phase == Phase::kClosing) return FinishClose(connection);
  if (completion.result < 0) {
    CheckConnectionError(completion.result);
    ++results_.connections_failed;
    return BeginClose(connection);
  }
  ++results_.connections;
  connection.phase = Phase::kOpen;
  connection.secure.Begin();
  connection.secure_by = kNever;
  connection.session.Begin({.ehlo_name = options_.hostname,
                            .may_pipeline = options_.pipelining,
                            .start_tls = options_.tls != nullptr},
                           now_);
  connection.receive_in_flight = true;
  io_.Receive(OpOf(connection, Tag::kReceive), connection.socket);
  Drive(connection);
}

void Load::BeginClose(Connection& connection) {
  CHECK(connection.phase != Phase::kClosing);
  CHECK(connection.phase != Phase::kAway);
  if (connection.phase == Phase::kOpen) {
    const bool unsecured = connection.secure.state() == SecureBytes::State::kSecuring ||
                           connection.secure.state() == SecureBytes::State::kFailed;
    results_.handshakes_failed += unsecured;
  }
  connection.phase = Phase::kClosing;
  timers_.Disarm(connection.deadline);
  if (connection.ready) ready_.Remove(connection);
  connection.ready = false;
  const std::pair<bool, Tag> in_flight[] = {{connection.connect_in_flight, Tag::kConnect},
                                            {connection.receive_in_flight, Tag::kReceive},
                                            {connection.send_in_flight, Tag::kSend}};
  for (const auto& [is, tag] : in_flight) {
    if (is) io_.Cancel(OpOf(connection, tag));
  }
  FinishClose(connection);
}

// The slot is free when nothing is in flight.
void Load::FinishClose(Connection& connection) {
  CHECK(connection.phase == Phase::kClosing);
  if (connection.connect_in_flight || connection.receive_in_flight || connection.send_in_flight) {
    return;
  }
  io_.Close(connection.socket);
  connection.phase = Phase::kAway;
  connection.handle.generation = connection.handle.generation % 0xffffff + 1;
  connection.open_from = now_.instant + (connection.accepted > 0 ? Duration::zero() : kReopenAfter);
  if (connection.open_from == now_.instant) {
    away_.PushFront(connection);  // Before those that wait.
  } else {
    away_.PushBack(connection);
  }
}

io::OpId Load::OpOf(const Connection& connection, Tag tag) const {
  return io::MakeOpId(static_cast<uint8_t>(tag), connection.handle);
}

}  // namespace sluice::tools
