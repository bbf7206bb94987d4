// Receiving and sending over loopback connections of one ring: many buffers and too few, slow
// readers, ends of all kinds.

#include <errno.h>
#include <sys/socket.h>

#include <string>
#include <vector>

#include "tests/engine/io/ring_test.h"

namespace sluice::io {
namespace {

using StreamTest = RingTest;

void ResetOnClose(Socket socket) {
  const linger now{.l_onoff = 1, .l_linger = 0};
  ASSERT_EQ(setsockopt(socket.descriptor, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
}

TEST_F(StreamTest, EchoesTheIdAsItWas) {
  const Streams streams = ConnectedStreams();
  const OpId op{.slot = UINT32_MAX, .generation = 0xffffff, .tag = 0xfe};
  const std::string text = "EHLO a.example\r\n";
  const Bytes part = BytesOf(text);
  io_->Send(op, streams.client, {&part, 1});
  const Event event = Next(op);
  EXPECT_EQ(event.op.slot, UINT32_MAX);
  EXPECT_EQ(event.op.generation, 0xffffffu);
  EXPECT_EQ(event.op.tag, 0xfeu);
  EXPECT_EQ(event.result, 16);
  EXPECT_FALSE(event.more);
}

TEST_F(StreamTest, AReceiveStaysArmed) {
  const Streams streams = ConnectedStreams();
  const OpId receive = Receive(streams.server);
  for (const char* line : {"MAIL FROM:<a@x>\r\n", "RCPT TO:<b@y>\r\n", "DATA\r\n"}) {
    const std::string text = line;
    const OpId send = Send(streams.client, text);
    EXPECT_EQ(Received(receive, text.size()), text);
    EXPECT_EQ(Next(send).result, static_cast<int>(text.size()));
  }
}

TEST_F(StreamTest, ReceivesAcrossManyBuffers) {
  Start({.receive_buffers = 64, .receive_buffer_bytes = 100});
  const Streams streams = ConnectedStreams();
  const std::string text = Pattern(20'000);
  const OpId receive = Receive(streams.server);
  const OpId send = Send(streams.client, text);
  EXPECT_EQ(Received(receive, text.size()), text);
  EXPECT_EQ(Next(send).result, 20'000);
}

TEST_F(StreamTest, AStarvedReceiveGoesOnWhenBuffersAreBack) {
  Start({.receive_buffers = 2, .receive_buffer_bytes = 16});
  const Streams streams = ConnectedStreams();
  const std::string text = Pattern(4'000);
  const OpId send = Send(streams.client, text);
  EXPECT_EQ(Next(send).result, 4'000);
  const OpId receive = Receive(streams.server);
  EXPECT_EQ(Received(receive, text.size()), text);
  EXPECT_GT(io_->counters().receives_starved, 0u);
}

TEST_F(StreamTest, ALoudConnectionDoesNotSilenceAnother) {
  Start({.receive_buffers = 2, .receive_buffer_bytes = 16});
  const Streams loud = ConnectedStreams();
  const Streams quiet = ConnectedStreams();
  const std::string much = Pattern(2'000);
  const std::string little = "QUIT\r\n";
  const OpId from_loud = Receive(loud.server);
  const OpId from_quiet = Receive(quiet.server);
  const OpId send_much = Send(loud.client, much);
  const OpId send_little = Send(quiet.client, little);
  EXPECT_EQ(Received(from_quiet, little.size()), little);
  EXPECT_EQ(Received(from_loud, much.size()), much);
  EXPECT_EQ(Next(send_much).result, 2'000);
  EXPECT_EQ(Next(send_little).result, 6);
}

TEST_F(StreamTest, ThePeersEndIsZeroAfterItsLastBytes) {
  const Streams streams = ConnectedStreams();
  const OpId receive = Receive(streams.server);
  const std::string text = "221 bye\r\n";
  EXPECT_EQ(Next(Send(streams.client, text)).result, 9);
  io_->ShutdownSend(streams.client);
  EXPECT_EQ(Received(receive, text.size()), text);
  const Event end = Next(receive);
  EXPECT_EQ(end.result, 0);
  EXPECT_FALSE(end.more);
  EXPECT_EQ(end.bytes, "");
  Poll();
  EXPECT_EQ(Waiting(receive), 0u);

  // The other direction is still open.
  const OpId other_way = Receive(streams.client);
  EXPECT_EQ(Next(Send(streams.server, text)).result, 9);
  EXPECT_EQ(Received(other_way, text.size()), text);
}

TEST_F(StreamTest, AResetEndsTheReceiveAndTheNextSend) {
  const Streams streams = ConnectedStreams();
  const OpId receive = Receive(streams.server);
  Poll();
  ResetOnClose(streams.client);
  io_->Close(streams.client);
  const Event end = Next(receive);
  EXPECT_EQ(end.result, -ECONNRESET);
  EXPECT_FALSE(end.more);
  // No SIGPIPE, which would end the process.
  const std::string text = "250 ok\r\n";
  EXPECT_EQ(Next(Send(streams.server, text)).result, -EPIPE);
  io_->ShutdownSend(streams.server);  // Nothing left to shut down: not a fault.
  io_->Close(streams.server);
}

TEST_F(StreamTest, ASendLargerThanTheSocketsBufferWaitsForASlowReader) {
  const Streams streams = ConnectedStreams();
  const std::string text = Pattern(32 << 20);
  const OpId send = Send(streams.client, text);
  Poll();
  EXPECT_EQ(Waiting(send), 0u);
  const OpId receive = Receive(streams.server);
  EXPECT_TRUE(Received(receive, text.size()) == text);  // 32 MiB are not worth printing.
  const Event sent = Next(send);
  EXPECT_EQ(sent.result, 32 << 20);
  EXPECT_FALSE(sent.more);
}

TEST_F(StreamTest, GathersSixtyFourPartsOfWhichSomeAreEmpty) {
  const Streams streams = ConnectedStreams();
  std::vector<std::string> lines;
  std::string text;
  for (size_t i = 0; i < kSendPartsMax; ++i) {
    lines.push_back(i % 5 == 0 ? "" : std::string(i, static_cast<char>('a' + i % 26)));
    text += lines.back();
  }
  std::vector<Bytes> parts;
  for (const std::string& line : lines) parts.push_back(BytesOf(line));
  const OpId receive = Receive(streams.server);
  const OpId send = NewId();
  io_->Send(send, streams.client, parts);
  EXPECT_EQ(Next(send).result, static_cast<int>(text.size()));
  EXPECT_EQ(Received(receive, text.size()), text);
}

TEST_F(StreamTest, AGatheredSendLargerThanTheSocketsBufferArrivesWhole) {
  const Streams streams = ConnectedStreams();
  const std::string block = Pattern(512 << 10);
  const std::vector<Bytes> parts(kSendPartsMax, BytesOf(block));
  const OpId send = NewId();
  io_->Send(send, streams.client, parts);
  Poll();
  const OpId receive = Receive(streams.server);
  std::string expected;
  for (size_t i = 0; i < kSendPartsMax; ++i) expected += block;
  EXPECT_TRUE(Received(receive, expected.size()) == expected);
  EXPECT_EQ(Next(send).result, 32 << 20);
}

TEST_F(StreamTest, MoreOperationsInATurnThanTheQueueHolds) {
  Start({.submissions = 8, .completions = 16});
  constexpr int kStreams = 40;
  std::vector<Streams> streams;
  std::vector<OpId> receives;
  std::vector<OpId> sends;
  const std::string text = "220 mx.example ESMTP\r\n";
  for (int i = 0; i < kStreams; ++i) streams.push_back(ConnectedStreams());
  for (const Streams& each : streams) receives.push_back(Receive(each.server));
  for (const Streams& each : streams) sends.push_back(Send(each.client, text));
  for (const OpId receive : receives) EXPECT_EQ(Received(receive, text.size()), text);
  for (const OpId send : sends) EXPECT_EQ(Next(send).result, static_cast<int>(text.size()));
  EXPECT_GT(io_->counters().submissions_forced, 0u);
}

// One enter brings at most 20 completions; a turn goes back for the rest.
TEST_F(StreamTest, OneTurnTakesMoreThanTwentyCompletions) {
  constexpr size_t kStreams = 100;
  std::vector<Streams> streams;
  std::vector<OpId> receives;
  const std::string text = "250 ok\r\n";
  for (size_t i = 0; i < kStreams; ++i) streams.push_back(ConnectedStreams());
  for (const Streams& each : streams) receives.push_back(Receive(each.server));
  Poll();
  for (const Streams& each : streams) Send(each.client, text);
  Poll();
  size_t received = 0;
  for (const OpId receive : receives) received += Waiting(receive);
  EXPECT_EQ(received, kStreams);
}

}  // namespace
}  // namespace sluice::io
