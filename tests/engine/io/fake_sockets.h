// Sockets for tests: peers that say what the test tells them to, and completions that come when the
// test asks for them.
//
// It holds its user to the contract of engine/io/io.h: no id twice in flight, one send at a time,
// no close of a socket with anything in flight. Bytes that a completion lent are overwritten when
// the next ones are taken. How a peer comes to be, and files, are of those who derive from it.

#pragma once

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <list>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/check.h"
#include "engine/io/io.h"

namespace sluice::io {

class FakeSockets : public Io {
 public:
  // --- What a test does. A peer's number is also our descriptor of it.

  void Says(int peer, absl::string_view text) {
    peers_.at(peer).unread.append(text.data(), text.size());
    Deliver(peer);
  }
  void FinishesSending(int peer) {
    peers_.at(peer).finished = true;
    Deliver(peer);
  }
  void Resets(int peer) {
    peers_.at(peer).reset = true;
    Deliver(peer);
  }
  // From now on our sends fail, though what it says still comes.
  void BreakSends(int peer) { peers_.at(peer).sends_broken = true; }
  // What the peer has got since the last call.
  std::string TakeHeard(int peer) { return std::exchange(peers_.at(peer).heard, {}); }
  bool Closed(int peer) const { return peers_.at(peer).closed; }
  // We have said that no more comes.
  bool ToldTheEnd(int peer) const { return peers_.at(peer).told_the_end; }
  bool Receiving(int peer) const { return peers_.at(peer).receive_armed; }
  bool Sending(int peer) const { return peers_.at(peer).sending; }
  // Of the send in flight.
  size_t SendingBytes(int peer) const {
    size_t bytes = 0;
    for (const Bytes part : peers_.at(peer).sent) bytes += part.size();
    return bytes;
  }

  // While held, what is sent stays in flight: nobody takes it.
  void HoldSends() { hold_sends_ = true; }
  void ReleaseSends() {
    hold_sends_ = false;
    for (const auto& [number, peer] : peers_) {
      if (peer.sending) FinishSend(number);
    }
  }
  // The one that is in flight to this peer is taken; the next is held again.
  void ReleaseSend(int peer) { FinishSend(peer); }

  // What has completed. What the call before lent is gone.
  std::vector<Completion> Take() {
    for (std::string& bytes : lent_) std::memset(bytes.data(), '#', bytes.size());
    lent_ = std::exchange(lending_, {});
    return std::exchange(completions_, {});
  }
  bool HasCompletions() const { return !completions_.empty(); }

  // --- Io.

  SocketAddress PeerAddress(Socket socket) override { return peers_.at(socket.descriptor).address; }
  void Receive(OpId op, Socket socket) override {
    Peer& peer = peers_.at(socket.descriptor);
    CHECK(!peer.closed);
    CHECK(!peer.receive_armed);
    peer.receive_armed = true;
    peer.receive_op = op;
    Deliver(socket.descriptor);
  }
  void Send(OpId op, Socket socket, std::span<const Bytes> parts) override {
    Peer& peer = peers_.at(socket.descriptor);
    CHECK(parts.size() <= kSendPartsMax);
    CHECK(!peer.closed);
    CHECK(!peer.sending);
    peer.sending = true;
    peer.send_op = op;
    peer.sent.assign(parts.begin(), parts.end());
    if (!hold_sends_) FinishSend(socket.descriptor);
  }
  void ShutdownSend(Socket socket) override {
    CHECK(!peers_.at(socket.descriptor).closed);
    peers_.at(socket.descriptor).told_the_end = true;
  }
  void Close(Socket socket) override {
    Peer& peer = peers_.at(socket.descriptor);
    CHECK(!peer.closed);
    CHECK(!peer.receive_armed);
    CHECK(!peer.sending);
    peer.closed = true;
  }
  void Cancel(OpId op) override {
    for (auto& [number, peer] : peers_) {
      if (peer.receive_armed && Same(peer.receive_op, op)) {
        peer.receive_armed = false;
        Complete({.op = op, .result = -ECANCELED});
      } else if (peer.sending && Same(peer.send_op, op)) {
        peer.sending = false;
        Complete({.op = op, .result = -ECANCELED});
      }
    }
  }

  // What a test of one side is never asked for.
  Socket Listen(const SocketAddress&, ListenOptions) override { return Never(); }
  SocketAddress LocalAddress(Socket) override { return {}; }
  Socket OpenStream(Family, const IpAddress&) override { return Never(); }
  void Accept(OpId, Socket) override { Never(); }
  void Connect(OpId, Socket, const SocketAddress&) override { Never(); }
  void Write(OpId, File, std::span<const Bytes>, uint64_t) override { Never(); }
  void Read(OpId, File, std::span<std::byte>, uint64_t) override { Never(); }
  void Sync(OpId, File) override { Never(); }
  Waker& waker() override { std::abort(); }
  void Wait(Instant, std::vector<Completion>&) override { Never(); }

 protected:
  static bool Same(OpId a, OpId b) {
    return a.slot == b.slot && a.generation == b.generation && a.tag == b.tag;
  }

  int AddPeer(const SocketAddress& address) {
    peers_[next_peer_].address = address;
    return next_peer_++;
  }
  bool IsPeer(Socket socket) const { return peers_.contains(socket.descriptor); }
  void Complete(const Completion& completion) { completions_.push_back(completion); }
  // The peer has got these, and the completion that says so is there.
  virtual void OnHeard(int peer, absl::string_view text) {}

 private:
  struct Peer {
    SocketAddress address;
    std::string unread;  // Said, and not received yet.
    std::string heard;
    bool finished = false;
    bool reset = false;
    bool sends_broken = false;
    bool told_the_end = false;
    bool closed = false;
    bool receive_armed = false;
    OpId receive_op;
    bool sending = false;
    OpId send_op;
    std::vector<Bytes> sent;
  };

  static Socket Never() {
    CHECK(!"this side does not ask for this");
    return {};
  }

  // A completion that is waiting to be taken has left flight; the next send may only be asked for
  // when it has been taken, which the session's own CHECKs hold it to.
  void FinishSend(int number) {
    Peer& peer = peers_.at(number);
    CHECK(peer.sending);
    peer.sending = false;
    if (peer.reset || peer.sends_broken) return Complete({.op = peer.send_op, .result = -EPIPE});
    std::string text;
    for (const Bytes part : peer.sent) {
      text.append(reinterpret_cast<const char*>(part.data()), part.size());
    }
    peer.heard += text;
    Complete({.op = peer.send_op, .result = static_cast<int32_t>(text.size())});
    OnHeard(number, text);
  }

  void Deliver(int number) {
    Peer& peer = peers_.at(number);
    if (!peer.receive_armed) return;
    if (peer.reset) {
      peer.receive_armed = false;
      return Complete({.op = peer.receive_op, .result = -ECONNRESET});
    }
    if (!peer.unread.empty()) {
      lending_.push_back(std::exchange(peer.unread, {}));
      const std::string& bytes = lending_.back();
      Complete({.op = peer.receive_op,
                .result = static_cast<int32_t>(bytes.size()),
                .more = true,
                .received = std::as_bytes(std::span(bytes))});
    }
    if (peer.finished) {
      peer.receive_armed = false;
      Complete({.op = peer.receive_op, .result = 0});
    }
  }

  std::map<int, Peer> peers_;
  int next_peer_ = 1000;
  bool hold_sends_ = false;
  std::vector<Completion> completions_;
  std::list<std::string> lending_;  // Their bytes stay where they are.
  std::list<std::string> lent_;
};

}  // namespace sluice::io
