// Ten thousand operations of all kinds, drawn from a seed, against a model that knows what each
// stream must carry, what each file must hold, and which operations are in flight. Checked at every
// completion: it belongs to an operation in flight, it is the last one exactly once, and its bytes
// are the next ones of its stream. Buffers, submissions and completions are few, so that every
// bound is met all the time.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "tests/engine/io/ring_test.h"

namespace sluice::io {
namespace {

constexpr int kOperations = 10'000;
constexpr size_t kConnections = 24;
constexpr size_t kSendBytesMax = 200'000;
constexpr size_t kPeriod = 251;
constexpr size_t kFileBytes = 1 << 20;

// One direction of a connection: what is sent, from where to where.
struct Direction {
  Socket from;
  Socket to;
  bool sending = false;
  bool receiving = false;
  bool broken = false;  // A send ended early: how much of it went is not known.
  size_t sent = 0;
  size_t received = 0;
};

struct Connection {
  Direction directions[2];
  bool closing = false;  // From then on nothing new begins on it.
  bool closed = false;
};

enum Tag : uint8_t { kSend, kReceive, kWrite, kRead, kSync };

struct InFlight {
  OpId op;
  size_t connection = 0;  // Send, Receive.
  int direction = 0;
  size_t bytes = 0;  // Send, Write, Read: asked for.
};

class StressTest : public RingTest, public ::testing::WithParamInterface<uint64_t> {
 protected:
  void SetUp() override {
    Start(
        {.submissions = 8, .completions = 16, .receive_buffers = 16, .receive_buffer_bytes = 1500});
    if (IsSkipped()) return;
    temporary_ = tmpfile();
    ASSERT_NE(temporary_, nullptr);
    pattern_ = Pattern(kSendBytesMax + kPeriod);
    for (size_t i = 0; i < kConnections; ++i) Open(connections_[i]);
  }
  void TearDown() override {
    RingTest::TearDown();
    if (temporary_ != nullptr) fclose(temporary_);
  }

  static uint64_t KeyOf(OpId op) {
    return uint64_t{op.generation} << 40 | uint64_t{op.tag} << 32 | op.slot;
  }

  OpId Began(Tag tag, InFlight what) {
    what.op = MakeOpId(
        tag, {.slot = static_cast<uint32_t>(random_.Below(4)), .generation = ++generation_});
    in_flight_[KeyOf(what.op)] = what;
    ++operations_;
    return what.op;
  }

  void Open(Connection& connection) {
    const Streams streams = ConnectedStreams();
    connection = {};
    connection.directions[0] = {.from = streams.client, .to = streams.server};
    connection.directions[1] = {.from = streams.server, .to = streams.client};
  }

  void StartSend(size_t index, int way) {
    Direction& direction = connections_[index].directions[way];
    if (direction.sending || direction.broken || connections_[index].closing) return;
    const size_t bytes = 1 + random_.Below(random_.Chance(0.5) ? 100 : kSendBytesMax);
    // The stream's byte number n is n modulo the period, so any stretch of it lies in the pattern.
    Bytes rest = BytesOf(pattern_).subspan(direction.sent % kPeriod, bytes);
    std::vector<Bytes> parts;
    while (parts.size() + 1 < kSendPartsMax && random_.Chance(0.7)) {
      const size_t cut = random_.Below(rest.size());
      parts.push_back(rest.first(cut));
      rest = rest.subspan(cut);
    }
    parts.push_back(rest);
    direction.sending = true;
    const OpId op = Began(kSend, {.op = {}, .connection = index, .direction = way, .bytes = bytes});
    io_->Send(op, direction.from, parts);
  }

  void StartReceive(size_t index, int way) {
    Direction& direction = connections_[index].directions[way];
    if (direction.receiving || connections_[index].closing) return;
    direction.receiving = true;
    const OpId op = Began(kReceive, {.op = {}, .connection = index, .direction = way});
    io_->Receive(op, direction.to);
  }

