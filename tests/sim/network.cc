#include "tests/sim/network.h"

#include <algorithm>

#include "engine/base/check.h"

namespace sluice::sim {

// -------------------------------------------------------------------------------------------------
// Sending.

void Connection::Write(int side, absl::string_view bytes, uint64_t read_then) {
  Stream& stream = streams_[side];
  if (broken_ || bytes.empty()) return;
  CHECK(!stream.finished);
  const uint64_t read = std::min(read_then, bytes_read(side));
  stream.history.push_back({stream.written, read, world_.instant()});
  stream.written += bytes.size();
  int cuts = world_.Chance(options_.cut) ? static_cast<int>(world_.Between(1, 6)) : 0;
  while (!bytes.empty()) {
    size_t piece = bytes.size();
    if (cuts-- > 0) {
      const bool tiny = world_.Chance(0.5);
      piece = world_.Between(1, tiny ? std::min<size_t>(3, piece) : piece);
    }
    SendPiece(side, std::string(bytes.data(), piece));
    bytes.remove_prefix(piece);
  }
}

Instant Connection::ArrivalOfNext(Stream& stream) {
  const Duration latency = world_.Delay(options_.latency_min, options_.latency_max);
  stream.last_arrival = std::max(stream.last_arrival, world_.instant() + latency);
  return stream.last_arrival;
}

void Connection::SendPiece(int side, std::string piece) {
  world_.At(ArrivalOfNext(streams_[side]), [this, side, epoch = epoch_, piece = std::move(piece)] {
    Stream& stream = streams_[side];
    if (epoch != epoch_ || vanished_[0] || vanished_[1]) return;
    stream.arrived += piece.size();
    stream.unread += piece;
    Tell(1 - side);
  });
}

uint64_t Connection::Room(int side) const {
  const Stream& stream = streams_[side];
  const uint64_t held = stream.written - stream.taken;
  return held < options_.room_bytes ? options_.room_bytes - held : 0;
}

void Connection::Finish(int side) {
  Stream& stream = streams_[side];
  if (stream.finished) return;
  stream.finished = true;
  world_.At(ArrivalOfNext(stream), [this, side, epoch = epoch_] {
    if (epoch != epoch_ || vanished_[0] || vanished_[1]) return;
    streams_[side].end_arrived = true;
    Tell(1 - side);
  });
}

void Connection::Reset(int side) {
  if (broken_) return;
  broken_ = true;
  streams_[side].finished = true;
  // Half of the time the reset overtakes what is on its way.
  const bool overtakes = world_.Chance(0.5);
  if (overtakes) ++epoch_;
  const Instant arrival =
      overtakes ? world_.instant() + world_.Delay(options_.latency_min, options_.latency_max)
                : ArrivalOfNext(streams_[side]);
  world_.At(arrival, [this, side] {
    if (vanished_[0] || vanished_[1]) return;
    reset_arrived_[1 - side] = true;
    Tell(1 - side);
  });
}

void Connection::Vanish(int side) {
  vanished_[side] = true;
  streams_[1 - side].reader = nullptr;
}

// -------------------------------------------------------------------------------------------------
// Receiving.

void Connection::Tell(int side) {
  End* reader = streams_[1 - side].reader;
  if (reader != nullptr) reader->OnArrival(*this);
}

void Connection::Take(int side, size_t bytes) {
  Stream& stream = streams_[1 - side];
  CHECK(bytes <= stream.unread.size());
  stream.unread.erase(0, bytes);
  stream.taken += bytes;
  End* writer = streams_[side].reader;  // Who reads the other stream writes this one.
  if (writer != nullptr) writer->OnRoom(*this);
}

const Connection::Written& Connection::WriteOf(int side, uint64_t offset) const {
  const std::vector<Written>& history = streams_[side].history;
  const auto after = std::upper_bound(
      history.begin(), history.end(), offset,
      [](uint64_t wanted, const Written& written) { return wanted < written.offset; });
  CHECK(after != history.begin());
  return *(after - 1);
}

uint64_t Connection::ReadWhenWriting(int side, uint64_t offset) const {
  return WriteOf(side, offset).read;
}

Instant Connection::WrittenAt(int side, uint64_t offset) const {
  return WriteOf(side, offset).when;
}

// -------------------------------------------------------------------------------------------------
// Calling.

Callee* Network::FindCallee(const SocketAddress& address) const {
  const auto found = callees_.find(address.ToString());
  return found == callees_.end() ? nullptr : found->second;
}

Connection& Network::Open(const SocketAddress& from, const SocketAddress& to) {
  Connection::Options options = {.from = from,
                                 .to = to,
                                 .latency_min = options_.latency_min,
                                 .latency_max = options_.latency_max,
                                 .cut = options_.cut};
  if (options_.tight_rooms && world_.Chance(0.3)) options.room_bytes = world_.Between(100, 4000);
  connections_.push_back(
      std::make_unique<Connection>(world_, static_cast<uint32_t>(connections_.size()), options));
  return *connections_.back();
}

}  // namespace sluice::sim
