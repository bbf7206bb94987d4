// What a connection sends: commands, the body in pieces, and its end; in clear or sealed. One send
// is in flight at a time.

#include <algorithm>
#include <array>

#include "engine/base/check.h"
#include "engine/delivery/connection.h"
#include "engine/delivery/tags.h"

namespace sluice::delivery {
namespace {

// Of a body in one send. Each one that the kernel has taken gives the server its time anew, so that
// this over that time is the slowest server borne, beside the session's own rate.
constexpr uint64_t kBodyPieceBytesMax = 64 << 10;
constexpr size_t kBodyPieceParts = kBodyPieceBytesMax / limits::kBodyBlockBytes + 1;
static_assert(kBodyPieceParts < io::kSendPartsMax);

// How long the other end may take to let our last bytes in.
constexpr Duration kEndTakenTimeout = std::chrono::seconds(1);

}  // namespace

void Connections::SendOutput(Connection& connection) {
  if (connection.send_in_flight || connection.send_broken) return;
  if (connection.state == ConnectionState::kClosing) return;
  if (connection.session.chunk_waits()) return;  // With the body.
  const absl::string_view output = connection.session.output();
  if (connection.channel.state() == Channel::State::kClear) {
    if (output.empty()) return;
    connection.send_buffer.assign(output.data(), output.size());
  } else {
    // What cannot be sealed is as good as lost: the receive brings the end.
    if (!output.empty() && !connection.channel.Seal(output)) return BreakSend(connection);
    if (!connection.channel.TakeOutput(connection.send_buffer)) return;
  }
  connection.session.ClearOutput();
  SendBuffer(connection);
}

void Connections::BreakSend(Connection& connection) {
  connection.send_broken = true;
  if (connection.receive_in_flight) io_.Cancel(Op(connection, static_cast<uint8_t>(Tag::kReceive)));
}

void Connections::SendBuffer(Connection& connection) {
  const io::Bytes part = io::BytesOf(connection.send_buffer);
  Send(connection, std::span(&part, 1));
}

void Connections::Send(Connection& connection, std::span<const io::Bytes> parts) {
  connection.send_in_flight = true;
  io_.Send(Op(connection, static_cast<uint8_t>(Tag::kSend)), connection.socket, parts);
}

void Connections::SendBodyPiece(Connection& connection, Now now) {
  if (!connection.sending_body || connection.send_broken) return;
  ReadAhead(connection);
  if (connection.send_in_flight) return;
  if (connection.session.chunk_waits()) return SendChunk(connection, now);
  const Message& message = *connection.attempt.parcel()->message;
  const uint64_t left = message.wire_bytes - connection.body_sent;
  if (left == 0) {
    connection.sending_body = false;
    return;
  }
  std::array<io::Bytes, kBodyPieceParts + 1> parts;
  const std::span<io::Bytes> body = std::span(parts).first(kBodyPieceParts);
  const uint64_t most = std::min(left, kBodyPieceBytesMax);
  const size_t count = connection.stream == nullptr
                           ? message.body.Gather(connection.body_sent, most, body)
                           : connection.stream->Gather(most, body);
  if (count == 0) return;  // The log's turn: the read brings us back.
  const uint64_t bytes = io::BytesIn(body.first(count));
  if (bytes == left && !MayEndBody(connection, now)) return;
  connection.body_piece = bytes;
  SendParts(connection, std::span(parts).first(count + 1), count);
}

// The dispatcher is asked first where the server takes commands with the end of the body.
bool Connections::MayEndBody(Connection& connection, Now now) {
  if (connection.body_end == BodyEnd::kLeaves) return true;
  if (connection.body_end == BodyEnd::kAsked) return false;
  if (connection.session.TakesAhead()) {
    connection.body_end = BodyEnd::kAsked;
    Push(ConnectionEventKind::kBodyEnds, connection);
    return false;
  }
  connection.body_end = BodyEnd::kLeaves;
  connection.session.OnBodyEnding(now);
  return true;
}

bool Connections::SendParts(Connection& connection, std::span<io::Bytes> parts, size_t commands) {
  const absl::string_view output = connection.session.output();
  if (output.empty()) parts = parts.first(commands);
  const bool clear = connection.channel.state() == Channel::State::kClear;
  if (clear) connection.send_buffer.assign(output.data(), output.size());
  if (!output.empty()) parts[commands] = io::BytesOf(clear ? connection.send_buffer : output);
  io::Bytes sealed;
  if (!clear) {
    for (const io::Bytes& part : parts) {
      if (!connection.channel.Seal(part)) {
        BreakSend(connection);
        return false;
      }
    }
    CHECK(connection.channel.TakeOutput(connection.send_buffer));
    sealed = io::BytesOf(connection.send_buffer);
    parts = std::span(&sealed, 1);
  }
  connection.session.ClearOutput();
  Send(connection, parts);
  return true;
}

// Of a body that is not in memory.
void Connections::ReadAhead(Connection& connection) {
  if (connection.stream == nullptr) return;
  const std::optional<BodyStream::Read> read = connection.stream->NextRead();
  if (!read) return;
  io_.Read(Op(connection, static_cast<uint8_t>(Tag::kStreamRead)), io::File{read->descriptor},
           read->into, read->offset);
}

void Connections::OnStreamRead(Connection& connection, int32_t result, Now now) {
  CHECK(connection.stream != nullptr);
  connection.stream->OnRead(result);
  if (connection.state == ConnectionState::kClosing) return JoinClose(connection, now);
  TellHeld(connection);
  if (!connection.sending_body) return;
  if (connection.stream->damaged()) return GiveUpBody(connection, now);
  if (connection.stream->whole()) connection.attempt.parcel()->body_check = BodyCheck::kWhole;
  // Up to now it was the host that waited for us.
  if (!connection.send_in_flight) connection.session.OnBodyProgress(now);
  Drive(connection, now);
}

// The host has not had the end of the data, so that it takes nothing.
void Connections::GiveUpBody(Connection& connection, Now now) {
  CHECK(connection.sending_body);
  connection.body_unreadable = true;
  connection.session.Abort();
  Drive(connection, now);
}

// Says under TLS that no more comes (RFC 8446 6.1), and sends what is left: an alert.
void Connections::SendEnd(Connection& connection, Now now) {
  if (connection.channel.state() == Channel::State::kSecure) connection.channel.SealEnd();
  if (!connection.channel.TakeOutput(connection.send_buffer)) return;
  SendBuffer(connection);
  timers_.Arm(connection.timer, now.instant + kEndTakenTimeout);
}

}  // namespace sluice::delivery
