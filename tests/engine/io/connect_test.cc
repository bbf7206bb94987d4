// Listening, accepting and connecting over loopback sockets of one ring.

#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/engine/io/ring_test.h"

namespace sluice::io {
namespace {

using ConnectTest = RingTest;

TEST_F(ConnectTest, OneAcceptTakesManyClients) {
  constexpr int kClients = 200;
  const Socket listener = ListenOnLoopback();
  const OpId accept = NewId();
  io_->Accept(accept, listener);
  for (int i = 0; i < kClients; ++i) {
    const Socket client = OpenStream();
    EXPECT_EQ(Next(Connect(client, listener)).result, 0);
    const Event accepted = Next(accept);
    ASSERT_GE(accepted.result, 0);
    EXPECT_TRUE(accepted.more);
    const Socket server{accepted.result};
    EXPECT_EQ(io_->PeerAddress(server), io_->LocalAddress(client));
    EXPECT_EQ(io_->PeerAddress(client), io_->LocalAddress(listener));
  }
}

TEST_F(ConnectTest, AConnectionToNobodyIsRefused) {
  const Socket listener = ListenOnLoopback();
  const SocketAddress address = io_->LocalAddress(listener);
  io_->Close(listener);
  const OpId connect = NewId();
  io_->Connect(connect, OpenStream(), address);
  const Event event = Next(connect);
  EXPECT_EQ(event.result, -ECONNREFUSED);
  EXPECT_FALSE(event.more);
}

TEST_F(ConnectTest, ConnectsFromTheSourceAddress) {
  const Socket listener = ListenOnLoopback();
  const OpId accept = NewId();
  io_->Accept(accept, listener);
  const IpAddress source = *IpAddress::Parse("127.0.0.2");
  const Socket client = io_->OpenStream(Family::kIpv4, source);
  ASSERT_TRUE(client);
  EXPECT_EQ(Next(Connect(client, listener)).result, 0);
  EXPECT_EQ(io_->PeerAddress(Socket{Next(accept).result}).ip, source);
}

TEST_F(ConnectTest, ASourceAddressThatIsNotOursIsRefused) {
  // 192.0.2.0/24 is for documentation (RFC 5737), so no machine has it.
  const Socket socket = io_->OpenStream(Family::kIpv4, *IpAddress::Parse("192.0.2.1"));
  EXPECT_EQ(socket.descriptor, -EADDRNOTAVAIL);
}

TEST_F(ConnectTest, APortInUseIsRefused) {
  const SocketAddress taken = io_->LocalAddress(ListenOnLoopback());
  EXPECT_EQ(io_->Listen(taken, {}).descriptor, -EADDRINUSE);
}

TEST_F(ConnectTest, ListenersThatAgreeShareAPort) {
  const Socket first = io_->Listen(Loopback(), {.reuse_port = true, .backlog = 16});
  ASSERT_TRUE(first);
  EXPECT_TRUE(io_->Listen(io_->LocalAddress(first), {.reuse_port = true, .backlog = 16}));
}

TEST_F(ConnectTest, ConnectsOverIpv6) {
  const SocketAddress loopback{.ip = *IpAddress::Parse("::1"), .port = 0};
  const Socket listener = io_->Listen(loopback, {});
  if (!listener) GTEST_SKIP() << "this machine has no IPv6 loopback";
  const OpId accept = NewId();
  io_->Accept(accept, listener);
  const Socket client = io_->OpenStream(Family::kIpv6, loopback.ip);
  EXPECT_EQ(Next(Connect(client, listener)).result, 0);
  EXPECT_EQ(io_->PeerAddress(Socket{Next(accept).result}), io_->LocalAddress(client));
}

TEST_F(ConnectTest, AnUnconnectedSocketHasNoPeer) {
  EXPECT_EQ(io_->PeerAddress(OpenStream()), SocketAddress{});
}

// At the limit of descriptors the accept ends and says so; the listener closes nothing, waits, and
// arms it again.
TEST_F(ConnectTest, AnAcceptWithoutADescriptorEndsAndCanBeArmedAgain) {
  const Socket listener = ListenOnLoopback();
  const OpId connect = Connect(OpenStream(), listener);
  EXPECT_EQ(Next(connect).result, 0);

  const int next_descriptor = dup(STDERR_FILENO);
  close(next_descriptor);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit full{static_cast<rlim_t>(next_descriptor), before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &full), 0);
  const OpId accept = NewId();
  io_->Accept(accept, listener);
  const Event refused = Next(accept);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(refused.result, -EMFILE);
  EXPECT_FALSE(refused.more);

  io_->Accept(accept, listener);
  EXPECT_GE(Next(accept).result, 0);
}

}  // namespace
}  // namespace sluice::io
