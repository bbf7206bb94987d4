#include "tools/sink/sink.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/io/clock.h"
#include "tools/lost_connection.h"
#include "tools/process.h"

namespace sluice::tools {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kTurnMax = milliseconds(100);  // How long a stop signal may go unseen.
constexpr Duration kInterval = seconds(1);
constexpr Duration kQuietMax = seconds(300);  // RFC 5321 4.5.3.2.7.
constexpr Duration kLastReplyMax = seconds(30);
constexpr Duration kLingerMax = seconds(2);
constexpr Duration kStopGrace = seconds(2);  // For the clients' QUITs, and again for our 421s.

// Replies that a client leaves unread; it is closed beyond. A group of 1,000 recipients has 20 KB.
constexpr size_t kUnsentBytesMax = 256 << 10;

std::vector<std::string> RowNames(const SinkOptions& options) {
  std::vector<std::string> names;
  for (const SocketAddress& address : options.listen) names.push_back(address.ToString());
  return names;
}

}  // namespace

Sink::Sink(const SinkOptions& options, uint32_t connections_max, io::Io& io, Now now)
    : options_(options),
      io_(io),
      now_(now),
      faults_(options.faults, options.seed),
      tally_({.windows = options.windows,
              .ports = RowNames(options),
              .remembered_max = options.remembered_max}),
      sinking_{.options = options, .faults = faults_, .tally = tally_, .received = received_},
      timers_(now.instant),
      connections_(connections_max),
      interval_at_(now.instant + kInterval) {}

// --- Start, turns, end.

absl::Status Sink::Listen() {
  if (absl::Status opened = received_.Open(options_.received_path); !opened.ok()) return opened;
  for (const SocketAddress& address : options_.listen) {
    const io::Socket socket = io_.Listen(address, {});
    if (!socket) {
      return absl::UnavailableError(absl::StrCat("cannot listen on ", address.ToString(), ": ",
                                                 strerror(-socket.descriptor)));
    }
    const SocketAddress local = io_.LocalAddress(socket);
    const auto index = static_cast<uint32_t>(listeners_.size());
    listeners_.push_back({.socket = socket, .port = local.port, .accept_in_flight = true});
    io_.Accept(io::MakeOpId(static_cast<uint8_t>(Tag::kAccept), {index, 1}), socket);
    std::fprintf(stderr, "listening on %s\n", local.ToString().c_str());
  }
  return absl::OkStatus();
}

absl::Status Sink::Run() {
  while (!Finished()) Turn();
  if (absl::Status flushed = received_.Flush(); failure_.ok()) failure_ = flushed;
  return failure_;
}

bool Sink::Finished() const {
  const bool listening =
      std::any_of(listeners_.begin(), listeners_.end(),
                  [](const Listener& listener) { return bool(listener.socket); });
  return !listening && connections_.taken() == 0;
}

// Departures before arrivals: a client that ends one connection and then opens another never had
// both, and completions of one turn come in no promised order.
void Sink::Turn() {
  io_.Wait(std::min(timers_.NextDue(), now_.instant + kTurnMax), completions_);
  now_ = io::ReadClock();
  for (const io::Completion& completion : completions_) {
    const Tag tag = static_cast<Tag>(completion.op.tag);
    if (tag == Tag::kAccept) continue;
    Connection* connection = connections_.Find(completion.op.handle());
    CHECK(connection != nullptr);  // A slot is freed only when nothing is in flight.
    if (tag == Tag::kReceive) OnReceive(*connection, completion);
    if (tag == Tag::kSend) OnSend(*connection, completion);
  }
  for (const io::Completion& completion : completions_) {
    if (static_cast<Tag>(completion.op.tag) == Tag::kAccept) {
      OnAccept(completion.op.slot, completion);
    }
  }
  while (Timer* timer = timers_.PopDue(now_.instant)) OnTimer(*timer);
  if (tally_.total().messages != messages_at_turn_) last_message_at_ = now_.instant;
  messages_at_turn_ = tally_.total().messages;
  OnInterval();
}

// What is looked after beside the connections: the files, the progress line, the end.
void Sink::OnInterval() {
  const bool all_came = options_.expect > 0 && tally_.total().messages >= options_.expect;
  if (StopWanted()) BeginStop(Duration::zero());
  if (all_came) BeginStop(kStopGrace);
  const bool second = now_.instant >= interval_at_;
  absl::Status flushed = second ? received_.Flush() : received_.FlushIfLarge();
  if (!flushed.ok() && failure_.ok()) {
    failure_ = std::move(flushed);
    BeginStop(Duration::zero());
  }
  // Waiting is over as soon as the last client has left.
  if (stop_at_ != kNever && connections_.taken() == 0) stop_at_ = now_.instant;
  if (now_.instant >= stop_at_ && !told_to_end_) {
    told_to_end_ = true;
    StopAccepting();
    connections_.ForEach([&](Connection& connection) {
      if (connection.phase != Phase::kOpen) return;
      connection.dialogue.ShutDown(now_.instant);
      Settle(connection);
    });
  }
  if (now_.instant >= close_at_) {
    connections_.ForEach([&](Connection& connection) { Close(connection); });
  }
  if (!second) return;
  if (options_.progress) {
    const Counts& total = tally_.total();
    std::fprintf(stderr, "%lu messages (+%lu), %u connections\n", total.messages,
                 total.messages - messages_at_interval_, total.connections_now);
  }
  messages_at_interval_ = tally_.total().messages;
  interval_at_ = now_.instant + kInterval;
}