  // One operation on the file at a time, since the kernel promises no order between two.
  void StartOnFile() {
    if (file_busy_) return;
    file_busy_ = true;
    const size_t offset = random_.Below(kFileBytes);
    const size_t bytes = 1 + random_.Below(kFileBytes - offset);
    const File file{fileno(temporary_)};
    switch (random_.Below(3)) {
      case 0:
        for (size_t i = 0; i < bytes; i += 97)
          on_disk_[offset + i] = static_cast<char>(random_.Next());
        written_ = std::max(written_, offset + bytes);
        io_->Write(Began(kWrite, {.op = {}, .bytes = bytes}), file,
                   std::vector<Bytes>{BytesOf(on_disk_).subspan(offset, bytes)}, offset);
        return;
      case 1:
        read_offset_ = offset;
        io_->Read(Began(kRead, {.op = {}, .bytes = bytes}), file,
                  std::as_writable_bytes(std::span(read_)).first(bytes), offset);
        return;
      case 2:
        io_->Sync(Began(kSync, {}), file);
        return;
    }
  }

  void CancelOne() {
    if (in_flight_.empty()) return;
    auto chosen = in_flight_.begin();
    std::advance(chosen, random_.Below(in_flight_.size()));
    // A write that was cut short would leave the file unknown.
    if (chosen->second.op.tag == kWrite) return;
    io_->Cancel(chosen->second.op);
  }

  // Begin: ask for the end of everything. Join: nothing is in flight. Then close, and a new one.
  void BeginClose(size_t index) {
    connections_[index].closing = true;
    for (const auto& [key, what] : in_flight_) {
      const bool on_socket = what.op.tag == kSend || what.op.tag == kReceive;
      if (on_socket && what.connection == index) io_->Cancel(what.op);
    }
  }
  void CloseTheJoined() {
    for (Connection& connection : connections_) {
      const Direction* ways = connection.directions;
      if (!connection.closing || connection.closed) continue;
      if (ways[0].sending || ways[0].receiving || ways[1].sending || ways[1].receiving) continue;
      io_->Close(ways[0].from);
      io_->Close(ways[1].from);
      connection.closed = true;
      ++closed_;
    }
  }

  void TakeSend(const InFlight& what, int32_t result) {
    Direction& direction = connections_[what.connection].directions[what.direction];
    EXPECT_TRUE(direction.sending);
    direction.sending = false;
    if (result == -ECANCELED) {
      direction.broken = true;
      return;
    }
    EXPECT_EQ(result, static_cast<int32_t>(what.bytes));
    direction.sent += what.bytes;
  }

  void TakeReceive(const InFlight& what, const Completion& completion) {
    Direction& direction = connections_[what.connection].directions[what.direction];
    EXPECT_TRUE(direction.receiving);
    if (!completion.more) direction.receiving = false;
    if (completion.result <= 0) {
      EXPECT_EQ(completion.result, -ECANCELED);
      return;
    }
    ASSERT_EQ(completion.received.size(), static_cast<size_t>(completion.result));
    const Bytes expected =
        BytesOf(pattern_).subspan(direction.received % kPeriod, completion.received.size());
    EXPECT_TRUE(TextOf(completion.received) == TextOf(expected));
    direction.received += completion.received.size();
  }

  void TakeFile(const InFlight& what, int32_t result) {
    EXPECT_TRUE(file_busy_);
    file_busy_ = false;
    if (what.op.tag != kWrite && result == -ECANCELED) return;
    if (what.op.tag == kSync) {
      EXPECT_EQ(result, 0);
    } else if (what.op.tag == kWrite) {
      EXPECT_EQ(result, static_cast<int32_t>(what.bytes));
    } else {
      const size_t there = written_ - std::min(written_, read_offset_);
      ASSERT_EQ(static_cast<size_t>(result), std::min(there, what.bytes));
      EXPECT_EQ(read_.compare(0, static_cast<size_t>(result), on_disk_, read_offset_,
                              static_cast<size_t>(result)),
                0);
    }
  }

