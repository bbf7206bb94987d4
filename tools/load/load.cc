#include "tools/load/load.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/io/clock.h"
#include "tools/lost_connection.h"
#include "tools/process.h"

namespace sluice::tools {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kTurnMax = milliseconds(100);  // How long a stop signal may go unseen.
constexpr Duration kInterval = seconds(1);
constexpr Duration kStopGrace = seconds(5);  // For transactions that are under way.

constexpr Duration kHandshakeTimeout = seconds(30);

// Before a server that took no message on the last connection, or none at all, is tried again.
constexpr Duration kReopenAfter = milliseconds(200);

// Another one for each run on any machine, as far as the clock tells them apart.
uint32_t RunNumber(WallTime now) {
  const int64_t at = now.time_since_epoch().count();
  return static_cast<uint32_t>(
      XXH3_64bits_withSeed(&at, sizeof(at), static_cast<uint64_t>(getpid())));
}

}  // namespace

Load::Load(const LoadOptions& options, io::Io& io, Now now)
    : options_(options),
      io_(io),
      now_(now),
      run_(RunNumber(now.wall)),
      maker_(
          {.sizes_bytes = options.sizes.sizes_bytes(), .sender = options.sender, .now = now.wall}),
      work_({.messages = options.messages,
             .rate_per_s = options.rate_per_s,
             .recipients_per_message = options.recipients_per_message,
             .seed = options.seed},
            options.sizes, options.domains, now.instant),
      timers_(now.instant),
      connections_(static_cast<size_t>(std::min<uint64_t>(options.connections, options.messages))),
      started_at_(now.instant),
      interval_at_(now.instant + kInterval) {
  for (uint32_t i = 0; i < connections_.size(); ++i) {
    Connection& connection = connections_[i];
    connection.handle = {i, 1};
    connection.deadline.owner = &connection;
    connection.open_from = now.instant;
    away_.PushBack(connection);
  }
}

// --- Turns.

absl::Status Load::Run() {
  const Duration cpu_before = CpuTime();
  while (!Finished()) Turn();
  results_.cpu = CpuTime() - cpu_before;
  return Verdict();
}

bool Load::Finished() const {
  return (stopping_ || work_.done()) && away_.size() == connections_.size();
}

absl::Status Load::Verdict() const {
  if (!failure_.ok()) return failure_;
  const std::string came_to =
      absl::StrCat(results_.accepted, " messages of ", options_.messages, " were accepted");
  if (timed_out_) {
    const std::string tls =
        last_tls_fault_.empty() ? "" : absl::StrCat("; TLS failed last with: ", last_tls_fault_);
    return absl::DeadlineExceededError(absl::StrCat("timeout: ", came_to, tls));
  }
  if (stopping_) return absl::CancelledError(absl::StrCat("stopped by a signal: ", came_to));
  if (results_.given_up > 0 && !options_.allow_refusals) {
    return absl::FailedPreconditionError(
        absl::StrCat(results_.given_up, " recipients were refused; ", came_to));
  }
  return absl::OkStatus();
}

void Load::Turn() {
  OpenAway();
  ServeReady();
  io_.Wait(TurnEnd(), completions_);
  now_ = io::ReadClock();
  // What was sent is known to be before what came in answer.
  for (const io::Completion& completion : completions_) {
    if (static_cast<Tag>(completion.op.tag) == Tag::kSend) OnCompletion(completion);
  }
  for (const io::Completion& completion : completions_) {
    if (static_cast<Tag>(completion.op.tag) != Tag::kSend) OnCompletion(completion);
  }
  while (Timer* timer = timers_.PopDue(now_.instant)) {
    OnDeadline(*static_cast<Connection*>(timer->owner));
  }
  if (absl::Status written = ledger_.Flush(); !written.ok() && failure_.ok()) {
    failure_ = std::move(written);
    Stop();
  }
  OnInterval();
}

Instant Load::TurnEnd() const {
  Instant end = std::min(timers_.NextDue(), now_.instant + kTurnMax);
  if (stopping_) return end;
  if (!ready_.empty()) end = std::min(end, work_.NextDue());
  if (!away_.empty() && work_.unassigned() > 0) end = std::min(end, away_.Front()->open_from);
  return end;
}

void Load::OnInterval() {
  if (StopWanted()) Stop();
  if (now_.instant - started_at_ >= options_.timeout && !stopping_ && !work_.done()) {
    timed_out_ = true;
    Stop();
  }
  if (work_.done() && abort_at_ == kNever) abort_at_ = now_.instant + kStopGrace;
  if (now_.instant >= abort_at_) {
    for (Connection& connection : connections_) {
      if (connection.phase == Phase::kConnecting) BeginClose(connection);
      if (connection.phase != Phase::kOpen) continue;
      connection.session.Abort();
      Drive(connection);
    }
  }
  if (now_.instant < interval_at_) return;
  interval_at_ = now_.instant + kInterval;
  if (options_.progress) {
    std::fprintf(stderr, "%lu messages (+%lu), %lu in doubt, %lu sessions lost\n",
                 results_.accepted, results_.accepted - accepted_at_interval_, results_.in_doubt,
                 results_.sessions_lost);
  }
  accepted_at_interval_ = results_.accepted;
}

