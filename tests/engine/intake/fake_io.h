// A network and a disk for tests of the listening side: clients that say what the test tells them
// to, a disk that takes everything, and completions that come when the test asks for them.
//
// It holds its user to the contract of engine/io/io.h: no id twice in flight, one send at a time,
// no close of a socket with anything in flight. Bytes that a completion lent are overwritten when
// the next ones are taken.

#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <list>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/check.h"
#include "engine/io/io.h"

namespace sluice::intake {

class FakeIo : public io::Io {
 public:
  // --- What a test does.

  // A client connects; returns its number, which is our descriptor of it too.
  int Dial(int listener, const SocketAddress& from) {
    const int client = next_client_++;
    clients_[client].address = from;
    backlog_.push_back({listener, client});
    Deliver();
    return client;
  }
  void Says(int client, absl::string_view text) {
    clients_.at(client).unread.append(text.data(), text.size());
    Deliver();
  }
  void FinishesSending(int client) {
    clients_.at(client).finished = true;
    Deliver();
  }
  void Resets(int client) {
    clients_.at(client).reset = true;
    Deliver();
  }
  // What the client has got since the last call.
  std::string TakeHeard(int client) { return std::exchange(clients_.at(client).heard, {}); }
  bool Closed(int client) const { return clients_.at(client).closed; }
  bool Receiving(int client) const { return clients_.at(client).receive_armed; }
  bool Accepting(int listener) const { return accepts_.contains(listener); }
  bool ListenerClosed(int listener) const { return closed_listeners_.contains(listener); }

  // Accept ends with this: an error, or 0 for an operation that has merely ended.
  void EndAccept(int listener, int error) {
    const io::OpId op = accepts_.at(listener);
    accepts_.erase(listener);
    if (error == 0) {
      const int client = next_client_++;
      clients_[client].address = *SocketAddress::Parse("127.0.0.1:40000");
      completions_.push_back({.op = op, .result = client});
      last_accepted_ = client;
    } else {
      completions_.push_back({.op = op, .result = -error});
    }
  }
  int last_accepted() const { return last_accepted_; }

  // While held, what was asked for stays in flight.
  void HoldSends() { hold_sends_ = true; }
  void ReleaseSends() {
    hold_sends_ = false;
    for (auto& [number, client] : clients_) {
      if (client.sending) FinishSend(client);
    }
  }
  void HoldDisk() { hold_disk_ = true; }
  void ReleaseDisk(int error = 0) {
    hold_disk_ = false;
    for (io::Completion& held : held_disk_) {
      if (error != 0) held.result = -error;
      completions_.push_back(held);
    }
    held_disk_.clear();
  }

  // What has completed. What the call before lent is gone.
  std::vector<io::Completion> Take() {
    for (std::string& bytes : lent_) std::memset(bytes.data(), '#', bytes.size());
    lent_ = std::exchange(lending_, {});
    return std::exchange(completions_, {});
  }

  bool HasCompletions() const { return !completions_.empty(); }

  // --- io::Io.

  io::Socket Listen(const SocketAddress&, ListenOptions) override { return Never(); }
  SocketAddress LocalAddress(io::Socket) override { return {}; }
  SocketAddress PeerAddress(io::Socket socket) override {
    return clients_.at(socket.descriptor).address;
  }
  io::Socket OpenStream(Family, const IpAddress&) override { return Never(); }
  void Connect(io::OpId, io::Socket, const SocketAddress&) override { Never(); }
  void Read(io::OpId, io::File, std::span<std::byte>, uint64_t) override { Never(); }
  void ShutdownSend(io::Socket) override { Never(); }
  io::Waker& waker() override { std::abort(); }
  void Wait(Instant, std::vector<io::Completion>&) override { Never(); }

