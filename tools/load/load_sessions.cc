// An open connection's session: what comes, what is said, under TLS or in clear, and which message
// is next.

#include <algorithm>
#include <array>
#include <optional>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "tools/load/load.h"
#include "tools/lost_connection.h"

namespace sluice::tools {
namespace {

constexpr Duration kHandshakeTimeout = std::chrono::seconds(30);

}  // namespace

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

}  // namespace sluice::tools
