#include "tools/sluice/probe_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "engine/io/clock.h"

namespace sluice::tools {
namespace {

constexpr size_t kPieceBytes = 16 << 10;

absl::Status SystemError(int error) {
  return absl::UnavailableError(std::strerror(error));
}

}  // namespace

ProbeSocket::~ProbeSocket() {
  if (descriptor_ >= 0) close(descriptor_);
}

absl::Status ProbeSocket::Connect(const SocketAddress& address, Instant deadline) {
  sockaddr_storage storage{};
  const socklen_t length = address.ToSystem(storage);
  descriptor_ = socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor_ < 0) return SystemError(errno);
  if (connect(descriptor_, reinterpret_cast<const sockaddr*>(&storage), length) != 0 &&
      errno != EINPROGRESS) {
    return SystemError(errno);
  }
  if (!WaitFor(POLLOUT, deadline)) return SystemError(ETIMEDOUT);
  int error = 0;
  socklen_t error_length = sizeof(error);
  getsockopt(descriptor_, SOL_SOCKET, SO_ERROR, &error, &error_length);
  return error == 0 ? absl::OkStatus() : SystemError(error);
}

bool ProbeSocket::Send(absl::string_view bytes, Instant deadline) {
  while (!bytes.empty()) {
    if (!WaitFor(POLLOUT, deadline)) return false;
    const ssize_t sent = send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return false;
    if (sent > 0) bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

ProbeSocket::Received ProbeSocket::Receive(std::string& bytes, Instant deadline) {
  bytes.resize(kPieceBytes);
  while (true) {
    if (!WaitFor(POLLIN, deadline)) return Received::kTimeout;
    const ssize_t received = recv(descriptor_, bytes.data(), bytes.size(), 0);
    if (received < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    bytes.resize(received > 0 ? static_cast<size_t>(received) : 0);
    return received > 0 ? Received::kBytes : Received::kClosed;
  }
}

bool ProbeSocket::WaitFor(short events, Instant deadline) const {
  pollfd waited = {.fd = descriptor_, .events = events, .revents = 0};
  while (true) {
    const Duration left = std::max(deadline - io::ReadClock().instant, Duration::zero());
    const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(left).count();
    const int ready = poll(&waited, 1, static_cast<int>(milliseconds));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

}  // namespace sluice::tools