  void Accept(io::OpId op, io::Socket listener) override {
    CHECK(!accepts_.contains(listener.descriptor));
    accepts_[listener.descriptor] = op;
    Deliver();
  }
  void Receive(io::OpId op, io::Socket socket) override {
    Client& client = clients_.at(socket.descriptor);
    CHECK(!client.closed);
    CHECK(!client.receive_armed);
    client.receive_armed = true;
    client.receive_op = op;
    Deliver();
  }
  void Send(io::OpId op, io::Socket socket, std::span<const io::Bytes> parts) override {
    Client& client = clients_.at(socket.descriptor);
    CHECK(!client.closed);
    CHECK(!client.sending);
    client.sending = true;
    client.send_op = op;
    client.sent.assign(parts.begin(), parts.end());
    if (!hold_sends_) FinishSend(client);
  }
  void Close(io::Socket socket) override {
    if (!clients_.contains(socket.descriptor)) {
      CHECK(!accepts_.contains(socket.descriptor));
      CHECK(closed_listeners_.emplace(socket.descriptor, true).second);
      return;
    }
    Client& client = clients_.at(socket.descriptor);
    CHECK(!client.closed);
    CHECK(!client.receive_armed);
    CHECK(!client.sending);
    client.closed = true;
  }
  void Write(io::OpId op, io::File, std::span<const io::Bytes> parts, uint64_t) override {
    size_t bytes = 0;
    for (const io::Bytes part : parts) bytes += part.size();
    CompleteDisk({.op = op, .result = static_cast<int32_t>(bytes)});
  }
  void Sync(io::OpId op, io::File) override { CompleteDisk({.op = op, .result = 0}); }
  void Cancel(io::OpId op) override {
    for (auto& [number, client] : clients_) {
      if (client.receive_armed && Same(client.receive_op, op)) {
        client.receive_armed = false;
        completions_.push_back({.op = op, .result = -ECANCELED});
      } else if (client.sending && Same(client.send_op, op)) {
        client.sending = false;
        completions_.push_back({.op = op, .result = -ECANCELED});
      }
    }
    std::erase_if(accepts_, [&](const auto& accept) {
      if (!Same(accept.second, op)) return false;
      completions_.push_back({.op = op, .result = -ECANCELED});
      return true;
    });
  }

 private:
  struct Client {
    SocketAddress address;
    std::string unread;  // Said, and not received yet.
    std::string heard;
    bool finished = false;
    bool reset = false;
    bool closed = false;
    bool receive_armed = false;
    io::OpId receive_op;
    bool sending = false;
    io::OpId send_op;
    std::vector<io::Bytes> sent;
  };
  struct Waiting {
    int listener;
    int client;
  };

  static io::Socket Never() {
    CHECK(!"the listening side does not ask for this");
    return {};
  }
  static bool Same(io::OpId a, io::OpId b) {
    return a.slot == b.slot && a.generation == b.generation && a.tag == b.tag;
  }

  // A completion that is waiting to be taken has left flight; the next send may only be asked for
  // when it has been taken, which the session's own CHECKs hold it to.
  void FinishSend(Client& client) {
    int32_t bytes = 0;
    for (const io::Bytes part : client.sent) {
      client.heard.append(reinterpret_cast<const char*>(part.data()), part.size());
      bytes += static_cast<int32_t>(part.size());
    }
    client.sending = false;
    completions_.push_back({.op = client.send_op, .result = client.reset ? -EPIPE : bytes});
  }
  void CompleteDisk(const io::Completion& completion) {
    (hold_disk_ ? held_disk_ : completions_).push_back(completion);
  }
  void Deliver() {
    std::erase_if(backlog_, [this](const Waiting& waiting) {
      const auto accept = accepts_.find(waiting.listener);
      if (accept == accepts_.end()) return false;
      completions_.push_back({.op = accept->second, .result = waiting.client, .more = true});
      return true;
    });
    for (auto& [number, client] : clients_) {
      if (client.receive_armed) DeliverTo(client);
    }
  }
  void DeliverTo(Client& client) {
    if (client.reset) {
      client.receive_armed = false;
      completions_.push_back({.op = client.receive_op, .result = -ECONNRESET});
      return;
    }
    if (!client.unread.empty()) {
      lending_.push_back(std::exchange(client.unread, {}));
      const std::string& bytes = lending_.back();
      completions_.push_back({.op = client.receive_op,
                              .result = static_cast<int32_t>(bytes.size()),
                              .more = true,
                              .received = std::as_bytes(std::span(bytes))});
    }
    if (client.finished) {
      client.receive_armed = false;
      completions_.push_back({.op = client.receive_op, .result = 0});
    }
  }

  std::map<int, Client> clients_;
  std::map<int, io::OpId> accepts_;  // By listener.
  std::map<int, bool> closed_listeners_;
  std::vector<Waiting> backlog_;
  int next_client_ = 1000;
  int last_accepted_ = -1;
  bool hold_sends_ = false;
  bool hold_disk_ = false;
  std::vector<io::Completion> held_disk_;
  std::vector<io::Completion> completions_;
  std::list<std::string> lending_;  // Their bytes stay where they are.
  std::list<std::string> lent_;
};

}  // namespace sluice::intake
