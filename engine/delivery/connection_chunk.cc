// A whole message in one send with its commands, by BDAT (RFC 3030).

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/string_view.h"
#include "engine/base/check.h"
#include "engine/delivery/connection.h"

namespace sluice::delivery {
namespace {

constexpr uint64_t kEndOfDataBytes = 3;  // ".\r\n".

constexpr uint64_t kChunkBytesMax = 64 << 10;
constexpr size_t kChunkBlocks = kChunkBytesMax / limits::kBodyBlockBytes + 1;

// Stuffed lines of a message: each makes a part more.
constexpr uint64_t kStuffedLinesMax = 32;
static_assert(1 + kChunkBlocks + kStuffedLinesMax < io::kSendPartsMax);

uint64_t StuffedLines(const Message& message) {
  return message.wire_bytes - kEndOfDataBytes - message.message_bytes;
}

// The wire form without the dots that stuff it; every line of it ends in CRLF. Returns how many
// parts; as many as there is room for mean that there may be more.
size_t Unstuff(std::span<const io::Bytes> wire, std::span<io::Bytes> parts) {
  size_t count = 0;
  bool line_starts = true;
  for (const io::Bytes& piece : wire) {
    absl::string_view text = io::TextOf(piece);
    while (!text.empty() && count < parts.size()) {
      if (std::exchange(line_starts, false) && text.front() == '.') text.remove_prefix(1);
      const size_t newline = text.find("\n.");
      const absl::string_view part = text.substr(0, newline == text.npos ? newline : newline + 1);
      text.remove_prefix(part.size());
      if (part.empty()) continue;
      line_starts = part.back() == '\n';
      parts[count++] = io::BytesOf(part);
    }
  }
  return count;
}

}  // namespace

bool Connections::LeavesAtOnce(const Parcel& parcel) {
  const Message& message = *parcel.message;
  return parcel.body_places.empty() && message.wire_bytes <= kChunkBytesMax &&
         StuffedLines(message) <= kStuffedLinesMax;
}

void Connections::SendChunk(Connection& connection, Now now) {
  CHECK(!connection.session.output().empty());  // MAIL to BDAT, which go in front.
  const Message& message = *connection.attempt.parcel()->message;
  std::array<io::Bytes, kChunkBlocks> wire;
  const size_t blocks = message.body.Gather(0, message.wire_bytes - kEndOfDataBytes, wire);
  std::array<io::Bytes, io::kSendPartsMax> parts;
  const std::span<io::Bytes> body = std::span(parts).subspan(1);
  size_t count = blocks;
  if (StuffedLines(message) == 0) {
    std::copy_n(wire.begin(), blocks, body.begin());
  } else {
    count = Unstuff(std::span(wire).first(blocks), body);
  }
  // BDAT has said how many octets come. Others would be read as commands, or be missing; a session
  // of its own takes the message by DATA.
  if (io::BytesIn(body.first(count)) != message.message_bytes) {
    connection.session.Abort();
    return Drive(connection, now);
  }
  if (!SendParts(connection, std::span(parts).first(1 + count), 0)) return;
  connection.session.OnBodyEnding(now);
  connection.body_piece = message.wire_bytes;
}

}  // namespace sluice::delivery
