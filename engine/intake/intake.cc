#include "engine/intake/intake.h"

#include <cerrno>
#include <string>
#include <utility>

#include "engine/base/check.h"
#include "engine/delivery/tags.h"
#include "engine/smtp/server_session.h"

namespace sluice::intake {
namespace {

using delivery::Tag;
using delivery::TimerKind;
using smtp::ServerEvent;

constexpr absl::string_view kNoStorage = "452 4.3.1 Insufficient system storage";
constexpr absl::string_view kTooMany = "421 4.3.2 Too many connections";

// What a slot keeps of a buffer for its next session; more would add up over all slots.
constexpr size_t kKeptCapacityBytes = 4 << 10;

// Listeners are few and stay: their place is their slot.
io::OpId AcceptOp(uint32_t listener) {
  return io::MakeOpId(static_cast<uint8_t>(Tag::kIntakeAccept), {listener, 1});
}

// A descriptor or an argument was wrong: no peer can cause that, and going on would use somebody
// else's descriptor.
bool OurFault(int error) {
  return error == EBADF || error == ENOTSOCK || error == EFAULT || error == EINVAL;
}

void Empty(std::string& buffer) {
  if (buffer.capacity() > kKeptCapacityBytes) {
    std::string().swap(buffer);
  } else {
    buffer.clear();
  }
}

}  // namespace

Intake::Intake(Options options, io::Io& io, delivery::Home& home, TimerWheel& timers,
               tls::Handshaker* handshaker)
    : options_(std::move(options)),
      io_(io),
      home_(home),
      timers_(timers),
      handshaker_(handshaker),
      listeners_(options_.listeners.size()),
      open_listeners_(static_cast<uint32_t>(options_.listeners.size())),
      sessions_(options_.sessions_max + kRefusedSessionsMax) {
  CHECK(options_.idle_timeout > Duration::zero());
  accept_timer_.owner = this;
  accept_timer_.kind = static_cast<uint8_t>(TimerKind::kIntake);
}

void Intake::Start(Now now) {
  AcceptAgain(now);
}

void Intake::OnCompletion(const io::Completion& completion, Now now) {
  const Tag tag{static_cast<uint8_t>(completion.op.tag)};
  if (tag == Tag::kIntakeAccept) return OnAccepted(completion, now);

  // A slot is given away only when its last completion is back, so each finds its session.
  Session* session = sessions_.Find(completion.op.handle());
  CHECK(session != nullptr);
  if (tag == Tag::kIntakeReceive) return OnReceived(*session, completion, now);
  CHECK(tag == Tag::kIntakeSend);
  OnSent(*session, completion.result, now);
}

void Intake::OnTimer(Timer& timer, Now now) {
  CHECK(TimerKind{timer.kind} == TimerKind::kIntake);
  if (&timer == &accept_timer_) return AcceptAgain(now);
  OnSessionTimer(*static_cast<Session*>(timer.owner), now);
}

void Intake::OnPromises(std::span<const delivery::Promise> promises, Now now) {
  for (const delivery::Promise& promise : promises) OnPromise(promise, now);
}

void Intake::Turn() {
  for (Session* session = held_.Front(); session != nullptr;) {
    Session* next = held_.Next(*session);
    if (!home_.Behind(*session->incoming)) {
      held_.Remove(*session);
      PauseOrReceive(*session);
    }
    session = next;
  }
}

void Intake::BeginDrain(Now now) {
  CHECK(!draining_);
  draining_ = true;
  timers_.Disarm(accept_timer_);
  for (uint32_t i = 0; i < listeners_.size(); ++i) {
    if (listeners_[i].accepting) {
      io_.Cancel(AcceptOp(i));
    } else {
      CloseListener(i);
    }
  }
  sessions_.ForEach([&](Session& session) {
    if (session.phase == Phase::kOpen) Continue(session, {}, now);
  });
}

void Intake::CutOff(Now now) {
  CHECK(draining_);
  sessions_.ForEach([&](Session& session) {
    if (session.phase != Phase::kEnding) End(session);
  });
}

// --- Listeners.

void Intake::Accept(uint32_t listener) {
  CHECK(!listeners_[listener].accepting);
  CHECK(!listeners_[listener].closed);
  listeners_[listener].accepting = true;
  io_.Accept(AcceptOp(listener), options_.listeners[listener].socket);
}

void Intake::OnAccepted(const io::Completion& completion, Now now) {
  const uint32_t listener = completion.op.slot;
  CHECK(listener < listeners_.size());
  ListenerState& state = listeners_[listener];
  CHECK(state.accepting);
  if (!completion.more) state.accepting = false;

  const int error = completion.result < 0 ? -completion.result : 0;
  CHECK(!OurFault(error));
  if (error == 0) Admit(options_.listeners[listener], io::Socket{completion.result}, now);

  if (state.accepting) return;
  if (draining_) return CloseListener(listener);
  // Without an error the operation has merely ended; ECONNABORTED is a client that left while it
  // waited. Everything else (EMFILE, ENFILE, ENOMEM, ENOBUFS; an error of the network) may meet the
  // next accept too, and asking at once would spin (F33).
  if (error == 0 || error == ECONNABORTED || error == ECANCELED) return Accept(listener);
  timers_.Arm(accept_timer_, now.instant + kAcceptPause);
}

void Intake::AcceptAgain(Now now) {
  for (uint32_t i = 0; i < listeners_.size(); ++i) {
    if (!listeners_[i].accepting) Accept(i);
  }
}

void Intake::CloseListener(uint32_t listener) {
  CHECK(!listeners_[listener].closed);
  listeners_[listener].closed = true;
  io_.Close(options_.listeners[listener].socket);
  CHECK(open_listeners_ > 0);
  --open_listeners_;
}

void Intake::Admit(const Listener& listener, io::Socket socket, Now now) {
  const SocketAddress client = io_.PeerAddress(socket);
  // Who has left already has no address any more.
  Session* session = client.ip.family == Family::kNone ? nullptr : sessions_.Take();
  if (session == nullptr) return io_.Close(socket);

  session->Enter(Phase::kOpen);
  session->socket = socket;
  session->client = client;
  session->incoming = nullptr;
  session->awaiting_promise = false;
  session->peer_finished = false;
  session->channel.Begin();
  session->said_end = false;
  session->tls = ContextOf(listener);
  session->timer.owner = session;
  session->timer.kind = static_cast<uint8_t>(TimerKind::kIntake);
  CHECK(session->pending.empty());
  CHECK(!session->receiving);
  CHECK(!session->sending);

  const smtp::ServerSession::Options dialogue = {
      .hostname = options_.hostname,
      .client = client,
      .may_relay = AnyContains(listener.relay_from, client.ip),
      .message_bytes_max = listener.message_bytes_max,
      .recipients_max = limits::kRecipientsPerMessageMax,
      .received_hops_max = limits::kReceivedHopsMax,
      .offer_starttls = session->tls != nullptr,
  };
  // While we drain, 421 follows the greeting at once (TakeEvents).
  if (!draining_ && sessions_.taken() > options_.sessions_max) {
    session->dialogue.BeginWith(dialogue, kTooMany);
  } else {
    session->dialogue.Begin(dialogue);
  }
  timers_.Arm(session->timer, now.instant + options_.idle_timeout);
  Continue(*session, {}, now);
}

// --- A session.

void Intake::OnReceived(Session& session, const io::Completion& completion, Now now) {
  CHECK(session.receiving);
  if (!completion.more) session.receiving = session.receive_cancelled = false;
  switch (session.phase) {
    case Phase::kFree:
      CHECK(session.phase != Phase::kFree);
      return;
    case Phase::kEnding:
      return FreeIfJoined(session);
    case Phase::kFarewell:
    case Phase::kOpen:
      break;
  }

  if (completion.result < 0) {
    CHECK(!OurFault(-completion.result));
    // Cancelled by us, to pause it. An error of a connection ends its session and nothing else.
    if (completion.result != -ECANCELED) return End(session);
  } else if (completion.result == 0) {
    session.peer_finished = true;
  }
  if (session.phase == Phase::kFarewell) return;  // What comes after the last reply is not read.
  session.window_bytes += completion.received.size();
  OnBytes(session, io::TextOf(completion.received), now);
}

void Intake::OnSent(Session& session, int32_t result, Now now) {
  CHECK(session.sending);
  session.sending = false;
  if (session.phase == Phase::kEnding) return FreeIfJoined(session);
  if (result < 0) {
    CHECK(!OurFault(-result));
    return End(session);
  }
  CHECK(static_cast<size_t>(result) == session.sent_bytes.size());
  Continue(session, {}, now);
}

void Intake::OnSessionTimer(Session& session, Now now) {
  CHECK(session.phase == Phase::kOpen || session.phase == Phase::kFarewell);
  if (session.phase == Phase::kFarewell) return End(session);

  CHECK(!session.awaiting_promise);  // The client owes us nothing then.
  if (session.channel.state() == delivery::Channel::State::kSecuring) return End(session);
  const bool enough = session.window_bytes >= kDataWindowBytesMin || session.held_hook.linked();
  if (session.dialogue.in_data() && enough) {
    session.window_bytes = 0;
    timers_.Arm(session.timer, now.instant + kDataWindow);
    return;
  }
  session.dialogue.Timeout();
  SayFarewell(session, now);
  Settle(session, now);
}

void Intake::OnPromise(const delivery::Promise& promise, Now now) {
  // The client may be gone. Its message stands all the same; only it does not know.
  Session* session = sessions_.Find(promise.session);
  if (session == nullptr || session->phase != Phase::kOpen) return;

  CHECK(session->awaiting_promise);
  session->awaiting_promise = false;
  if (promise.kept) {
    session->dialogue.AcceptMessage(promise.id.ToString());
  } else {
    session->dialogue.Refuse(kNoStorage);
  }
  timers_.Arm(session->timer, now.instant + options_.idle_timeout);
  Continue(*session, {}, now);
}

// Takes what the dialogue can take of what waits and what has come, and keeps the rest.
void Intake::Continue(Session& session, absl::string_view received, Now now) {
  if (session.pending.empty()) {
    Serve(session, received, now);
    session.pending.assign(received.data(), received.size());
  } else {
    session.pending.append(received.data(), received.size());
    absl::string_view input = session.pending;
    Serve(session, input, now);
    session.pending.erase(0, session.pending.size() - input.size());
  }
  Settle(session, now);
}

// After anything that happened: says what is to be said, and ends the session or reads on.
void Intake::Settle(Session& session, Now now) {
  const bool finished = session.peer_finished && session.pending.empty();
  if (finished && session.channel.state() == delivery::Channel::State::kSecuring) {
    return End(session);
  }
  if (session.phase == Phase::kOpen && finished && !session.awaiting_promise) {
    SayFarewell(session, now);  // RFC 5321 4.1.1.10: what it had begun is dropped.
  }
  SendOutput(session);
  if (session.phase == Phase::kFarewell) {
    if (!session.sending) End(session);
    return;
  }
  PauseOrReceive(session);
}

void Intake::End(Session& session) {
  AbandonMessage(session);
  session.Enter(Phase::kEnding);
  timers_.Disarm(session.timer);
  if (session.receiving && !session.receive_cancelled) {
    session.receive_cancelled = true;
    io_.Cancel(Op(Tag::kIntakeReceive, session));
  }
  if (session.sending) io_.Cancel(Op(Tag::kIntakeSend, session));
  FreeIfJoined(session);
}

void Intake::FreeIfJoined(Session& session) {
  if (session.receiving || session.sending) return;
  CHECK(session.incoming == nullptr);
  CHECK(!session.timer.armed());
  io_.Close(session.socket);
  session.dialogue.ClearOutput();
  session.channel.Begin();
  session.tls.reset();
  Empty(session.pending);
  Empty(session.sent_bytes);
  session.Enter(Phase::kFree);
  sessions_.Release(session);
}

// Every command is answered, so output that has grown means a whole command: the client has its
// time for the next one.
void Intake::Serve(Session& session, absl::string_view& input, Now now) {
  if (session.phase != Phase::kOpen) return;
  const size_t output_bytes = session.dialogue.output().size();
  TakeEvents(session, input, now);
  if (session.phase != Phase::kOpen || session.awaiting_promise) return;
  const bool answered = session.dialogue.output().size() > output_bytes;
  if (session.channel.state() == delivery::Channel::State::kSecuring) return;  // It has its time.
  if (answered && !session.dialogue.in_data()) {
    timers_.Arm(session.timer, now.instant + options_.idle_timeout);
  }
}

void Intake::TakeEvents(Session& session, absl::string_view& input, Now now) {
  while (true) {
    smtp::ServerSession& dialogue = session.dialogue;
    if (session.awaiting_promise) return;
    if (dialogue.output().size() + (session.sending ? session.sent_bytes.size() : 0) >
        kUnsentBytesMax) {
      return;
    }
    if (draining_ && !dialogue.in_transaction()) dialogue.ShutDown();
    switch (dialogue.Next(input)) {
      case ServerEvent::kNeedInput:
        // What will be refused need not wait for its end in memory and in the log.
        if (dialogue.in_data() && dialogue.refuses_content()) AbandonMessage(session);
        return;
      case ServerEvent::kData:
        BeginMessage(session, now);
        break;
      case ServerEvent::kBody:
        CHECK(session.incoming != nullptr);
        home_.Append(*session.incoming, dialogue.body_bytes(), now);
        break;
      case ServerEvent::kMessage:
        CommitMessage(session, now);
        break;
      case ServerEvent::kMessageDropped:
        AbandonMessage(session);
        break;
      case ServerEvent::kClose:
        input = {};
        return SayFarewell(session, now);
      case ServerEvent::kStartTls:
        AwaitHandshake(session, now);
        break;
      case ServerEvent::kWaiting:
        CHECK(session.channel.state() == delivery::Channel::State::kSecuring);
        return;
      case ServerEvent::kMail:
      case ServerEvent::kRecipient:
        CHECK(!"an event that was not asked for, or a verdict that was not given");
        return;
    }
  }
}

void Intake::BeginMessage(Session& session, Now now) {
  CHECK(session.incoming == nullptr);
  delivery::Incoming* incoming = home_.Begin(delivery::Origin::kInjected, now);
  if (incoming == nullptr) return session.dialogue.Refuse(kNoStorage);

  const smtp::Envelope& envelope = session.dialogue.envelope();
  CHECK(!envelope.recipients.empty());
  // Several recipients are not named to each other (RFC 5321 7.2).
  const absl::string_view for_address =
      envelope.recipients.size() == 1 ? absl::string_view(envelope.recipients[0].address) : "";
  const std::string line = smtp::ReceivedLine(
      session.dialogue.helo(), session.client.ip, options_.hostname, session.dialogue.esmtp(),
      incoming->id.ToString(), for_address, now.wall, session.dialogue.tls());
  session.incoming = incoming;
  session.received_line_bytes = line.size();
  home_.Append(*incoming, line, now);

  session.window_bytes = 0;
  timers_.Arm(session.timer, now.instant + kDataWindow);
  session.dialogue.Accept();
}

void Intake::CommitMessage(Session& session, Now now) {
  CHECK(session.incoming != nullptr);
  if (session.held_hook.linked()) held_.Remove(session);
  const smtp::ServerSession& dialogue = session.dialogue;
  home_.Append(*session.incoming, ".\r\n", now);
  const delivery::IncomingSummary summary = {
      .message_bytes = dialogue.message_bytes() + session.received_line_bytes,
      .eight_bit = dialogue.eight_bit(),
      .client_name = dialogue.helo(),
      .client_address = session.client,
  };
  delivery::Incoming& incoming = *session.incoming;
  session.incoming = nullptr;
  session.awaiting_promise = true;
  timers_.Disarm(session.timer);
  home_.Commit(incoming, session.dialogue.mutable_envelope(), summary, sessions_.HandleOf(session),
               now);
}

void Intake::AbandonMessage(Session& session) {
  if (session.incoming == nullptr) return;
  if (session.held_hook.linked()) held_.Remove(session);
  home_.Abandon(*session.incoming);
  session.incoming = nullptr;
}

void Intake::SayFarewell(Session& session, Now now) {
  AbandonMessage(session);
  session.Enter(Phase::kFarewell);
  session.pending.clear();
  timers_.Arm(session.timer, now.instant + kFarewellTimeout);
}

void Intake::SendOutput(Session& session) {
  if (session.sending) return;
  const absl::string_view output = session.dialogue.output();
  if (session.channel.state() == delivery::Channel::State::kSecure) {
    if (!output.empty()) session.channel.Seal(output);  // If it fails, the next read tells.
    if (session.phase == Phase::kFarewell && !session.said_end) {
      session.said_end = true;
      session.channel.SealEnd();
    }
    session.dialogue.ClearOutput();
    if (!session.channel.TakeOutput(session.sent_bytes)) return;
  } else if (!output.empty()) {
    session.sent_bytes.assign(output.data(), output.size());
    session.dialogue.ClearOutput();
  } else if (!session.channel.TakeOutput(session.sent_bytes)) {
    return;
  }
  session.sending = true;
  const io::Bytes parts[] = {io::BytesOf(session.sent_bytes)};
  io_.Send(Op(Tag::kIntakeSend, session), session.socket, parts);
}

// The receive stays armed until the buffer is full, and is armed again when it is empty. Of a body
// all that has come is taken: it is in memory either way. But no more comes while the disk is
// behind.
void Intake::PauseOrReceive(Session& session) {
  CHECK(session.phase == Phase::kOpen);
  const bool behind = session.incoming != nullptr && home_.Behind(*session.incoming);
  if (behind && !session.held_hook.linked()) held_.PushBack(session);
  const bool full = behind || session.pending.size() > limits::kPausedInputBytesMax;
  if (session.receiving) {
    if (!full || session.receive_cancelled) return;
    session.receive_cancelled = true;
    io_.Cancel(Op(Tag::kIntakeReceive, session));
    return;
  }
  if (session.peer_finished || !session.pending.empty() || behind) return;
  session.receiving = true;
  io_.Receive(Op(Tag::kIntakeReceive, session), session.socket);
}

}  // namespace sluice::intake
