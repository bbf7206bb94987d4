// The world around a piece that is measured alone: a disk that has taken everything at once, and
// one peer, which takes all that is sent to it and says what the benchmark tells it to.
//
// Nothing is kept of what is written and sent, and nothing allocated once the list of completions
// has its size, so that what is counted beside it is the engine's.

#pragma once

#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/check.h"
#include "engine/io/io.h"

namespace sluice {

class PromptIo : public io::Io {
 public:
  static constexpr io::Socket kListener = {10};

  // The peer connects to the listener.
  void Dials() {
    CHECK(accepting_);
    completions_.push_back({.op = accept_, .result = kPeer.descriptor, .more = true});
  }
  // Lent until what comes of it has been taken.
  void Says(absl::string_view text) {
    CHECK(receiving_);
    completions_.push_back({.op = receive_,
                            .result = static_cast<int32_t>(text.size()),
                            .more = true,
                            .received = std::as_bytes(std::span(text))});
  }
  // That the peer was sent.
  uint64_t heard_bytes() const { return heard_bytes_; }

  // Puts what has completed since the last call into `completions`. False: nothing.
  bool Take(std::vector<io::Completion>& completions) {
    completions.clear();
    completions.swap(completions_);
    return !completions.empty();
  }

  // --- io::Io.

  SocketAddress PeerAddress(io::Socket) override { return peer_address_; }
  io::Socket OpenStream(Family, const IpAddress&) override { return kPeer; }
  void Accept(io::OpId op, io::Socket) override {
    accepting_ = true;
    accept_ = op;
  }
  void Connect(io::OpId op, io::Socket, const SocketAddress&) override { Completes(op, 0); }
  void Receive(io::OpId op, io::Socket) override {
    receiving_ = true;
    receive_ = op;
  }
  void Send(io::OpId op, io::Socket, std::span<const io::Bytes> parts) override {
    const uint64_t bytes = BytesOf(parts);
    heard_bytes_ += bytes;
    Completes(op, bytes);
  }
  void Write(io::OpId op, io::File, std::span<const io::Bytes> parts, uint64_t) override {
    Completes(op, BytesOf(parts));
  }
  void Sync(io::OpId op, io::File) override { Completes(op, 0); }

  // What no benchmark comes to.
  io::Socket Listen(const SocketAddress&, ListenOptions) override { return Never(); }
  SocketAddress LocalAddress(io::Socket) override { return {}; }
  void ShutdownSend(io::Socket) override { Never(); }
  void Close(io::Socket) override { Never(); }
  void Read(io::OpId, io::File, std::span<std::byte>, uint64_t) override { Never(); }
  void Cancel(io::OpId) override { Never(); }
  io::Waker& waker() override { std::abort(); }
  void Wait(Instant, std::vector<io::Completion>&) override { Never(); }

 private:
  static constexpr io::Socket kPeer = {11};

  static io::Socket Never() {
    CHECK(!"a benchmark asks for this");
    return {};
  }
  static uint64_t BytesOf(std::span<const io::Bytes> parts) {
    uint64_t bytes = 0;
    for (const io::Bytes part : parts) bytes += part.size();
    return bytes;
  }
  void Completes(io::OpId op, uint64_t result) {
    completions_.push_back({.op = op, .result = static_cast<int32_t>(result)});
  }

  const SocketAddress peer_address_ = *SocketAddress::Parse("192.0.2.1:40000");
  bool accepting_ = false;
  io::OpId accept_;
  bool receiving_ = false;
  io::OpId receive_;
  uint64_t heard_bytes_ = 0;
  std::vector<io::Completion> completions_;
};

}  // namespace sluice
