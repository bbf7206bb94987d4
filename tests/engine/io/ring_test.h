// A ring for tests, and the shortest words for using it: every operation gets a fresh id, and
// Next(op) waits for that operation's next completion while keeping the others'. The deadline in it
// only ends a test that has failed.
//
// Tests that need a ring are skipped, with the reason, where the kernel refuses one.

#pragma once

#include <chrono>
#include <climits>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/io/clock.h"
#include "engine/io/uring_io.h"
#include "gtest/gtest.h"

namespace sluice::io {

// Text in which every stretch tells where it stands: 251 is no divisor of any buffer size.
inline std::string Pattern(size_t bytes) {
  std::string text(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>(i % 251);
  return text;
}

class RingTest : public ::testing::Test {
 protected:
  struct Event {
    OpId op;
    int32_t result = INT_MIN;  // As it stays when nothing came.
    bool more = false;
    std::string bytes;
  };
  struct Streams {
    Socket client;
    Socket server;
  };

  void SetUp() override { Start({}); }
  void TearDown() override { io_.reset(); }

  void Start(const UringIo::Options& options) {
    io_.reset();
    absl::StatusOr<std::unique_ptr<UringIo>> io = UringIo::Create(options);
    if (!io.ok()) GTEST_SKIP() << std::string(io.status().message());
    io_ = std::move(*io);
  }

  OpId NewId() { return MakeOpId(7, {.slot = next_slot_++, .generation = 3}); }

  void WaitOnce(Instant until) {
    std::vector<Completion> completions;
    io_->Wait(until, completions);
    for (const Completion& completion : completions) {
      const auto* bytes = reinterpret_cast<const char*>(completion.received.data());
      events_.push_back({completion.op, completion.result, completion.more,
                         std::string(bytes, completion.received.size())});
    }
  }

  // What has completed by now, without waiting.
  void Poll() { WaitOnce(ReadClock().instant); }

  Event Next(OpId op) {
    const Instant deadline = ReadClock().instant + std::chrono::seconds(20);
    while (ReadClock().instant < deadline) {
      for (auto event = events_.begin(); event != events_.end(); ++event) {
        if (!Same(event->op, op)) continue;
        Event found = std::move(*event);
        events_.erase(event);
        return found;
      }
      WaitOnce(deadline);
    }
    ADD_FAILURE() << "operation " << op.slot << " does not complete";
    return {};
  }

  // How many completions of the operation stand in the queue.
  size_t Waiting(OpId op) const {
    size_t count = 0;
    for (const Event& event : events_) count += Same(event.op, op) ? 1 : 0;
    return count;
  }

  // All bytes of an armed receive until `bytes` of them have come.
  std::string Received(OpId op, size_t bytes) {
    std::string all;
    while (all.size() < bytes) {
      const Event event = Next(op);
      if (event.result <= 0 || !event.more) {
        ADD_FAILURE() << "ended by " << event.result << " after " << all.size() << " bytes";
        break;
      }
      all += event.bytes;
    }
    return all;
  }

  OpId Send(Socket socket, const std::string& text) {
    const OpId op = NewId();
    const Bytes part = BytesOf(text);
    io_->Send(op, socket, {&part, 1});
    return op;
  }
  OpId Receive(Socket socket) {
    const OpId op = NewId();
    io_->Receive(op, socket);
    return op;
  }
  // Cancels an operation and takes its completions up to the last.
  void End(OpId op) {
    io_->Cancel(op);
    while (Next(op).more) {
    }
  }

  static SocketAddress Loopback(uint16_t port = 0) {
    return {.ip = *IpAddress::Parse("127.0.0.1"), .port = port};
  }
  Socket ListenOnLoopback(int backlog = 4096) {
    const Socket listener = io_->Listen(Loopback(), {.reuse_port = false, .backlog = backlog});
    EXPECT_TRUE(listener);
    return listener;
  }
  OpId Connect(Socket socket, Socket listener) {
    const OpId op = NewId();
    io_->Connect(op, socket, io_->LocalAddress(listener));
    return op;
  }
  Socket OpenStream() { return io_->OpenStream(Family::kIpv4, {}); }

  // Two ends of one connection.
  Streams ConnectedStreams() {
    const Socket listener = ListenOnLoopback();
    const OpId accept = NewId();
    io_->Accept(accept, listener);
    Streams streams{.client = OpenStream(), .server = {}};
    EXPECT_EQ(Next(Connect(streams.client, listener)).result, 0);
    streams.server = Socket{Next(accept).result};
    End(accept);
    io_->Close(listener);
    return streams;
  }

  static bool Same(OpId a, OpId b) {
    return a.slot == b.slot && a.generation == b.generation && a.tag == b.tag;
  }

  std::unique_ptr<UringIo> io_;
  std::deque<Event> events_;
  uint32_t next_slot_ = 0;
};

}  // namespace sluice::io