void Load::Stop() {
  if (stopping_) return;
  stopping_ = true;
  abort_at_ = std::min(abort_at_, now_.instant + kStopGrace);
}

// --- Connections begin.

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

// --- Connections go on.

void Load::OnReceive(Connection& connection, const io::Completion& completion) {
  if (!completion.more) connection.receive_in_flight = false;
  if (connection.phase == Phase::kClosing) return FinishClose(connection);
  if (completion.result > 0 && connection.secure.state() != SecureBytes::State::kClear) {
    TakeSecure(connection, io::TextOf(completion.received));
  } else if (completion.result > 0) {
    connection.session.OnBytes(io::TextOf(completion.received), now_);
  } else {
    if (completion.result < 0) CheckConnectionError(completion.result);
    if (connection.secure.state() == SecureBytes::State::kSecuring) {
      last_tls_fault_ = "the connection was lost in the handshake";
    }
    connection.session.OnClosed(now_);
  }
  Drive(connection);
}

// The handshake, and what comes within TLS; both may come at once.
void Load::TakeSecure(Connection& connection, absl::string_view ciphertext) {
  SecureBytes& secure = connection.secure;
  const bool securing = secure.state() == SecureBytes::State::kSecuring;
  secure.Take(ciphertext);
  if (securing && secure.state() == SecureBytes::State::kSecure) {
    ++results_.tls_connections;
    connection.secure_by = kNever;
    connection.session.OnTlsEstablished(now_);
    DriveActions(connection);
  }
  switch (secure.state()) {
    case SecureBytes::State::kClear:
      CHECK(secure.state() != SecureBytes::State::kClear);
      return;
    case SecureBytes::State::kSecuring:
      return;
    case SecureBytes::State::kSecure:
      if (!secure.plaintext().empty()) connection.session.OnBytes(secure.plaintext(), now_);
      if (!secure.peer_ended()) return;
      DriveActions(connection);
      return connection.session.OnClosed(now_);
    case SecureBytes::State::kFailed:
    case SecureBytes::State::kBroken:
      last_tls_fault_ = std::string(secure.fault());
      return connection.session.Abort();
  }
}

void Load::OnDeadline(Connection& connection) {
  if (now_.instant >= connection.secure_by) {
    const bool failed = connection.secure.state() == SecureBytes::State::kFailed;
    last_tls_fault_ =
        std::string(failed ? connection.secure.fault() : "the handshake took too long");
    connection.session.Abort();
  } else {
    connection.session.OnDeadline(now_);
  }
  Drive(connection);
}

void Load::OnSend(Connection& connection, const io::Completion& completion) {
  connection.send_in_flight = false;
  if (connection.phase == Phase::kClosing) return FinishClose(connection);
  // The receive ends too, after what the server has still said.
  if (completion.result < 0) return CheckConnectionError(completion.result);
  Drive(connection);
}

// After every event of the session.
void Load::Drive(Connection& connection) {
  DriveActions(connection);
  if (connection.phase != Phase::kOpen) return;
  SendOutput(connection);
  if (connection.phase != Phase::kOpen) return;
  if (connection.ready_after_send && !connection.send_in_flight) BecomeReady(connection);
  timers_.Arm(connection.deadline, std::min(connection.session.deadline(), connection.secure_by));
}

void Load::DriveActions(Connection& connection) {
  if (connection.phase != Phase::kOpen) return;
  for (;;) {
    switch (connection.session.Next()) {
      case smtp::ClientAction::kNone:
        return;
      case smtp::ClientAction::kSend:
        break;  // SendOutput looks.
      case smtp::ClientAction::kSendBody:
        connection.body_pending = true;
        break;
      case smtp::ClientAction::kReady:
        // What is lent to the ring must not be made anew under it.
        connection.ready_after_send = true;
        break;
      case smtp::ClientAction::kRecipientDone:
        OnRecipientRefused(connection);
        break;
      case smtp::ClientAction::kRecipientMoved:
        connection.current().fates[connection.session.recipient_index()] = Fate::kMoved;
        ++connection.current().moved;
        break;
      case smtp::ClientAction::kMessageDone:
        OnMessageDone(connection);
        break;
      case smtp::ClientAction::kTlsAnswer:
        OnTlsAnswer(connection);
        break;
      case smtp::ClientAction::kStartTls:
        BeginHandshake(connection);
        break;
      case smtp::ClientAction::kClose:
        if (!connection.quitting) ++results_.sessions_lost;
        return BeginClose(connection);
    }
  }
}

// There is none.
void Load::OnTlsAnswer(Connection& connection) {
  const smtp::TlsAnswer answer = connection.session.tls_answer();
  const smtp::Reply& reply = connection.session.reply();
  if (answer == smtp::TlsAnswer::kRefused) {
    last_tls_fault_ = absl::StrCat("STARTTLS was refused with ", reply.code);
  } else if (failure_.ok()) {
    failure_ = absl::FailedPreconditionError(
        absl::StrCat(options_.to.ToString(), " does not offer STARTTLS"));
    Stop();
  }
  connection.session.RefuseTls(now_);
}