void Sink::BeginStop(Duration grace) {
  stop_at_ = std::min(stop_at_, now_.instant + grace);
  close_at_ = std::min(close_at_, now_.instant + grace + kStopGrace);
}

void Sink::StopAccepting() {
  for (uint32_t i = 0; i < listeners_.size(); ++i) {
    if (!listeners_[i].accept_in_flight) continue;
    io_.Cancel(io::MakeOpId(static_cast<uint8_t>(Tag::kAccept), {i, 1}));
  }
}

// --- Connections begin.

void Sink::OnAccept(uint32_t index, const io::Completion& completion) {
  Listener& listener = listeners_[index];
  if (completion.result >= 0) OpenConnection(index, io::Socket{completion.result});
  if (completion.more) return;
  listener.accept_in_flight = false;
  switch (completion.result) {
    case -EMFILE:
    case -ENFILE:
    case -ENOBUFS:
    case -ENOMEM:  // Connections wait in the queue until there is room.
      ++connections_refused_;
      break;
    case -ECANCELED:
      break;
    default:
      if (completion.result < 0) CheckConnectionError(completion.result);
  }
  if (told_to_end_) {
    io_.Close(std::exchange(listener.socket, {}));
    return;
  }
  listener.accept_in_flight = true;
  io_.Accept(completion.op, listener.socket);
}

void Sink::OpenConnection(uint32_t port_index, io::Socket socket) {
  Connection* taken = told_to_end_ ? nullptr : connections_.Take();
  if (taken == nullptr) {
    ++connections_refused_;
    io_.Close(socket);
    return;
  }
  Connection& connection = *taken;
  connection.socket = socket;
  connection.handle = connections_.HandleOf(connection);
  connection.phase = Phase::kOpen;
  connection.heard_at = now_.instant;
  connection.read_again_at = now_.instant;
  connection.receive_in_flight = connection.receive_cancelled = connection.send_in_flight = false;
  connection.sending.clear();
  const std::pair<Timer*, TimerKind> timers[] = {{&connection.quiet_timer, TimerKind::kQuiet},
                                                 {&connection.pause_timer, TimerKind::kPause},
                                                 {&connection.slow_timer, TimerKind::kSlow}};
  for (const auto& [timer, kind] : timers) {
    timer->owner = &connection;
    timer->kind = static_cast<uint8_t>(kind);
  }
  timers_.Arm(connection.quiet_timer, now_.instant + kQuietMax);
  connection.dialogue.Begin(sinking_, {.port_index = port_index,
                                       .port = listeners_[port_index].port,
                                       .client = io_.PeerAddress(socket)});
  Settle(connection);
}

// --- Connections go on.

void Sink::OnReceive(Connection& connection, const io::Completion& completion) {
  if (!completion.more) connection.receive_in_flight = connection.receive_cancelled = false;
  if (completion.result > 0 && connection.phase == Phase::kOpen) {
    connection.heard_at = now_.instant;
    ReadSlowly(connection, completion.received.size());
    connection.dialogue.Take(io::TextOf(completion.received), now_.instant);
  } else if (completion.result == 0) {
    Close(connection);
    return;
  } else if (completion.result < 0 && completion.result != -ECANCELED) {
    CheckConnectionError(completion.result);
    Close(connection);
    return;
  }
  Settle(connection);
}

void Sink::OnSend(Connection& connection, const io::Completion& completion) {
  connection.send_in_flight = false;
  if (completion.result < 0) {
    CheckConnectionError(completion.result);
    Close(connection);
    return;
  }
  Settle(connection);
}

void Sink::OnTimer(Timer& timer) {
  Connection& connection = *static_cast<Connection*>(timer.owner);
  switch (static_cast<TimerKind>(timer.kind)) {
    case TimerKind::kQuiet:
      return OnQuiet(connection);
    case TimerKind::kPause:
      connection.dialogue.Resume(now_.instant);
      return Settle(connection);
    case TimerKind::kSlow:
      return Settle(connection);
  }
}