  void WaitAndCheck(Instant until) {
    std::vector<Completion> completions;
    io_->Wait(until, completions);
    for (const Completion& completion : completions) {
      const auto found = in_flight_.find(KeyOf(completion.op));
      ASSERT_TRUE(found != in_flight_.end()) << "not in flight, or ended before";
      const InFlight what = found->second;
      if (!completion.more) in_flight_.erase(found);
      switch (static_cast<Tag>(what.op.tag)) {
        case kSend:
          EXPECT_FALSE(completion.more);
          TakeSend(what, completion.result);
          break;
        case kReceive:
          TakeReceive(what, completion);
          break;
        case kWrite:
        case kRead:
        case kSync:
          EXPECT_FALSE(completion.more);
          TakeFile(what, completion.result);
          break;
      }
    }
  }

  void Step() {
    const size_t index = random_.Below(kConnections);
    const int way = static_cast<int>(random_.Below(2));
    const uint64_t dice = random_.Below(100);
    if (dice < 40) {
      StartSend(index, way);
    } else if (dice < 75) {
      StartReceive(index, way);
    } else if (dice < 85) {
      StartOnFile();
    } else if (dice < 90) {
      CancelOne();
    } else if (dice < 92) {
      BeginClose(index);
    }
    if (dice % 5 == 0) WaitAndCheck(ReadClock().instant);
    CloseTheJoined();
  }

  // Ends everything, and opens anew what is closed or of which it is not known how much was sent.
  // Opening waits for its own operations only, so nothing else may be in flight.
  void StartAnew() {
    for (const auto& [key, what] : in_flight_) {
      if (what.op.tag != kWrite) io_->Cancel(what.op);
    }
    WaitUntil([this] { return in_flight_.empty(); });
    for (Connection& connection : connections_) {
      const Direction* ways = connection.directions;
      if (ways[0].broken || ways[1].broken) connection.closing = true;
    }
    CloseTheJoined();
    for (Connection& connection : connections_) {
      if (connection.closed) Open(connection);
    }
  }

  void ReceiveTheRest() {
    for (size_t i = 0; i < kConnections; ++i) {
      for (const int way : {0, 1}) {
        StartReceive(i, way);
        const Direction& direction = connections_[i].directions[way];
        WaitUntil([&direction] { return direction.received == direction.sent; });
      }
    }
  }

  template <class Condition>
  void WaitUntil(Condition condition) {
    const Instant deadline = ReadClock().instant + std::chrono::seconds(20);
    while (!condition() && !HasFailure()) {
      ASSERT_LT(ReadClock().instant, deadline);
      WaitAndCheck(deadline);
    }
  }

  Random random_{GetParam()};
  FILE* temporary_ = nullptr;
  std::string pattern_;
  std::vector<Connection> connections_ = std::vector<Connection>(kConnections);
  std::map<uint64_t, InFlight> in_flight_;
  std::string on_disk_ = std::string(kFileBytes, '\0');
  std::string read_ = std::string(kFileBytes, '\0');
  size_t written_ = 0;
  size_t read_offset_ = 0;
  bool file_busy_ = false;
  uint32_t generation_ = 0;
  int operations_ = 0;
  int closed_ = 0;
};

TEST_P(StressTest, EveryOperationEndsOnceAndEveryByteArrives) {
  while (operations_ < kOperations && !HasFailure()) {
    for (int i = 0; i < 400 && !HasFailure(); ++i) Step();
    StartAnew();
  }
  // Now without cancelling: whatever is sent arrives.
  for (size_t i = 0; i < kConnections; ++i) {
    for (const int way : {0, 1}) StartSend(i, way);
  }
  ReceiveTheRest();
  EXPECT_TRUE(events_.empty());
  EXPECT_GT(closed_, 0);
  EXPECT_GT(io_->counters().receives_starved, 0u);
  EXPECT_GT(io_->counters().submissions_forced, 0u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, StressTest, ::testing::Range(uint64_t{1}, uint64_t{4}));

}  // namespace
}  // namespace sluice::io
