// The control socket: HTTP with JSON over a Unix socket that only root and the engine's own user
// may open. Requests go to a ControlQueue; nothing is decided here.
//
// Some threads of its own, one a connection at a time; a connection carries one request and has a
// bounded time and size.

#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/admin/control_queue.h"

namespace sluice::admin {

class ControlServer {
 public:
  // Makes the socket, and its folder where that is missing. Refused where another process answers
  // at `path`; a socket that nobody answers at is a leftover, and replaced. `queue` outlives it.
  static absl::StatusOr<std::unique_ptr<ControlServer>> Listen(const std::string& path,
                                                               ControlQueue& queue);
  // Removes the socket and waits for the threads: the queue must be closed before.
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

 private:
  class Http;

  ControlServer(std::string path, int listener, ControlQueue& queue);
  void Run();

  const std::string path_;
  const int listener_;
  std::unique_ptr<Http> http_;
  std::vector<std::thread> threads_;
};

}  // namespace sluice::admin
