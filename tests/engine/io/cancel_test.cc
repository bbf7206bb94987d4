// Cancelling an operation of every kind: its last completion comes exactly once, and then the
// socket can be closed. Each operation is one that cannot complete by itself: nobody connects,
// nothing is sent, the pipe is empty or full.

#include <errno.h>
#include <unistd.h>

#include <array>
#include <string>

#include "tests/engine/io/ring_test.h"

namespace sluice::io {
namespace {

class CancelTest : public RingTest {
 protected:
  void ExpectCancelledOnce(OpId op) {
    io_->Cancel(op);
    io_->Cancel(op);  // Asked twice is asked once.
    const Event event = Next(op);
    EXPECT_EQ(event.result, -ECANCELED);
    EXPECT_FALSE(event.more);
    io_->Cancel(op);  // No longer in flight: ignored.
    Poll();
    EXPECT_EQ(Waiting(op), 0u);
  }

  // Both before the kernel has seen the operation and after.
  void Submitted(bool submitted) {
    if (submitted) Poll();
  }
};

TEST_F(CancelTest, Accept) {
  for (const bool submitted : {false, true}) {
    const Socket listener = ListenOnLoopback();
    const OpId accept = NewId();
    io_->Accept(accept, listener);
    Submitted(submitted);
    ExpectCancelledOnce(accept);
    io_->Close(listener);
  }
}

TEST_F(CancelTest, Connect) {
  for (const bool submitted : {false, true}) {
    // A backlog of 0 holds one connection that nobody accepts; the next one's SYN is dropped.
    const Socket listener = ListenOnLoopback(0);
    const Socket first = OpenStream();
    EXPECT_EQ(Next(Connect(first, listener)).result, 0);
    const Socket second = OpenStream();
    const OpId connect = Connect(second, listener);
    Submitted(submitted);
    ExpectCancelledOnce(connect);
    io_->Close(second);
  }
}

TEST_F(CancelTest, Receive) {
  for (const bool submitted : {false, true}) {
    const Streams streams = ConnectedStreams();
    const OpId receive = Receive(streams.server);
    Submitted(submitted);
    ExpectCancelledOnce(receive);
    io_->Close(streams.server);
  }
}

TEST_F(CancelTest, AReceiveThatWaitsForBuffers) {
  Start({.receive_buffers = 1, .receive_buffer_bytes = 16});
  const Streams streams = ConnectedStreams();
  const std::string text = Pattern(64);
  EXPECT_EQ(Next(Send(streams.client, text)).result, 64);
  const OpId receive = Receive(streams.server);
  const Event first = Next(receive);
  EXPECT_EQ(first.bytes, text.substr(0, 16));
  EXPECT_TRUE(first.more);
  EXPECT_EQ(io_->counters().receives_starved, 1u);
  ExpectCancelledOnce(receive);
  io_->Close(streams.server);
}

TEST_F(CancelTest, SendInPart) {
  for (const bool submitted : {false, true}) {
    const Streams streams = ConnectedStreams();
    const std::string text = Pattern(32 << 20);
    const OpId send = Send(streams.client, text);
    Submitted(submitted);
    ExpectCancelledOnce(send);
    io_->Close(streams.client);
  }
}

TEST_F(CancelTest, ReadOfAnEmptyPipe) {
  for (const bool submitted : {false, true}) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    std::array<std::byte, 16> into;
    const OpId read = NewId();
    io_->Read(read, File{ends[0]}, into, 0);
    Submitted(submitted);
    ExpectCancelledOnce(read);
    close(ends[0]);
    close(ends[1]);
  }
}

TEST_F(CancelTest, WriteToAFullPipe) {
  for (const bool submitted : {false, true}) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const std::string text = Pattern(1 << 20);  // A pipe holds 64 KiB.
    const Bytes part = BytesOf(text);
    const OpId write = NewId();
    io_->Write(write, File{ends[1]}, {&part, 1}, 0);
    Submitted(submitted);
    ExpectCancelledOnce(write);
    close(ends[0]);
    close(ends[1]);
  }
}

// A sync may be done before the cancellation finds it: 0 and -ECANCELED are both right.
TEST_F(CancelTest, SyncCompletesOnce) {
  FILE* file = tmpfile();
  ASSERT_NE(file, nullptr);
  const OpId sync = NewId();
  io_->Sync(sync, File{fileno(file)});
  io_->Cancel(sync);
  const Event event = Next(sync);
  EXPECT_TRUE(event.result == 0 || event.result == -ECANCELED) << event.result;
  EXPECT_FALSE(event.more);
  Poll();
  EXPECT_EQ(Waiting(sync), 0u);
  fclose(file);
}

TEST_F(CancelTest, AnUnknownIdIsIgnored) {
  io_->Cancel(NewId());
  Poll();
  EXPECT_TRUE(events_.empty());
}

TEST_F(CancelTest, TheIdIsFreeAgainAfterItsLastCompletion) {
  const Streams streams = ConnectedStreams();
  const OpId receive = Receive(streams.server);
  ExpectCancelledOnce(receive);
  io_->Receive(receive, streams.server);
  const std::string text = "RSET\r\n";
  EXPECT_EQ(Next(Send(streams.client, text)).result, 6);
  EXPECT_EQ(Received(receive, 6), text);
}

TEST_F(CancelTest, TheEndOfTheRingEndsWhatIsInFlight) {
  const Streams streams = ConnectedStreams();
  const std::string text = Pattern(32 << 20);
  Receive(streams.client);
  Send(streams.client, text);
  Poll();
  io_.reset();  // Neither hangs nor writes anywhere afterwards; the sockets are closed.
  EXPECT_EQ(close(streams.client.descriptor), -1);
  EXPECT_EQ(errno, EBADF);
}

}  // namespace
}  // namespace sluice::io
