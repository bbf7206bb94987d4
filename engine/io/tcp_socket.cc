#include "engine/io/tcp_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/check.h"

namespace sluice::io {
namespace {

int SystemFamily(Family family) {
  switch (family) {
    case Family::kIpv4:
      return AF_INET;
    case Family::kIpv6:
      return AF_INET6;
    case Family::kNone:
      break;
  }
  CHECK(family != Family::kNone);
  return AF_UNSPEC;
}

void SetOption(int descriptor, int level, int name) {
  // These options exist on every kernel that has the ring's, and take any TCP socket.
  const int on = 1;
  CHECK(setsockopt(descriptor, level, name, &on, sizeof(on)) == 0);
}

// Closes a socket that came to nothing, and says why it did.
Socket Abandon(int descriptor) {
  const int error = errno;
  close(descriptor);
  return Socket{-error};
}

int OpenWithoutDelay(Family family) {
  const int descriptor = socket(SystemFamily(family), SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
  if (descriptor < 0) return -errno;
  // A command must not wait for the acknowledgement of the one before. Accepted sockets inherit it.
  SetOption(descriptor, IPPROTO_TCP, TCP_NODELAY);
  return descriptor;
}

bool BindTo(int descriptor, const SocketAddress& address) {
  sockaddr_storage storage{};
  const socklen_t length = address.ToSystem(storage);
  return bind(descriptor, reinterpret_cast<const sockaddr*>(&storage), length) == 0;
}

using NameCall = int (*)(int, sockaddr*, socklen_t*);

SocketAddress NameOf(Socket socket, NameCall call) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  if (call(socket.descriptor, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return {};
  return SocketAddress::FromSystem(storage);
}

}  // namespace

Socket ListenTcp(const SocketAddress& address, Io::ListenOptions options) {
  const int descriptor = OpenWithoutDelay(address.ip.family);
  if (descriptor < 0) return Socket{descriptor};
  SetOption(descriptor, SOL_SOCKET, SO_REUSEADDR);
  if (options.reuse_port) SetOption(descriptor, SOL_SOCKET, SO_REUSEPORT);
  // So that a listener on [::] and one on 0.0.0.0 can stand beside each other.
  if (address.ip.family == Family::kIpv6) SetOption(descriptor, IPPROTO_IPV6, IPV6_V6ONLY);
  if (!BindTo(descriptor, address)) return Abandon(descriptor);
  if (listen(descriptor, options.backlog) != 0) return Abandon(descriptor);
  return Socket{descriptor};
}

Socket OpenTcp(Family family, const IpAddress& local) {
  const int descriptor = OpenWithoutDelay(family);
  if (descriptor < 0) return Socket{descriptor};
  if (local.family == Family::kNone) return Socket{descriptor};
  CHECK(local.family == family);
  // The port is chosen at connect, when the peer is known: chosen at bind, one source address would
  // have only as many connections as it has ports, whatever the number of peers.
  SetOption(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
  if (!BindTo(descriptor, {.ip = local, .port = 0})) return Abandon(descriptor);
  return Socket{descriptor};
}

SocketAddress LocalAddressOf(Socket socket) {
  return NameOf(socket, [](int descriptor, sockaddr* name, socklen_t* length) {
    return getsockname(descriptor, name, length);
  });
}

SocketAddress PeerAddressOf(Socket socket) {
  return NameOf(socket, [](int descriptor, sockaddr* name, socklen_t* length) {
    return getpeername(descriptor, name, length);
  });
}

}  // namespace sluice::io
