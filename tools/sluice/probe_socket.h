// A TCP socket for a program that has time: every call waits, up to its deadline.

#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "engine/base/ip_address.h"
#include "engine/base/time.h"

namespace sluice::tools {

class ProbeSocket {
 public:
  ProbeSocket() = default;
  ~ProbeSocket();
  ProbeSocket(const ProbeSocket&) = delete;
  ProbeSocket& operator=(const ProbeSocket&) = delete;

  // Once. The error is what the system says.
  absl::Status Connect(const SocketAddress& address, Instant deadline);

  // False: the connection is lost, or the peer takes nothing until the deadline.
  bool Send(absl::string_view bytes, Instant deadline);

  enum class Received { kBytes, kClosed, kTimeout };
  Received Receive(std::string& bytes, Instant deadline);

 private:
  bool WaitFor(short events, Instant deadline) const;

  int descriptor_ = -1;
};

}  // namespace sluice::tools
