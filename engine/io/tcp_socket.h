// The calls about TCP sockets that do not wait, and so need no ring. A failure is a Socket whose
// descriptor is -errno.
//
// The sockets block: the kernel answers -EAGAIN instead of waiting when io_uring operates on a
// non-blocking one.

#pragma once

#include "engine/base/ip_address.h"
#include "engine/io/io.h"

namespace sluice::io {

Socket ListenTcp(const SocketAddress& address, Io::ListenOptions options);
Socket OpenTcp(Family family, const IpAddress& local);

// Empty (Family::kNone) when the socket has no such address, e.g. the peer's of an unconnected one.
SocketAddress LocalAddressOf(Socket socket);
SocketAddress PeerAddressOf(Socket socket);

}  // namespace sluice::io