void Sink::OnQuiet(Connection& connection) {
  if (connection.phase != Phase::kOpen) return Close(connection);
  // Not armed anew at each receive: the first to fire finds that there was something.
  const Instant due = connection.heard_at + kQuietMax;
  if (now_.instant < due) return timers_.Arm(connection.quiet_timer, due);
  connection.dialogue.TimedOut(now_.instant);
  Settle(connection);
}

// After every event: does what the dialogue wants, and begins or ends operations to match.
void Sink::Settle(Connection& connection) {
  if (connection.phase == Phase::kOpen) FollowWish(connection);
  SendOutput(connection);
  if (connection.phase == Phase::kLastReply && !connection.send_in_flight) LastSaid(connection);
  AdjustReceive(connection);
  if (connection.phase != Phase::kClosing) return;
  if (!connection.receive_in_flight && !connection.send_in_flight) Free(connection);
}

void Sink::FollowWish(Connection& connection) {
  switch (connection.dialogue.wish()) {
    case Dialogue::Wish::kGoOn:
      break;
    case Dialogue::Wish::kPause:
      if (!connection.pause_timer.armed()) {
        timers_.Arm(connection.pause_timer, now_.instant + connection.dialogue.pause());
      }
      break;
    case Dialogue::Wish::kEnd:
    case Dialogue::Wish::kDrop:
      return Enter(connection, Phase::kLastReply);
  }
  if (connection.dialogue.output().size() > kUnsentBytesMax) Enter(connection, Phase::kClosing);
}

void Sink::SendOutput(Connection& connection) {
  const bool may_send = connection.phase == Phase::kOpen || connection.phase == Phase::kLastReply;
  std::string& output = connection.dialogue.output();
  if (!may_send || connection.send_in_flight || output.empty()) return;
  connection.sending.clear();
  connection.sending.swap(output);
  const io::Bytes part = io::BytesOf(connection.sending);
  connection.send_in_flight = true;
  io_.Send(io::MakeOpId(static_cast<uint8_t>(Tag::kSend), connection.handle), connection.socket,
           {&part, 1});
}

// Reads unless there is a reason not to.
void Sink::AdjustReceive(Connection& connection) {
  bool wanted = connection.phase != Phase::kClosing;
  if (connection.phase == Phase::kOpen) {
    if (connection.dialogue.held_bytes() > limits::kPausedInputBytesMax) wanted = false;
    if (now_.instant < connection.read_again_at) wanted = false;
  }
  const io::OpId op = io::MakeOpId(static_cast<uint8_t>(Tag::kReceive), connection.handle);
  if (wanted && !connection.receive_in_flight) {
    connection.receive_in_flight = true;
    io_.Receive(op, connection.socket);
  } else if (!wanted && connection.receive_in_flight && !connection.receive_cancelled) {
    connection.receive_cancelled = true;
    io_.Cancel(op);
  }
}

// A slow reader pays for each piece with the time that it should have taken.
void Sink::ReadSlowly(Connection& connection, size_t bytes) {
  const uint32_t bytes_per_s = connection.dialogue.bytes_per_s();
  if (bytes_per_s == 0) return;
  const Duration taken(static_cast<int64_t>(bytes) * 1'000'000'000 / bytes_per_s);
  connection.read_again_at = std::max(connection.read_again_at, now_.instant) + taken;
  timers_.Arm(connection.slow_timer, connection.read_again_at);
}

// --- Connections end.

void Sink::Enter(Connection& connection, Phase phase) {
  CHECK(phase > connection.phase);
  connection.phase = phase;
  timers_.Disarm(connection.pause_timer);
  timers_.Disarm(connection.slow_timer);
  timers_.Disarm(connection.quiet_timer);
  switch (phase) {
    case Phase::kOpen:
      CHECK(phase != Phase::kOpen);
      return;
    case Phase::kLastReply:
      timers_.Arm(connection.quiet_timer, now_.instant + kLastReplyMax);
      return;
    case Phase::kLingering:
      timers_.Arm(connection.quiet_timer, now_.instant + kLingerMax);
      return;
    case Phase::kClosing:
      connection.dialogue.Lost();
      if (connection.send_in_flight) {
        io_.Cancel(io::MakeOpId(static_cast<uint8_t>(Tag::kSend), connection.handle));
      }
      return;
  }
}

void Sink::LastSaid(Connection& connection) {
  if (connection.dialogue.wish() == Dialogue::Wish::kDrop) {
    return Enter(connection, Phase::kClosing);
  }
  io_.ShutdownSend(connection.socket);
  Enter(connection, Phase::kLingering);
}

void Sink::Close(Connection& connection) {
  if (connection.phase != Phase::kClosing) Enter(connection, Phase::kClosing);
  Settle(connection);
}

void Sink::Free(Connection& connection) {
  io_.Close(connection.socket);
  connections_.Release(connection);
}

}  // namespace sluice::tools
