// A network and a disk for tests of the listening side: clients that dial, and say what the test
// tells them to, and a disk that takes everything.

#pragma once

#include <cerrno>
#include <map>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "tests/engine/io/fake_sockets.h"

namespace sluice::intake {

class FakeIo : public io::FakeSockets {
 public:
  // --- What a test does.

  // A client connects; returns its number.
  int Dial(int listener, const SocketAddress& from) {
    const int client = AddPeer(from);
    backlog_.push_back({listener, client});
    AcceptWaiting();
    return client;
  }
  bool Accepting(int listener) const { return accepts_.contains(listener); }
  bool ListenerClosed(int listener) const { return closed_listeners_.contains(listener); }

  // Accept ends with this: an error, or 0 for an operation that has merely ended.
  void EndAccept(int listener, int error) {
    const io::OpId op = accepts_.at(listener);
    accepts_.erase(listener);
    if (error == 0) {
      last_accepted_ = AddPeer(*SocketAddress::Parse("127.0.0.1:40000"));
      Complete({.op = op, .result = last_accepted_});
    } else {
      Complete({.op = op, .result = -error});
    }
  }
  int last_accepted() const { return last_accepted_; }

  // While held, what was asked of the disk stays in flight.
  void HoldDisk() { hold_disk_ = true; }
  void ReleaseDisk(int error = 0) {
    hold_disk_ = false;
    for (io::Completion& held : std::exchange(held_disk_, {})) {
      if (error != 0) held.result = -error;
      Complete(held);
    }
  }

  // --- io::Io.

  void Accept(io::OpId op, io::Socket listener) override {
    CHECK(!accepts_.contains(listener.descriptor));
    accepts_[listener.descriptor] = op;
    AcceptWaiting();
  }
  void Close(io::Socket socket) override {
    if (IsPeer(socket)) return FakeSockets::Close(socket);
    CHECK(!accepts_.contains(socket.descriptor));
    CHECK(closed_listeners_.emplace(socket.descriptor, true).second);
  }
  void Write(io::OpId op, io::File, std::span<const io::Bytes> parts, uint64_t) override {
    size_t bytes = 0;
    for (const io::Bytes part : parts) bytes += part.size();
    CompleteDisk({.op = op, .result = static_cast<int32_t>(bytes)});
  }
  void Sync(io::OpId op, io::File) override { CompleteDisk({.op = op, .result = 0}); }
  void Cancel(io::OpId op) override {
    FakeSockets::Cancel(op);
    std::erase_if(accepts_, [&](const auto& accept) {
      if (!Same(accept.second, op)) return false;
      Complete({.op = op, .result = -ECANCELED});
      return true;
    });
  }

 private:
  struct Waiting {
    int listener;
    int client;
  };

  void CompleteDisk(const io::Completion& completion) {
    if (!hold_disk_) return Complete(completion);
    held_disk_.push_back(completion);
  }
  void AcceptWaiting() {
    std::erase_if(backlog_, [this](const Waiting& waiting) {
      const auto accept = accepts_.find(waiting.listener);
      if (accept == accepts_.end()) return false;
      Complete({.op = accept->second, .result = waiting.client, .more = true});
      return true;
    });
  }

  std::map<int, io::OpId> accepts_;  // By listener.
  std::map<int, bool> closed_listeners_;
  std::vector<Waiting> backlog_;
  int last_accepted_ = -1;
  bool hold_disk_ = false;
  std::vector<io::Completion> held_disk_;
};

}  // namespace sluice::intake
