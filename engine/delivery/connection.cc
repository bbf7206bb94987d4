#include "engine/delivery/connection.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/delivery/tags.h"

namespace sluice::delivery {
namespace {

// Of a buffer, in a slot that is not in use.
constexpr size_t kKeptBytesMax = 8 << 10;

// How long a server that has answered may take to let the rest of the body in.
constexpr Duration kBodyTakenTimeout = std::chrono::seconds(30);

constexpr absl::string_view kLost = "451 4.4.2 the connection was lost";

constexpr absl::string_view kUnreadable =
    "451 4.3.0 the message cannot be read back from the spool";

}  // namespace

io::OpId Connections::Op(const Connection& connection, uint8_t tag) {
  return io::MakeOpId(tag, slab_.HandleOf(connection));
}

void Connections::Push(ConnectionEventKind kind, Connection& connection, Parcel* parcel) {
  if (parcel != nullptr && options_.active != nullptr) {
    options_.active->End(HandleOf(connection).slot);
    if (connection.attempt.active()) BeginActive(connection, *connection.attempt.parcel());
  }
  events_.push_back({.kind = kind,
                     .connection = &connection,
                     .parcel = parcel,
                     .address = connection.current_step().address});
}

bool Connections::TakeEvent(ConnectionEvent& event) {
  if (events_taken_ == events_.size()) {
    events_.clear();
    events_taken_ = 0;
    return false;
  }
  event = events_[events_taken_++];
  return true;
}

// -------------------------------------------------------------------------------------------------
// Talking.

void Connections::Offer(Connection& connection, Parcel& parcel, uint32_t recipients_max,
                        bool may_chunk, Now now) {
  CHECK(connection.state == ConnectionState::kReady);
  CHECK(parcel.body_state == BodyState::kLent);
  connection.state = ConnectionState::kTalking;
  Introduce(connection, parcel);
  connection.body_unreadable = false;
  CHECK(connection.stream == nullptr);
  if (!parcel.body_places.empty()) {
    connection.stream = streams_.Take();
    CHECK(connection.stream != nullptr);
    connection.stream->Begin(parcel.body_places, parcel.message->wire_bytes,
                             parcel.message->body_checksum);
  }
  connection.attempt.Begin(parcel, recipients_max, now.instant);
  BeginActive(connection, parcel);
  smtp::Transaction transaction = connection.attempt.transaction();
  transaction.at_once = may_chunk && parcel.attempts == 0 && LeavesAtOnce(parcel);
  connection.session.Offer(transaction, now);
  Drive(connection, now);
}

// What the parcel tells of the connection that carries it.
void Connections::Introduce(Connection& connection, Parcel& parcel) {
  parcel.peer_name = connection.current_step().host;
  parcel.peer_address = connection.current_step().address;
  parcel.source = connection.source;
  parcel.stages.connect = std::exchange(connection.connect_time, Duration{});
  parcel.stages.tls = std::exchange(connection.tls_time, Duration{});
  parcel.tls = connection.tls_outcome;
}

void Connections::BeginActive(const Connection& connection, const Parcel& parcel) {
  if (options_.active == nullptr) return;
  options_.active->Begin(slab_.HandleOf(connection).slot, parcel.message->id);
}

// Under TLS the library may have had something to answer.
bool Connections::AwaitsEnd(Connection& connection) {
  if (connection.state != ConnectionState::kTalking || !connection.sending_body) return false;
  if (connection.body_end != BodyEnd::kAsked) return false;
  if (!connection.send_in_flight && !connection.send_broken) return true;
  connection.body_end = BodyEnd::kNotReached;
  return false;
}

bool Connections::EndBody(Connection& connection, Parcel* next, uint32_t recipients_max, Now now) {
  CHECK(AwaitsEnd(connection));
  connection.body_end = BodyEnd::kLeaves;
  connection.session.OnBodyEnding(now);
  const bool ahead = next != nullptr && OfferAhead(connection, *next, recipients_max, now);
  if (next != nullptr) BeginActive(connection, *connection.attempt.parcel());
  SendBodyPiece(connection, now);
  ArmDeadline(connection, now);
  return ahead;
}

bool Connections::OfferAhead(Connection& connection, Parcel& parcel, uint32_t recipients_max,
                             Now now) {
  CHECK(parcel.body_state == BodyState::kLent);
  CHECK(parcel.body_places.empty());
  BeginActive(connection, parcel);
  connection.next.Begin(parcel, recipients_max, now.instant);
  const smtp::Transaction transaction = connection.next.transaction();
  if (!connection.session.MayOfferAhead(transaction)) {
    connection.next.Undo();
    return false;
  }
  Introduce(connection, parcel);
  ++connection.offered_ahead;
  connection.session.OfferAhead(transaction, now);
  CHECK(connection.session.Next() == smtp::ClientAction::kSend);  // With the body's last piece.
  return true;
}

void Connections::Quit(Connection& connection, Now now) {
  CHECK(connection.state == ConnectionState::kReady);
  connection.state = ConnectionState::kTalking;
  connection.session.Quit(now);
  Drive(connection, now);
}

void Connections::Abort(Connection& connection, Now now) {
  if (connection.state == ConnectionState::kClosing) return;  // kBetween is asked again.
  if (connection.state != ConnectionState::kConnecting) {
    connection.session.Abort();
    Drive(connection, now);
  }
  if (connection.state != ConnectionState::kClosing) BeginClose(connection, now);
}

void Connections::OnCompletion(const io::Completion& completion, Now now) {
  Connection* connection = slab_.Find(completion.op.handle());
  CHECK(connection != nullptr);  // A slot is not released while anything is in flight.
  switch (static_cast<Tag>(completion.op.tag)) {
    case Tag::kConnect:
      return OnConnected(*connection, completion.result, now);
    case Tag::kReceive:
      return OnReceived(*connection, completion, now);
    case Tag::kSend:
      return OnSent(*connection, completion.result, now);
    case Tag::kStreamRead:
      return OnStreamRead(*connection, completion.result, now);
    case Tag::kLogStep:
    case Tag::kBodyRead:
    case Tag::kRecordRead:
    case Tag::kMoveRead:
    case Tag::kIntakeAccept:
    case Tag::kIntakeReceive:
    case Tag::kIntakeSend:
      CHECK(false);
  }
}

void Connections::OnReceived(Connection& connection, const io::Completion& completion, Now now) {
  if (!completion.more) connection.receive_in_flight = false;
  if (connection.state == ConnectionState::kClosing) return JoinClose(connection, now);
  if (completion.result > 0) OnBytes(connection, io::TextOf(completion.received), now);
  const bool talking =
      connection.state == ConnectionState::kTalking || connection.state == ConnectionState::kReady;
  if (connection.receive_in_flight || !talking) return;
  if (connection.channel.state() == Channel::State::kSecuring) {
    return OnClosedInHandshake(connection, now);
  }
  connection.session.OnClosed(now);
  Drive(connection, now);
}

void Connections::OnSent(Connection& connection, int32_t result, Now now) {
  connection.send_in_flight = false;
  if (connection.state == ConnectionState::kClosing) return JoinClose(connection, now);
  if (result < 0) {
    // The server may have said why before it closed: the receive brings that, or the end. One that
    // is still there (it was we who had no memory) is told that nothing more comes, and ends the
    // session.
    connection.send_broken = true;
    io_.ShutdownSend(connection.socket);
    TellHeld(connection);
    return;
  }
  if (connection.body_piece > 0) {
    const uint64_t bytes = std::exchange(connection.body_piece, 0);
    if (connection.stream != nullptr) connection.stream->Sent(bytes);
    if (connection.held_count > 0) {  // Of a message that is done.
      TellHeld(connection);
    } else {
      connection.body_sent += bytes;
      connection.session.OnBodyProgress(now);
    }
  }
  Drive(connection, now);
}

void Connections::OnTimer(Timer& timer, Now now) {
  Connection& connection = *static_cast<Connection*>(timer.owner);
  switch (connection.state) {
    case ConnectionState::kConnecting:
      return OnConnectTimeout(connection, now);
    case ConnectionState::kTalking:
      if (connection.channel.with_pool()) {  // We have let it wait, not the host.
        connection.our_fault = true;
        return BeginClose(connection, now);
      }
      if (connection.channel.state() == Channel::State::kSecuring) {
        return OnTlsFailed(connection, policy::TlsFinding::kHandshakeTimeout, "", now);
      }
      if (AwaitsLog(connection)) return GiveUpBody(connection, now);
      connection.session.OnDeadline(now);
      return Drive(connection, now);
    case ConnectionState::kReady:  // The server does not let the rest of the body in.
      CHECK(connection.held_count > 0);
      return BeginClose(connection, now);
    case ConnectionState::kClosing:  // It does not take our last bytes.
      if (connection.send_in_flight) io_.Cancel(Op(connection, static_cast<uint8_t>(Tag::kSend)));
      return;
  }
}

// Does what the session asks for, until it asks for nothing more.
void Connections::Drive(Connection& connection, Now now) {
  using smtp::ClientAction;
  for (;;) {
    switch (connection.session.Next()) {
      case ClientAction::kNone:
        if (connection.session.state() == smtp::ClientState::kBdat && connection.attempt.active()) {
          connection.attempt.OnEnvelopeDone(now.instant);
        }
        SendOutput(connection);
        SendBodyPiece(connection, now);
        return ArmDeadline(connection, now);
      case ClientAction::kSend:
        SendOutput(connection);
        break;
      case ClientAction::kSendBody:
        if (!connection.session.chunk_waits()) connection.attempt.OnEnvelopeDone(now.instant);
        connection.sending_body = true;
        connection.body_end = BodyEnd::kNotReached;
        connection.body_sent = 0;
        break;
      case ClientAction::kReady:
        connection.state = ConnectionState::kReady;
        connection.was_ready = true;
        timers_.Disarm(connection.timer);
        connection.holds_ready = connection.held_count > 0;
        if (!connection.holds_ready) Push(ConnectionEventKind::kReady, connection);
        break;
      case ClientAction::kRecipientDone:
        connection.attempt.OnRecipientRefused(connection.session.recipient_index(),
                                              connection.session.reply());
        break;
      case ClientAction::kRecipientMoved:
        connection.attempt.OnRecipientMoved(connection.session.recipient_index());
        break;
      case ClientAction::kMessageDone:
        OnMessageDone(connection, now);
        break;
      case ClientAction::kTlsAnswer:
        OnTlsAnswer(connection, now);
        break;
      case ClientAction::kStartTls:
        BeginHandshake(connection, now);
        break;
      case ClientAction::kClose:
        return BeginClose(connection, now);
    }
  }
}

void Connections::OnMessageDone(Connection& connection, Now now) {
  const smtp::ClientSession& session = connection.session;
  Parcel* parcel = connection.attempt.parcel();
  connection.sending_body = false;
  if (connection.body_unreadable) {
    parcel->body_check = BodyCheck::kDamaged;
    connection.attempt.FinishDeferred(kUnreadable, now.instant);
    return TellOutcome(ConnectionEventKind::kAttempted, connection, *parcel, now);
  }
  if (session.result() == smtp::MessageResult::kUntried) {
    ++connection.untried;
    connection.attempt.Undo();
    return TellOutcome(ConnectionEventKind::kUntried, connection, *parcel, now);
  }
  // A session that worked before and is lost under a message says nothing of the message: it goes
  // to a fresh one at once (X2, K4). A host that drops a fresh session is one that failed; so is
  // its next.
  const bool lost = session.result() == smtp::MessageResult::kSessionLost;
  const bool another =
      connection.successes > 0 || parcel->host_failures + 1 < connection.steps.size();
  connection.host_failed =
      connection.successes == 0 && (lost || session.reach() == smtp::Reach::kHost);
  if (connection.host_failed) {
    connection.failure = session.reply().code != 0 ? session.reply() : OwnReply(kLost);
    Push(ConnectionEventKind::kStepFailed, connection);
  }
  if (lost && another) {
    if (connection.host_failed) ++parcel->host_failures;
    connection.attempt.Undo();
    return TellOutcome(ConnectionEventKind::kReturned, connection, *parcel, now);
  }
  if (session.result() == smtp::MessageResult::kAccepted) ++connection.successes;
  connection.attempt.Finish(session.result(), session.reply(), SpecOf(session.failed_state()).name,
                            now.instant);
  TellOutcome(ConnectionEventKind::kAttempted, connection, *parcel, now);
}

// What was offered ahead is what is on, from here.
void Connections::TellOutcome(ConnectionEventKind kind, Connection& connection, Parcel& parcel,
                              Now now) {
  CHECK(!connection.attempt.active());
  if (connection.next.active()) {
    std::swap(connection.attempt, connection.next);
    connection.attempt.BecomeCurrent(now.instant);
  }
  if (connection.held_count > 0 || BodyInUse(connection)) {
    CHECK(connection.held_count < connection.held.size());
    connection.held[connection.held_count++] = {.kind = kind, .parcel = &parcel};
    return;
  }
  LetBodyGo(connection);
  Push(kind, connection, &parcel);
}

bool Connections::BodyInUse(const Connection& connection) {
  const bool being_sent = connection.send_in_flight && connection.body_piece > 0;
  return being_sent || (connection.stream != nullptr && connection.stream->reading());
}

// There is nothing to send, though there would be but for a read.
bool Connections::AwaitsLog(const Connection& connection) {
  return connection.sending_body && connection.stream != nullptr && connection.stream->reading() &&
         !connection.send_in_flight && !connection.send_broken;
}

void Connections::LetBodyGo(Connection& connection) {
  if (connection.stream == nullptr) return;
  streams_.Release(*connection.stream);
  connection.stream = nullptr;
}

// Once the kernel has let the body go.
void Connections::TellHeld(Connection& connection) {
  if (connection.held_count == 0 || BodyInUse(connection)) return;
  LetBodyGo(connection);
  const uint32_t count = std::exchange(connection.held_count, 0);
  for (uint32_t i = 0; i < count; ++i) {
    Push(connection.held[i].kind, connection, connection.held[i].parcel);
  }
  if (connection.holds_ready && connection.state == ConnectionState::kReady) {
    timers_.Disarm(connection.timer);  // The host has let the body in; from here the dispatcher's.
    Push(ConnectionEventKind::kReady, connection);
  }
  connection.holds_ready = false;
}

// The session's own deadline; when it is ready, the dispatcher decides (it arms the timer as idle).
void Connections::ArmDeadline(Connection& connection, Now now) {
  if (connection.state == ConnectionState::kTalking) {
    if (connection.channel.state() == Channel::State::kSecuring) return;  // It has its own.
    timers_.Arm(connection.timer, connection.session.deadline());
  } else if (connection.holds_ready && !connection.timer.armed()) {
    timers_.Arm(connection.timer, now.instant + kBodyTakenTimeout);
  }
}

// -------------------------------------------------------------------------------------------------
// Closing: begin, join, close.

// A session that ended before its first message, other than by our QUIT, is a step that failed.
void Connections::BeginClose(Connection& connection, Now now) {
  const bool opened =
      connection.state == ConnectionState::kTalking || connection.state == ConnectionState::kReady;
  const absl::string_view reason = connection.session.close_reason();
  const bool our_quit = connection.was_ready && reason.empty();
  if (opened && FailTlsStep(connection)) {
    // Said.
  } else if (opened && connection.session.transactions() == 0 && !our_quit &&
             !connection.our_fault) {
    smtp::Reply why = connection.session.close_reply();
    if (!why.transient() && !why.permanent()) {
      why = OwnReply(absl::StrCat("451 4.4.2 ", reason));
    }
    FailStep(connection, why);
  }
  connection.state = ConnectionState::kClosing;
  timers_.Disarm(connection.timer);
  if (connection.connect_in_flight) io_.Cancel(Op(connection, static_cast<uint8_t>(Tag::kConnect)));
  if (connection.receive_in_flight) io_.Cancel(Op(connection, static_cast<uint8_t>(Tag::kReceive)));
  if (connection.send_in_flight) {
    io_.Cancel(Op(connection, static_cast<uint8_t>(Tag::kSend)));
  } else if (opened && !connection.send_broken) {
    SendEnd(connection, now);
  }
  JoinClose(connection, now);
}

void Connections::JoinClose(Connection& connection, Now now) {
  if (connection.state != ConnectionState::kClosing) return;
  if (connection.connect_in_flight || connection.receive_in_flight || connection.send_in_flight)
    return;
  if (connection.stream != nullptr && connection.stream->reading()) return;
  timers_.Disarm(connection.timer);
  if (connection.socket) io_.Close(connection.socket);
  connection.socket = io::Socket{};
  connection.channel.Begin();
  // A slot keeps what commands need, not what a sealed body took.
  if (connection.send_buffer.capacity() > kKeptBytesMax) std::string().swap(connection.send_buffer);
  connection.body_piece = 0;
  TellHeld(connection);
  CHECK(!connection.attempt.active());
  CHECK(!connection.next.active());
  CHECK(connection.stream == nullptr);
  Push(connection.retry_step ? ConnectionEventKind::kBetween : ConnectionEventKind::kEnded,
       connection);
}

void Connections::End(Connection& connection) {
  CHECK(connection.retry_step);
  connection.retry_step = false;
  Push(ConnectionEventKind::kEnded, connection);
}

void Connections::Release(Connection& connection) {
  CHECK(!connection.hook.linked());
  CHECK(!connection.lane_hook.linked());
  CHECK(!connection.counts_handshake);
  CHECK(!connection.timer.armed());
  CHECK(!connection.socket);
  connection.tls.reset();
  connection.tls_plan.reset();
  slab_.Release(connection);
}

}  // namespace sluice::delivery