void Load::BeginHandshake(Connection& connection) {
  connection.secure.StartClient(options_.tls);
  const bool begun = connection.secure.state() == SecureBytes::State::kSecuring;
  connection.secure_by = now_.instant + (begun ? kHandshakeTimeout : Duration::zero());
}

void Load::SendOutput(Connection& connection) {
  if (connection.send_in_flight) return;
  if (connection.secure.state() == SecureBytes::State::kClear) {
    SendClear(connection);
  } else {
    SendSecure(connection);
  }
}

void Load::SendClear(Connection& connection) {
  const bool with_body = connection.body_pending;
  CHECK(!with_body || connection.session.output().empty());
  if (with_body) EndBody(connection);  // What is said from here on stands behind it.
  const absl::string_view output = connection.session.output();
  if (output.empty() && !with_body) return;
  connection.sending.assign(output.data(), output.size());
  connection.session.ClearOutput();
  std::array<io::Bytes, 4> parts = {io::BytesOf(connection.sending)};
  size_t parts_count = 1;
  if (with_body) {
    const MadeMessage& message = connection.current().message;
    parts = {io::BytesOf(message.header), io::BytesOf(message.body), io::BytesOf(message.end),
             io::BytesOf(connection.sending)};
    parts_count = connection.sending.empty() ? 3 : 4;
  }
  connection.send_in_flight = true;
  io_.Send(OpOf(connection, Tag::kSend), connection.socket, std::span(parts).first(parts_count));
}

// What the session says while the handshake is on is nothing: it waits for its end.
void Load::SendSecure(Connection& connection) {
  plaintext_.clear();
  if (connection.body_pending) {
    CHECK(connection.session.output().empty());
    const MadeMessage& message = connection.current().message;
    absl::StrAppend(&plaintext_, message.header, message.body, message.end);
    EndBody(connection);
  }
  absl::StrAppend(&plaintext_, connection.session.output());
  connection.session.ClearOutput();
  if (!plaintext_.empty() && !connection.secure.Seal(plaintext_)) {
    last_tls_fault_ = std::string(connection.secure.fault());
    connection.session.Abort();
    return DriveActions(connection);
  }
  connection.sending.clear();
  connection.secure.TakeOutput(connection.sending);
  if (connection.sending.empty()) return;
  const io::Bytes part = io::BytesOf(connection.sending);
  connection.send_in_flight = true;
  io_.Send(OpOf(connection, Tag::kSend), connection.socket, {&part, 1});
}

// Its last piece is about to be sent, and with it the commands of the next message.
void Load::EndBody(Connection& connection) {
  connection.body_pending = false;
  connection.current().dot_at = now_.instant;
  connection.session.OnBodyEnding(now_);
  CHECK(connection.session.Next() == smtp::ClientAction::kNone);
  OfferAhead(connection);
}

void Load::OfferAhead(Connection& connection) {
  if (stopping_ || UsedUp(connection)) return;
  if (!connection.session.extensions().pipelining || !options_.pipelining) return;
  const std::optional<Piece> piece = work_.Take(now_.instant);
  if (!piece) return;
  const smtp::Transaction transaction = Prepare(connection.next(), *piece);
  if (!connection.session.MayOfferAhead(transaction)) {
    work_.PutBack(*piece);
    return work_.Finish();
  }
  connection.ahead = true;
  connection.session.OfferAhead(transaction, now_);
  CHECK(connection.session.Next() == smtp::ClientAction::kSend);
  CHECK(connection.session.Next() == smtp::ClientAction::kNone);
}

void Load::BecomeReady(Connection& connection) {
  connection.ready_after_send = false;
  connection.ready = true;
  ready_.PushBack(connection);
}

// It has had its messages.
bool Load::UsedUp(const Connection& connection) const {
  const uint64_t most = options_.messages_per_connection;
  return most > 0 && connection.session.transactions() >= most;
}

void Load::ServeReady() {
  const bool over = stopping_ || work_.done();
  for (size_t left = ready_.size(); left > 0; --left) {
    Connection& connection = *ready_.PopFront();
    connection.ready = false;
    if (over || UsedUp(connection)) {
      Quit(connection);
    } else if (const auto piece = work_.Take(now_.instant)) {
      Offer(connection, *piece);
    } else {
      BecomeReady(connection);
      if (options_.messages_per_connection == 0) return;  // Nor is there anything for the others.
    }
  }
}

void Load::Offer(Connection& connection, const Piece& piece) {
  CHECK(!connection.send_in_flight);
  CHECK(!connection.ahead);
  connection.session.Offer(Prepare(connection.current(), piece), now_);
  Drive(connection);
}

// A message for the piece, in a place that nothing is lent from.
smtp::Transaction Load::Prepare(Carried& carried, const Piece& piece) {
  carried.Make(piece, {.run = run_, .number = next_number_++},
               options_.domains.domains()[piece.domain], maker_);
  return carried.TransactionFrom(options_.sender);
}

void Load::Quit(Connection& connection) {
  connection.quitting = true;
  connection.session.Quit(now_);
  Drive(connection);
}

// --- Connections end.

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
